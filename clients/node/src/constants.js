// The collector's limits. Made by `make clients`; don't edit.

/** Events in one request. */
export const MAX_BATCH_EVENTS = 500;

/** One event or session, with what the collector adds. */
export const MAX_RECORD_BYTES = 65_536;
