/* Event tracker for browsers. It costs the page nothing and loses nothing that the page has told it.
 *
 * What happens becomes an item under a key of its own in localStorage, and leaves it when the collector has answered.
 * Keys begin with the time (UUIDv7), so their order is the order of the queue, over all tabs and page loads, and no
 * two tabs ever write the same key. One tab at a time sends, under a Web Lock, one request at a time.
 *
 * A page that is being left hands everything that has not been answered to a beacon, what is in flight included; and
 * the next page sends it again, before anything of its own, until it hears an answer. So whatever arrives first
 * carries all that came before it, in order, and what comes twice has the same event_id and is counted once.
 *
 * Which session an event belongs to is the collector's decision: the cookie's, which scripts can't read, or else the
 * one that we propose. We learn it from the answers. Only what an earlier session left behind names its session.
 */

const MAX_QUEUE_ITEMS = 500;
const MAX_QUEUE_CHARS = 250_000;
const MAX_ITEM_AGE_MS = 24 * 3_600_000;
// A page may have 64 KiB under way that outlives it; one batch and one beacon fit, with room for another script's.
const MAX_BATCH_BYTES = 16_000;
const MAX_BEACON_BYTES = 40_000;
const MAX_BATCH_EVENTS = 50;
const MAX_BEACON_EVENTS = 100; // fewer than the 128 ids by which a session knows a repeated event
const GATHER_MS = 250;
const REQUEST_TIMEOUT_MS = 30_000;
const LOCK_TIMEOUT_MS = 35_000; // a tab that is frozen while it sends must not silence the others
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 300_000;
const RETRY_AFTER_MAX_MS = 3_600_000;
const SESSION_TIMEOUT_SECONDS = 1_800;
const LOADING_MAX_MS = 5_000; // a page that still loads then is viewed all the same
const SCROLL_STEPS = [25, 50, 75, 90, 100];
const MAX_ID_CHARS = 128;
const MAX_TEXT_CHARS = 200;
const MAX_URL_CHARS = 4_096;
const CLICKABLE = "a[href],button,summary,[role=button],[data-track],input[type=submit],input[type=button]";
const TRACK = "/api/v1/events/track";
const SESSION = "/api/v1/events/session";
const ITEM = "item.";

let options;
let consent;
let context = {};
let held = []; // events of a page that may not store or send anything yet
let announcedTo; // the session that knows this page's context
let sending; // a promise while this page sends
let timer = 0;
let halted = false; // the collector does not want us, and trying again would not change its mind
let batchEvents = MAX_BATCH_EVENTS;
let credentials = "same-origin";
let hasWarned = false;

export const tracker = {
  /* Items given up: too many, too old, or refused by the collector. */
  dropped: 0,
  /* Items that wait for an answer, those of other tabs included. */
  get pending() {
    return held.length + queuedKeys().length;
  },
  get sessionId() {
    return recall("session")?.id;
  },
  init: safe(init),
  track: safe(track),
  conversion: safe((value, fields) => track("conversion", { event_value: String(value ?? ""), ...fields })),
  session: safe(addContext),
  identify: safe((userId, fields) => addContext({ user_id: userId, ...fields })),
  consent: safe(setConsent),
  flush: safe(send),
  push: safe(([name, ...values]) => tracker[name](...values)),
};

/* Whatever goes wrong in here is not the page's problem. */
function safe(work) {
  return (...values) => {
    try {
      return work(...values);
    } catch (error) {
      warn(error);
    }
  };
}

function warn(...what) {
  if (options?.debug) console.warn("tracker:", ...what);
}

/* For people who look: with `debug` each request and answer is an event of the document. */
function show(detail) {
  if (options.debug) document.dispatchEvent(new CustomEvent("tracker", { detail }));
}

function init(given = {}) {
  if (options || typeof document === "undefined") return;
  options = { auto: "pageview click scroll form leave", consent: "granted", endpoint: location.origin, ...given };
  options.auto ||= "";
  options.prefix = `tracker.${options.key ?? ""}.`;
  if (options.key && new URL(options.endpoint, location.href).origin !== location.origin) credentials = "include";
  context = { ...options.context };
  if (options.sessionTimeoutSeconds) context.timeout_seconds = Number(options.sessionTimeoutSeconds);
  setConsent(options.consent);
  addEventListener("online", safe(onOnline));
  if (document.prerendering) document.addEventListener("prerenderingchange", safe(observe), { once: true });
  else observe();
}

// -- What is sent ---------------------------------------------------------------------------------------------------

function track(type, fields = {}) {
  if (!options || consent === "denied") return;
  if (type !== "pageview") viewPage();
  const event = {
    event_type: type,
    event_id: newId(),
    timestamp: new Date().toISOString(),
    page_url: pageUrl(),
    ...fields,
  };
  if (event.metadata && typeof event.metadata === "object") event.metadata = JSON.stringify(event.metadata);
  JSON.stringify(event); // what can't be written fails here, not in the queue
  if (consent === "granted") enqueue({ event, session: touchSession() });
  else if (held.length < MAX_QUEUE_ITEMS) held.push(event);
  return event.event_id;
}

function addContext(fields) {
  Object.assign(context, JSON.parse(JSON.stringify(fields)));
  announcedTo = null;
  if (consent === "granted") touchSession();
}

/* Returns the id of the session that goes on now, or begins; a session that does not know our context is told it. */
function touchSession() {
  const now = Date.now();
  let session = recall("session");
  // A clock that was put back ends it too.
  if (!session || Math.abs(now - session.at) > sessionTimeoutMs()) session = { id: newId() };
  if (options.sessionId) session.id = options.sessionId;
  const isNews = session.id !== announcedTo && session.context !== JSON.stringify(context);
  announcedTo = session.id;
  session.at = now;
  if (isNews) session.context = JSON.stringify(context);
  store("session", session);
  if (isNews && Object.keys(context).length) enqueue({ context: { ...context }, session: session.id });
  return session.id;
}

function sessionTimeoutMs() {
  return 1000 * (context.timeout_seconds ?? SESSION_TIMEOUT_SECONDS);
}

function setConsent(value) {
  const signal = navigator.globalPrivacyControl || navigator.doNotTrack === "1";
  consent = signal && options.privacySignals !== "collector" ? "denied" : value;
  storage = null;
  try {
    if (consent !== "pending") storage = localStorage;
  } catch {
    // Blocked: the queue lives as long as the page.
  }
  if (consent === "granted") {
    touchSession();
    for (const event of held) enqueue({ event, session: recall("session").id });
    if (view) viewPage();
    gather();
  }
  if (consent !== "pending") held = [];
  if (consent === "denied") for (const key of [...queuedKeys(), "session", "pause"]) forget(key);
}

// -- The queue ------------------------------------------------------------------------------------------------------

let storage = null;
const memory = new Map(); // what the storage does not take

function recall(key) {
  try {
    return memory.get(key) ?? JSON.parse(storage.getItem(options.prefix + key));
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    storage.setItem(options.prefix + key, JSON.stringify(value));
    memory.delete(key);
  } catch {
    memory.set(key, value);
  }
}

function forget(key) {
  memory.delete(key);
  try {
    storage.removeItem(options.prefix + key);
  } catch {
    // It is not there.
  }
}

/* The keys of all items, oldest first. */
function queuedKeys() {
  const keys = new Set(memory.keys());
  try {
    const { prefix } = options;
    for (const name of Object.keys(storage)) if (name.startsWith(prefix)) keys.add(name.slice(prefix.length));
  } catch {
    // Only what is in memory.
  }
  return [...keys].filter((key) => key.startsWith(ITEM)).sort();
}

function enqueue(item) {
  store(ITEM + newId(), item);
  trim();
  gather();
}

/* Keeps the newest within the limits. */
function trim() {
  let chars = 0;
  queuedKeys()
    .reverse()
    .forEach((key, place) => {
      const item = recall(key);
      chars += JSON.stringify(item).length;
      const isOld = Date.now() - bornMs(key) > MAX_ITEM_AGE_MS;
      if (item && !isOld && place < MAX_QUEUE_ITEMS && chars <= MAX_QUEUE_CHARS) return;
      forget(key);
      tracker.dropped += 1;
    });
}

/* Returns the first request that the queue makes: one context, or events up to the limits; null if it is empty.
   `carried` is context that the events take along, because what brings it to the session may come later. */
function nextRequest(keys, maxEvents, maxBytes, carried) {
  const session = recall("session") ?? {};
  const request = { path: TRACK, keys: [], items: [], bytes: 0 };
  for (const key of keys) {
    const item = recall(key);
    if (!item || hasArrived(item, key)) {
      forget(key);
      continue;
    }
    // The session of a nameless item is the collector's decision: its answer tells.
    const isNamed = options.sessionId || (item.session !== session.id && item.session !== session.was);
    const body = { ...(isNamed && { session_id: item.session }), ...carried, ...(item.event ?? item.context) };
    const bytes = new Blob([JSON.stringify(body)]).size;
    const isFull = request.keys.length === maxEvents || request.bytes + bytes > maxBytes;
    if (request.keys.length && (item.context || isFull)) break;
    request.keys.push(key);
    request.items.push(body);
    request.bytes += bytes;
    if (item.context) {
      request.path = SESSION;
      break;
    }
  }
  return request.keys.length ? request : null;
}

/* What a beacon took almost surely arrived. It is sent again all the same, but only as long as the session that knows
   it can't have ended: later it would be counted twice. */
function hasArrived(item, key) {
  return item.isBeaconed && Date.now() - bornMs(key) > sessionTimeoutMs();
}

function bodyOf({ path, items: [first], items }) {
  // By our clock at sending the collector corrects the events' times, which are by the same clock.
  return JSON.stringify(path === SESSION ? first : { batch: items, sent_at: new Date().toISOString() });
}

function address(path) {
  const query = new URLSearchParams({ session: recall("session")?.id });
  if (options.key) query.set("key", options.key);
  return `${options.endpoint + path}?${query}`;
}

// -- One request at a time ------------------------------------------------------------------------------------------

function gather(delayMs = GATHER_MS) {
  timer ||= setTimeout(safe(send), delayMs);
}

function send() {
  if (!options) return Promise.resolve();
  clearTimeout(timer);
  timer = 0;
  sending ??= underLock(drain)
    .catch(warn)
    .finally(() => {
      sending = null;
    });
  return sending;
}

/* Runs when no other tab sends. Without Web Locks, or when a tab is stuck with it, it runs all the same: what two tabs
   send twice is counted once. */
async function underLock(work) {
  let hasRun = false;
  const once = () => {
    hasRun = true;
    return work();
  };
  try {
    await navigator.locks.request(options.prefix, { signal: AbortSignal.timeout(LOCK_TIMEOUT_MS) }, once);
  } catch (error) {
    if (hasRun) throw error;
    await work();
  }
}

async function drain() {
  while (consent === "granted" && !halted) {
    const waitMs = pausedMs();
    if (waitMs > 0) return gather(waitMs);
    const request = nextRequest(queuedKeys(), batchEvents, MAX_BATCH_BYTES);
    if (!request) return;
    settle(request, await post(request));
  }
}

async function post(request) {
  show({ kind: "sent", via: "fetch", ...request });
  let answered = await ask(request);
  if (!answered.status && credentials === "include" && navigator.onLine) {
    // A key that any origin may use takes no cookies, and a refusal can't be read with them.
    credentials = "omit";
    answered = await ask(request);
    if (!answered.status) credentials = "include";
  }
  return answered;
}

async function ask(request) {
  try {
    const response = await fetch(address(request.path), {
      method: "POST",
      body: bodyOf(request), // text/plain: another origin is not asked first
      credentials,
      keepalive: request.bytes <= MAX_BATCH_BYTES, // it outlives the page
      signal: AbortSignal.timeout?.(REQUEST_TIMEOUT_MS),
    });
    const answer = await response.json().catch((error) => {
      // Half an answer is none. A refusal needs no words.
      if (response.ok) throw error;
      return {};
    });
    return { status: response.status, answer, retryAfter: response.headers.get("Retry-After") };
  } catch {
    return { status: 0, answer: {} };
  }
}

/* What the collector says of each item. A request of one item has its verdict in the answer itself. */
function verdicts({ path }, status, answer) {
  const isTaken = status >= 200 && status < 300;
  if (status === 413 || (path === SESSION && (isTaken || status === 400)))
    return [{ ...answer, index: 0, status: isTaken ? "accepted" : "rejected" }];
  return Array.isArray(answer.results) ? answer.results : [];
}

function settle(request, { status, answer, retryAfter }) {
  show({ kind: "answered", status, answer, ...request });
  if (consent !== "granted") return;
  const { keys, items, path } = request;
  if (status === 413 && keys.length > 1) {
    batchEvents = keys.length >> 1;
    return;
  }
  const waiting = new Set(keys);
  const results = verdicts(request, status, answer);
  for (const { index, status: verdict } of results) {
    if (!["accepted", "dropped", "rejected"].includes(verdict) || !waiting.delete(keys[index])) continue;
    forget(keys[index]);
    if (verdict !== "rejected") continue;
    tracker.dropped += 1;
    warnOnce("refused by the collector:", answer);
  }
  // The session of an item without a name is the collector's decision.
  const told = results.find(({ index, session_id }) => session_id && items[index] && !items[index].session_id);
  if (told) adopt(told.session_id, path === SESSION);
  if (!waiting.size) {
    forget("pause");
  } else if (status < 400 || [400, 408, 429].includes(status) || status >= 500) {
    pause(1000 * (Number(retryAfter) || 0));
  } else {
    halted = true;
    warnOnce(`stopped, the collector answers ${status}:`, answer);
  }
}

function warnOnce(...what) {
  if (!hasWarned) warn(...what);
  hasWarned = true;
}

/* Waits longer from failure to failure, over page loads and in all tabs; at least as long as the collector asks for. */
function pause(askedMs) {
  const tries = (recall("pause")?.tries ?? 0) + 1;
  const backoffMs = Math.min(RETRY_FIRST_MS * 2 ** (tries - 1), RETRY_MAX_MS) * (0.5 + Math.random() / 2);
  const waitMs = Math.min(Math.max(backoffMs, askedMs), RETRY_AFTER_MAX_MS);
  store("pause", { tries, until: Date.now() + waitMs, isAsked: askedMs > 0 });
}

function pausedMs() {
  const waitMs = (recall("pause")?.until ?? 0) - Date.now();
  // Longer than any pause: the clock was put back.
  return waitMs > RETRY_AFTER_MAX_MS ? 0 : waitMs;
}

function onOnline() {
  const found = recall("pause");
  if (found && !found.isAsked) store("pause", { ...found, until: 0 });
  send();
}

/* The collector knows better which session this is: it reads the cookie. */
function adopt(id, isContext) {
  const session = recall("session");
  if (!session || id === session.id) return;
  announcedTo = isContext ? id : null;
  store("session", { id, was: session.id, at: session.at, context: isContext ? session.context : null });
  touchSession();
}

/* The page may be gone any moment: the browser gets all that has not been answered. */
function leave() {
  if (consent !== "granted" || halted) return;
  const isSafe = storage && !memory.size; // the next page can send it
  if (pausedMs() > 0 && (isSafe || recall("pause").isAsked)) return;
  if (isSafe && navigator.onLine === false) return;
  const carried = {};
  const events = [];
  for (const key of queuedKeys()) {
    const news = recall(key)?.context;
    if (!news) events.push(key);
    else if (beacon(nextRequest([key], 1, MAX_BEACON_BYTES))) Object.assign(carried, news);
  }
  delete carried.timeout_seconds;
  // One, because a second could overtake it; what does not fit is left to the next page, if there can be one.
  let request;
  do {
    request = nextRequest(events, MAX_BEACON_EVENTS, MAX_BEACON_BYTES, carried);
    if (request) events.splice(0, events.indexOf(request.keys.at(-1)) + 1);
  } while (beacon(request) && !isSafe);
}

function beacon(request) {
  if (!request || !navigator.sendBeacon(address(request.path), bodyOf(request))) return false;
  show({ kind: "sent", via: "beacon", ...request });
  for (const key of request.keys) {
    if (memory.has(key)) forget(key);
    else store(key, { ...recall(key), isBeaconed: true });
  }
  return true;
}

// -- What happens on the page ---------------------------------------------------------------------------------------

let view; // the page that is looked at now

function observe() {
  startView(document.referrer);
  view.isFirst = true;
  view.seenSince = 0; // the page began before this script did
  // The load times are known when the load event is over.
  const viewSoon = () => setTimeout(safe(viewPage), 0);
  if (document.readyState === "complete") viewSoon();
  else addEventListener("load", viewSoon, { once: true });
  setTimeout(safe(viewPage), LOADING_MAX_MS);

  // Capturing: seen even if the page's own handlers stop the event.
  document.addEventListener("click", safe(onClick), true);
  document.addEventListener("submit", safe(onSubmit), true);
  document.addEventListener("visibilitychange", safe(onVisibility));
  addEventListener("scroll", safe(onScroll), { passive: true });
  addEventListener("popstate", safe(onNavigate));
  addEventListener("pagehide", safe(onPageHide));
  addEventListener("pageshow", safe(onPageShow));
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    const noticed = safe(onNavigate);
    history[name] = function (...values) {
      original.apply(this, values);
      noticed();
    };
  }
}

function isWanted(kind) {
  return options.auto.includes(kind);
}

function startView(referrer) {
  view = { at: new Date().toISOString(), url: pageUrl(), referrer, visibleMs: 0, deepest: 0 };
  seeView();
}

function isVisible() {
  return document.visibilityState === "visible";
}

/* Adds up the time during which the view could be seen. */
function seeView() {
  const now = performance.now();
  if (view.isSeen) view.visibleMs += now - view.seenSince;
  view.isSeen = isVisible();
  view.seenSince = now;
}

/* Sends the pageview if it has not been sent: always before anything else of the same view. */
function viewPage() {
  if (!view || view.isSent || consent === "denied") return;
  view.isSent = true;
  if (!isWanted("pageview")) return;
  const fields = { timestamp: view.at, page_url: view.url, viewport_width: innerWidth, viewport_height: innerHeight };
  if (view.referrer) fields.referrer_url = cut(view.referrer, MAX_URL_CHARS);
  const timing = view.isFirst && performance.getEntriesByType("navigation")[0];
  if (timing?.domContentLoadedEventEnd > 0) fields.dom_ready_time = timing.domContentLoadedEventEnd;
  if (timing?.loadEventEnd > 0) fields.page_load_time = timing.loadEventEnd;
  track("pageview", fields);
}

function endView() {
  viewPage();
  seeView();
  if (!isWanted("leave")) return;
  const scroll_percentage = Math.max(view.deepest, depth());
  const time_on_page = Math.round(view.visibleMs);
  track("scroll", { event_value: "page_leave", page_url: view.url, scroll_percentage, time_on_page });
}

function onVisibility() {
  seeView();
  if (isVisible()) gather();
  else leave();
}

function onPageHide() {
  endView();
  leave();
}

/* A page that comes back from the back/forward cache is viewed again. */
function onPageShow({ persisted }) {
  if (!persisted) return;
  startView(document.referrer);
  viewPage();
}

/* A page that changes its own address shows another page, unless only the place within it changed. */
function onNavigate() {
  const before = view.url;
  if (pageUrl() === before) return;
  if (!view.isSent) {
    view.url = pageUrl(); // sent on before anybody saw it
    return;
  }
  endView();
  startView(before);
  viewPage();
}

function onClick(event) {
  if (!isWanted("click")) return;
  // The path begins where the click was, inside of a web component too.
  const element = event.composedPath()[0].closest?.(CLICKABLE);
  if (!element || element.closest("[data-no-track]")) return;
  const fields = { clicked_element: describe(element) };
  if (element.href) fields.clicked_url = cut(String(element.href), MAX_URL_CHARS);
  track("click", fields);
}

function onSubmit({ target }) {
  if (!isWanted("form") || target.closest("[data-no-track]")) return;
  const names = ["id", "name", "action"].map((name) => target.getAttribute(name));
  track("form_submit", { form_id: cut(names.find(Boolean) ?? "form", MAX_ID_CHARS) });
}

let isMeasuring = false;

function onScroll() {
  // Once a frame: asking for the page's height may cost a layout.
  if (isMeasuring || !isWanted("scroll")) return;
  isMeasuring = true;
  requestAnimationFrame(
    safe(() => {
      isMeasuring = false;
      const before = view.deepest;
      view.deepest = Math.max(before, depth());
      for (const step of SCROLL_STEPS) {
        if (before < step && step <= view.deepest) track("scroll", { scroll_percentage: step });
      }
    }),
  );
}

/* How far down the page the lower edge of the window is, in per cent. */
function depth() {
  const height = document.documentElement.scrollHeight;
  const seen = scrollY + innerHeight;
  // Browsers round positions, so the end may never be reached exactly.
  return seen >= height - 2 ? 100 : Math.round((1000 * seen) / height) / 10;
}

/* What was clicked, such as: button#buy.primary "Buy now". Never what somebody typed. */
function describe(element) {
  const id = element.id && `#${element.id}`;
  const classes = Array.from(element.classList, (name) => `.${name}`).join("");
  const label = element.getAttribute("data-track") || element.getAttribute("aria-label") || element.textContent;
  const text = label.trim().replace(/\s+/g, " ");
  return cut(element.localName + id + classes + (text && ` "${text}"`), MAX_TEXT_CHARS);
}

// -- Small things ---------------------------------------------------------------------------------------------------

/* The page's address. What follows a # is a place within it, unless it looks like a path of its own. */
function pageUrl() {
  return cut(location.href.replace(/#(?![!/]).*/, ""), MAX_URL_CHARS);
}

function cut(text, maxChars) {
  return text.slice(0, maxChars);
}

let lastMs = 0;
let countInMs = 0;

/* A UUIDv7: 48 bits of time, a count within the millisecond (so that ids are in order), 62 random bits. */
function newId() {
  const now = Date.now();
  countInMs = now > lastMs ? 0 : countInMs + 1;
  if (countInMs > 0xfff) {
    lastMs += 1;
    countInMs = 0;
  }
  lastMs = Math.max(lastMs, now);
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  bytes[0] = (bytes[0] & 0x3f) | 0x80;
  const random = Array.from(bytes, (byte) => hex(byte, 2)).join("");
  const digits = `${hex(lastMs, 12)}7${hex(countInMs, 3)}${random}`;
  return digits.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function hex(number, digits) {
  return number.toString(16).padStart(digits, "0");
}

/* When the item of a key was queued. */
function bornMs(key) {
  return parseInt(key.replace(ITEM, "").slice(0, 13).replace("-", ""), 16);
}
