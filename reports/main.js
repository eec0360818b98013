/* The page: reads the address, asks for what its report needs, shows it. */

import "./style.css";
import { drawCharts, resizeCharts } from "./chart.js";
import { hasKey, KeyNeeded, rows, saveKey } from "./data.js";
import { element } from "./elements.js";
import { address, DAY_MS, day, FIRST_DAY, LAST_DAY, periodBefore, range, read } from "./state.js";
import { VIEWS } from "./views.js";

const RANGES_DAYS = [7, 28, 90];
const $ = (id) => document.getElementById(id);
let state = read(location.search, VIEWS, Date.now());
let underWay = new AbortController();

function visit(to) {
  history.pushState(null, "", to);
  show({ isMoved: true });
}

/* Links of ours are followed here; with a modifier key, the browser does as always. */
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-in-page]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  visit(link.href);
});
addEventListener("popstate", () => show({ isMoved: true }));

function showNavigation() {
  $("reports").replaceChildren(...Object.entries(VIEWS).map(([report, { title }]) => {
    const isHere = report === state.report;
    return element("li", {}, element("a", { href: address(state, { report }), "data-in-page": true, "aria-current": isHere ? "page" : null }, title));
  }));
}

function field(label, attributes) {
  return element("label", {}, label, element("input", attributes));
}

function choice({ name, label, options }) {
  const chosen = state.others[name] ?? options[0];
  return element("label", {}, label, element("select", { name }, ...options.map((option) => element("option", { selected: option === chosen }, option))));
}

function checkbox(label, name, isChecked) {
  return element("label", { class: "check" }, element("input", { type: "checkbox", name, checked: isChecked }), label);
}

function showFilters() {
  const { fields, isCompared } = VIEWS[state.report];
  const now = Date.now();
  const ranges = RANGES_DAYS.map((days) => element("a", { href: address(state, { from: day(now - (days - 1) * DAY_MS), to: day(now) }), "data-in-page": true }, `${days} days`));
  $("filters").replaceChildren(
    ...(hasKey() ? [] : [field("Workspace", { name: "workspace_id", value: state.others.workspace_id ?? "", maxlength: 256, required: true })]),
    field("From", { type: "date", name: "from", value: state.from, min: FIRST_DAY, max: LAST_DAY, required: true }),
    field("To", { type: "date", name: "to", value: state.to, min: FIRST_DAY, max: LAST_DAY, required: true }),
    element("span", { class: "ranges" }, ...ranges),
    ...fields.map((each) => (each.options ? choice(each) : field(each.label, { name: each.name, value: state.others[each.name] ?? "", placeholder: each.placeholder, pattern: each.pattern, maxlength: 256 }))),
    ...(isCompared ? [checkbox("Compare with the period before", "compare", !("nocompare" in state.others))] : []),
    ...(state.report === "quality" ? [] : [checkbox("Count bots", "include_bots", "include_bots" in state.others)]),
    element("button", {}, "Show"),
  );
}

$("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = new FormData(event.target);
  const names = [...VIEWS[state.report].fields.map(({ name }) => name), "workspace_id"].filter((name) => event.target.elements[name]);
  const changes = Object.fromEntries(names.map((name) => [name, given.get(name).trim()]));
  if (event.target.elements.compare) changes.nocompare = given.has("compare") ? "" : "1";
  if (event.target.elements.include_bots) changes.include_bots = given.has("include_bots") ? "1" : "";
  visit(address(state, { from: given.get("from"), to: given.get("to"), ...changes }));
});

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  saveKey($("key").value);
  $("key").value = "";
  show({ isMoved: true });
});

/* A filter goes to the report that has it; the others keep it in their links. */
function parameters() {
  const names = [...(hasKey() ? [] : ["workspace_id"]), "include_bots", ...VIEWS[state.report].fields.map(({ name }) => name)];
  return Object.fromEntries(names.filter((name) => name in state.others).map((name) => [name, state.others[name]]));
}

function asking(period, signal) {
  const ask = (report) => rows(report, { ...parameters(), ...range(period) }, signal);
  return Object.assign(ask, { range: period });
}

async function show({ isMoved }) {
  state = read(location.search, VIEWS, Date.now());
  underWay.abort();
  const here = (underWay = new AbortController());
  const view = VIEWS[state.report];
  document.title = `${view.title}, ${state.from} to ${state.to}`;
  showNavigation();
  showFilters();
  $("status").textContent = "Loading …";
  $("report").setAttribute("aria-busy", "true");
  try {
    const isCompared = view.isCompared && !("nocompare" in state.others);
    const before = isCompared ? asking(periodBefore(state), here.signal) : null;
    const shown = await view.show({ ask: asking(state, here.signal), before, state });
    if (here.signal.aborted) return;
    $("report").replaceChildren(...shown);
    drawCharts();
    $("status").textContent = before ? `Changes are against ${before.range.from} to ${before.range.to}. Times are UTC.` : "Times are UTC.";
    $("key-form").hidden = true;
    $("filters").hidden = false;
    if (isMoved) $("report").focus({ preventScroll: true });
  } catch (error) {
    if (here.signal.aborted) return;
    fail(error);
  } finally {
    if (!here.signal.aborted) $("report").removeAttribute("aria-busy");
  }
}

function fail(error) {
  const isKeyNeeded = error instanceof KeyNeeded;
  const isWorkspaceNeeded = !hasKey() && !state.others.workspace_id;
  $("report").replaceChildren();
  $("key-form").hidden = !isKeyNeeded;
  $("filters").hidden = isKeyNeeded;
  $("status").textContent = isKeyNeeded ? error.message : isWorkspaceNeeded ? "Say which workspace." : `No data: ${error.message}`;
  if (isKeyNeeded) $("key").focus();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
new ResizeObserver(resizeCharts).observe($("report"));
show({ isMoved: false });
