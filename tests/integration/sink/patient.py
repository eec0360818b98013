"""``python -m tests.integration.sink.patient sink``: it waits an hour for what idle partitions don't have."""

from tracker.cli import main
from tracker.streaming import transport

transport.POLL_TIMEOUT_SECONDS = 3_600.0  # type: ignore[misc]

if __name__ == "__main__":
    main()
