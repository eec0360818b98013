"""The contract with the outside: every topic, and the records in it.

Nothing here does IO or knows a Kafka client, so an upstream service can depend on this package alone.
"""
