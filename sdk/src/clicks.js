/* Clicks and forms, as the browser has them: through shadow roots and slots, with any button, sent by script or hand. */
import { heard } from "./options.js";
import { track } from "./track.js";
import { attempt, cut } from "./values.js";
import { isWanted } from "./views.js";

const LINK = "a[*|href],area[href]";
const CLICKABLE = `${LINK},button,summary,[role=button],[data-track],[type=submit],[type=button],[type=image]`;
const EXEMPT = "[data-no-track]";
const SILENT = `${EXEMPT},textarea,select`; // no label: what somebody typed or chose
const MAX_LABEL_CHARS = 200;
const MIDDLE_BUTTON = 1;
const TEXT_NODE = 3;

let lastSubmit; // the event

export const onClick = (event) => {
  const path = event.composedPath();
  onFocus(event);
  if (!isWanted("click") || event.button > MIDDLE_BUTTON) return;
  const element = first(path, CLICKABLE);
  if (!element || first(path, EXEMPT)) return;
  const link = first(path, LINK);
  track("click", {
    clicked_element: describe(element),
    clicked_url: addressOf(link),
    metadata: { download: link?.getAttribute("download") },
  });
};

/* A shadow root keeps its submit events to itself; to fill in or click a form comes first. */
export const onFocus = (event) => {
  for (const node of event.composedPath()) {
    // One that is there already is not added again.
    if (node instanceof ShadowRoot) node.addEventListener("submit", hearSubmit, true);
  }
};

export const onSubmit = (event) => {
  lastSubmit = event;
  sent(event.target);
};

const hearSubmit = heard(onSubmit);

/* `form.submit()` makes no event, but a page may stop one that was made, look at the form, and then call it. */
export const onScriptedSubmit = (form) => {
  if (lastSubmit?.target !== form || !lastSubmit.defaultPrevented) sent(form);
  lastSubmit = undefined;
};

const sent = (form) => {
  if (!isWanted("form") || first(upwards(form), EXEMPT)) return;
  const names = ["id", "name", "action"].map((name) => form.getAttribute(name)?.split("?")[0]);
  track("form_submit", { form_id: names.find(Boolean) ?? "form" });
};

/* Returns what a node is shown in, from itself to the document: out of slots and shadow roots too. */
const upwards = (node) => {
  return node ? [node, ...upwards(node.assignedSlot ?? node.parentNode ?? node.host)] : [];
};

const first = (path, selector) => path.find((node) => node.matches?.(selector));

/* Where a link leads, but not the data that it may consist of; nothing without a link. */
const addressOf = (link) =>
  attempt(() => new URL(link.href.baseVal ?? link.href, document.baseURI).href.replace(/^(data:).*/s, "$1"));

/* What was clicked, such as: button#buy.primary "Buy now". Never what somebody typed. */
const describe = (element) => {
  const classes = [...element.classList].map((name) => `.${name}`).join("");
  const label = element.getAttribute("data-track") || element.getAttribute("aria-label") || shownText(element);
  const text = label.trim().replace(/\s+/g, " ");
  return cut(element.localName + (element.id && `#${element.id}`) + classes + (text && ` "${text}"`), MAX_LABEL_CHARS);
};

/* The text in a node as it is shown: a component's own, with what it was given in its slots. */
const shownText = (node) => {
  if (node.nodeType === TEXT_NODE) return node.data;
  if (node.isContentEditable || first([node], SILENT)) return "";
  const shown = node.assignedNodes?.({ flatten: true }) ?? (node.shadowRoot ?? node).childNodes;
  return [...shown].map(shownText).join("");
};
