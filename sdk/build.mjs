/* Makes of src/ what the collector serves and what the package holds: bundled by esbuild, minified by terser.
 *
 *   node build.mjs           writes tracker/collect/static/ and dist/, and prints the sizes
 *   node build.mjs --check   fails if what is committed in tracker/collect/static/ is something else
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const MAX_GZIPPED_BYTES = 5_632;
const STATIC = new URL("../tracker/collect/static/", import.meta.url);
const DIST = new URL("dist/", import.meta.url);
const TARGET = "es2021";
const COMPRESS = {
  directives: false,
  ecma: 2021,
  inline: 1, // what is said in one place only packs better
  lhs_constants: false, // likewise
  passes: 3,
  pure_getters: true,
  unsafe_arrows: true,
};
const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));

async function bundled(entry, format) {
  const options = { bundle: true, charset: "utf8", format, legalComments: "none", target: TARGET, write: false };
  const result = await build({ entryPoints: [`src/${entry}.js`], outdir: ".", sourcemap: "external", ...options });
  const [map, code] = result.outputFiles.map((file) => file.text);
  const small = await minify(code, {
    compress: COMPRESS,
    ecma: 2021,
    mangle: true,
    module: format === "esm",
    toplevel: true,
    sourceMap: { content: map, filename: `${entry}.js`, url: entry === "index" ? "tracker.js.map" : undefined },
  });
  return { ...small, code: small.code.replace(/^"use strict";/, "") };
}

/* What stands in the committed files: a test without npm compares it with the sources. */
function stamp(files) {
  const sources = readdirSync(new URL("src/", import.meta.url)).sort();
  const digest = createHash("sha256");
  for (const name of sources) digest.update(readFileSync(new URL(`src/${name}`, import.meta.url)));
  const integrity = Object.fromEntries(
    Object.entries(files).map(([name, code]) => [name, `sha384-${createHash("sha384").update(code).digest("base64")}`]),
  );
  return `${JSON.stringify({ version, sources: digest.digest("hex"), integrity }, null, 2)}\n`;
}

const files = {
  "tracker.js": (await bundled("script", "iife")).code,
  "tracker.mjs": (await bundled("index", "esm")).code.replace(/\/\/# sourceMappingURL.*\n?/, ""),
};
const outputs = { ...files, "tracker.json": stamp(files) };
if (process.argv.includes("--check")) {
  for (const [name, code] of Object.entries(outputs)) {
    if (readFileSync(new URL(name, STATIC), "utf8") === code) continue;
    console.error(`${name} is not what sdk/ gives: run make sdk`);
    process.exitCode = 1;
  }
} else {
  const { code, map } = await bundled("index", "esm");
  mkdirSync(DIST, { recursive: true });
  writeFileSync(new URL("tracker.js", DIST), code);
  writeFileSync(new URL("tracker.js.map", DIST), map);
  for (const [name, text] of Object.entries(outputs)) writeFileSync(new URL(name, STATIC), text);
}
for (const [name, code] of Object.entries(files)) {
  const gzipped = gzipSync(code, { level: 9 }).length;
  console.log(`${name} ${version}: ${code.length} bytes, ${gzipped} gzipped of at most ${MAX_GZIPPED_BYTES}`);
  if (gzipped > MAX_GZIPPED_BYTES) process.exitCode = 1;
}
