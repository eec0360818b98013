/* Asks the collector for the rows of reports. */

const KEY = "tracker.read-key";
const NO_READ_KEY = "This is not a read key of this collector.";

export class KeyNeeded extends Error {}

export function saveKey(key) {
  sessionStorage.setItem(KEY, key.trim());
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/* The key is never in the address: that ends in logs and histories. What no header can hold is no key. */
function authorization() {
  const key = sessionStorage.getItem(KEY);
  if (key && !/^[!-~]+$/.test(key)) throw new KeyNeeded(NO_READ_KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export async function rows(report, parameters, signal) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  const fields = new URLSearchParams([["report", report], ...given]);
  const response = await fetch(`/reports/data?${fields}`, { cache: "no-store", headers: authorization(), signal });
  const answer = await response.json().catch(() => ({ error: { message: `status ${response.status} instead of an answer`, reasons: [] } }));
  if (response.ok && answer.rows) return answer.rows;
  if (response.status === 401 || (response.status === 403 && hasKey())) throw new KeyNeeded(hasKey() ? NO_READ_KEY : "");
  throw new Error([answer.error.message, ...answer.error.reasons].join("; "));
}
