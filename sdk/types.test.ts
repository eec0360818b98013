// Compiled, never run: what has to be possible, and what must not be.
import { tracker, type Options } from "@event-tracker/browser";
import { ownEvent } from "../examples/own-events/own_events.js";

const options: Options = {
  endpoint: "https://collect.example.com",
  trackPath: "/t",
  sessionPath: "/s",
  key: "wk_1",
  consent: "pending",
  auto: ["pageview", "click"],
  pages: ["query"],
  context: { workspace_id: "w1", ab_test_id: "headline", ab_test_variant_id: "b" },
  sessionTimeoutSeconds: 600,
};
tracker.init(options);
const id: string | undefined = tracker.track("click", { event_value: "buy", metadata: { plan: "yearly" } });
tracker.conversion(49.9, { event_value_type: "EUR", timestamp: new Date() });
tracker.session({ campaign_id: "spring", timeout_seconds: 900 });
tracker.identify("u1", { plan: "pro", seats: 3 });
tracker.identify(12345);
tracker.identify({ plan: "pro" });
tracker.consent({ analytics: true, marketing: false });
tracker.consent("denied");
tracker.push(["conversion", "49.90", { event_value_type: "EUR" }]);
tracker.flush().then((off: false | undefined) => off ?? tracker.pending + tracker.dropped);
tracker.reset();
tracker.stop();
window.tracker.conversion("49.90");
window.tracker.track("click", { event_value: id });

tracker.track("purchase_of_ours");
tracker.track("purchase", { schema: "1-0-0", properties: { order_id: "o-1042", total: 49.9 }, user_id: "u1" });
tracker.track(...ownEvent("purchase", { order_id: "o-1", total: 49.9, coupon: "SPRING" }));
window.tracker.track(...ownEvent("purchase", { order_id: "o-1", total: 1, items: [{ sku: "a" }] }, { user_id: "u1" }));
// @ts-expect-error a property that is required
tracker.track(...ownEvent("purchase", { order_id: "o-1" }));
// @ts-expect-error a property of another type
tracker.track(...ownEvent("purchase", { order_id: "o-1", total: "49.90" }));
// @ts-expect-error a property that the schema does not have
tracker.track(...ownEvent("purchase", { order_id: "o-1", total: 1, colour: "red" }));
// @ts-expect-error a type without a schema
tracker.track(...ownEvent("refund", {}));
// @ts-expect-error a type is a text
tracker.track(7);
// @ts-expect-error an unknown field is metadata
tracker.track("click", { colour: "red" });
// @ts-expect-error nothing to write
tracker.sessionId = "mine";
// @ts-expect-error no such call
tracker.push(["purchase", "49.90"]);
// @ts-expect-error no such purpose
tracker.consent({ advertising: true });
// @ts-expect-error an id is no object
tracker.identify([1], {});
