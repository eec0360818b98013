/* What the public block lists do to the script and its requests: those that Debian packs with uBlock Origin, read by the
 * engine of another blocker. The addresses of the first-party set-up are those of docs/tracker-js.md.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { FiltersEngine, Request } from "@ghostery/adblocker";

const LISTS = process.env.BLOCK_LISTS_DIR; // scripts/ensure-block-lists finds it
// What is on by default.
const NAMES = [
  "thirdparties/easylist/easylist.txt",
  "thirdparties/easylist/easyprivacy.txt",
  "ublock/badware.min.txt",
  "ublock/filters.min.txt",
  "ublock/privacy.min.txt",
  "ublock/quick-fixes.min.txt",
  "ublock/unbreak.min.txt",
];
const DOCS = readFileSync(new URL("../docs/tracker-js.md", import.meta.url), "utf8");
const FIRST_PARTY = DOCS.split(/^## /m).find((section) => section.startsWith("From your own origin"));
const PAGE = "https://shop.example/";
const OF_A_REQUEST = "?session=01938f2e-7f6b-7cc0-8d5b-3f0a5a1c2b3d&key=THE-WRITE-KEY";
const SCRIPTS = ["/tracker.js", "/tracker-0.2.0.js", "/tracker.mjs"];
const REQUESTS = ["/api/v1/events/track", "/api/v1/events/session"];
const PIXEL = "/api/v1/events/pixel.gif";
const skip = !LISTS && "no block lists: take them from Debian's package webext-ublock-origin-chromium";

describe("public block lists", { skip }, () => {
  let engine;
  before(() => {
    const texts = NAMES.map((name) => readFileSync(new URL(name, pathToFileURL(LISTS)), "utf8"));
    engine = FiltersEngine.parse(texts.join("\n"), { debug: true, enableOptimizations: false, loadCosmeticFilters: false });
  });

  /* Returns the rule by which a page's request is blocked, if one does. */
  const rule = (type, address, origin = PAGE) => {
    const url = new URL(address, origin).href;
    const { match, filter } = engine.match(Request.fromRawDetails({ type, url, sourceUrl: PAGE }));
    return match ? (filter?.toString() ?? "a rule") : undefined;
  };
  const rulesOf = (origin) => [
    ...SCRIPTS.map((path) => rule("script", path, origin)),
    ...REQUESTS.map((path) => rule("xhr", path + OF_A_REQUEST, origin)),
  ];

  for (const proxy of ["location = ", "handle "]) {
    const paths = [...FIRST_PARTY.matchAll(new RegExp(`^\\s*${proxy}(/\\S+)`, "gm"))].map(([, path]) => path);
    it(`let the documented first-party paths pass, however they are asked for: ${proxy}${paths}`, () => {
      assert.deepEqual(paths, ["/a/x.js", "/a/t", "/a/s", "/a/n"]);
      const [script, ...requests] = paths;
      assert.equal(rule("script", script), undefined);
      for (const path of requests) {
        for (const type of ["xhr", "ping", "image"]) assert.equal(rule(type, path + OF_A_REQUEST), undefined, `${type} ${path}`);
        assert.equal(rule("image", `${path}?key=THE-WRITE-KEY&d=eyJldmVudF90eXBlIjoicGFnZXZpZXcifQ`), undefined);
      }
    });
  }

  it("let the paths pass that the documented script tag asks for", () => {
    const tag = FIRST_PARTY.match(/<script async src="(\S+)" data-endpoint="(\S+)" data-track-path="(\S+)" data-session-path="(\S+)">/);
    const [, script, endpoint, ...paths] = tag;
    assert.deepEqual([script, ...paths.map((path) => endpoint + path)], ["/a/x.js", "/a/t", "/a/s"]);
  });

  it("let script and requests pass on a host named collect, of the same site or another", () => {
    for (const origin of ["https://collect.shop.example", "https://collect.example.com"]) {
      assert.deepEqual(rulesOf(origin).filter(Boolean), [], origin);
    }
  });

  it("block script or requests on hosts of these names, though they are of the same site", () => {
    for (const name of ["ads", "adserver", "analytics", "beacon", "collector", "stats", "tracking"]) {
      assert.notDeepEqual(rulesOf(`https://${name}.shop.example`).filter(Boolean), [], name);
      assert.ok(FIRST_PARTY.includes(`\`${name}.\``), `${name} is not in the docs`);
    }
  });

  it("block the pixel by its name on every host", () => {
    for (const origin of [PAGE, "https://collect.shop.example", "https://collect.example.com"]) {
      assert.equal(rule("image", `${PIXEL}?key=THE-WRITE-KEY&d=e30`, origin), "/pixel.gif?", origin);
    }
  });

  it("block beacons to another site, and not to the page's own", () => {
    const address = REQUESTS[0] + OF_A_REQUEST;
    assert.equal(rule("ping", address, "https://collect.example.com"), "$ping,third-party");
    assert.equal(rule("ping", address, "https://collect.shop.example"), undefined);
  });
});
