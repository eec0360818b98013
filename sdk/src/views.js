/* Which page is looked at, how long, how far down, and when it is left. What nobody has seen is no view. */
import { isDenied } from "./consent.js";
import { heard, options } from "./options.js";
import { gather, leave } from "./sending.js";
import { track } from "./track.js";
import { timeOf } from "./values.js";

const LOADING_MAX_MS = 5_000; // a page that still loads then is viewed all the same

// The page that is looked at now, as it was when somebody first looked at it
let url;
let referrer;
let seenAt; // as text; nothing: nobody has seen it
let isSent;
// and since then.
let isSeen;
let sinceMs;
let visibleMs;
let deepest;

let times; // of the page's loading
let measuring;

export const startViews = () => {
  startView(document.referrer);
  times = performance.getEntriesByType("navigation")[0] ?? {};
  sinceMs = times.activationStart ?? 0; // the page began before this script did
  viewSoon();
};

/* The load times are known when the load event is over. */
export const viewSoon = () => {
  setTimeout(heard(viewPage), document.readyState === "complete" ? 0 : LOADING_MAX_MS);
};

export const isWanted = (kind) => (options.auto ?? kind).includes(kind);

const startView = (from) => {
  url = pageUrl();
  referrer = from || null;
  seenAt = isSent = isSeen = undefined;
  visibleMs = deepest = 0;
  look();
};

/* Adds up the time during which the view could be seen. */
const look = () => {
  const now = performance.now();
  if (isSeen) visibleMs += now - sinceMs;
  sinceMs = now;
  isSeen = !document.hidden;
  if (isSeen) seenAt ??= timeOf();
};

/* Sends the pageview if it has not been sent: always before anything else of a view that somebody sees. */
export const viewPage = () => {
  if (!seenAt || isSent || isDenied()) return;
  isSent = true;
  if (!isWanted("pageview")) return;
  track("pageview", {
    timestamp: seenAt,
    page_url: url,
    referrer_url: referrer,
    page_load_time: times.loadEventEnd || null,
    dom_ready_time: times.domContentLoadedEventEnd || null,
    viewport_width: innerWidth,
    viewport_height: innerHeight,
  });
  times = {};
};

export const endView = () => {
  look();
  if (!seenAt) return;
  viewPage();
  if (!isWanted("leave")) return;
  track("scroll", {
    event_value: "page_leave",
    page_url: url,
    time_on_page: visibleMs,
    scroll_percentage: Math.max(deepest, depth()),
  });
};

export const onVisibility = () => {
  look();
  if (isSeen) {
    viewSoon();
    gather();
  } else leave();
};

export const onPageHide = () => {
  endView();
  leave();
};

/* A page that comes back from the back/forward cache is viewed again. */
export const onPageShow = ({ persisted }) => {
  if (!persisted) return;
  startView(document.referrer);
  viewPage();
};

/* A page that changes its own address shows another page if its path changes, or what `pages` names. */
export const onNavigate = () => {
  if (placeOf(pageUrl()) === placeOf(url)) return;
  const wasSent = isSent;
  if (wasSent) endView();
  startView(wasSent ? url : referrer); // or sent on before anybody saw it
  if (wasSent) viewPage();
};

/* What makes one page of another: its path, behind #/ or #! too, and what the page has named. */
const placeOf = (address) =>
  address
    .replace(options.pages.includes("hash") ? "" : /#(?![!/]).*/, "")
    .replace(options.pages.includes("query") ? "" : /\?[^#]*/g, "");

/* The page's address. What follows a # is a place within it, unless it is a path or says where a visitor comes from. */
export const pageUrl = () => location.href.replace(options.pages.includes("hash") ? "" : /#(?![!/]|.*utm_).*/, "");

export const onScroll = () => {
  // Once a frame: asking for the page's height may cost a layout.
  measuring ??= requestAnimationFrame(
    heard(() => {
      measuring = undefined;
      const before = deepest;
      deepest = Math.max(before, depth());
      for (const step of [25, 50, 75, 90, 100]) {
        if (before < step && step <= deepest && isWanted("scroll")) track("scroll", { scroll_percentage: step });
      }
    }),
  );
};

/* How far down the page the lower edge of the window is, in per cent. */
const depth = () => {
  // Browsers round positions, so the end may never be reached exactly.
  return (100 * (scrollY + innerHeight)) / (document.documentElement.scrollHeight - 2);
};
