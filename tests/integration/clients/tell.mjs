// Tells a collector of events whenever a line comes in; at the end of the input it delivers what waits and prints all ids.

import { createInterface } from "node:readline";

import { Client, newId } from "../../../clients/node/src/index.js";

const [url, sessions, events] = process.argv.slice(2);
const failures = [];
const limits = { maxBatchEvents: 10, flushIntervalMs: 10, maxRetryWaitMs: 50, requestTimeoutMs: 500, exitTimeoutMs: 300_000 };
const log = (line) => console.log(JSON.stringify({ line }));
const client = new Client(url, { limits, log, onError: (item) => failures.push(item) });
const told = Object.fromEntries(Array.from({ length: Number(sessions) }, () => [newId(), []]));

for await (const _ of createInterface({ input: process.stdin })) {
  for (let n = 0; n < Number(events); n += 1) {
    for (const [session, ids] of Object.entries(told)) ids.push(client.track(session, "click", { metadata: { n } }));
  }
  while (client.delivered === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  console.log(JSON.stringify({ waiting: client.waiting }));
}
await client.close();
console.log(JSON.stringify({ told, failures, delivered: client.delivered }));
