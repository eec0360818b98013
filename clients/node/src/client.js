// The client: each call makes an item, the lane delivers it.

import { Connection } from "./connection.js";
import { newId } from "./ids.js";
import { canonical, encode, makeItem, undelivered } from "./items.js";
import { Lane } from "./lane.js";
import { completeLimits } from "./limits.js";
import { VERSION } from "./version.js";

/** Of a visitor's header. No browser's own is longer. */
const MAX_HEADER_CHARS = 1_024;
/** Reports of each code that are logged one by one. */
const LOGGED_EACH = 10;

export class Client {
  #workspaceId;
  #onError;
  #log;
  #lane;
  #givenUp = {};

  constructor(url, { writeKey, workspaceId, onError, limits, useGzip = true, log = console.warn } = {}) {
    if (writeKey !== undefined && !/^[\x20-\x7e]+$/.test(writeKey)) {
      throw new TypeError("writeKey: has characters that no key has");
    }
    const complete = completeLimits(limits);
    const headers = { "User-Agent": `event-tracker-client-node/${VERSION}` };
    if (writeKey !== undefined) headers["X-Write-Key"] = writeKey;
    const connection = new Connection(url, headers, { timeoutMs: complete.requestTimeoutMs, useGzip });
    this.#workspaceId = workspaceId;
    this.#onError = onError;
    this.#log = (line) => log(`event-tracker: ${line}`);
    this.#lane = new Lane(complete, connection, (givenUp) => this.#report(givenUp), this.#log);
  }

  initSession(context = {}, visitor = {}) {
    const { session_id: sessionId = newId(), ...fields } = context;
    this.#accept("session", sessionId, null, fields, visitorHeaders(visitor));
    return sessionId;
  }

  track(sessionId, eventType, fields = {}) {
    const eventId = fields.event_id || newId();
    this.#accept("event", sessionId, eventId, { event_type: eventType, ...fields, event_id: eventId });
    return eventId;
  }

  identify(sessionId, userId, traits) {
    this.#accept("session", sessionId, null, { user_id: userId, user_traits: traits });
  }

  endSession(sessionId) {
    this.#accept("expire", sessionId, null, null);
  }

  flushSession(sessionId) {
    this.#accept("flush", sessionId, null, null);
  }

  async flush(timeoutMs) {
    await this.#lane.flush(timeoutMs);
    return this.waiting;
  }

  close(timeoutMs) {
    return this.#lane.close(timeoutMs);
  }

  get waiting() {
    return this.#lane.waiting;
  }

  get delivered() {
    return this.#lane.delivered;
  }

  get givenUp() {
    return { ...this.#givenUp };
  }

  #accept(kind, sessionId, eventId, fields, headers) {
    try {
      if (typeof sessionId !== "string") throw new TypeError(`session_id: must be a text, not a ${typeof sessionId}`);
      const id = sessionId.toWellFormed();
      const body = fields === null ? "{}" : this.#encode(id, fields);
      this.#lane.put(makeItem(kind, id, eventId, body, this.#lane.nowMs(), headers));
    } catch (error) {
      this.#report([undelivered({ kind, sessionId, eventId, body: "" }, "rejected", [error.message])]);
    }
  }

  #encode(sessionId, fields) {
    const whole = { session_id: sessionId, workspace_id: this.#workspaceId, ...fields };
    whole.timestamp ??= new Date();
    if (whole.user_traits !== null && typeof whole.user_traits === "object") {
      whole.user_traits = canonical(whole.user_traits);
    }
    return encode(whole);
  }

  /** Count, log and hand on what is given up. A callback that throws harms nobody. */
  #report(givenUp) {
    for (const item of givenUp) {
      const count = (this.#givenUp[item.code] ?? 0) + 1;
      this.#givenUp[item.code] = count;
      // The first ones, and then whenever the count has another digit.
      if (count <= LOGGED_EACH || /^10+$/.test(count)) {
        this.#log(`not delivered (${item.code}, ${count} so far): ${item.kind}, because of: ${item.reasons.join("; ")}`);
      }
      try {
        this.#onError?.(item);
      } catch (error) {
        this.#log(`onError has thrown: ${error?.stack}`);
      }
    }
  }
}

function visitorHeaders({ userAgent, acceptLanguage, ip }) {
  const given = { "User-Agent": userAgent, "Accept-Language": acceptLanguage, "X-Forwarded-For": ip };
  return Object.fromEntries(
    Object.entries(given)
      .filter(([, value]) => value)
      .map(([name, value]) => [name, headerText(value)]),
  );
}

/** Return a visitor's header as one that can be sent, whatever it holds. */
function headerText(value) {
  const text = String(value).slice(0, MAX_HEADER_CHARS);
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, " ").replace(/[^\x20-\x7e\xa0-\xff]/g, "?");
}
