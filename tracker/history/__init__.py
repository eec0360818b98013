"""Operators' decisions about the source log: written to a topic, and applied by every fold."""
