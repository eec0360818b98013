"""The processor: session table, fold, checkpoint, recovery and ticks, for the partitions that Faust assigns."""
