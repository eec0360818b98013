"""An event tracker on Kafka: collect, process, sink."""
