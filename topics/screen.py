"""A quick look at events on their way in: those that pass are valid, the others are for ``decode_source`` to judge.

It is made of the same annotations as pydantic's decoder, field by field, so there is one place that says what an event
is. It only says yes or "can't tell" (docs/decisions/0034), in a third of the time that decoding takes.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NotRequired, Union, get_args, get_origin

import annotated_types
import msgspec
from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import get_type_hints, is_typeddict

from topics.codec import MAX_SOURCE_VALUE_BYTES
from topics.event import EventRecord
from topics.fields import SessionId, Timestamp

_PLAIN: Final = (str, int, float, bool, NoneType)


def are_valid_events(values: Sequence[bytes]) -> bool:
    """Say whether all of these values, as orjson wrote them, surely are events that ``decode_source`` takes.

    It says nothing of their keys. If it is False, ``decode_source`` says which one is not, and why, if any. About
    1 us an event.
    """
    if any(len(value) > MAX_SOURCE_VALUE_BYTES for value in values):
        return False
    try:
        records = _decode(b"[" + b",".join(values) + b"]")
        _session_ids.validate_python({record.session_id for record in records})
    except (msgspec.MsgspecError, ValidationError):
        return False
    if not all(_names_one_workspace(each) for each in records):
        return False
    # Later than the oldest, not equal to it: msgspec rounds to microseconds what pydantic cuts off.
    return all(_OLDEST < each.timestamp < _END and _OLDEST < each.client_timestamp < _END for each in records)


def _names_one_workspace(record: Any) -> bool:
    named, in_data = record.workspace_id, record.data.workspace_id
    return named is msgspec.UNSET or in_data is msgspec.UNSET or named == in_data or not (named and in_data)


def _struct(fields: type) -> type[msgspec.Struct]:
    """Return the struct that takes what a TypedDict does; a field of a kind that is not known here is an error."""
    hints = get_type_hints(fields, include_extras=True)
    return msgspec.defstruct(
        fields.__name__, [_field(*hint) for hint in hints.items()], kw_only=True, forbid_unknown_fields=True, gc=False
    )


def _field(name: str, hint: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    if get_origin(hint) is NotRequired:
        inner = get_args(hint)[0]
        absent = _ANY_TIME if inner == Timestamp else msgspec.UNSET
        return name, Union[_shape(inner), msgspec.UnsetType], absent  # noqa: UP007 - made here
    return name, _shape(hint)


def _shape(hint: Any) -> Any:
    origin = get_origin(hint)
    if hint in _PLAIN or origin is Literal:
        return hint
    if hint == SessionId:  # looked at afterwards, once each: a batch has few, and its pattern costs as much as the rest
        return str
    if hint == Timestamp:  # likewise, its limits are no numbers; one without an offset is for pydantic to read
        return Annotated[datetime, msgspec.Meta(tz=True)]
    if is_typeddict(hint):
        return _struct(hint)
    if origin in {Union, UnionType}:
        return Union[tuple(map(_shape, get_args(hint)))]  # noqa: UP007 - of as many as there are
    if origin is Annotated:
        base, *limits = get_args(hint)
        return Annotated[_shape(base), msgspec.Meta(**_limits(limits))]
    raise TypeError(f"{hint} is nothing that can be screened")


def _limits(annotations: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for annotation in annotations:
        match annotation:
            case FieldInfo():
                found |= _limits(annotation.metadata)
            case StringConstraints():
                found |= {"min_length": annotation.min_length, "max_length": annotation.max_length}
                if annotation.pattern is not None:
                    # The end of a text: Python's $ would let a line feed follow, Rust's does not.
                    found["pattern"] = str(annotation.pattern).removesuffix("$") + r"\Z"
            case annotated_types.Ge():
                found["ge"] = annotation.ge
            case annotated_types.Le():
                found["le"] = annotation.le
            case annotated_types.Lt():
                found["lt"] = annotation.lt
            case _ if getattr(annotation, "allow_inf_nan", None) is False:  # JSON has neither
                pass
            case _:
                raise TypeError(f"{annotation} is no limit that can be screened")
    return found


_times: Final = _limits(get_args(Timestamp)[1:])
_OLDEST: Final[datetime] = _times["ge"]
_END: Final[datetime] = _times["lt"]
#: In place of a time that is not there: it is in its range.
_ANY_TIME: Final = _OLDEST + timedelta(days=1)
_decode: Final[Callable[[bytes], list[Any]]] = msgspec.json.Decoder(list[_struct(EventRecord)]).decode  # type: ignore[misc]
_session_ids: Final[TypeAdapter[set[str]]] = TypeAdapter(set[SessionId])
