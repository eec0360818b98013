/** What happened: one of these, or a type of your own whose schema the collector has. */
export type EventType = "pageview" | "click" | "scroll" | "form_submit" | "conversion" | (string & {});

/** What stands for a text: it is cut to what its field takes. */
export type Textual = string | number | bigint | boolean | Date | URL;

/** Who and what a session is about; what is given here is filled into every event of the session that lacks it. */
export interface Context {
  user_id?: Textual;
  campaign_id?: Textual;
  workspace_id?: Textual;
  project_id?: Textual;
  attribution_id?: Textual;
  landing_page_id?: Textual;
  ab_test_id?: Textual;
  ab_test_variant_id?: Textual;
  environment?: Textual;
  campaign_environment?: Textual;
}

/** Fields of an event. What is left out comes from the page (page_url, timestamp, event_id) or from the session. At run
 *  time a value that does not fit its field, or a field that is not one of these, goes into `metadata` under its name. */
export interface EventFields extends Context {
  event_id?: Textual;
  event_value?: Textual;
  event_value_type?: Textual;
  /** ISO 8601, or milliseconds. */
  timestamp?: string | number | Date;
  form_id?: Textual;
  clicked_element?: Textual;
  clicked_url?: Textual;
  /** Milliseconds. */
  page_load_time?: number;
  /** Milliseconds. */
  dom_ready_time?: number;
  /** 0 to 100. */
  scroll_percentage?: number;
  /** Milliseconds. */
  time_on_page?: number;
  viewport_width?: number;
  viewport_height?: number;
  /** An object is written as JSON, at most 16,384 characters of it. */
  metadata?: string | object;
  page_url?: Textual;
  referrer_url?: Textual;
  /** Of an event of your own type: the version of its schema, such as `1-0-0`. */
  schema?: string;
  /** Of an event of your own type: what its schema describes, in place of metadata. */
  properties?: object;
}

/** What is known of a user, at most 1,024 characters of JSON. */
export type Traits = Record<string, unknown>;

/** What the visitor has agreed to. A purpose that is left out stays as it was. */
export interface ConsentAnswer {
  /** Whether anything may be stored and sent. */
  analytics?: boolean;
  /** Told to the session, for those who use its data. */
  marketing?: boolean;
}

/** `granted`, `denied`: the same for all purposes. `pending`: not asked yet; nothing is stored or sent, events wait in memory. */
export type Consent = "granted" | "pending" | "denied" | ConsentAnswer;

/** What is tracked without a call. `leave` is the last event of a page: its depth and the time that it was seen. */
export type Automatic = "pageview" | "click" | "scroll" | "form" | "leave";

export interface Options {
  /** The collector's origin, or where a proxy has it. Default: the page's own origin. */
  endpoint?: string;
  /** The paths behind the endpoint. Default: `/api/v1/events/track` and `/api/v1/events/session`. */
  trackPath?: string;
  sessionPath?: string;
  /** The write key. */
  key?: string;
  /** What holds until the visitor has answered. Default: `granted`. */
  consent?: Consent;
  /** `drop` (default): a browser that sends Global Privacy Control or Do Not Track is not tracked at all.
   *  `collector`: events are sent, and the collector's policy decides. */
  privacySignals?: "drop" | "collector";
  /** Default: everything. `false`: nothing. As a string: separated by spaces. */
  auto?: Automatic[] | string | false;
  /** What makes another page besides another path: `query`, `hash`, or both. */
  pages?: ("query" | "hash")[] | string;
  context?: Context & { timeout_seconds?: number };
  /** The session, if the page knows it. Default: the session cookie's, or a new one. */
  sessionId?: Textual;
  /** 300 to 1,800. Default: 1,800. */
  sessionTimeoutSeconds?: number;
  /** Warnings in the console, and a `tracker` event of the document for each request and answer. */
  debug?: boolean;
}

type Name = "track" | "conversion" | "session" | "identify" | "consent" | "reset" | "stop" | "flush";
export type Call = { [One in Name]: [One, ...Parameters<Tracker[One]>] }[Name];

export interface Tracker {
  /** Begins to track. Once a page; later calls do nothing, unless `stop` came before. */
  init(options?: Options): void;
  /** Tells of an event. Returns its id, or undefined if it is not tracked (yet). */
  track(type: EventType, fields?: EventFields): string | undefined;
  /** Tells of a conversion and its value. */
  conversion(value?: Textual, fields?: EventFields): string | undefined;
  /** Adds to the session's context, such as its A/B variant. */
  session(context: Context & { timeout_seconds?: number }): void;
  /** Says who it is, in this browser and until `reset`; traits add up. Somebody else begins another session. */
  identify(userId: Textual, traits?: Traits): void;
  identify(traits: Traits): void;
  /** Takes the visitor's answer and keeps it for the browser. */
  consent(answer: Consent | boolean): void;
  /** At logout: forgets who it was and begins another session. */
  reset(): void;
  /** Sends what there is and tracks nothing more on this page. */
  stop(): void;
  /** Sends what waits. Resolves when it is answered, or when it has to wait for the collector; to `false` after `stop`. */
  flush(): Promise<false | undefined>;
  /** Makes a call that is written as an array: `["conversion", "49.90"]`. */
  push(call: Call): void;
  /** The session that the next event belongs to; undefined as long as nothing may be stored. */
  readonly sessionId: string | undefined;
  /** Items that wait for an answer, those of other tabs included. */
  readonly pending: number;
  /** Items given up: too many, too old, or refused. */
  readonly dropped: number;
}

export declare const tracker: Tracker;

/** What the snippet makes before the script has come: calls wait in it. */
export type Stub = Pick<Tracker, "conversion" | "session" | "identify" | "consent" | "reset" | "stop" | "flush" | "push"> & {
  track(type: EventType, fields?: EventFields): void;
};

declare global {
  interface Window {
    /** Where the snippet or `init` has put it. */
    tracker: Tracker | Stub;
  }
}
