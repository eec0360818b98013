"""The session table of a partition: a local RocksDB, and the changelog that is its truth."""
