// The same in Java, whose default partitioner is the one that the tracker means.
//
//     KAFKA=127.0.0.1:9092 TOPIC=tracker.events java -cp 'kafka-clients.jar:slf4j-api.jar' Producer.java SESSION_ID

import java.time.Instant;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Producer {
    public static void main(String[] arguments) throws Exception {
        String sessionId = arguments[0];
        String topic = System.getenv().getOrDefault("TOPIC", "tracker.events");
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", System.getenv().getOrDefault("KAFKA", "127.0.0.1:9092"),
            "client.id", "shop",
            "enable.idempotence", true);
        String context = """
            {"landing_page_id": "spring", "ab_test_id": "headline", "ab_test_variant_id": "b"}""";
        String sale = """
            {"event_type": "conversion", "event_id": "order-%s", "event_value": "49.90"}""".formatted(sessionId);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>(topic, sessionId, record("session", sessionId, context))).get();
            producer.send(new ProducerRecord<>(topic, sessionId, record("event", sessionId, sale))).get();
        }
    }

    private static String record(String type, String sessionId, String data) {
        return """
            {"type": "%s", "session_id": "%s", "timestamp": "%s", "data": %s}"""
            .formatted(type, sessionId, Instant.now(), data);
    }
}
