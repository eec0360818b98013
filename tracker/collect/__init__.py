"""HTTP in: browsers and services post, the collector checks, and Kafka has it before anyone hears 202."""
