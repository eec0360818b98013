/* What is shown is in the address: the report, the range and the filters. So each link keeps them, and can be sent on. */

export const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 28;
/* The days that pipes know: date fields of the page have the same limits. */
export const FIRST_DAY = "2000-01-01";
export const LAST_DAY = "2099-12-31";

export function day(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

/* What is no report or no day is the default. A field's default is not written into the address. */
export function read(search, views, nowMs) {
  const given = new URLSearchParams(search);
  const report = Object.hasOwn(views, given.get("report")) ? given.get("report") : Object.keys(views)[0];
  let from = validDay(given.get("from")) ?? day(nowMs - (DEFAULT_DAYS - 1) * DAY_MS);
  let to = validDay(given.get("to")) ?? day(nowMs);
  if (from > to) [from, to] = [to, from];
  const others = Object.fromEntries([...given].filter(([name, value]) => value && !["report", "from", "to"].includes(name)));
  return { report, from, to, others };
}

function validDay(text) {
  const ms = Date.parse(text);
  // Some browsers take the 31st of February for the 3rd of March.
  return !Number.isNaN(ms) && day(ms) === text && text >= FIRST_DAY && text <= LAST_DAY ? text : null;
}

export function address({ report, from, to, others }, changes = {}) {
  const fields = new URLSearchParams({ report, from, to, ...others });
  for (const [name, value] of Object.entries(changes)) value ? fields.set(name, value) : fields.delete(name);
  return `/reports?${fields}`;
}

/* The range as the pipes take it: until is not part of it. */
export function range({ from, to }) {
  return { date_from: `${from} 00:00:00`, date_to: `${day(Date.parse(to) + DAY_MS)} 00:00:00` };
}

/* As many days, right before. */
export function periodBefore({ from, to }) {
  const days = Math.round((Date.parse(to) - Date.parse(from)) / DAY_MS) + 1;
  return { from: day(Date.parse(from) - days * DAY_MS), to: day(Date.parse(from) - DAY_MS) };
}
