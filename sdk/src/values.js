/* What a page hands in becomes what a field takes, or is left out. Nothing here throws, and nothing trusts a prototype:
 * pages patch them (`toJSON` on arrays, for one), and getters and proxies may do anything.
 */

const MAX_METADATA_CHARS = 16_384;
const MAX_EVENT_BYTES = 30_000; // it goes into the last request of a page, whatever its characters
const MAX_KEYS = 1_000;
const MAX_DEPTH = 6;
const MAX_VALUES = 10_000;

let visited; // values that are being written

/* What is given once for a session and filled into its events, and the other fields of an event by their kinds. */
const FIELDS = (
  "user_id campaign_id workspace_id project_id attribution_id landing_page_id ab_test_id ab_test_variant_id " +
  "environment campaign_environment,event_id event_value_type form_id,event_value clicked_element," +
  "page_url referrer_url clicked_url,metadata,page_load_time dom_ready_time time_on_page," +
  "viewport_width viewport_height,scroll_percentage"
)
  .split(",")
  .map((names) => names.split(" "));
export const CONTEXT = FIELDS[0];

/* How many characters a text may have, or minus the largest number, for each kind. */
const LIMITS = { __proto__: null };
[128, 128, 2_048, 4_096, MAX_METADATA_CHARS, -86_400_000, -100_000, -100].forEach((limit, kind) => {
  for (const name of FIELDS[kind]) LIMITS[name] = limit;
});

/* Returns what the work returns, or undefined if it fails: a getter that throws, a proxy, a storage that is blocked. */
export const attempt = (work) => {
  try {
    return work();
  } catch {
    // As if there were nothing.
  }
};

/* Cuts by code points. Half an emoji is left out: it is no text, and would make a whole batch unreadable. */
export const cut = (text, maxChars) => text.slice(0, maxChars).replace(/[\ud800-\udfff]/gu, "");

/* Returns a value as text if it is or stands for one (a number, a date, an address), else undefined. */
export const text = (value, maxChars = 128) =>
  attempt(() => {
    if (value == null || /^(f|sy)/.test(typeof value) || Array.isArray(value)) return;
    const written = String(value.toISOString?.() ?? value);
    if (!/^\[object /.test(written)) return cut(written, maxChars);
  });

/* The same for ids; some are bugs of a page, and the collector refuses an event with one. */
export const idOf = (value) => {
  const id = text(value);
  return /^(undefined|null|NaN|true|false|)$/.test(id) ? undefined : id;
};

/* Returns a time from 2000 to 2099 in ISO 8601: the collector takes no other. */
export const timeOf = (value = Date.now()) => {
  const time = attempt(() => new Date(value).toISOString());
  return /^20/.test(time) ? time : undefined;
};

/* Returns a whole number, or the nearest that may be; NaN if it is none. */
export const numberOf = (value, max) => {
  return Math.round(Math.min(Math.max(Number(text(value) || NaN), 0), max));
};

export const keysOf = (value) =>
  (typeof value === "object" && attempt(() => Object.keys(value).slice(0, MAX_KEYS))) || [];

const isPlain = (value) =>
  attempt(() => {
    const prototype = Object.getPrototypeOf(value);
    return !prototype || !Object.getPrototypeOf(prototype);
  });

/* Writes JSON of at most `room` characters. What does not fit, is no data or lies too deep is left out; an object of a
   class is no data, because it may hang together with half the page. */
export const json = (value, room = Infinity, depth = 0) => {
  visited = depth ? visited + 1 : 0;
  const written = text(value, 0.8 * room); // quotes, and what has to be escaped
  if (written !== undefined) return JSON.stringify(/^(nu|bo)/.test(typeof value) ? value : written);
  const isList = Array.isArray(value);
  if (!(isList || isPlain(value)) || depth > MAX_DEPTH || visited > MAX_VALUES) return;
  const parts = [];
  for (const key of keysOf(value)) {
    const inner = json(attempt(() => value[key]), room, depth + 1);
    const part = isList ? inner : `${json(key, room, 1)}:${inner}`;
    if (!inner || part.length + 3 > room) continue;
    room -= part.length + 1;
    parts.push(part);
  }
  return isList ? `[${parts}]` : `{${parts}}`;
};

/* Returns an event's fields. What is no field, or nothing of its kind, becomes metadata under its name. */
export const fieldsOf = (...sources) => {
  const fields = {};
  const others = { __proto__: null };
  const add = (source, isMetadata) => {
    for (const name of keysOf(source)) {
      const value = attempt(() => source[name]);
      const field = name.replace(/[A-Z]/g, "_$&").toLowerCase(); // workspaceId: as data attributes have it
      const limit = !isMetadata && LIMITS[field];
      let fit;
      if (limit) fit = limit > 0 ? (limit > 128 ? text : idOf)(value, limit) : numberOf(value, -limit);
      else if (name === "timestamp") fit = timeOf(value);
      if (fit >= "") fields[field] = fit; // any text and any number, but not NaN
      else if (name === "metadata" && isPlain(value)) add(value, true);
      else if (value != null) others[name] = value;
    }
  };
  for (const source of sources) add(source);
  if (keysOf(others).length) {
    if (fields.metadata) others.metadata = fields.metadata;
    fields.metadata = json(others, MAX_METADATA_CHARS);
  }
  if (bytesOf(fields) > MAX_EVENT_BYTES) fields.metadata = undefined;
  return fields;
};

/* Returns what is left of a value in JSON. */
export const copyOf = (value) => attempt(() => JSON.parse(json(value)));

/* The size of a value's JSON in UTF-8. */
export const bytesOf = (value) => new Blob([json(value)]).size;
