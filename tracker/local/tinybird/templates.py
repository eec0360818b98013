"""The part of Tinybird's SQL templates that this project's pipes use; anything else is an error, never a guess.

``{{String(name, 'default', description='…', required=True)}}``, the same with ``Int32`` and ``DateTime``, and
``{% if [not] defined(name) %} … {% else %} … {% end %}``. A test compares it with Tinybird's own library.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tracker.errors import RejectedError

_TOKEN: Final = re.compile(r"(\{\{.*?\}\}|\{%.*?%\})", re.DOTALL)
_CONDITION: Final = re.compile(r"^if (not )?defined\((\w+)\)$")
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_INTEGER: Final = re.compile(r"-?\d{1,10}")
_MAX_INT32: Final = 2**31
#: As Tinybird's own library escapes a string.
_ESCAPES: Final = str.maketrans(
    {
        "\0": "\\0",
        "\r": "\\r",
        "\b": "\\b",
        "\t": "\\t",
        "\x1a": "\\z",
        "\n": "\\n",
        '"': '\\"',
        "'": "\\'",
        "\\": "\\\\",
        "%": "\\%",
        "`": "\\`",
    }
)


class TemplateError(RejectedError):
    """A template that is not known here, or a parameter that is missing or does not fit."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a template asks for."""

    type: str
    name: str
    default: str | None


def render(template: str, parameters: Mapping[str, str]) -> str:
    """Return the SQL of a template with these parameters.

    Raises:
        TemplateError: names what does not fit.
    """
    tokens = iter(_TOKEN.split(template.removeprefix("%\n")))
    text, end = _block(tokens, parameters, is_wanted=True)
    if end is not None:
        raise TemplateError(f"{{% {end} %}} without an if")
    return text


def _block(tokens: Iterator[str], parameters: Mapping[str, str], *, is_wanted: bool) -> tuple[str, str | None]:
    """Return the text up to the ``else`` or ``end`` of this block, and which of them ended it.

    Of a block that is not wanted only the end is looked for: its parameters need not be given.
    """
    parts: list[str] = []
    for token in tokens:
        if token.startswith("{{"):
            parameter = read_parameter(token[2:-2].strip())
            parts.append(_value(parameter, parameters) if is_wanted else "")
        elif token.startswith("{%"):
            word = token[2:-2].strip()
            if word in {"else", "end"}:
                return "".join(parts), word
            parts.append(_choice(word, tokens, parameters, is_wanted=is_wanted))
        else:
            parts.append(token)
    return "".join(parts), None


def _choice(word: str, tokens: Iterator[str], parameters: Mapping[str, str], *, is_wanted: bool) -> str:
    condition = _CONDITION.match(word)
    if condition is None:
        raise TemplateError(f"{{% {word} %}} is not known here")
    holds = (condition[2] in parameters) != bool(condition[1])
    then, end = _block(tokens, parameters, is_wanted=is_wanted and holds)
    otherwise = ""
    if end == "else":
        otherwise, end = _block(tokens, parameters, is_wanted=is_wanted and not holds)
    if end != "end":
        raise TemplateError(f"{{% {word} %}} has no end")
    return then if holds else otherwise


def read_parameter(expression: str) -> Parameter:
    """Read ``Type(name, default, description=…, required=…)``.

    Raises:
        TemplateError: it is anything else.
    """
    try:
        call = ast.parse(expression, mode="eval").body
    except SyntaxError:
        call = None
    match call:
        case ast.Call(func=ast.Name(id=kind), args=[ast.Name(id=name)]) if kind in _TYPES:
            default = None
        case ast.Call(func=ast.Name(id=kind), args=[ast.Name(id=name), ast.Constant(value=value)]) if kind in _TYPES:
            default = str(value)
        case _:
            raise TemplateError(f"{{{{{expression}}}}} is not known here")
    if any(keyword.arg not in {"description", "required"} for keyword in call.keywords):
        raise TemplateError(f"{{{{{expression}}}}} has an option that is not known here")
    return Parameter(kind, name, default)


def _value(parameter: Parameter, parameters: Mapping[str, str]) -> str:
    value = parameters.get(parameter.name, parameter.default)
    if value is None:
        raise TemplateError(f"the parameter {parameter.name} is required")
    written = _TYPES[parameter.type](value)
    if written is None:
        raise TemplateError(f"the parameter {parameter.name} is no {parameter.type}: {value!r}")
    return written


def _string(value: str) -> str | None:
    return f"'{value.translate(_ESCAPES)}'"


def _int32(value: str) -> str | None:
    fits = _INTEGER.fullmatch(value) and -_MAX_INT32 <= int(value) < _MAX_INT32
    return f"toInt32('{value}')" if fits else None


def _date_time(value: str) -> str | None:
    return f"'{value}'" if _DATE_TIME.fullmatch(value) else None


_TYPES: Final[Mapping[str, Callable[[str], str | None]]] = {
    "String": _string,
    "Int32": _int32,
    "DateTime": _date_time,
}
