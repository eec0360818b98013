"""Makes structs from TypedDicts: msgspec decodes JSON into structs in a third of the time that pydantic takes.

They are made of the same annotations, field by field, so there is one place that says what a record is. A struct may
refuse what pydantic takes, but takes nothing that pydantic refuses (docs/decisions/0034).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NotRequired, Union, get_args, get_origin

import annotated_types
import msgspec
from pydantic import BeforeValidator, StringConstraints
from pydantic.fields import FieldInfo
from typing_extensions import get_type_hints, is_typeddict

from topics.fields import Timestamp

#: The base of the struct that is made of each TypedDict.
Bases = Mapping[Any, Any]

_TAG: Final = "type"
#: What an absent field holds, by its type; any other holds UNSET. It is not written again.
_ABSENT: Final[Mapping[type, object]] = {str: "", bool: False, int: 0}
_PLAIN: Final = (str, int, float, bool, NoneType)


def struct_of(fields: type, bases: Bases) -> type[msgspec.Struct]:
    """Return the struct that takes what a TypedDict does; a field of a kind that is not known here is an error.

    An absent text is empty, an absent number 0, an absent flag False; anything else that is absent is UNSET. Its base
    may declare some of the fields, for those who read them, and how a time is decoded.

    Raises:
        TypeError: a field can't be decoded so, or its base declares one that is not there.
    """
    hints = get_type_hints(fields, include_extras=True)
    base = bases.get(fields, msgspec.Struct)
    if unknown := set(base.__struct_fields__) - hints.keys():
        raise TypeError(f"{fields.__name__} has no {', '.join(sorted(unknown))}")
    declared = get_type_hints(base, include_extras=True)
    tag = get_args(hints.pop(_TAG))[0] if _TAG in hints else None
    return msgspec.defstruct(
        fields.__name__,
        [_field(name, hint, declared.get(name), bases) for name, hint in hints.items()],
        bases=(base,),
        tag_field=None if tag is None else _TAG,
        tag=tag,
        kw_only=True,
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
    )


def limits(annotations: Sequence[Any]) -> dict[str, Any]:
    """Return the limits of a field in msgspec's words.

    Raises:
        TypeError: msgspec has no such limit.
    """
    found: dict[str, Any] = {}
    for annotation in annotations:
        match annotation:
            case FieldInfo():
                found |= limits(annotation.metadata)
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
            case BeforeValidator():  # pydantic, or the struct's base class, converts the values
                pass
            case _ if getattr(annotation, "allow_inf_nan", None) is False:  # JSON has neither
                pass
            case _:
                raise TypeError(f"{annotation} is no limit that a struct can hold")
    return found


#: The range of times. msgspec rounds to microseconds, pydantic cuts off: compare times exclusively.
OLDEST: Final[datetime] = limits(get_args(Timestamp)[1:])["ge"]
END: Final[datetime] = limits(get_args(Timestamp)[1:])["lt"]
#: The value of an absent time: it lies within the range.
ANY_TIME: Final[datetime] = OLDEST + timedelta(days=1)


def _field(name: str, hint: Any, declared: Any, bases: Bases) -> tuple[str, Any] | tuple[str, Any, Any]:
    is_required = get_origin(hint) is not NotRequired
    inner = hint if is_required else get_args(hint)[0]
    shape = declared if get_origin(declared) is Annotated else _shape(inner, bases)
    if is_required:
        return name, shape
    absent = ANY_TIME if inner == Timestamp else _ABSENT.get(_plain(inner), msgspec.UNSET)
    return name, Union[shape, msgspec.UnsetType] if absent is msgspec.UNSET else shape, absent  # noqa: UP007


def _plain(hint: Any) -> Any:
    """Return a field's type without its limits. A choice of texts is a text."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    return str if get_origin(hint) is Literal else hint


def _shape(hint: Any, bases: Bases) -> Any:
    origin = get_origin(hint)
    if hint in _PLAIN or origin is Literal:
        return hint
    if hint == Timestamp:  # its limits are no numbers; one without an offset is for pydantic to read
        return Annotated[datetime, msgspec.Meta(tz=True)]
    if is_typeddict(hint):
        return struct_of(hint, bases)
    if origin in {Union, UnionType}:
        return Union[tuple(_shape(each, bases) for each in get_args(hint))]  # noqa: UP007 - of as many as there are
    if origin is dict:
        return hint
    if origin is Annotated:
        base, *annotations = get_args(hint)
        return Annotated[_shape(base, bases), msgspec.Meta(**limits(annotations))]
    raise TypeError(f"{hint} is nothing that a struct can hold")
