/** What happened. The collector takes no other type. */
export type EventType = "pageview" | "click" | "scroll" | "form_submit" | "conversion";

/** Who and what a session is about; what is given here is filled into every event of the session that lacks it. */
export interface Context {
  user_id?: string;
  campaign_id?: string;
  workspace_id?: string;
  project_id?: string;
  attribution_id?: string;
  landing_page_id?: string;
  ab_test_id?: string;
  ab_test_variant_id?: string;
  environment?: string;
  campaign_environment?: string;
}

/** Fields of an event. What is left out comes from the page (page_url, timestamp, event_id) or from the session. */
export interface EventFields extends Context {
  event_id?: string;
  event_value?: string;
  event_value_type?: string;
  /** ISO 8601. */
  timestamp?: string;
  form_id?: string;
  clicked_element?: string;
  clicked_url?: string;
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
  /** At most 16,384 characters of JSON; an object is serialised. */
  metadata?: string | object;
  page_url?: string;
  referrer_url?: string;
}

/** `pending`: nothing is stored or sent, events wait in memory. `denied`: nothing is kept, what was stored is removed. */
export type Consent = "granted" | "pending" | "denied";

/** What is tracked without a call. `leave` is the last event of a page: its depth and the time that it was seen. */
export type Automatic = "pageview" | "click" | "scroll" | "form" | "leave";

export interface Options {
  /** The collector's origin. Default: the page's own. */
  endpoint?: string;
  /** The write key. */
  key?: string;
  /** Default: `granted`. */
  consent?: Consent;
  /** `drop` (default): a browser that sends Global Privacy Control or Do Not Track is not tracked at all.
   *  `collector`: events are sent, and the collector's policy decides. */
  privacySignals?: "drop" | "collector";
  /** Default: everything. `false`: nothing. As a string: separated by spaces. */
  auto?: Automatic[] | string | false;
  context?: Context;
  /** The session, if the page knows it. Default: the session cookie's, or a new one. */
  sessionId?: string;
  /** 300 to 1,800. Default: 1,800. */
  sessionTimeoutSeconds?: number;
  /** Warnings in the console, and a `tracker` event of the document for each request and answer. */
  debug?: boolean;
}

export type Call = {
  [Name in "track" | "conversion" | "session" | "identify" | "consent" | "flush"]: [Name, ...Parameters<Tracker[Name]>];
}["track" | "conversion" | "session" | "identify" | "consent" | "flush"];

export interface Tracker {
  /** Begins to track. Once a page; later calls do nothing. */
  init(options?: Options): void;
  /** Tells of an event. Returns its id, or undefined if it is not tracked. */
  track(type: EventType, fields?: EventFields): string | undefined;
  /** Tells of a conversion and its value. */
  conversion(value: string | number, fields?: EventFields): string | undefined;
  /** Adds to the session's context, such as its A/B variant. */
  session(context: Context & { timeout_seconds?: number }): void;
  /** Says whose session it is. */
  identify(userId: string, context?: Context): void;
  consent(value: Consent): void;
  /** Sends what waits. Resolves when it is answered, or when it has to wait for the collector. */
  flush(): Promise<void>;
  /** Makes a call that is written as an array: `["conversion", "49.90"]`. */
  push(call: Call): void;
  /** The session that the next event belongs to; undefined as long as nothing may be stored. */
  readonly sessionId: string | undefined;
  /** Items that wait for an answer, those of other tabs included. */
  readonly pending: number;
  /** Items given up: too many, too old, or refused by the collector. */
  readonly dropped: number;
}

export declare const tracker: Tracker;
