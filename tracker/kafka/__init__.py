"""How we talk to Kafka: clients, their security and rights, topics, record batches, and reading a log."""
