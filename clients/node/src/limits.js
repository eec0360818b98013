// What a queue holds, and how long it tries.

import { MAX_BATCH_EVENTS, MAX_RECORD_BYTES } from "./constants.js";

/** Repeats are recognised for 24 hours; a later one would count twice. */
const MAX_RETRY_BUDGET_MS = 23 * 3_600_000;

// Each limit: its default, and its range.
const LIMITS = {
  maxQueueItems: [10_000, 1, 10_000_000],
  maxQueueBytes: [32 * 1024 * 1024, MAX_RECORD_BYTES, 2 ** 40],
  maxBatchEvents: [100, 1, MAX_BATCH_EVENTS],
  maxBatchBytes: [192 * 1024, MAX_RECORD_BYTES, 2 ** 28],
  flushIntervalMs: [500, 0, 3_600_000],
  retryBudgetMs: [600_000, 0, MAX_RETRY_BUDGET_MS],
  maxRetryWaitMs: [30_000, 1, 3_600_000],
  requestTimeoutMs: [10_000, 1, 3_600_000],
  exitTimeoutMs: [5_000, 0, 3_600_000],
};

/** Return all limits with their defaults. Throws a RangeError that names the one that is out of its range. */
export function completeLimits(given = {}) {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(LIMITS, name)) throw new RangeError(`limits: there is no ${name}`);
  }
  return Object.fromEntries(
    Object.entries(LIMITS).map(([name, [usual, low, high]]) => {
      const value = given[name] ?? usual;
      if (!Number.isInteger(value) || value < low || value > high) {
        throw new RangeError(`${name}: must be from ${low} to ${high}`);
      }
      return [name, value];
    }),
  );
}
