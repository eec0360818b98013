// Compiled, never run: what has to be possible, and what must not be.
import { tracker, type Options } from "./tracker.js";

const options: Options = {
  endpoint: "https://collect.example.com",
  key: "wk_1",
  consent: "pending",
  auto: ["pageview", "click"],
  context: { workspace_id: "w1", ab_test_id: "headline", ab_test_variant_id: "b" },
  sessionTimeoutSeconds: 600,
};
tracker.init(options);
const id: string | undefined = tracker.track("click", { event_value: "buy", metadata: { plan: "yearly" } });
tracker.conversion(49.9, { event_value_type: "EUR" });
tracker.session({ campaign_id: "spring", timeout_seconds: 900 });
tracker.identify("u1", { project_id: id });
tracker.push(["conversion", "49.90", { event_value_type: "EUR" }]);
tracker.flush().then(() => tracker.pending + tracker.dropped);

// @ts-expect-error the collector takes no such type
tracker.track("purchase");
// @ts-expect-error an unknown field would be rejected
tracker.track("click", { colour: "red" });
// @ts-expect-error nothing to write
tracker.sessionId = "mine";
// @ts-expect-error no such call
tracker.push(["purchase", "49.90"]);
