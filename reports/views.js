/* The reports: what each asks the pipes, and what it shows of their rows. */

import { byDay, chart, daysOf } from "./chart.js";
import { note, section, tiles } from "./elements.js";
import { against, amount, count, number, percent, text } from "./format.js";
import { abTests } from "./ab_tests.js";
import { table } from "./table.js";
import { dataQuality } from "./quality.js";

const GOAL = { name: "goal", label: "Goal (event type)", placeholder: "conversion" };
const VALUE = { name: "value_type", label: "Value in", placeholder: "EUR" };
const CAMPAIGN = { name: "campaign_id", label: "Campaign", placeholder: "all" };
const BY = { name: "by", label: "Touches by", options: ["campaign", "source", "medium"] };
const WINDOW = { name: "window_days", label: "Days before", placeholder: "30", pattern: "[1-9][0-9]{0,2}" };
const PERIOD = { name: "period", label: "Came back by", options: ["week", "day", "month"] };
const DEPTH = { name: "depth", label: "Pages of a path", placeholder: "4", pattern: "[1-9]|10" };
const TEST = { name: "ab_test_id", label: "Test", placeholder: "all" };
const CONTROL = { name: "control", label: "Control", placeholder: "control" };
const PLANNED = { name: "planned_visitors", label: "Planned visitors", placeholder: "10000", pattern: "[1-9][0-9]{0,8}" };
const SPLIT = { name: "split", label: "Wanted shares (JSON)", placeholder: "equal" };
const STEPS = ["pageview", "click", "form_submit", "conversion"].map((step, place) => ({ name: `step_${place + 1}`, label: `Step ${place + 1}`, placeholder: step }));

/* Each: title, the fields that it takes besides the range, and show({ask, before, state}), which returns its elements. */
export const VIEWS = {
  overview: { title: "Overview", fields: [CAMPAIGN, GOAL, VALUE], isCompared: true, show: overview },
  visitors: { title: "Visitors", fields: [PERIOD], isCompared: false, show: visitors },
  campaigns: { title: "Campaigns", fields: [BY, WINDOW, GOAL, VALUE], isCompared: true, show: campaigns },
  funnel: { title: "Funnel", fields: [CAMPAIGN, ...STEPS], isCompared: true, show: funnel },
  pages: { title: "Landing pages", fields: [CAMPAIGN, DEPTH, GOAL, VALUE], isCompared: true, show: landingPages },
  tests: { title: "A/B tests", fields: [TEST, CONTROL, PLANNED, SPLIT, GOAL, VALUE], isCompared: false, show: abTests },
  quality: { title: "Data quality", fields: [], isCompared: false, show: dataQuality },
};

const counted = (name, label) => ({ name, label, format: count, change: against });
const CONVERSIONS = [
  counted("converted_sessions", "Converted sessions"),
  { name: "conversion_rate", label: "Conversion rate", format: percent },
  counted("conversions", "Conversions"),
  { name: "value", label: "Value", format: amount, change: against },
];

async function overview({ ask, before, state }) {
  const [[total], days, [was], daysBefore] = await Promise.all([
    ask("overview"), ask("sessions_overview"), before ? before("overview") : [null], before ? before("sessions_overview") : [],
  ]);
  const figure = (label, name, format) => ({ label, value: format(total[name]), change: was ? against(total[name], was[name]) : undefined });
  const dates = daysOf(state);
  const lines = [{ label: "sessions", values: byDay(dates, days, "sessions") }];
  if (before) lines.push({ label: "period before", values: byDay(daysOf(before.range), daysBefore, "sessions"), isDashed: true });
  return [
    tiles([
      figure("Visitors", "visitors", count), figure("New visitors", "new_visitors", count), figure("Sessions", "sessions", count), figure("Bounce rate", "bounce_rate", percent),
      figure("Conversion rate", "conversion_rate", percent), figure("Conversions", "conversions", count), figure("Value", "value", amount),
    ]),
    section("Sessions by day", chart("Sessions by day", dates, lines), table("Days", days, [
      { name: "day", label: "Day" }, { name: "sessions", label: "Sessions", format: count }, { name: "visitors", label: "Visitors", format: count },
      { name: "open_sessions", label: "Still open", format: count }, { name: "bounced_sessions", label: "Bounced", format: count },
      { name: "converted_sessions", label: "Converted", format: count }, { name: "events", label: "Events", format: count },
      { name: "seconds_per_closed_session", label: "Seconds a session", format: number },
    ], { file: "sessions_overview" })),
  ];
}

async function visitors({ ask, state }) {
  const [days, cohorts] = await Promise.all([ask("visitors"), ask("retention")]);
  const dates = daysOf(state);
  const lines = [["new", "new_visitors"], ["returning", "returning_visitors"]].map(([label, name]) => ({ label, values: byDay(dates, days, name) }));
  return [
    section("New and returning visitors", chart("New visitors by day", dates, lines), table("Visitors by day", days, [
      { name: "day", label: "Day" }, { name: "visitors", label: "Visitors", format: count }, { name: "new_visitors", label: "New", format: count },
      { name: "returning_visitors", label: "Returning", format: count }, { name: "sessions", label: "Sessions", format: count },
    ], { file: "visitors" })),
    section("Who came back", note("Of the visitors who came first in a period, how many came again so many periods later. The last periods may not have ended yet."), retention(cohorts)),
  ];
}

/* One line for each first period, one column for each period later. */
function retention(rows) {
  const periods = rows.reduce((most, { period }) => Math.max(most, period), 0);
  const lines = new Map();
  for (const { cohort, cohort_visitors, period, share } of rows) {
    if (!lines.has(cohort)) lines.set(cohort, { cohort, cohort_visitors });
    lines.get(cohort)[`period_${period}`] = share;
  }
  const later = Array.from({ length: Math.min(periods, 12) }, (_, place) => ({ name: `period_${place + 1}`, label: `+${place + 1}`, format: percent }));
  return table("Retention", [...lines.values()], [{ name: "cohort", label: "First seen" }, { name: "cohort_visitors", label: "Visitors", format: count }, ...later], { file: "retention", download: rows });
}

async function campaigns({ ask, before }) {
  const [found, was, touches] = await Promise.all([ask("campaign_conversion"), before ? before("campaign_conversion") : null, ask("attribution")]);
  const models = [["first", "First touch"], ["last", "Last touch"], ["last_non_direct", "Last not direct"], ["linear", "Linear"], ["position", "Position"]];
  const columns = models.flatMap(([name, label]) => [{ name: `${name}_conversions`, label, format: number }, { name: `${name}_value`, label: `${label}: value`, format: amount }]);
  return [
    section("Campaigns", table("Sessions and conversions by campaign", found, [{ name: "campaign_id", label: "Campaign", empty: "(no campaign)" }, counted("sessions", "Sessions"), ...CONVERSIONS], { key: ["campaign_id"], before: was, file: "campaign_conversion" })),
    section("Which touches brought the conversions", note("Each model gives every conversion away once, to the touches in the days before it."), table("Attribution", touches, [{ name: "touch", label: "Touch" }, { name: "touched_conversions", label: "Conversions with it", format: count }, ...columns], { file: "attribution" })),
  ];
}

async function funnel({ ask, before }) {
  const [steps, was] = await Promise.all([ask("funnel"), before ? before("funnel") : null]);
  return [section("Funnel", note("Sessions that took these steps one after the other."), table("Steps", steps, [
    { name: "step", label: "Step", format: text }, { name: "event_type", label: "Event type" }, counted("sessions", "Sessions"),
    { name: "of_first_step", label: "Of the first step", format: percent, isBar: true }, { name: "of_previous_step", label: "Of the step before", format: percent },
  ], { key: ["step"], before: was, file: "funnel" }))];
}

async function landingPages({ ask, before }) {
  const [pages, was, paths] = await Promise.all([ask("landing_pages"), before ? before("landing_pages") : null, ask("paths")]);
  return [
    section("Landing pages", table("Where sessions begin", pages, [
      { name: "landing_page", label: "First page" }, { name: "landing_page_id", label: "Landing page id", empty: "–" }, counted("sessions", "Sessions"), { name: "visitors", label: "Visitors", format: count },
      { name: "bounce_rate", label: "Bounce rate", format: percent }, ...CONVERSIONS,
    ], { key: ["landing_page", "landing_page_id"], before: was, file: "landing_pages" })),
    section("Paths", table("The most frequent paths", paths, [
      { name: "path", label: "Pages" }, { name: "sessions", label: "Sessions", format: count }, { name: "share", label: "Share", format: percent },
      { name: "converted_sessions", label: "Converted sessions", format: count }, { name: "conversion_rate", label: "Conversion rate", format: percent },
    ], { file: "paths" })),
  ];
}
