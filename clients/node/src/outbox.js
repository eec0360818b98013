// The queue: what is sent next, and what becomes of it. Pure: `now` is an argument, nothing waits.
//
// The order of a session's items is kept, whatever is retried: at most one request is under way, and an item is behind
// everything of its session that came before it. Requests about a session (opened, ended) go ahead of *other* sessions'
// events, so that those still fill whole batches.

import { isOversized, judge, leavesOpen, reason } from "./answers.js";
import { MAX_BATCH_EVENTS, MAX_RECORD_BYTES } from "./constants.js";
import { undelivered } from "./items.js";

/** What an item of a batch costs beyond its body: a comma. */
const SEPARATOR_BYTES = 1;
const FIRST_RETRY_MS = 250;

/** `take` a parcel, send it, `settle` it with the answer. */
export class Outbox {
  delivered = 0;
  #limits;
  #jitter;
  /** Pairs of an item's number (1 for the first that was ever queued) and the item. */
  #queue = [];
  #bytes = 0;
  /** The number of the item that was queued last, and of the last one that must not wait for others. */
  #lastNumber = 0;
  #flushUpTo = 0;
  #underWay = null;
  /** Items that may count already: a try had no answer, or one that leaves it open. */
  #maybeCounted = new Set();
  #isClosed = false;
  #failures = 0;
  /** No try before these; the second is what the collector has asked for. */
  #backoffUntilMs = 0;
  #askedUntilMs = 0;
  /** After a refusal as a whole: so many events at once, up to the item with this number. */
  #carefulSize = 0;
  #carefulUntil = 0;

  /** Use `jitter`, from 0 to 1, to spread the retries of many clients. */
  constructor(limits, jitter) {
    this.#limits = limits;
    this.#jitter = jitter;
  }

  get length() {
    return this.#queue.length;
  }

  /** Whether the last parcel has to be sent again. */
  get isFailing() {
    return this.#failures > 0;
  }

  /** The number up to which every item has left the queue, delivered or given up. */
  get doneUpTo() {
    return this.#queue.length ? this.#queue[0][0] - 1 : this.#lastNumber;
  }

  /** Queue an item; return the report why not, if it can't be. */
  put(item) {
    const { maxQueueItems, maxQueueBytes } = this.#limits;
    if (this.#isClosed) return undelivered(item, "closed", ["the client is closed"]);
    if (item.bytes > MAX_RECORD_BYTES) {
      return undelivered(item, "oversized", [`${item.bytes} bytes; the limit is ${MAX_RECORD_BYTES}`]);
    }
    if (this.#queue.length >= maxQueueItems || this.#bytes + item.bytes > maxQueueBytes) {
      this.flush();
      return undelivered(item, "queue_full", [`${this.#queue.length} items with ${this.#bytes} bytes wait`]);
    }
    this.#lastNumber += 1;
    this.#queue.push([this.#lastNumber, item]);
    this.#bytes += item.bytes;
    return null;
  }

  /** Have all that waits now sent without waiting for more; it is done when `doneUpTo` has the returned number. */
  flush() {
    this.#flushUpTo = this.#lastNumber;
    return this.#flushUpTo;
  }

  /** Try at once what failed, unless the collector has asked for a pause: the process ends. */
  hurry() {
    this.#backoffUntilMs = 0;
  }

  /** Return when there will be something to send: null if nothing waits, or a parcel is under way. */
  dueAtMs() {
    if (!this.#queue.length || this.#underWay !== null) return null;
    const { maxBatchEvents, maxBatchBytes, flushIntervalMs } = this.#limits;
    const earliest = Math.max(this.#backoffUntilMs, this.#askedUntilMs);
    const [number, item] = this.#queue[0];
    const isFull = this.#queue.length >= maxBatchEvents || this.#bytes >= maxBatchBytes;
    return isFull || number <= this.#flushUpTo ? earliest : Math.max(earliest, item.queuedAtMs + flushIntervalMs);
  }

  /** Return what to send now: its items, and where they begin in the queue; null: nothing. */
  take(nowMs) {
    const dueAtMs = this.dueAtMs();
    if (dueAtMs === null || dueAtMs > nowMs) return null;
    this.#underWay = this.#nextParcel();
    return this.#underWay;
  }

  /** Act on the answer to a parcel; return the reports of what is given up. */
  settle(parcel, answer, nowMs) {
    if (this.#underWay !== parcel) return []; // given up meanwhile
    this.#underWay = null;
    const verdict = judge(answer, parcel.items.length, parcel.isBatch);
    if (verdict === "retry") return this.#retry(parcel, answer, nowMs);
    this.#failures = 0;
    this.#backoffUntilMs = this.#askedUntilMs = 0;
    if (verdict === "split") {
      this.#carefulSize = Math.floor(parcel.items.length / 2);
      this.#carefulUntil = this.#queue[parcel.items.length - 1][0];
      return [];
    }
    const code = isOversized(answer) ? "oversized" : "rejected";
    const givenUp = parcel.items.flatMap((item, index) =>
      verdict[index].length ? [undelivered(item, code, verdict[index], this.#maybeCounted.has(item))] : [],
    );
    this.#remove(parcel);
    this.#growCarefulSize();
    this.delivered += parcel.items.length - givenUp.length;
    return givenUp;
  }

  /** Give up everything that waits; return the reports. */
  abandon() {
    for (const item of this.#underWay?.items ?? []) this.#maybeCounted.add(item);
    this.#underWay = null;
    return this.#queue.splice(0).map(([, item]) => this.#giveUp(item, "closed", "the client was closed before"));
  }

  /** Give up everything that waits and take nothing more; return the reports. */
  close() {
    this.#isClosed = true;
    return this.abandon();
  }

  #nextParcel() {
    const limit = Math.min(this.#limits.maxBatchEvents, this.#carefulSize || MAX_BATCH_EVENTS);
    const events = [];
    const sessions = new Set();
    let bytes = 0;
    for (const [place, [, item]] of this.#queue.entries()) {
      if (item.kind !== "event") {
        if (sessions.has(item.sessionId)) break;
        return { items: [item], place, isBatch: false };
      }
      bytes += item.bytes + SEPARATOR_BYTES;
      if (events.length && (events.length === limit || bytes > this.#limits.maxBatchBytes)) break;
      events.push(item);
      sessions.add(item.sessionId);
    }
    return { items: events, place: 0, isBatch: true };
  }

  #remove({ items, place }) {
    this.#queue.splice(place, items.length);
    for (const item of items) {
      this.#bytes -= item.bytes;
      this.#maybeCounted.delete(item);
    }
  }

  #retry({ items }, answer, nowMs) {
    if (leavesOpen(answer)) for (const item of items) this.#maybeCounted.add(item);
    const waitMs = Math.min(this.#limits.maxRetryWaitMs, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#backoffUntilMs = nowMs + waitMs * (0.5 + 0.5 * this.#jitter());
    this.#askedUntilMs = nowMs + answer.retryAfterMs;
    const young = this.#queue.findIndex(([, item]) => nowMs - item.queuedAtMs < this.#limits.retryBudgetMs);
    const old = this.#queue.splice(0, young < 0 ? this.#queue.length : young);
    return old.map(([, item]) => this.#giveUp(item, "expired", reason(answer)));
  }

  #giveUp(item, code, why) {
    this.#bytes -= item.bytes;
    return undelivered(item, code, [why], this.#maybeCounted.delete(item));
  }

  #growCarefulSize() {
    this.#carefulSize = this.doneUpTo >= this.#carefulUntil ? 0 : this.#carefulSize * 2;
  }
}
