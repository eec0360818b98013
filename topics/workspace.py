"""Which workspace a source record belongs to: said in its envelope, or in its data."""

from collections.abc import Mapping
from typing import Any


def workspace_of(record: Mapping[str, Any]) -> str:
    """Return the workspace that a record names; empty if it names none. The record has been checked."""
    named: str | None = record.get("workspace_id") or record.get("data", {}).get("workspace_id")
    return named or ""
