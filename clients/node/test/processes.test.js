// The client at the end of a process, in real processes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import test from "node:test";

import { Collector } from "./collector.js";

const SOURCE = new URL("../src/index.js", import.meta.url);

/** Run a program that has a `client`; resolves to its exit code and what it has said. */
async function run(collector, program, { exitTimeoutMs = 300_000, meanwhile = () => {} } = {}) {
  const preamble = `
    import { Client } from ${JSON.stringify(SOURCE)};
    const limits = { flushIntervalMs: 3_600_000, maxRetryWaitMs: 10, exitTimeoutMs: ${exitTimeoutMs} };
    const client = new Client(${JSON.stringify(collector.url)}, { limits, onError: (item) => console.log("lost", item.eventId) });
    const tell = (event_id) => client.track("s", "click", { event_id });
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", preamble + program]);
  const said = { out: "", err: "" };
  child.stdout.on("data", (piece) => {
    said.out += piece;
    meanwhile(child, said.out);
  });
  child.stderr.on("data", (piece) => (said.err += piece));
  const [code] = await once(child, "close");
  return { code, ...said };
}

const ids = (collector) => collector.events.map((event) => event.event_id);

test("what waits is sent when a process has nothing more to do, and nothing is waited for without need", async (t) => {
  const collector = await Collector.start(t);
  const { code, out, err } = await run(collector, 'tell("a"); tell("b");');
  assert.deepEqual([code, out, err, ids(collector)], [0, "", "", ["a", "b"]]);
});

test("what is told at the very end is sent too", async (t) => {
  const collector = await Collector.start(t);
  const late = 'process.once("beforeExit", () => setTimeout(() => tell("late"), 1)); tell("early");';
  const { code, out } = await run(collector, late);
  assert.deepEqual([code, out, ids(collector).sort()], [0, "", ["early", "late"]]);
});

test("a process does not wait for ever, and says what is lost", async (t) => {
  const collector = await Collector.start(t);
  const pass = collector.hold();
  const { code, out, err } = await run(collector, 'tell("a"); tell("b");', { exitTimeoutMs: 50 });
  assert.deepEqual([code, out], [0, "lost a\nlost b\n"]);
  assert.match(err, /2 items were not delivered to the tracker before its client was closed/);
  pass();
});

test("process.exit leaves no time, so what waits is said to be lost", async (t) => {
  const collector = await Collector.start(t);
  const { code, out, err } = await run(collector, 'tell("a"); process.exit(3);');
  assert.deepEqual([code, out, ids(collector)], [3, "lost a\n", []]);
  assert.match(err, /1 items were not delivered/);
});

test("a service that closes its client at SIGTERM delivers what it has", async (t) => {
  const collector = await Collector.start(t);
  const program = `
    process.once("SIGTERM", async () => { await client.close(); process.exit(0); });
    setInterval(() => {}, 1_000);
    tell("a");
    console.log("ready");
  `;
  const { code } = await run(collector, program, { meanwhile: (child) => child.kill("SIGTERM") });
  assert.deepEqual([code, ids(collector)], [0, ["a"]]);
});
