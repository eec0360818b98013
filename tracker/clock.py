"""The one place that reads the wall clock and draws ids.

Neither may touch session state: state is a fold over the log, and the log carries its own time (ARCHITECTURE.md).
Everything that needs the present asks here, so that the linter can forbid it everywhere else.
"""

import time
from datetime import UTC, datetime

import uuid_utils


def now_ms() -> int:
    """Return the wall clock in milliseconds since the epoch (UTC)."""
    return time.time_ns() // 1_000_000


def now_iso() -> str:
    """Return the wall clock as ISO 8601 with milliseconds and a ``Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """Return a fresh UUIDv7: it sorts by its time of birth, which the processor reads (DESIGN: closed stubs)."""
    return str(uuid_utils.uuid7())
