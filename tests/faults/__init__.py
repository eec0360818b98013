"""Faults on a real Kafka: what is done to running workers, and what must hold afterwards. ``make faults`` runs it."""
