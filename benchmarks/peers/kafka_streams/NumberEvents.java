import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The bare job on Kafka Streams: number each event within its session, in RocksDB with a changelog, and put it out with
 * acks=all. It does not validate, drop duplicates, expire sessions, write session rows or derive ids.
 */
public final class NumberEvents {
    private static final String STORE = "sequences";

    public static void main(String[] arguments) throws InterruptedException {
        StreamsBuilder builder = new StreamsBuilder();
        // Cached, as Kafka Streams advises: a session's number goes to the changelog once a commit, not once an event.
        builder.addStateStore(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.ByteArray(), Serdes.Long())
                .withCachingEnabled());
        builder.stream(env("BENCH_SOURCE_TOPIC"), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .processValues(Numbering::new, STORE)
            .to(env("BENCH_OUTPUT_TOPIC"), Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));

        KafkaStreams streams = new KafkaStreams(builder.build(), properties());
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    private static Properties properties() {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, env("BENCH_APP_ID"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("BENCH_KAFKA_BOOTSTRAP"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, env("BENCH_DATA_DIR"));
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, env("BENCH_GUARANTEE"));
        if (env("BENCH_GUARANTEE").equals(StreamsConfig.AT_LEAST_ONCE)) {
            properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, env("BENCH_COMMIT_INTERVAL_MS"));
        }
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
        return properties;
    }

    private static String env(String name) {
        return System.getenv(name);
    }

    /** Numbers the events of one partition. */
    private static final class Numbering implements FixedKeyProcessor<byte[], byte[], byte[]> {
        private final ObjectMapper json = new ObjectMapper();
        private FixedKeyProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], Long> sequences;

        @Override
        public void init(FixedKeyProcessorContext<byte[], byte[]> given) {
            context = given;
            sequences = given.getStateStore(STORE);
        }

        @Override
        public void process(FixedKeyRecord<byte[], byte[]> record) {
            try {
                ObjectNode event = (ObjectNode) json.readTree(record.value());
                Long last = sequences.get(record.key());
                long sequence = last == null ? 1 : last + 1;
                sequences.put(record.key(), sequence);
                ObjectNode row = (ObjectNode) event.get("data");
                row.set("session_id", event.get("session_id"));
                row.put("session_event_sequence", sequence);
                context.forward(record.withValue(json.writeValueAsBytes(row)));
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
