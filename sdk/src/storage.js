/* What outlives the page, in localStorage; where that is not allowed, blocked or full, what lives as long as the page. */
import { options } from "./options.js";
import { attempt, json } from "./values.js";

let storage = {}; // or localStorage: both are used by their keys

/* Before anybody may store anything, memory has to do. What it holds is kept. */
export const openStorage = (isAllowed) => {
  const before = storage;
  storage = (isAllowed && attempt(() => localStorage)) || {};
  if (!(before instanceof Storage)) write(before);
};

const write = (entries) => {
  try {
    Object.assign(storage, entries);
  } catch {
    storage = { ...storage, ...entries };
  }
};

export const nameOf = (key) => `tracker.${options.key}.${key}`;

export const store = (key, value) => write({ [nameOf(key)]: json(value) });

/* Returns a value as it was written; nothing if it was not. */
export const written = (key) => storage[nameOf(key)];

export const recall = (key) => attempt(() => JSON.parse(written(key)));

export const forget = (key) => delete storage[nameOf(key)];

/* Returns all keys that begin so, in their order. */
export const storedKeys = (beginning) =>
  Object.keys(storage)
    .filter((name) => name.startsWith(nameOf(beginning)))
    .map((name) => name.slice(nameOf("").length))
    .sort();
