// Compiled by `make check-sdk`, never run: what the types allow, and what they refuse.

import { ownEvent } from "../../../examples/own-events/own_events.js";
import { Client, newId, type Undelivered } from "../src/index.js";

const lost: Undelivered[] = [];
const client = new Client("https://collect.example.com", { writeKey: "k", onError: (item) => lost.push(item) });
const session: string = client.initSession({ campaign_id: "spring", timeout_seconds: 600 }, { userAgent: "Mozilla" });
client.initSession({ session_id: newId() });
client.track(session, "conversion", { event_value: "49.90", metadata: { order: 17 }, timestamp: new Date() });
client.track(session, "purchase", { schema: "1-0-0", properties: { amount: 49.9 } });
client.track(session, ...ownEvent("purchase", { order_id: "o-1", total: 49.9 }, { page_url: "https://shop.example/" }));
client.identify(session, "u1", { plan: "pro" });
const rest: Promise<number> = client.close(1_000);
const rejected: number | undefined = client.givenUp.rejected;

// @ts-expect-error: an own event names its schema
client.track(session, "purchase", { properties: {} });
// @ts-expect-error: a property of another type
client.track(session, ...ownEvent("purchase", { order_id: 1, total: 49.9 }));
// @ts-expect-error: a field that does not exist
client.track(session, "click", { event_vlaue: "1" });
// @ts-expect-error: the collector takes a text
client.track(session, "click", { event_value: 49.9 });
// @ts-expect-error: a limit that does not exist
new Client("https://collect.example.com", { limits: { maxQueueLength: 1 } });

export { rejected, rest };
