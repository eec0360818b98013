"""The embedded stack for one machine: Apache Kafka from its own jars, and a local Tinybird on ClickHouse."""
