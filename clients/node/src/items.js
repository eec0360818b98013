// Items that wait to be sent, and reports of those that were given up.
// An item's body is text from the first moment on, so a repeat has the same content.

/** Return an item. Its body is never changed. */
export function makeItem(kind, sessionId, eventId, body, queuedAtMs, headers = {}) {
  return { kind, sessionId, eventId, body, bytes: Buffer.byteLength(body), queuedAtMs, headers };
}

/** Return the report that an item was given up. */
export function undelivered({ kind, sessionId, eventId, body }, code, reasons, mayHaveArrived = false) {
  return { code, reasons, kind, sessionId, eventId, mayHaveArrived, body };
}

/** Return fields as JSON. Half of a surrogate pair becomes U+FFFD. Throws where JSON has no form for a value. */
export function encode(fields) {
  const text = JSON.stringify(fields);
  // JSON.stringify writes a number that is not finite, and a date that is none, as null.
  if (text.includes("null")) JSON.stringify(fields, refuseWhatBecomesNull);
  // It writes half of a surrogate pair as an escape, which the collector refuses.
  return /\\ud[89a-f]/.test(text) ? JSON.stringify(wellFormed(JSON.parse(text))) : text;
}

/** Return an object as JSON text that is the same whatever the order of its keys. */
export function canonical(value) {
  return JSON.stringify(sorted(JSON.parse(encode(value))));
}

function refuseWhatBecomesNull(name, value) {
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${name}: not a finite number`);
  if (value === null && this[name] !== null) throw new TypeError(`${name}: JSON has no form for it`);
  return value;
}

function wellFormed(value) {
  if (typeof value === "string") return value.toWellFormed();
  return mapped(value, (entries) => entries.map(([name, each]) => [name.toWellFormed(), wellFormed(each)]), wellFormed);
}

function sorted(value) {
  const inOrder = (entries) => entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, sorted(each)]);
  return mapped(value, inOrder, sorted);
}

function mapped(value, ofEntries, ofEach) {
  if (Array.isArray(value)) return value.map(ofEach);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(ofEntries(Object.entries(value)));
}
