"""The spill: where accepted records wait on disk while Kafka is away."""
