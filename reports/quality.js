/* Data quality: what must be 0 is 0, or it says which sessions to look at. It is about all rows, whatever the range. */

import { element, note, section } from "./elements.js";
import { count } from "./format.js";
import { table } from "./table.js";

const COUNTS = new Set(["sessions", "closed_sessions", "events", "copies_not_merged"]);
const words = (name) => name.replaceAll("_", " ");

export async function dataQuality({ ask }) {
  const [[row], sessions] = await Promise.all([ask("data_quality"), ask("data_quality_sessions")]);
  const faults = Object.keys(row).filter((name) => !COUNTS.has(name) && row[name] > 0);
  const verdict = faults.length ? `To look at: ${faults.map(words).join(", ")}.` : "All is well: nothing is missing, doubled or in disagreement.";
  const lines = Object.entries(row).map(([name, value]) => ({ figure: words(name), value, state: COUNTS.has(name) ? "" : value ? "look" : "ok" }));
  return [section("Data quality", element("p", { class: faults.length ? "bad" : "good" }, verdict), note("About all rows of the workspace, whatever the dates."),
    table("Figures", lines, [{ name: "figure", label: "Figure" }, { name: "value", label: "Number", format: count }, { name: "state", label: "State", empty: "" }], { file: "data_quality", download: [row] }),
    ...(sessions.length ? [table("Sessions to look at", sessions, Object.keys(sessions[0]).map((name) => ({ name, label: words(name) })), { file: "data_quality_sessions" })] : []),
  )];
}
