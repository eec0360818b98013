/* Asks the collector for the rows of reports. */

const KEY = "tracker.read-key";

export class KeyNeeded extends Error {}

export function saveKey(key) {
  sessionStorage.setItem(KEY, key.trim());
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/* The key is never in the address: that ends in logs and histories. */
function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export async function rows(report, parameters, signal) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  const fields = new URLSearchParams([["report", report], ...given]);
  const response = await fetch(`/reports/data?${fields}`, { cache: "no-store", headers: authorization(), signal });
  const answer = await response.json();
  if (response.ok) return answer.rows;
  if (response.status === 401 || (response.status === 403 && hasKey())) throw new KeyNeeded(hasKey() ? "This is not a read key of this collector." : "");
  throw new Error([answer.error.message, ...answer.error.reasons].join("; "));
}
