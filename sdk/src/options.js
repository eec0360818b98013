/* What the page has asked for, and where it is told what goes wrong. */
import { attempt, CONTEXT, fieldsOf, idOf, json, keysOf, numberOf, text } from "./values.js";

const MIN_TIMEOUT_SECONDS = 300;
const MAX_TIMEOUT_SECONDS = 1_800;

const DEFAULTS = {
  endpoint: "",
  trackPath: "/api/v1/events/track",
  sessionPath: "/api/v1/events/session",
  key: "",
  pages: "",
  auto: undefined, // everything
};

/* As `init` has been told, with what is wrong left out. */
export let options = {};

/* True from `init` to `stop`. */
export let isOn;
export const turn = (on) => {
  isOn = on;
};

export const setOptions = (given) => {
  options = { ...DEFAULTS };
  for (const name of keysOf(given)) {
    const value = attempt(() => given[name]);
    // Of words and lists alike it only matters what they contain.
    options[name] = name in DEFAULTS ? (text(value, 4_096) ?? json(value) ?? DEFAULTS[name]) : value;
  }
  options.sessionId = idOf(options.sessionId)?.replace(/[\0- \x7f]/g, "_");
  options.context = { ...contextOf(options), ...contextOf(options.context) };
};

/* Returns what of this is context of a session. */
export const contextOf = (given) => {
  const context = pick(fieldsOf(given));
  const seconds = numberOf(attempt(() => given.timeout_seconds ?? given.sessionTimeoutSeconds), MAX_TIMEOUT_SECONDS);
  if (seconds) context.timeout_seconds = Math.max(seconds, MIN_TIMEOUT_SECONDS);
  return context;
};

/* Returns the context that an event can have, too, from some field on. */
export const pick = (from, start = 0) => {
  const picked = {};
  for (const name of CONTEXT.slice(start)) if (from[name]) picked[name] = from[name];
  return picked;
};

export const warn = (...what) => {
  if (options.debug) console.warn("tracker:", ...what);
};

/* For people who look: with `debug` each request and answer is an event of the document. */
export const show = (detail) => {
  if (options.debug) document.dispatchEvent(new CustomEvent("tracker", { detail }));
};

/* Whatever goes wrong in here is not the page's problem. */
export const safe =
  (work) =>
  (...values) => {
    try {
      return work(...values);
    } catch (error) {
      warn(error);
    }
  };

/* The same for what is noticed by itself, as long as the tracker is on. */
export const heard = (work) => safe((...values) => (isOn ? work(...values) : undefined));
