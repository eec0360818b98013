// The client on a real socket: what it sends, what it survives, how it tells of losses.

import assert from "node:assert/strict";
import test from "node:test";

import { Client, newId } from "../src/index.js";
import { Collector, reject, silence, status } from "./collector.js";

const KEY = "a-secret-key-of-this-service";

/** A client that sends when it is told to, with what it logs and gives up. */
function clientOf(collector, options = {}) {
  const failures = [];
  const lines = [];
  const client = new Client(collector.url, {
    writeKey: KEY,
    onError: (item) => failures.push(item),
    log: (line) => lines.push(line),
    ...options,
    limits: { flushIntervalMs: 3_600_000, maxRetryWaitMs: 1, ...options.limits },
  });
  return { client, failures, lines };
}

test("an event goes with its session, its time and an id", async (t) => {
  const collector = await Collector.start(t);
  const { client } = clientOf(collector, { workspaceId: "w1" });
  const id = client.track("s1", "conversion", { event_value: "49.90", metadata: { b: [1, null], a: "ä" } });
  assert.equal(await client.close(), 0);
  const [request] = collector.requests;
  assert.deepEqual([request.method, request.path], ["POST", "/api/v1/events/track"]);
  const [{ timestamp, ...event }] = request.body.batch;
  assert.ok(timestamp <= request.body.sent_at && Date.now() - Date.parse(timestamp) < 60_000);
  assert.deepEqual(event, {
    session_id: "s1", workspace_id: "w1", event_type: "conversion", event_id: id, event_value: "49.90",
    metadata: { b: [1, null], a: "ä" },
  });
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("ids are all different and sort by their time of birth", () => {
  const ids = Array.from({ length: 10_000 }, newId);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(ids.map((id) => id.slice(0, 13)), ids.map((id) => id.slice(0, 13)).sort());
});

test("a session is opened, identified, flushed and ended in the order of the calls", async (t) => {
  const collector = await Collector.start(t);
  const { client } = clientOf(collector);
  const id = client.initSession({ campaign_id: "spring", timeout_seconds: 600 });
  client.track(id, "click");
  client.endSession("with/ä slash"); // it is another session's, so it need not wait
  client.identify(id, "u1", { plan: "pro", age: 7 });
  client.flushSession(id);
  client.endSession(id);
  await client.close();
  assert.deepEqual(collector.requests.map(({ method, path }) => [method, path.replace("/api/v1/events/", "")]), [
    ["POST", "session"], ["DELETE", "session/with%2F%C3%A4%20slash"], ["POST", "track"], ["POST", "session"],
    ["POST", `session/${id}/flush`], ["DELETE", `session/${id}`],
  ]);
  const [opened, , , identified] = collector.requests.map(({ body }) => body);
  assert.deepEqual([opened.session_id, opened.campaign_id, opened.timeout_seconds], [id, "spring", 600]);
  assert.deepEqual([identified.user_id, identified.user_traits], ["u1", '{"age":7,"plan":"pro"}']);
});

test("a repeat has the same content, whatever the failure, and trouble is logged twice", async (t) => {
  const collector = await Collector.start(t);
  collector.answers.push(silence, status(503, "kafka_unavailable"), status(429, "rate_limited", { "Retry-After": "0" }), status(401, "unauthorized"));
  const { client, lines } = clientOf(collector);
  const ids = [1, 2, 3].map((n) => client.track("s", "click", { event_value: String(n) }));
  assert.equal(await client.flush(), 0);
  await client.close();
  assert.equal(collector.requests.length, 5);
  for (const { body } of collector.requests) assert.deepEqual(body.batch, collector.requests[0].body.batch);
  assert.deepEqual(collector.requests[0].body.batch.map((event) => event.event_id), ids);
  assert.deepEqual([client.delivered, client.givenUp], [3, {}]);
  assert.match(lines[0], /^event-tracker: the tracker takes nothing now: no answer: ECONNRESET.*; 3 items wait$/);
  assert.deepEqual(lines.slice(1), ["event-tracker: the tracker takes events again; 0 items wait"]);
});

test("a collector that is silent for too long is asked again", async (t) => {
  const collector = await Collector.start(t);
  const pass = collector.hold();
  const { client, failures } = clientOf(collector, { limits: { requestTimeoutMs: 300 } });
  const id = client.track("s", "click");
  const flushing = client.flush();
  await collector.until(2);
  pass();
  assert.equal(await flushing, 0);
  assert.deepEqual(new Set(collector.events.map((event) => event.event_id)), new Set([id]));
  assert.deepEqual(failures, []);
  await client.close();
});

test("bad events are reported with their reasons, and the rest goes on although the callback throws", async (t) => {
  const collector = await Collector.start(t);
  collector.answers.push(reject("bad"));
  const failures = [];
  const onError = (item) => {
    failures.push([item.eventId, item.code, item.reasons, item.mayHaveArrived]);
    throw new Error("of the application");
  };
  const { client, lines } = clientOf(collector, { onError });
  for (const event_id of ["good-1", "bad", "good-2"]) client.track("s", "click", { event_id });
  await client.close();
  assert.deepEqual(failures, [["bad", "rejected", ["event_value: too long"], false]]);
  assert.deepEqual([client.delivered, client.givenUp, client.waiting], [2, { rejected: 1 }, 0]);
  assert.ok(lines.some((line) => line.includes("onError has thrown")));
});

test("a refusal without verdicts is narrowed down to the event that causes it", async (t) => {
  const collector = await Collector.start(t);
  const isBad = ({ body }) => body.batch.some((event) => event.event_id === "3");
  const answer = (request) => (isBad(request) ? status(400, "invalid")(request) : { status: 202, body: { results: request.body.batch.map(() => ({ status: "accepted" })) } });
  collector.answers.push(...Array(20).fill(answer));
  const { client, failures } = clientOf(collector);
  for (let n = 0; n < 8; n += 1) client.track("s", "click", { event_id: String(n) });
  await client.close();
  assert.deepEqual(failures.map((item) => [item.eventId, item.reasons]), [["3", ["because of invalid"]]]);
  assert.equal(client.delivered, 7);
});

test("a value that JSON does not have is reported and throws nothing", async (t) => {
  const collector = await Collector.start(t);
  const { client, failures } = clientOf(collector);
  const endless = {};
  endless.again = endless;
  client.track("s", "click", { metadata: { x: NaN } });
  client.track("s", "click", { metadata: endless });
  client.track("s", "click", { event_value: 1n });
  client.track("s", "click", { timestamp: new Date(NaN) });
  client.track(undefined, "click");
  client.track("s", "click", { event_id: "good", user_id: null });
  await client.close();
  assert.deepEqual(failures.map((item) => item.code), Array(5).fill("rejected"));
  assert.deepEqual(failures[0].reasons, ["x: not a finite number"]);
  assert.deepEqual(failures[4].reasons, ["session_id: must be a text, not a undefined"]);
  assert.deepEqual(collector.events.map((event) => event.event_id), ["good"]);
});

test("half a surrogate pair costs one character and no event", async (t) => {
  const collector = await Collector.start(t);
  const { client } = clientOf(collector);
  client.track("s\udc80", "click", { clicked_element: "cut \ud83d", metadata: { "k\ud83d": "\\ud83d" } });
  client.endSession("s\udc80");
  await client.close();
  const [event] = collector.events;
  assert.deepEqual([event.session_id, event.clicked_element], ["s\ufffd", "cut \ufffd"]);
  assert.deepEqual(event.metadata, { "k\ufffd": "\\ud83d" });
  assert.ok(collector.requests.at(-1).path.endsWith("/s%EF%BF%BD"));
});

test("a full queue drops what comes on top and says so in few lines", async (t) => {
  const collector = await Collector.start(t);
  const pass = collector.hold();
  const { client, failures, lines } = clientOf(collector, { limits: { maxQueueItems: 3, flushIntervalMs: 0 } });
  for (let n = 0; n < 1_003; n += 1) client.track("s", "click", { event_id: String(n) });
  client.track("s", "click", { event_value: "x".repeat(70_000) });
  assert.deepEqual(client.givenUp, { queue_full: 1_000, oversized: 1 });
  assert.equal(failures.length, 1_001);
  pass();
  await client.close();
  assert.deepEqual(collector.events.map((event) => event.event_id), ["0", "1", "2"]);
  assert.ok(lines.length <= 14, lines.join("\n"));
});

test("an item is given up when its budget is over", async (t) => {
  const collector = await Collector.start(t);
  collector.answers.push(...Array(3).fill(status(503, "overloaded")));
  const { client, failures } = clientOf(collector, { limits: { retryBudgetMs: 0 } });
  client.track("s", "click");
  assert.equal(await client.flush(), 0);
  assert.deepEqual(failures.map((item) => [item.code, item.reasons, item.mayHaveArrived]), [
    ["expired", ["HTTP 503 overloaded: no"], true],
  ]);
  await client.close();
});

test("closing says how many were not delivered, and what may have arrived", async (t) => {
  const collector = await Collector.start(t);
  const pass = collector.hold();
  const { client, failures, lines } = clientOf(collector, { limits: { maxBatchEvents: 2 } });
  for (let n = 0; n < 5; n += 1) client.track("s", "click", { event_id: String(n) });
  await collector.until(1);
  assert.equal(await client.flush(1), 5);
  assert.equal(await client.close(1), 5);
  assert.deepEqual(failures.map((item) => item.mayHaveArrived), [true, true, false, false, false]);
  assert.equal(lines[0], "event-tracker: 5 items were not delivered to the tracker before its client was closed");
  client.track("s", "click", { event_id: "late" });
  assert.deepEqual([failures.at(-1).eventId, failures.at(-1).code], ["late", "closed"]);
  pass();
});

test("the key goes into a header and is said nowhere; a visitor's headers can break nothing", async (t) => {
  const collector = await Collector.start(t);
  collector.answers.push(status(401, "unauthorized"), silence);
  const { client, lines } = clientOf(collector);
  client.initSession({ session_id: "s" }, { userAgent: "Mozilla/5.0\r\nX-Evil: 1 ☂", acceptLanguage: "de", ip: "203.0.113.9" });
  client.track("s", "click");
  await client.close();
  const opened = collector.requests[0].headers;
  assert.deepEqual([opened["user-agent"], opened["accept-language"], opened["x-forwarded-for"]], ["Mozilla/5.0  X-Evil: 1 ?", "de", "203.0.113.9"]);
  assert.deepEqual(new Set(collector.requests.map(({ headers }) => headers["x-write-key"])), new Set([KEY]));
  assert.match(collector.requests.at(-1).headers["user-agent"], /^event-tracker-client-node\//);
  assert.ok(!lines.join().includes(KEY) && !JSON.stringify(client).includes(KEY));
  assert.throws(() => new Client(collector.url, { writeKey: `${KEY}\n` }), (error) => !error.message.includes(KEY));
});

test("batches share a connection, a refusing collector is left, and large bodies are compressed", async (t) => {
  const collector = await Collector.start(t);
  const { client } = clientOf(collector);
  for (const step of [1, 2, 3]) {
    if (step === 3) collector.answers.push(status(503, "overloaded"));
    for (let n = 0; n < 20; n += 1) client.track("s", "click", { page_url: "https://shop.example/a/page" });
    await client.flush();
  }
  await client.close();
  const ports = collector.requests.map((request) => request.port);
  assert.deepEqual([ports[0] === ports[1], ports[1] === ports[2], ports[2] === ports[3]], [true, true, false]);
  assert.deepEqual(collector.requests.map(({ headers }) => headers["content-encoding"]), Array(4).fill("gzip"));
});

test("an address may have a path; one that is none and a limit that can't be are refused", async (t) => {
  const collector = await Collector.start(t);
  const { client } = clientOf({ url: `${collector.url}/tracking/` });
  client.track("s", "click");
  await client.close();
  assert.deepEqual(collector.requests.map(({ path }) => path), ["/tracking/api/v1/events/track"]);
  for (const url of ["collect.example.com", "ftp://a.example", "https://", "https://key@a.example", "http://a/?k=1"]) {
    assert.throws(() => new Client(url), /^TypeError: url: /, url);
  }
  for (const limits of [{ maxBatchEvents: 501 }, { flushIntervalMs: -1 }, { retryBudgetMs: 1e9 }, { maxQueue: 1 }]) {
    assert.throws(() => new Client(collector.url, { limits }), RangeError);
  }
});
