/* Elements from values. Text is always text: nothing from a report becomes markup. */

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

export function section(title, ...children) {
  return element("section", {}, element("h2", {}, title), ...children);
}

export function note(text) {
  return element("p", { class: "note" }, text);
}

/* Figures with the change against the period before, if there is one. */
export function tiles(figures) {
  const list = element("dl", { class: "tiles" });
  for (const { label, value, change } of figures) {
    const figure = element("dd", {}, element("span", { class: "figure" }, value));
    if (change !== undefined) figure.append(" ", element("span", { class: "change" }, change), element("span", { class: "unseen" }, " against the period before"));
    list.append(element("div", {}, element("dt", {}, label), figure));
  }
  return list;
}
