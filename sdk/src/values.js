/* What a page hands in becomes what a field takes, or is left out. Nothing here throws, and nothing trusts a prototype:
 * pages patch them (`toJSON` on arrays, for one), and getters and proxies may do anything.
 */

const MAX_METADATA_CHARS = 16_384;
const MAX_EVENT_BYTES = 30_000; // it goes into the last request of a page, whatever its characters
// More than the collector takes of one event, and than a request can hold: what is cut here is refused there.
const MAX_KEYS = 10_000;
const MAX_DEPTH = 11;
const MAX_VALUES = 25_000;

/* No id, but a missing value, an object or a template that nobody has filled in. */
const BUG = /^([\s(<-]*(undefined|null|none|nil|nan|true|false|[0-]{36})?[\s)>]*$|(\[|%5B)o|[$#{<][{%])/i;

let visited; // values that are being written

/* Returns what the work returns, or undefined if it fails: a getter that throws, a proxy, a storage that is blocked. */
export const attempt = (work) => {
  try {
    return work();
  } catch {
    // As if there were nothing.
  }
};

export const parsed = (written) => attempt(() => JSON.parse(written));

/* Cuts by code points. Half an emoji is left out: it is no text, and would make a whole batch unreadable. */
export const cut = (text, maxChars) => text.slice(0, maxChars).replace(/[\ud800-\udfff]/gu, "");

/* Returns a value as text if it is or stands for one (a number, a date, an address), else undefined. */
export const text = (value, maxChars = 128) =>
  attempt(() => {
    if (/^(f|sy|u)/.test(typeof value) || Array.isArray(value)) return;
    const written = String(value.toISOString?.() ?? value);
    if (!/^\[object /.test(written)) return cut(written, maxChars);
  });

/* The same for ids. All that has a bug of the page as its id would be one, so the collector refuses it. */
export const idOf = (value) => {
  const id = text(value);
  return BUG.test(id) ? undefined : id;
};

/* Returns a time from 2000 to 2099 in ISO 8601: the collector takes no other. */
export const timeOf = (value = Date.now()) => {
  const time = attempt(() => new Date(value).toISOString());
  return /^20/.test(time) ? time : undefined;
};

/* Returns a whole number, or the nearest that may be; NaN if it is none. */
export const numberOf = (value, max) => {
  return Math.round(Math.min(Math.max(+(text(value) || NaN), 0), max));
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

/* What is given once for a session and filled into its events; what a write key decides comes first. */
const CONTEXT_NAMES =
  "workspace_id project_id user_id campaign_id attribution_id landing_page_id ab_test_id ab_test_variant_id " +
  "environment campaign_environment";
export const CONTEXT = CONTEXT_NAMES.split(" ");

/* What makes a field's value of anything, and how many characters it may have or how large it may be. */
const KINDS = { __proto__: null };
for (const [names, ...kind] of [
  [CONTEXT_NAMES, idOf],
  ["form_id event_id event_value_type", idOf],
  ["page_url referrer_url clicked_url", text, 4_096],
  ["event_value clicked_element", text, 2_048],
  ["metadata", text, MAX_METADATA_CHARS],
  ["viewport_width viewport_height", numberOf, 100_000],
  ["page_load_time dom_ready_time time_on_page", numberOf, 86_400_000],
  ["scroll_percentage", numberOf, 100],
  ["timestamp", timeOf],
]) {
  for (const name of names.split(" ")) KINDS[name] = kind;
}

/* Returns an event's fields. What is no field, or nothing of its kind, becomes metadata under its name. */
export const fieldsOf = (...sources) => {
  const fields = {};
  const others = { __proto__: null };
  const add = (source, isMetadata) => {
    for (const name of keysOf(source)) {
      const value = attempt(() => source[name]);
      const field = name.replace(/[A-Z]/g, "_$&").toLowerCase(); // workspaceId: as data attributes have it
      const [kind, limit] = (!isMetadata && KINDS[field]) || [];
      const fit = kind?.(value, limit);
      if (fit >= "") fields[field] = fit; // any text and any number, but not NaN
      else if (name === "metadata" && isPlain(value)) add(value, true);
      else if (value != null) others[name] = value;
    }
  };
  for (const source of sources) add(source);
  const { schema, properties } = others; // of a type of the page's own, which has them in place of metadata
  if (schema && isPlain(properties)) {
    Object.assign(fields, copyOf({ schema, properties }));
    fields.metadata = undefined;
  } else if (keysOf(others).length) {
    if (fields.metadata) others.metadata = fields.metadata;
    fields.metadata = json(others, MAX_METADATA_CHARS);
  }
  if (bytesOf(fields) > MAX_EVENT_BYTES) fields.metadata = fields.properties = undefined;
  return fields;
};

/* Returns what is left of a value in JSON. */
export const copyOf = (value) => parsed(json(value));

/* The size of a value's JSON in UTF-8. */
export const bytesOf = (value) => new Blob([json(value)]).size;
