/* One request at a time, and the last ones of a page that is left. What two tabs send is counted once.
 *
 * A page that is being left hands over everything that has not been answered, what is in flight included; and the next
 * page sends it again, before anything of its own, until it hears an answer. So whatever arrives first carries all that
 * came before it, in order, and what comes twice has the same event_id and is counted once.
 */
import { isGranted } from "./consent.js";
import { options, safe, show, warn } from "./options.js";
import { nextRequest, queuedKeys, refuse } from "./queue.js";
import { adopt } from "./session.js";
import { forget, recall, store } from "./storage.js";
import { copyOf, json, timeOf } from "./values.js";

// A page may have 64 KiB under way that outlives it; one batch and one beacon fit, with room for another script's.
const MAX_BATCH_BYTES = 16_000;
const MAX_LAST_BYTES = 40_000;
const GATHER_MS = 250;
const REQUEST_TIMEOUT_MS = 30_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 300_000;
const RETRY_AFTER_MAX_MS = 3_600_000;

let sending; // a promise while this page sends
let timer = 0;
let isHalted = false; // the collector does not want us, and trying again would not change its mind
let batchBytes = MAX_BATCH_BYTES;
let isCookieless = false;
let left; // the items that the page was left with

export const gather = (delayMs = GATHER_MS) => {
  timer ||= setTimeout(send, delayMs);
};

export const send = () => {
  timer = 0;
  sending ??= drain().finally(() => {
    sending = undefined;
  });
  return sending;
};

const drain = async () => {
  while (isGranted() && !isHalted) {
    const waitMs = pausedMs();
    if (waitMs > 0) return gather(waitMs);
    const request = nextRequest(queuedKeys(), batchBytes);
    if (!request) return;
    await exchange(request);
  }
};

export const exchange = async (request) => {
  let status = 0;
  let answer;
  let retryAfter;
  show(request);
  try {
    const { items } = request;
    const areEvents = items[0].event_type;
    const response = await fetch(addressOf(areEvents ? options.trackPath : options.sessionPath), {
      method: "POST",
      // As text/plain: another origin is not asked first. By our clock at sending the collector corrects the events'
      // times, which are by the same clock.
      body: json(areEvents ? { batch: items, sent_at: timeOf() } : items[0]),
      credentials: isCookieless ? "omit" : options.key ? "include" : undefined,
      signal: AbortSignal.timeout?.(REQUEST_TIMEOUT_MS),
      keepalive: true, // it outlives the page
    });
    answer = await response.json().catch(() => {});
    // Half an answer is none. A refusal needs no words.
    if (answer || !response.ok) status = response.status;
    retryAfter = response.headers.get("Retry-After");
  } catch {
    // A key that any origin may use takes no cookies, and a refusal can't be read with them.
    isCookieless = !isCookieless && options.key;
    if (isCookieless) return exchange(request);
  }
  show({ status, answer, ...request });
  if (isGranted()) safe(settle)(request, status, answer ?? {}, retryAfter);
};

const addressOf = (path) => {
  const { id, replaces } = recall("session");
  const query = new URLSearchParams(copyOf({ session: id, replaces, key: options.key || undefined }));
  return `${options.endpoint.replace(/\/$/, "") + path}?${query}`;
};

const settle = ({ session, keys, items, bytes }, status, answer, retryAfter) => {
  // The answer to a context is its verdict.
  const results = answer.results ?? ((answer.session_id ?? answer.status) ? [answer] : []);
  let told; // the session of an item without a name is the collector's decision
  results.forEach((result, place) => {
    if (!items[place].session_id) told ??= result.session_id;
    if (result.status === "rejected") refuse(keys[place], items[place], result);
    else forget(keys[place]);
  });
  adopt(told, session);
  if (results.length === keys.length) {
    forget("pause");
  } else if (!/^4(?!08|29)/.test(status)) {
    pause(1000 * retryAfter || 0);
  } else if (answer.error && !/400|413/.test(status)) {
    isHalted = true;
    warn("stopped:", answer);
  } else if (keys.length > 1) {
    // Somebody on the way can't read this, and does not say what: by halves it comes down to one item.
    batchBytes = bytes / 2;
  } else {
    refuse(keys[0], items[0], answer.error ?? answer);
    batchBytes = MAX_BATCH_BYTES;
    pause(0);
  }
};

/* Waits longer from failure to failure, over page loads and in all tabs; at least as long as the collector asks for. */
const pause = (askedMs) => {
  const delayMs = recall("pause").delayMs ?? RETRY_FIRST_MS;
  store("pause", {
    at: Date.now() + Math.max(delayMs * (0.5 + Math.random() / 2), Math.min(askedMs, RETRY_AFTER_MAX_MS)),
    delayMs: Math.min(2 * delayMs, RETRY_MAX_MS),
    asked: askedMs > 0,
  });
};

const pausedMs = () => {
  const waitMs = recall("pause").at - Date.now();
  // Longer than any pause: the clock was put back.
  return waitMs > RETRY_AFTER_MAX_MS ? 0 : waitMs;
};

export const onOnline = () => {
  if (!recall("pause").asked) forget("pause");
  if (!document.hidden) send();
};

/* The page may be gone any moment: the browser gets all that has not been answered. */
export const leave = () => {
  let keys = queuedKeys();
  if (!isGranted() || isHalted || pausedMs() > 0 || left === (left = keys.join())) return;
  // In few requests, because they may overtake each other; what the browser does not take is left to the next page.
  for (let request; (request = nextRequest(keys, MAX_LAST_BYTES)); keys = keys.slice(request.keys.length)) {
    exchange(request);
  }
};
