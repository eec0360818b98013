// The same in Node with kafkajs, whose default partitioner (since version 2) is Kafka's own.
//
//     npm install kafkajs
//     KAFKA=127.0.0.1:9092 TOPIC=tracker.events node producer.mjs SESSION_ID

import { Kafka, Partitioners } from "kafkajs";

const [, , sessionId] = process.argv;
const topic = process.env.TOPIC ?? "tracker.events";
const kafka = new Kafka({ clientId: "shop", brokers: (process.env.KAFKA ?? "127.0.0.1:9092").split(",") });
const producer = kafka.producer({
  createPartitioner: Partitioners.DefaultPartitioner,
  idempotent: true,
  maxInFlightRequests: 1,
});

function record(type, data) {
  const timestamp = new Date().toISOString();
  return { key: sessionId, value: JSON.stringify({ type, session_id: sessionId, timestamp, data }) };
}

await producer.connect();
try {
  await producer.send({
    topic,
    acks: -1,
    messages: [
      record("session", { landing_page_id: "spring", ab_test_id: "headline", ab_test_variant_id: "b" }),
      record("event", { event_type: "conversion", event_id: `order-${sessionId}`, event_value: "49.90" }),
    ],
  });
} finally {
  await producer.disconnect();
}
