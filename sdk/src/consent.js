/* What the visitor has agreed to. The answer is kept for the browser and told to the session; as long as there is none,
 * the option `consent` decides.
 */
import { options } from "./options.js";
import { exchange, gather } from "./sending.js";
import { setContext, touchSession } from "./session.js";
import { forget, nameOf, openStorage, recall, store, storedKeys } from "./storage.js";
import { attempt, text } from "./values.js";
import { viewPage } from "./views.js";

let state; // "granted", "denied", or "pending": not asked yet
let answers; // as context of the session

export const isGranted = () => state === "granted";
export const isDenied = () => state === "denied";

/* Reads what has been answered, which another tab may have been, too. */
export const readConsent = (given) => {
  answers = recall("consent");
  addAnswers(given);
};

export const onStorage = ({ key }) => key === nameOf("consent") && readConsent();

/* Takes an answer: `{ analytics: true, marketing: false }`, or one word for both. */
export const setConsent = (answer) => {
  if (answer === "pending") {
    options.consent = answer;
    for (const name in answers) answers[name] = undefined;
  }
  const word = wordOf(answer);
  addAnswers(word ? { analytics: word, marketing: word } : answer);
  touchSession();
};

const WORDS = { __proto__: null, true: "granted", granted: "granted", false: "denied", denied: "denied" };
const wordOf = (answer) => WORDS[text(answer)];

/* Comes to what follows from the answers, the page's option and the browser's signals. */
const addAnswers = (given) => {
  for (const name of ["analytics", "marketing"]) {
    answers[`consent_${name}`] = wordOf(attempt(() => given[name])) ?? answers[`consent_${name}`];
  }
  const isObjected =
    options.privacySignals !== "collector" && (navigator.globalPrivacyControl || navigator.doNotTrack == 1);
  const wasGranted = isGranted() && given;
  state = isObjected ? "denied" : (answers.consent_analytics ?? wordOf(options.consent ?? "granted") ?? "pending");
  openStorage(state !== "pending");
  store("consent", answers);
  if (isDenied()) {
    // In this tab; another has only heard of it. The collector removes the visitor's cookie: no script can.
    if (wasGranted) exchange({ items: [answers] });
    for (const key of storedKeys()) if (isObjected || key !== "consent") forget(key);
  }
  setContext(answers);
  if (isGranted()) {
    viewPage();
    gather();
  }
};
