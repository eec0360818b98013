/* Numbers as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const share = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const change = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0, signDisplay: "exceptZero" });
const points = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" });
const some = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const MISSING = "–";

const present = (format) => (value) => (value === null || value === undefined ? MISSING : format(value));

export const text = present(String);
export const count = present((value) => whole.format(value));
export const amount = present((value) => money.format(value));
export const percent = present((value) => share.format(value));
export const number = present((value) => some.format(value));
export const percentPoints = present((value) => `${points.format(value * 100)} pp`);

/* The change against the period before; there is none from nothing. */
export function against(value, before) {
  if (value === null || before === null || before === undefined) return MISSING;
  if (value === before) return "±0 %";
  return before === 0 ? "new" : change.format(value / before - 1);
}
