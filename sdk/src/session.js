/* Which session it is, whose, and what it is about.
 *
 * The session is the collector's decision: the cookie's, which scripts can't read, or else the one that we propose. We
 * learn it from the answers. Only what an earlier session left behind names its session.
 */
import { isDenied, isGranted } from "./consent.js";
import { newId } from "./ids.js";
import { contextOf, options, pick } from "./options.js";
import { enqueue } from "./queue.js";
import { forget, recall, store } from "./storage.js";
import { copyOf, idOf, json, keysOf, parsed } from "./values.js";

const SESSION_TIMEOUT_SECONDS = 1_800;
const MAX_TRAITS_CHARS = 1_024;

let context;
let announced; // the session and the context that this page has told it

export const startSession = () => {
  context = { ...recall("user"), ...options.context };
};

/* Takes what is news of the session; undefined takes a field away. The next event tells it. */
export const setContext = (news) => Object.assign(context, news);

/* The same, told at once if the page is looked at. */
const learn = (news) => {
  setContext(news);
  if (!document.hidden) touchSession();
};

export const addContext = (given) => learn(contextOf(given));

/* What events take along: what brings it to the session may come later, or not be believed without a cookie. What the
   write key decides stays out, because it could be refused, and the event with it. */
export const eventContext = () => pick(context, options.key ? 2 : 0);

/* Says who it is, in this browser and until `reset`. Somebody else begins another session. */
export const identify = (id, traits) => {
  const user_id = idOf(id);
  if (user_id && context.user_id && user_id !== context.user_id) reset();
  const news = user_id ? traits : (traits ?? id); // traits alone are about whoever it is
  const user_traits = keysOf(news).length
    ? json({ ...parsed(context.user_traits), ...copyOf(news) }, MAX_TRAITS_CHARS)
    : context.user_traits;
  const user = { user_traits, user_id: user_id ?? context.user_id };
  if (!isDenied()) store("user", user);
  learn(user);
};

/* Forgets what the collector has refused, so that no later event has it. */
export const unlearn = (name, value) => {
  if (context[name] === value) {
    context[name] = undefined;
    store("user", { ...recall("user"), [name]: undefined });
  }
};

/* Forgets who it was and begins a session: who has logged out is nobody that we know. */
export const reset = () => {
  const before = recall("session").id;
  forget("user");
  options.sessionId = undefined;
  context.user_id = context.user_traits = undefined;
  if (before) goOnAs({ id: newId(), replaces: before });
};

const goOnAs = (session) => store("session", { at: Date.now(), ...session });

export const timeoutMs = () => 1000 * (context.timeout_seconds ?? SESSION_TIMEOUT_SECONDS);

/* Returns the id of the session that goes on now, or begins; nothing before consent. A session that does not know
   our context is told it. */
export const touchSession = () => {
  if (!isGranted()) return;
  const now = Date.now();
  let session = recall("session");
  // A clock that was put back ends it too.
  if (!(Math.abs(now - session.at) <= timeoutMs())) session = { id: newId() };
  if (options.sessionId) session.id = options.sessionId;
  const told = json(context);
  const isNews = announced !== (announced = session.id + told) && session.context !== told;
  if (isNews) session.context = told;
  session.at = now;
  store("session", session);
  if (isNews && told !== "{}") enqueue({ context, session: session.id });
  return session.id;
};

/* The collector knows better which session this is: it reads the cookie. */
export const adopt = (id, was) => {
  if (!id || id === was || was !== recall("session").id) return;
  goOnAs({ id, was });
  touchSession();
};
