import type { EventFields, EventType, SessionFields } from "./fields.js";

export type { EventFields, EventType, SessionFields };

/** Why an item was not delivered. */
export type Code =
  /** Its content can't be taken; the reasons say why. */
  | "rejected"
  /** It is larger than any record may be. */
  | "oversized"
  /** The queue's limit in items or bytes was reached. */
  | "queue_full"
  /** It was tried for as long as the retry budget lasts. */
  | "expired"
  /** The client was closed before it was delivered, or the process has ended. */
  | "closed";

/** An item that was given up. */
export interface Undelivered {
  code: Code;
  reasons: string[];
  /** Tells of an event, opens a session or adds to it, ends it, has it shipped. */
  kind: "event" | "session" | "expire" | "flush";
  sessionId: string;
  eventId: string | null;
  /** A try had no answer, so it may count nevertheless. Sent again with the same `event_id`, it counts once. */
  mayHaveArrived: boolean;
  /** Its JSON, so that you can keep it and send it again. */
  body: string;
}

/** What the queue holds, and how long the client tries. */
export interface Limits {
  /** Items that wait; what comes on top of them is dropped and reported. Default: 10,000. */
  maxQueueItems?: number;
  /** The same in bytes of JSON. Default: 32 MiB. */
  maxQueueBytes?: number;
  /** Events in one request, up to 500. Default: 100. */
  maxBatchEvents?: number;
  /** Bytes of JSON in one request, before compression. Default: 192 KiB. */
  maxBatchBytes?: number;
  /** How long an item waits for others at most. Default: 500. */
  flushIntervalMs?: number;
  /** How long an item is tried, counted from when it was queued. Default: ten minutes. */
  retryBudgetMs?: number;
  /** The longest wait between two tries, unless the collector asks for a longer one. Default: 30,000. */
  maxRetryWaitMs?: number;
  /** How long the network may be silent in a request. Default: 10,000. */
  requestTimeoutMs?: number;
  /** How long `close` and the end of the process may take. Default: 5,000. */
  exitTimeoutMs?: number;
}

export interface Options {
  /** A key with the scope `secret`, made for this service. It is sent in a header and never logged. */
  writeKey?: string;
  /** For a collector without keys; with a key it is the key's. */
  workspaceId?: string;
  /** Hears of each item that is given up. */
  onError?: (item: Undelivered) => void;
  limits?: Limits;
  /** Compress bodies of 1 KiB and more. Default: true. */
  useGzip?: boolean;
  /** Gets a line when there is trouble. Default: `console.warn`. */
  log?: (line: string) => void;
}

/** What a visitor's request says of them, passed on by your service. */
export interface Visitor {
  /** The header, from which the collector tells browser, system and device; used together with `page_url`. */
  userAgent?: string;
  acceptLanguage?: string;
  /** Used where your service is one of the collector's trusted proxies. */
  ip?: string;
}

/** Fields of an event of your own type. */
export interface OwnEventFields extends EventFields {
  /** The version of its schema, such as `1-0-0`. */
  schema: string;
  properties: object;
}

/**
 * Sends events to a collector, in batches and in the background.
 *
 * What was told of a session arrives in the order in which it was told. An item is sent again, unchanged and with the
 * same `event_id`, until the collector has taken it or `retryBudgetMs` is over: it counts once. No call throws because
 * of what it is given or what the network does: an item that can't be delivered is logged, counted and handed to
 * `onError`.
 */
export class Client {
  /** Connects to nothing yet. Throws a TypeError or RangeError for an argument that can't be. */
  constructor(url: string, options?: Options);

  /** Open a session, or add to the context of an open one; its events need not repeat it. Returns the session's id. */
  initSession(context?: SessionFields & { session_id?: string }, visitor?: Visitor): string;

  /** Tell of an event. A session that is not open is opened. Returns the `event_id`. */
  track(sessionId: string, eventType: EventType, fields?: EventFields): string;
  /** Tell of an event of your own type. */
  track(sessionId: string, eventType: string, fields: OwnEventFields): string;

  /** Say whose session it is, and what is known of the user: at most 1,024 characters of JSON. */
  identify(sessionId: string, userId: string, traits?: object): void;

  /** Close a session behind what was told of it so far. The next event opens another one. */
  endSession(sessionId: string): void;

  /** Have what was told of a session so far shipped to the tables without waiting for a full batch there. */
  flushSession(sessionId: string): void;

  /** Send what waits, and wait until it is delivered or given up; resolves to how many items still wait. */
  flush(timeoutMs?: number): Promise<number>;

  /** Deliver what waits, and end; resolves to how many items were not delivered in time (`exitTimeoutMs`). */
  close(timeoutMs?: number): Promise<number>;

  /** Items that have no answer yet. */
  readonly waiting: number;
  /** Items that were taken. */
  readonly delivered: number;
  /** Items that were not delivered, by the code that says why. */
  readonly givenUp: Readonly<Partial<Record<Code, number>>>;
}

/** Return a UUIDv7. It sorts by its time of birth. */
export function newId(): string;
