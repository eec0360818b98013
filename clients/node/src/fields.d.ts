// The fields of events and sessions, from the collector's OpenAPI document. Made by `make clients`; don't edit.

/** The types of events that need no schema. */
export type EventType = "pageview" | "click" | "scroll" | "form_submit" | "conversion";

/** Fields of an event. What is left out comes from its session. */
export interface EventFields {
  /** Default: a new UUIDv7; at most 128 characters. */
  event_id?: string;
  /** At most 2,048 characters. */
  event_value?: string;
  /** At most 128 characters. */
  event_value_type?: string;
  /** At most 128 characters. */
  user_id?: string;
  /** At most 128 characters. */
  campaign_id?: string;
  /** At most 128 characters. */
  attribution_id?: string;
  /** At most 128 characters. */
  workspace_id?: string;
  /** At most 128 characters. */
  project_id?: string;
  /** At most 128 characters. */
  landing_page_id?: string;
  /** At most 128 characters. */
  ab_test_id?: string | null;
  /** At most 128 characters. */
  ab_test_variant_id?: string | null;
  /** At most 128 characters. */
  form_id?: string | null;
  /** At most 2,048 characters. */
  clicked_element?: string | null;
  /** At most 4,096 characters. */
  clicked_url?: string | null;
  /** 0 to 86,400,000. */
  page_load_time?: number | null;
  /** 0 to 86,400,000. */
  dom_ready_time?: number | null;
  /** 0 to 100. */
  scroll_percentage?: number | null;
  /** 0 to 86,400,000. */
  time_on_page?: number | null;
  /** 0 to 100,000. */
  viewport_width?: number | null;
  /** 0 to 100,000. */
  viewport_height?: number | null;
  /** An object is stored as its JSON; at most 16,384 characters. */
  metadata?: string | object | null;
  /** At most 128 characters. */
  environment?: string;
  /** At most 128 characters. */
  campaign_environment?: string;
  /** At most 4,096 characters. */
  page_url?: string;
  /** At most 4,096 characters. */
  referrer_url?: string | null;
  /** At most 128 characters; who it is across sessions; a session keeps the first one. */
  visitor_id?: string;
  /** When it happened; default: now. */
  timestamp?: Date | string | null;
  /** The visitor did nothing, such as a page that is left: opens and prolongs no session. */
  passive?: boolean;
}

/** What opens a session or is added to it: its events need not repeat it. */
export interface SessionFields {
  /** At most 128 characters. */
  user_id?: string;
  /** At most 128 characters. */
  campaign_id?: string;
  /** At most 128 characters. */
  workspace_id?: string;
  /** At most 128 characters. */
  project_id?: string;
  /** At most 128 characters. */
  attribution_id?: string;
  /** At most 128 characters. */
  landing_page_id?: string;
  /** At most 128 characters. */
  ab_test_id?: string;
  /** At most 128 characters. */
  ab_test_variant_id?: string;
  /** At most 128 characters. */
  environment?: string;
  /** At most 128 characters. */
  campaign_environment?: string;
  /** An object is sent as JSON; at most 1,024 characters. */
  user_traits?: string | object;
  consent_analytics?: "granted" | "denied";
  consent_marketing?: "granted" | "denied";
  /** 300 to 1,800. */
  timeout_seconds?: number;
  /** At most 128 characters; who it is across sessions; a session keeps the first one. */
  visitor_id?: string;
  /** When it happened; default: now. */
  timestamp?: Date | string | null;
  /** At most 4,096 characters. */
  page_url?: string | null;
  /** At most 4,096 characters. */
  referrer_url?: string | null;
}
