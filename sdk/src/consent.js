/* What the visitor has agreed to. The answer is kept for the browser and told to the session; as long as there is none,
 * the option `consent` decides.
 */
import { options } from "./options.js";
import { gather } from "./sending.js";
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
    for (const name in answers) answers[name] = undefined;
    options.consent = answer;
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
    const word = wordOf(attempt(() => given[name]));
    if (word) answers[`consent_${name}`] = word;
  }
  const isObjected =
    options.privacySignals !== "collector" && (navigator.globalPrivacyControl || navigator.doNotTrack == 1);
  state = isObjected ? "denied" : (answers.consent_analytics ?? wordOf(options.consent ?? "granted") ?? "pending");
  openStorage(state !== "pending");
  store("consent", answers);
  setContext(answers);
  if (isGranted()) {
    viewPage();
    gather();
  }
  if (isDenied()) for (const key of storedKeys()) if (isObjected || key !== "consent") forget(key);
};
