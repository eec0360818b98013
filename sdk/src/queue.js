/* What happens becomes an item under a key of its own, and leaves the queue when the collector has answered.
 *
 * Keys begin with the time (UUIDv7), so their order is the order of the queue, over all tabs and page loads, and no
 * two tabs ever write the same key.
 */
import { newId } from "./ids.js";
import { options, warn } from "./options.js";
import { gather } from "./sending.js";
import { unlearn } from "./session.js";
import { forget, recall, store, storedKeys, written } from "./storage.js";
import { tracker } from "./tracker.js";
import { bytesOf, CONTEXT } from "./values.js";

const MAX_QUEUE_ITEMS = 500;
const MAX_QUEUE_CHARS = 250_000;
const MAX_ITEM_AGE_MS = 24 * 3_600_000;
const ITEM = "item.";

/* Gives an item up: one of too many, too old, or refused. */
export const drop = (key, ...why) => {
  if (written(key)) tracker.dropped += 1;
  forget(key);
  warn("dropped:", why);
};

/* What is refused for its context, such as a user that is none, is sent once more without that. */
export const refuse = (key, item, verdict) => {
  const kept = recall(key);
  const fields = kept.event ?? kept.context;
  const refused = CONTEXT.filter((name) => item[name] && `,${verdict.reasons}`.includes(`,${name}:`));
  if (!fields || !refused[0]) return drop(key, item, verdict);
  for (const name of refused) {
    unlearn(name, item[name]);
    fields[name] = undefined;
  }
  store(key, kept);
};

/* The keys of all items, oldest first. */
export const queuedKeys = () => storedKeys().filter((key) => key.startsWith(ITEM));

/* Adds an item and keeps the newest within the limits. */
export const enqueue = (item) => {
  store(ITEM + newId(), item);
  const oldest = ITEM + newId(Date.now() - MAX_ITEM_AGE_MS);
  let chars = 0;
  queuedKeys()
    .reverse()
    .forEach((key, place) => {
      chars += written(key).length;
      if (place >= MAX_QUEUE_ITEMS || chars > MAX_QUEUE_CHARS || key < oldest) drop(key);
    });
  gather();
};

/* Returns the first request that the queue makes: one context, or events up to the limits; nothing if it is empty. */
export const nextRequest = (keys, maxBytes) => {
  const session = recall("session");
  const request = { session: session.id, keys: [], items: [], bytes: 0 };
  for (const key of keys) {
    const { context, event, session: id } = recall(key);
    if (!event && !context) {
      drop(key); // not one of ours
      continue;
    }
    // The session of a nameless item is the collector's decision: its answer tells.
    const isOurs = !options.sessionId && [undefined, session.id, session.was].includes(id);
    const item = { session_id: isOurs ? undefined : id, ...event, ...context };
    const bytes = request.bytes + bytesOf(item);
    if (request.bytes && (context || bytes > maxBytes)) break;
    request.bytes = bytes;
    request.keys.push(key);
    request.items.push(item);
    if (context) break;
  }
  return request.bytes && request;
};
