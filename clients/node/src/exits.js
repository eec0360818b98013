// The end of the process: clients with something that waits are told of it.

/** Clients with items that wait. Others are not held, so that a client that nobody uses any more can be collected. */
const waiting = new Set();
let isListening = false;

/** Have a client told of the end: `drain()` when only its queue is left to do, `abandon()` when it is too late. */
export function remember(client) {
  if (!isListening) {
    isListening = true;
    process.on("beforeExit", () => waiting.forEach((each) => each.drain()));
    process.on("exit", () => waiting.forEach((each) => each.abandon()));
  }
  waiting.add(client);
}

/** Nothing of a client waits any more. */
export function forget(client) {
  waiting.delete(client);
}
