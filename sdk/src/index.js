/* The package's way in. A page that loads the script as well has one tracker all the same. */
import { tracker as own } from "./tracker.js";

export const tracker = new Proxy(own, {
  get: (_, name) => (name === "init" ? own : (globalThis.__eventTracker ?? own))[name],
});
