/* Event tracker: sends what happens on a page to the collector, one event at a time and in order.
 *
 *   <script src="/tracker.js" data-workspace-id="w1" data-campaign-id="c1" defer></script>
 *
 * On its own: pageview, click, scroll depth (25, 50, 75, 100 %), form_submit. By call: tracker.track("click", {…}),
 * tracker.conversion("49.90", {…}). When the page is left, a last "scroll" event with event_value "page_leave"
 * carries the deepest scroll_percentage and time_on_page.
 *
 * Attributes of the script tag: data-endpoint (the collector's origin, by default where this file came from),
 * data-debug (keep tracker.sent over page loads of this tab), and the session's context: data-user-id,
 * data-campaign-id, data-workspace-id, data-project-id, data-attribution-id, data-landing-page-id, data-ab-test-id,
 * data-ab-test-variant-id, data-environment, data-campaign-environment.
 *
 * The session lives in a cookie that the collector sets and scripts can't read; tracker.sessionId is what the
 * collector last answered. Each event has an event_id, so a repeated request is counted once.
 */
(() => {
  "use strict";

  const SCROLL_STEPS = [25, 50, 75, 100];
  const MAX_QUEUE = 200; // events that wait; beyond it new ones are dropped and counted in tracker.dropped
  const MAX_SENT = 500; // entries kept in tracker.sent
  const MAX_BEACON_CHARS = 30000; // browsers take 64 KiB of beacons from a page
  const RETRY_FIRST_MS = 1000;
  const RETRY_MAX_MS = 30000;
  const PAGEVIEW_MAX_WAIT_MS = 5000; // a page that is still loading then is viewed all the same
  const MAX_ID_CHARS = 128;
  const MAX_TEXT_CHARS = 200;
  const MAX_URL_CHARS = 4096;
  const CLICKABLE = "a[href], button, summary, [role=button], [data-track], input[type=submit], input[type=button]";
  const TRACK = "/api/v1/events/track";
  const SESSION = "/api/v1/events/session";
  const SENT_KEY = "tracker.sent";
  const CONTEXT = [
    "userId", "campaignId", "workspaceId", "projectId", "attributionId", "landingPageId",
    "abTestId", "abTestVariantId", "environment", "campaignEnvironment",
  ];

  const script = document.currentScript;
  const origin = new URL(script.dataset.endpoint || script.src, location.href).origin;
  const isSameOrigin = origin === location.origin;
  const debug = "debug" in script.dataset;

  const queue = [];
  let inFlight = null;
  let retryTimer = 0;
  let retryMs = RETRY_FIRST_MS;

  const tracker = {
    sessionId: null,
    dropped: 0,
    /* A debugging aid: what was sent, oldest first: {path, body, via: "fetch" | "beacon", status}; the status is
       null as long as there is no answer, and for ever after a beacon or when the page was left meanwhile. */
    sent: [],
    /* Events not answered yet. */
    get pending() {
      return queue.length + (inFlight ? 1 : 0);
    },
    track,
    conversion: (value, fields) => track("conversion", { event_value: String(value ?? ""), ...fields }),
  };

  // -- What is sent -------------------------------------------------------------------------------------------------

  function track(eventType, fields = {}) {
    if (eventType !== "pageview") ensurePageview();
    const event = {
      event_type: eventType,
      event_id: newId(),
      timestamp: new Date().toISOString(),
      page_url: cut(location.href, MAX_URL_CHARS),
      ...fields,
    };
    if (event.metadata && typeof event.metadata === "object") event.metadata = JSON.stringify(event.metadata);
    enqueue(TRACK, event);
    return event.event_id;
  }

  function enqueue(path, body) {
    if (queue.length >= MAX_QUEUE) {
      tracker.dropped += 1;
      return;
    }
    queue.push({ path, body });
    sendNext();
  }

  // -- One at a time, in order --------------------------------------------------------------------------------------

  async function sendNext() {
    if (inFlight || retryTimer || queue.length === 0) return;
    inFlight = queue.shift();
    inFlight.entry ??= log(inFlight, "fetch"); // once, however often it is repeated
    let status = 0;
    let retryAfterMs = 0;
    try {
      const response = await fetch(origin + inFlight.path, {
        method: "POST",
        headers: { "Content-Type": isSameOrigin ? "application/json" : "text/plain" },
        body: payload(inFlight),
        credentials: isSameOrigin ? "same-origin" : "omit",
        keepalive: true, // it outlives the page
      });
      status = response.status;
      retryAfterMs = 1000 * (Number(response.headers.get("Retry-After")) || 0);
      if (response.ok) tracker.sessionId = (await response.json()).session_id;
    } catch {
      // No answer, or half of one: the same event goes again, and is counted once.
      status = 0;
    }
    const item = inFlight;
    inFlight = null;
    item.entry.status = status;
    showLog();
    if (status === 0 || status === 429 || status >= 500) {
      queue.unshift(item);
      retryTimer = setTimeout(retry, Math.max(retryMs, retryAfterMs));
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      return;
    }
    retryMs = RETRY_FIRST_MS;
    sendNext();
  }

  function retry() {
    retryTimer = 0;
    sendNext();
  }

  /* The page may be gone any moment: hand what is unsent to the browser, in order. What is in flight outlives it. */
  function sendAllByBeacon() {
    clearTimeout(retryTimer);
    retryTimer = 0;
    while (queue.length > 0) {
      // Beacons of their own could overtake each other on different connections: events go as one batch.
      const path = queue[0].path;
      const items = [queue[0]];
      let size = payload(queue[0]).length;
      for (const item of path === TRACK ? queue.slice(1) : []) {
        size += payload(item).length;
        if (item.path !== TRACK || size > MAX_BEACON_CHARS) break;
        items.push(item);
      }
      const body = items.length === 1 ? payload(items[0]) : `{"batch":[${items.map(payload).join(",")}]}`;
      if (!navigator.sendBeacon(origin + path, body)) break;
      queue.splice(0, items.length);
      // What is in the log already is there from an attempt that failed.
      for (const item of items) item.entry ??= log(item, "beacon");
    }
    sendNext();
  }

  function payload({ body }) {
    // Another origin's cookie is not sent, so the session is named once it is known.
    const known = !isSameOrigin && tracker.sessionId ? { session_id: tracker.sessionId } : {};
    return JSON.stringify({ ...known, ...body });
  }

  function log({ path, body }, via) {
    const entry = { path, body, via, status: null };
    tracker.sent.push(entry);
    if (tracker.sent.length > MAX_SENT) tracker.sent.shift();
    showLog();
    return entry;
  }

  function showLog() {
    if (debug) sessionStorage.setItem(SENT_KEY, JSON.stringify(tracker.sent));
    document.dispatchEvent(new CustomEvent("tracker:sent"));
  }

  // -- What happens on the page -------------------------------------------------------------------------------------

  let pageStart; // {timestamp, at} of the view that goes on now
  let isViewSent;
  let deepest;

  function startView(isFirst) {
    pageStart = { timestamp: new Date().toISOString(), at: isFirst ? 0 : performance.now() };
    isViewSent = false;
    deepest = 0;
  }

  /* Sends the pageview if it has not been sent: always before anything else of the same view. */
  function ensurePageview() {
    if (isViewSent) return;
    isViewSent = true;
    const fields = {
      timestamp: pageStart.timestamp,
      viewport_width: innerWidth,
      viewport_height: innerHeight,
    };
    if (document.referrer) fields.referrer_url = cut(document.referrer, MAX_URL_CHARS);
    const timing = performance.getEntriesByType("navigation")[0];
    if (timing && timing.domContentLoadedEventEnd > 0) fields.dom_ready_time = timing.domContentLoadedEventEnd;
    if (timing && timing.loadEventEnd > 0) fields.page_load_time = timing.loadEventEnd;
    track("pageview", fields);
  }

  function onClick(event) {
    const element = event.target instanceof Element ? event.target.closest(CLICKABLE) : null;
    if (!element) return;
    const fields = { clicked_element: describe(element) };
    if (element.href) fields.clicked_url = cut(String(element.href), MAX_URL_CHARS);
    track("click", fields);
  }

  function onSubmit(event) {
    const form = event.target;
    const name = form.getAttribute("id") || form.getAttribute("name") || form.getAttribute("action") || "form";
    track("form_submit", { form_id: cut(name, MAX_ID_CHARS) });
  }

  function onScroll() {
    const before = deepest;
    deepest = Math.max(deepest, depth());
    for (const step of SCROLL_STEPS) {
      if (before < step && step <= deepest) track("scroll", { scroll_percentage: step });
    }
  }

  function onLeave() {
    const time = Math.round(performance.now() - pageStart.at);
    const fields = { event_value: "page_leave", scroll_percentage: Math.max(deepest, depth()), time_on_page: time };
    track("scroll", fields);
    sendAllByBeacon();
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
    const id = element.id ? `#${element.id}` : "";
    const classes = Array.from(element.classList, (name) => `.${name}`).join("");
    const label = element.getAttribute("data-track") || element.getAttribute("aria-label") || element.textContent;
    const text = label.trim().replace(/\s+/g, " ");
    return cut(`${element.localName}${id}${classes}${text ? ` "${text}"` : ""}`, MAX_TEXT_CHARS);
  }

  // -- Small things -------------------------------------------------------------------------------------------------

  function cut(text, max) {
    return text.slice(0, max);
  }

  function newId() {
    // randomUUID exists on HTTPS and localhost only.
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function context() {
    const fields = {};
    for (const name of CONTEXT) {
      const value = script.dataset[name];
      // workspaceId -> workspace_id
      if (value) fields[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = cut(value, MAX_ID_CHARS);
    }
    return fields;
  }

  // -- Begin --------------------------------------------------------------------------------------------------------

  window.tracker = tracker;
  if (debug) tracker.sent = JSON.parse(sessionStorage.getItem(SENT_KEY) || "[]");

  startView(true);
  const sessionContext = context();
  if (Object.keys(sessionContext).length > 0) enqueue(SESSION, sessionContext);

  // The load times are known when the load event is over.
  const viewSoon = () => setTimeout(ensurePageview, 0);
  if (document.readyState === "complete") viewSoon();
  else addEventListener("load", viewSoon, { once: true });
  setTimeout(ensurePageview, PAGEVIEW_MAX_WAIT_MS);

  // Capturing: seen even if the page's own handlers stop the event.
  document.addEventListener("click", onClick, true);
  document.addEventListener("submit", onSubmit, true);
  addEventListener("scroll", onScroll, { passive: true });
  addEventListener("pagehide", onLeave);
  // A page that comes back from the back/forward cache is viewed again.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    startView(false);
    ensurePageview();
  });
})();
