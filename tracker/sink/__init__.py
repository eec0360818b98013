"""The sink: numbered events and session rows, batched into Tinybird, each once."""
