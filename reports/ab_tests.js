/* A/B tests: each variant against the control, the verdict in words, and who is left out. */

import { element, note, section } from "./elements.js";
import { amount, count, number, percent, percentPoints } from "./format.js";
import { table } from "./table.js";

const VERDICTS = {
  better: "Better than the control.",
  worse: "Worse than the control.",
  undecided: "Not decided yet: the interval contains zero.",
  "too few": "Too few visitors for an interval.",
  "sample ratio mismatch": "Don't believe these rates: the visitors are not spread as the test wanted it. Find out why first.",
};

export async function abTests({ ask }) {
  const [variants, excluded] = await Promise.all([ask("ab_test_conversion"), ask("ab_test_excluded")]);
  if (!variants.length) return [section("A/B tests", note("No test was seen in this range."))];
  return [...new Set(variants.map((row) => row.ab_test_id))].map((id) => {
    const of = (rows) => rows.filter((row) => row.ab_test_id === id);
    return section(`Test ${id}`, verdicts(of(variants)), variantsTable(id, of(variants)), excludedTable(id, of(excluded)));
  });
}

function verdicts(variants) {
  const compared = variants.filter(({ verdict }) => verdict !== "control");
  const lines = compared.map(({ variant_id, verdict }) => element("li", {}, element("strong", {}, variant_id), ": ", VERDICTS[verdict] ?? verdict));
  return element("ul", { class: "verdicts" }, ...lines);
}

function variantsTable(id, rows) {
  return table(`Variants of ${id}`, rows, [
    { name: "variant_id", label: "Variant" }, { name: "verdict", label: "Verdict" }, { name: "visitors", label: "Visitors", format: count },
    { name: "converted_visitors", label: "Converted", format: count }, { name: "conversion_rate", label: "Rate", format: percent }, { name: "difference", label: "Difference", format: percentPoints },
    { name: "difference_low", label: "At least", format: percentPoints }, { name: "difference_high", label: "At most", format: percentPoints },
    { name: "value", label: "Value", format: amount }, { name: "share", label: "Share", format: percent }, { name: "expected_share", label: "Wanted share", format: percent }, { name: "srm_p_value", label: "p of the spread", format: number },
  ], { file: `ab_test_conversion-${id}` });
}

function excludedTable(id, rows) {
  if (!rows.length) return note("Nobody is left out.");
  return element("details", {}, element("summary", {}, "Who is left out"), table(`Left out of ${id}`, rows, [
    { name: "visitor_id", label: "Visitor" }, { name: "reason", label: "Why" }, { name: "visitors", label: "Visitors with this reason", format: count },
    { name: "variants", label: "Variants seen" }, { name: "first_seen_at", label: "First seen" },
  ], { file: `ab_test_excluded-${id}` }));
}
