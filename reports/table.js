/* A table of a report's rows, and the same rows as a CSV file: as the pipe gave them. */

import { element } from "./elements.js";

/* Without it, spreadsheets take the file for another encoding. */
const UTF_8_MARK = "\ufeff";

/* Columns: {name, label, format, change}. A column with a change shows what it was in the period before. */
export function table(caption, rows, columns, { key = [], before = null, file = "report", download = rows } = {}) {
  const former = new Map((before ?? []).map((row) => [identity(row, key), row]));
  const head = element("tr", {}, ...columns.flatMap((column) => {
    const cells = [element("th", { scope: "col", class: column.format ? "number" : null }, column.label)];
    if (before && column.change) cells.push(element("th", { scope: "col", class: "number" }, element("span", { class: "unseen" }, `${column.label}: `), "change"));
    return cells;
  }));
  const body = rows.map((row) => element("tr", {}, ...columns.flatMap((column, place) => cells(row, column, place, before && { row: former.get(identity(row, key)) }))));
  const shown = element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body));
  // What is wider than the window is scrolled, with the keyboard too.
  const box = element("div", { class: "table", role: "region", tabindex: "0", "aria-label": caption }, shown);
  const parts = element("div", { "data-table": file }, box);
  if (rows.length) parts.append(csvButton(caption, download, file));
  else box.append(element("p", { class: "note" }, "Nothing in this range."));
  return parts;
}

function identity(row, key) {
  return JSON.stringify(key.map((name) => row[name]));
}

function cells(row, { name, format, change, isBar, empty = "(none)" }, place, was) {
  const value = row[name];
  const text = format ? format(value) : value === "" || value === null ? empty : String(value);
  const first = element(place === 0 ? "th" : "td", { scope: place === 0 ? "row" : null, class: format ? (isBar ? "number bar" : "number") : null, style: isBar ? `--share: ${value}` : null }, text);
  if (!was || !change) return [first];
  return [first, element("td", { class: "number change" }, change(value, was.row ? was.row[name] : 0))];
}

function csvButton(caption, rows, file) {
  const button = element("button", { type: "button", class: "quiet" }, "Download CSV", element("span", { class: "unseen" }, ` of ${caption}`));
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([UTF_8_MARK, csv(rows)], { type: "text/csv;charset=utf-8" }));
    const link = element("a", { href: address, download: `${file}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 0);
  });
  return button;
}

export function csv(rows) {
  const names = Object.keys(rows[0] ?? {});
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => `${line.map(csvCell).join(",")}\r\n`).join("");
}

/* A text that a spreadsheet would take for a formula gets an apostrophe: pages' visitors choose such texts. A number is none. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  let text = Array.isArray(value) ? value.join(" ") : String(value);
  if (typeof value !== "number" && /^[=+\-@\t\r\n]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
