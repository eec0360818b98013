"""Holding what the processor puts out, and what it remembers, against the reference."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

import orjson

from tests.reference.model import Made, Model, Row
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, USAGE
from topics.headers import SOURCE_POSITION, SOURCE_TIME_MS, read_forwarded_from
from tracker.sessions.outputs import FoldResult
from tracker.sessions.state import FORGOTTEN, SessionState

TOPICS = (SEQUENCED.suffix, SESSIONS.suffix, DEAD_LETTERS.suffix, USAGE.suffix)
#: Where chunks are cut differs from run to run, and so does this one.
NOT_COMPARED = {SOURCE_POSITION, SOURCE_TIME_MS}
#: How many differences are told.
SHOWN = 3


def made_of(topic: str, output: Any) -> Made:
    """An output as the model has it. ``output`` has a key, a value and headers."""
    headers = dict(output.headers)
    row = orjson.loads(output.value) if output.value else None
    if topic == DEAD_LETTERS.suffix:
        row = {name: row[name] for name in ("reason", "source_offset")}
    if topic == USAGE.suffix and row is not None:
        del row["source_topic"]  # the model does not know the log's name
    told = {name: value for name, value in headers.items() if name not in NOT_COMPARED}
    _, offset, index = map(int, headers[SOURCE_POSITION].split(b":"))
    return Made(topic, output.key, row, offset, index, told)


def differences(model: Model, outputs: Mapping[str, Iterable[Any]]) -> list[str]:
    """What differs between the model's outputs and others, which are in order and have no repeats, by topic suffix."""
    wrong = []
    for topic, found in outputs.items():
        wanted = [made for made in model.made if made.topic == topic]
        pairs = zip_longest(wanted, (made_of(topic, output) for output in found))
        wrong += [_told(topic, at, *pair) for at, pair in enumerate(pairs) if pair[0] != pair[1]][:SHOWN]
    return wrong


def fold_differences(model: Model, result: FoldResult) -> list[str]:
    """What differs between the model's outputs and forwards and those of one fold of the same records."""
    outputs = (result.events, result.sessions, result.dead_letters, result.usage)
    wrong = differences(model, dict(zip(TOPICS, outputs, strict=True)))
    forwards = [
        (place.offset, each.partition) for each in result.forwards if (place := read_forwarded_from(each.headers))
    ]
    if forwards != model.forwarded:
        wrong.append(f"forwards:\n  rules say {model.forwarded}\n  found     {forwards}")
    return wrong


def table_differences(model: Model, table: Mapping[bytes, SessionState]) -> list[str]:
    """What differs between the model's sessions and those of a table. A forgotten key is in none."""
    found = {key: _remembered(state) for key, state in table.items() if state.close_reason != FORGOTTEN}
    wanted = {_table_key(row): _without_events(session) for row, session in model.sessions.items()}
    return [
        f"session {key!r}:\n  rules say {wanted.get(key)}\n  found     {found.get(key)}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ][:SHOWN]


def _table_key(row: Row) -> bytes:
    key, workspace = row
    return b"\0".join([key, workspace.encode()]) if workspace else key


def _without_events(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session without the events that it remembers: what of them is kept, and where, is the table's affair."""
    return {name: value for name, value in session.items() if name != "remembered"}


def _remembered(state: SessionState) -> dict[str, Any]:
    return {
        "id": state.session_id,
        "ordinal": state.ordinal,
        "created_ms": state.created_ms,
        "active_ms": state.last_activity_ms,
        "timeout_ms": state.timeout_ms,
        "events": state.sequence,
        "context": state.context,
        "visitor": state.visitor,
        "touches": [(touch.at_ms, touch.campaign) for touch in state.touches],
        "closed_ms": state.closed_ms,
        "reason": state.close_reason,
    }


def _told(topic: str, at: int, wanted: Made | None, found: Made | None) -> str:
    return f"{topic}, output {at}:\n  rules say {_short(wanted, found)}\n  found     {_short(found, wanted)}"


def _short(made: Made | None, other: Made | None) -> str:
    """An output without what both have."""
    if made is None or other is None or made.row is None or other.row is None:
        return str(made)
    row = {name: value for name, value in made.row.items() if name not in other.row or other.row[name] != value}
    return str(made._replace(row=row))
