// What an answer of the collector means for the items of its request. Pure.

/** A `Retry-After` that says more is cut to this. */
export const MAX_RETRY_AFTER_MS = 300_000;

const ACCEPTED = 202;
const FORBIDDEN = 403;
const TOO_LARGE = 413;
const SERVER_ERROR = 500;
// Answers about the content: the same again is answered the same. Everything else may be different next time, a key
// that is not known yet and an address that a proxy does not have yet, too.
const FINAL = new Set([400, TOO_LARGE, 422]);

/** Return an answer as it came; a body that is not a JSON object counts as empty. */
export function readAnswer(status, retryAfter, body, now = Date.now()) {
  let fields = null;
  try {
    fields = JSON.parse(body);
  } catch {
    // a proxy's page
  }
  return { status, fields: isObject(fields) ? fields : {}, retryAfterMs: retryAfterMs(retryAfter, now), error: "" };
}

/** Return that there was no answer, and why. */
export function noAnswer(error) {
  return { status: null, fields: {}, retryAfterMs: 0, error };
}

/** Return how long a `Retry-After` asks to wait: seconds or a date. 0 if it says nothing that makes sense. */
export function retryAfterMs(value, now) {
  if (value === undefined) return 0;
  const text = value.trim();
  const wait = /^[0-9]+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isNaN(wait) ? 0 : Math.max(0, Math.min(wait, MAX_RETRY_AFTER_MS));
}

/** Return what people should know of an answer, in a line. Nothing of the request is in it. */
export function reason({ status, fields, error }) {
  if (status === null) return error;
  return isObject(fields.error) ? `HTTP ${status} ${fields.error.code}: ${fields.error.message}` : `HTTP ${status}`;
}

/**
 * Return what an answer means for a request with so many items: the reasons for each (empty: it was taken), "split"
 * (the request as a whole is refused, one of its items may be the cause), or "retry" (send the same again).
 */
export function judge(answer, items, isBatch) {
  const results = isBatch ? resultsOf(answer, items) : null;
  if (results !== null && (answer.status === ACCEPTED || answer.status === 400)) return results;
  if (answer.status === ACCEPTED && !isBatch) return [[]];
  // A public key may not act on a session: no retry changes that.
  if (FINAL.has(answer.status) || (answer.status === FORBIDDEN && !isBatch)) {
    return items === 1 ? [said(answer.fields.error, reason(answer))] : "split";
  }
  return "retry";
}

/** Return whether the items may count although the answer does not say so. */
export function leavesOpen({ status }) {
  return status === null || status >= SERVER_ERROR || status === ACCEPTED;
}

/** Return whether the body was larger than the collector takes. */
export function isOversized({ status }) {
  return status === TOO_LARGE;
}

function resultsOf({ fields }, items) {
  const { results } = fields;
  if (!Array.isArray(results) || results.length !== items || !results.every(isObject)) return null;
  return results.map((each) => (each.status === "rejected" ? said(each, "no reason was given") : []));
}

function said(from, otherwise) {
  const reasons = from?.reasons;
  return Array.isArray(reasons) && reasons.length ? reasons.map(String) : [otherwise];
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
