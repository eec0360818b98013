/* The script tag's way in: options and context are its data attributes, and the page gets window.tracker.
 *
 * Calls made before this file has come wait in window.tracker, an array: tracker.push(["conversion", "49.90"]).
 */
import { tracker } from "./tracker.js";

const CONTEXT = [
  "userId",
  "campaignId",
  "workspaceId",
  "projectId",
  "attributionId",
  "landingPageId",
  "abTestId",
  "abTestVariantId",
  "environment",
  "campaignEnvironment",
];

const script = document.currentScript;
const early = window.tracker;
const options = { endpoint: new URL(script.src).origin, ...script.dataset, context: {} };
for (const name of CONTEXT) {
  // workspaceId -> workspace_id
  const value = script.dataset[name];
  if (value) options.context[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = value;
}
options.debug = "debug" in script.dataset;
window.tracker = tracker;
tracker.init(options);
if (Array.isArray(early)) early.forEach(tracker.push);
