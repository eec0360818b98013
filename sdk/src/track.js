/* From what happens to an item of the queue. */
import { isDenied } from "./consent.js";
import { newId } from "./ids.js";
import { enqueue } from "./queue.js";
import { eventContext, touchSession } from "./session.js";
import { recall } from "./storage.js";
import { fieldsOf, text, timeOf } from "./values.js";
import { pageUrl, viewPage } from "./views.js";

/* Returns the event's id; undefined if it is not tracked. */
export const track = (type, ...given) => {
  const event_type = text(type);
  if (!event_type || isDenied()) return;
  if (event_type !== "pageview") viewPage();
  const own = { event_id: newId(), timestamp: timeOf(), page_url: pageUrl() };
  const event = { ...eventContext(), event_type, ...fieldsOf(own, ...given) };
  // To leave a page is nothing that a visitor begins a session with, or goes on with.
  event.passive = event.event_value === "page_leave" || undefined;
  const session = event.passive ? recall("session").id : touchSession();
  enqueue({ event, session });
  return event.event_id;
};
