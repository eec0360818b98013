/* The script tag's way in: options and context are its data attributes, and the page gets window.tracker. */
import { tracker } from "./tracker.js";

// A module is nobody's current script.
const { dataset, src } = document.currentScript ?? document.querySelector("[type=module][src*=tracker]") ?? {};
tracker.init({ endpoint: src && new URL(src).origin, ...dataset, debug: dataset?.debug != null });
