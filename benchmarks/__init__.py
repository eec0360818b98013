"""What a stage costs, measured on a real Kafka: ``make bench``. Each part is a module; ``parts`` lists them."""
