// A queue with the connection that empties it, and the timers that say when.

import { reason } from "./answers.js";
import { forget, remember } from "./exits.js";
import { Outbox } from "./outbox.js";

/** Nothing that it waits for keeps the process alive, except while somebody waits for a flush. */
export class Lane {
  #outbox;
  #connection;
  #report;
  #log;
  #exitTimeoutMs;
  #timer = null;
  /** Those who wait until all up to a number is done. */
  #waiters = new Set();
  #isFailing = false;

  /** `report` hears of everything that is given up, `log` of trouble. */
  constructor(limits, connection, report, log) {
    this.#outbox = new Outbox(limits, Math.random);
    this.#connection = connection;
    this.#report = report;
    this.#log = log;
    this.#exitTimeoutMs = limits.exitTimeoutMs;
  }

  get waiting() {
    return this.#outbox.length;
  }

  get delivered() {
    return this.#outbox.delivered;
  }

  /** Return the time by a clock that never goes back. */
  nowMs() {
    return performance.now();
  }

  /** Queue an item, or report why that can't be. */
  put(item) {
    const refusal = this.#outbox.put(item);
    if (refusal === null) remember(this);
    this.#step();
    if (refusal !== null) this.#report([refusal]);
  }

  /** Send what waits, and wait until it is delivered or given up, at most so long; return whether all of it is. */
  async flush(timeoutMs) {
    const number = this.#outbox.flush();
    if (this.#outbox.doneUpTo < number) {
      await new Promise((resolve) => {
        const waiter = { number, resolve, timer: null };
        if (timeoutMs !== undefined) waiter.timer = setTimeout(() => this.#release(waiter), timeoutMs);
        this.#waiters.add(waiter);
        this.#step();
      });
    }
    return this.#outbox.doneUpTo >= number;
  }

  /** Deliver what waits, and take nothing more; return how many items were given up. */
  async close(timeoutMs = this.#exitTimeoutMs) {
    this.#outbox.hurry();
    await this.flush(timeoutMs);
    return this.#giveUp(this.#outbox.close());
  }

  /** Deliver what waits before the process ends. What is told meanwhile has a turn after it. */
  async drain() {
    this.#outbox.hurry();
    if (!(await this.flush(this.#exitTimeoutMs))) this.abandon();
  }

  /** Give up what waits. */
  abandon() {
    this.#giveUp(this.#outbox.abandon());
  }

  #giveUp(rest) {
    this.#connection.close();
    this.#step();
    if (!rest.length) return 0;
    this.#log(`${rest.length} items were not delivered to the tracker before its client was closed`);
    this.#report(rest);
    return rest.length;
  }

  /** Do what is to be done now, and have a timer do what is to be done later. */
  #step() {
    for (const waiter of this.#waiters) if (this.#outbox.doneUpTo >= waiter.number) this.#release(waiter);
    if (!this.waiting) forget(this);
    clearTimeout(this.#timer);
    const dueAtMs = this.#outbox.dueAtMs();
    if (dueAtMs === null) return;
    const parcel = this.#outbox.take(this.nowMs());
    if (parcel !== null) {
      this.#send(parcel);
      return;
    }
    this.#timer = setTimeout(() => this.#step(), Math.ceil(dueAtMs - this.nowMs()));
    if (!this.#waiters.size) this.#timer.unref();
  }

  async #send(parcel) {
    const answer = await this.#connection.send(parcel);
    const givenUp = this.#outbox.settle(parcel, answer, this.nowMs());
    this.#note(answer);
    if (givenUp.length) this.#report(givenUp);
    this.#step();
  }

  #release(waiter) {
    clearTimeout(waiter.timer);
    this.#waiters.delete(waiter);
    waiter.resolve();
  }

  /** Log when sending begins to fail, and when it works again: a line each. */
  #note(answer) {
    const wasFailing = this.#isFailing;
    this.#isFailing = this.#outbox.isFailing;
    if (this.#isFailing && !wasFailing) {
      this.#log(`the tracker takes nothing now: ${reason(answer)}; ${this.waiting} items wait`);
    } else if (wasFailing && !this.#isFailing) {
      this.#log(`the tracker takes events again; ${this.waiting} items wait`);
    }
  }
}
