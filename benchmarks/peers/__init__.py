"""The process stage beside other engines that do the bare job: stock Faust, Quix Streams, Kafka Streams."""
