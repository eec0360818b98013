"""From source records to Kafka: batches, the connection, and the topics of a migration."""
