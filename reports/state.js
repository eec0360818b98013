/* What is shown is in the address: the report, the range and the filters. So each link keeps them, and can be sent on. */

export const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 28;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

export function day(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

/* A field's default is not written into the address. */
export function read(search, views, nowMs) {
  const given = new URLSearchParams(search);
  const report = given.get("report") in views ? given.get("report") : Object.keys(views)[0];
  let from = validDay(given.get("from")) ?? day(nowMs - (DEFAULT_DAYS - 1) * DAY_MS);
  let to = validDay(given.get("to")) ?? day(nowMs);
  if (from > to) [from, to] = [to, from];
  const others = Object.fromEntries([...given].filter(([name, value]) => value && !["report", "from", "to"].includes(name)));
  return { report, from, to, others };
}

function validDay(text) {
  return text && DAY.test(text) && !Number.isNaN(Date.parse(text)) ? text : null;
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
