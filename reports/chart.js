/* Lines over days, drawn by uPlot. The table under it has the same figures for those who do not see it. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { element } from "./elements.js";
import { count } from "./format.js";
import { DAY_MS, day } from "./state.js";

const HEIGHT_PX = 240;
/* A date such as 2026-03-01 with some room on both sides. */
const DATE_WIDTH_PX = 100;
const COLOURS = ["--line-1", "--line-2", "--line-3"];

/* What each box draws, and what is drawn at present. */
const contents = new WeakMap();
let plots = [];

/* Series: [{label, values, isDashed}], each with a value for each day. */
export function chart(label, days, series) {
  const most = Math.max(...series[0].values);
  const summary = `${label}, ${days[0]} to ${days.at(-1)}: at most ${count(most)} a day. The table has all figures.`;
  const box = element("div", { class: "chart", role: "img", "aria-label": summary });
  contents.set(box, { days, series });
  return box;
}

/* Charts take their width and colours from the page, so they are drawn when they are in it. */
export function drawCharts() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  for (const plot of plots) plot.destroy();
  plots = [...document.querySelectorAll(".chart")].map((box) => {
    const { days, series } = contents.get(box);
    const seconds = days.map((text) => Date.parse(text) / 1000);
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { show: false } };
    const options = {
      width: box.clientWidth || 600,
      height: HEIGHT_PX,
      padding: [null, DATE_WIDTH_PX / 2, null, null],
      cursor: { y: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [
        { ...axis, splits: (plot) => someOf(seconds, plot), values: (_, ticks) => ticks.map((tick) => day(tick * 1000)) },
        { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : "")) },
      ],
      series: [
        { label: "day", value: (_, at) => (at === null ? "–" : day(at * 1000)) },
        ...series.map(({ label, isDashed }, place) => ({
          label,
          stroke: colour(COLOURS[place]),
          width: 2,
          dash: isDashed ? [6, 5] : undefined,
          points: { show: days.length < 40 },
          value: (_, value) => count(value),
        })),
      ],
    };
    return new uPlot(options, [seconds, ...series.map(({ values }) => values)], box);
  });
}

/* As many of the days as there is room for, at equal distances. */
function someOf(days, plot) {
  const step = Math.max(1, Math.ceil((days.length * DATE_WIDTH_PX) / plot.width));
  return days.filter((_, place) => place % step === 0);
}

export function resizeCharts() {
  for (const plot of plots) plot.setSize({ width: plot.root.parentElement.clientWidth || 600, height: HEIGHT_PX });
}

/* Every day of a range, also those without a row. */
export function daysOf({ from, to }) {
  const days = [];
  for (let ms = Date.parse(from); ms <= Date.parse(to); ms += DAY_MS) days.push(day(ms));
  return days;
}

export function byDay(days, rows, column) {
  const found = new Map(rows.map((row) => [row.day, row[column]]));
  return days.map((text) => found.get(text) ?? 0);
}
