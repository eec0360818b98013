/* Event tracker for browsers. It costs the page nothing and loses nothing that the page has told it.
 *
 * What is called before `init` waits for it; on a page that is only prerendered, `init` waits until somebody sees it.
 * There is one tracker a page: a second one hands all its calls to the first.
 */
import { onClick, onFocus, onScriptedSubmit, onSubmit } from "./clicks.js";
import { onStorage, readConsent, setConsent } from "./consent.js";
import { heard, isOn, options, safe, setOptions, turn } from "./options.js";
import { queuedKeys } from "./queue.js";
import { onOnline, send } from "./sending.js";
import { addContext, identify, reset, startSession } from "./session.js";
import { openStorage, recall } from "./storage.js";
import { track } from "./track.js";
import { keysOf } from "./values.js";
import { endView, onNavigate, onPageHide, onPageShow, onScroll, onVisibility, startViews, viewSoon } from "./views.js";

const MAX_EARLY_CALLS = 500;
let isListening = false;
const early = []; // calls that wait, each with its name first

const calls = {
  track,
  conversion: (value, fields) => track("conversion", { event_value: value }, fields),
  session: addContext,
  identify,
  reset,
  stop,
  consent: setConsent,
  push: (call) => tracker[call[0]](call[1], call[2]),
};

export const tracker = {
  /* Items given up: too many, too old, or refused by the collector. */
  dropped: 0,
  /* Items that wait for an answer, those of other tabs included. */
  get pending() {
    return queuedKeys().length;
  },
  get sessionId() {
    return recall("session").id;
  },
  init: safe(init),
  flush: async () => isOn && send(),
};
for (const name of keysOf(calls)) {
  const call = heard(calls[name]);
  tracker[name] = (...values) => {
    if (isOn !== undefined) return call(...values);
    // On a server there is no document, and nothing to wait for.
    if (globalThis.document && early.length < MAX_EARLY_CALLS) early.push([name, ...values]);
  };
}

function init(given) {
  if (isOn || !globalThis.document) return;
  const first = (window.__eventTracker ??= tracker);
  if (first !== tracker) {
    if (given?.debug) console.warn("tracker: two");
    return early.splice(0).forEach(first.push);
  }
  const before = window.tracker;
  if (Array.isArray(before)) early.unshift(...before);
  // An element of that id is found there, too; a script of another maker keeps its place.
  if (!before || before.push || before.nodeType) window.tracker = tracker;
  if (document.prerendering) addEventListener("prerenderingchange", () => start(given), true);
  else start(given);
}

function start(given) {
  if (isOn) return;
  turn(true);
  setOptions(given);
  openStorage(true); // what has been answered, and who it was
  startSession();
  readConsent(options.consent);
  if (!isListening) listen();
  startViews();
  early.splice(0).forEach(tracker.push);
}

function stop() {
  endView();
  turn(false);
  send();
}

function listen() {
  isListening = true;
  const works = {
    click: onClick,
    auxclick: onClick,
    focusin: onFocus,
    submit: onSubmit,
    scroll: onScroll,
    load: viewSoon,
    visibilitychange: onVisibility,
    pageshow: onPageShow,
    pagehide: onPageHide,
    popstate: onNavigate,
    online: onOnline,
    storage: onStorage,
  };
  // Capturing: seen even if the page's own handlers stop the event.
  for (const name of keysOf(works)) addEventListener(name, heard(works[name]), true);
  for (const name of ["pushState", "replaceState"]) watch(history, name, onNavigate);
  watch(HTMLFormElement.prototype, "submit", onScriptedSubmit);
}

/* Has work done after each call of an object's method, which goes on as it was. */
function watch(object, name, work) {
  const original = object[name];
  object[name] = function (...values) {
    const result = original.apply(this, values);
    heard(work)(this);
    return result;
  };
}
