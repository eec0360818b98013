/* What outlives the page, in localStorage; where that is not allowed, blocked or full, what lives as long as the page. */
import { options } from "./options.js";
import { attempt, json, parsed } from "./values.js";

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

/* Returns what was stored, or an object without fields. */
export const recall = (key) => parsed(written(key)) ?? {};

export const forget = (key) => delete storage[nameOf(key)];

/* Returns all keys of ours, in their order. */
export const storedKeys = () =>
  Object.keys(storage)
    .map((name) => name.split(nameOf(""))[1])
    .filter(Boolean)
    .sort();
