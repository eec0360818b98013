"""Which of a fold's outputs are handed on: from an offset, of a workspace. Pure; the fold itself always sees all."""

from collections.abc import Callable

import orjson

from topics.headers import SourcePosition, read_position
from tracker.sessions.outputs import FoldResult, Output

_BEFORE_ALL = SourcePosition(-1, -1)


def from_offset(result: FoldResult, offset: int) -> FoldResult:
    """Return the outputs of source records at this offset or later."""
    return _kept(result, lambda output: (read_position(output.headers) or _BEFORE_ALL).offset >= offset)


def of_workspace(result: FoldResult, workspace_id: str) -> FoldResult:
    """Return the outputs of one workspace; a dead letter belongs to the one that its raw record names."""
    return _kept(result, lambda output: _workspace(output.value) == workspace_id)


def _kept(result: FoldResult, is_kept: Callable[[Output], bool]) -> FoldResult:
    return FoldResult(
        events=list(filter(is_kept, result.events)),
        sessions=list(filter(is_kept, result.sessions)),
        dead_letters=list(filter(is_kept, result.dead_letters)),
        usage=list(filter(is_kept, result.usage)),
    )


def _workspace(value: bytes | None) -> str:
    row = orjson.loads(value) if value else {}
    return str(row.get("workspace_id") or "")
