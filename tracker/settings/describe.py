"""Describes each setting by its declaration: for ``tracker settings``, docs/settings.md and .env.example."""

import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tracker.settings import Settings
from tracker.settings.access import AccessSettings
from tracker.settings.collect import CollectSettings
from tracker.settings.environment import is_secret, variable
from tracker.settings.kafka import KafkaSettings
from tracker.settings.local import LocalSettings
from tracker.settings.process import ProcessSettings
from tracker.settings.records import RecordSettings
from tracker.settings.shared import SharedSettings
from tracker.settings.sink import SinkSettings

StageName = Literal["collect", "process", "sink", "local"]
STAGES: Final[Sequence[StageName]] = get_args(StageName)


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together, and the stages that read them."""

    title: str
    settings: type[BaseModel]
    stages: Sequence[StageName]


GROUPS: Final = (
    Group("Kafka and its topics", KafkaSettings, STAGES),
    Group("Shared by the stages", SharedSettings, STAGES),
    Group("Collector", CollectSettings, ("collect",)),
    Group("Collector: access and limits", AccessSettings, ("collect",)),
    Group("Collector: what is stored", RecordSettings, ("collect",)),
    Group("Processor", ProcessSettings, ("process",)),
    Group("Sink and Tinybird", SinkSettings, ("sink",)),
    Group("Local stack", LocalSettings, ("local",)),
)

#: The last words of a name, and the unit that they stand for; longer ones first.
_UNITS: Final = (
    ("_per_second", "a second"),
    ("_ms", "milliseconds"),
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("_mb", "MiB"),
    ("_percent", "percent"),
)
_TYPES: Final = {int: "whole number", float: "number", bool: "true or false", Path: "path", SecretStr: "secret"}
_PAGE_INTRO: Final = """\
# Settings

Every setting is an environment variable, or a line in a file `.env` in the working directory; options of a command
override both. A `TRACKER_` variable that is not on this page is an error. `tracker settings` prints them.

This page is made from the settings' own declarations (`make settings-page`); a test keeps it current.
"""
_ENV_INTRO: Final = """\
# Every setting with its default. Copy this file to .env and uncomment what you change. docs/settings.md has the limits.
# Made by `make settings-page`; a test keeps it current.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """One setting, for people."""

    field: str
    default: str
    value_type: str
    limits: str
    description: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return variable(self.field)


def described(group: Group) -> Iterator[Described]:
    """Describe each setting of a group, in the order of their declaration."""
    for name, field in group.settings.model_fields.items():
        yield Described(name, shown(name, field.default), _type(field), _limits(name, field), field.description or "")


def shown(field: str, value: Any) -> str:
    """Return a value as it is written in an environment variable; a secret is not shown."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
        if is_secret(field) and value != Settings.model_fields[field].default.get_secret_value():
            return "(set, not shown)"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_page() -> str:
    """Return docs/settings.md."""
    parts = [_PAGE_INTRO]
    for group in GROUPS:
        stages = "every stage" if group.stages == STAGES else f"`tracker {group.stages[0]}`"
        parts.append(f"## {group.title}\n\nRead by {stages}.\n")
        parts.append("| variable | default | value | what it is |\n| --- | --- | --- | --- |")
        parts += [_page_row(setting) for setting in described(group)]
        parts.append("")
    return "\n".join(parts)


def env_example() -> str:
    """Return .env.example: every setting, commented out, with its default."""
    lines = [_ENV_INTRO]
    for group in GROUPS:
        lines.append(f"## {group.title}\n")
        for setting in described(group):
            comment = f"{setting.description} ({setting.limits})" if setting.limits else setting.description
            lines += textwrap.wrap(comment, width=118, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"#{setting.variable}={setting.default}\n")
    return "\n".join(lines)


def _page_row(setting: Described) -> str:
    value = f"{setting.value_type}: {setting.limits}" if setting.limits else setting.value_type
    default = f"`{setting.default}`" if setting.default else ""
    cells = (f"`{setting.variable}`", default, value, setting.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(field: FieldInfo) -> str:
    annotation = _without_none(field.annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    return _TYPES.get(annotation, "text")


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (types.UnionType, Union):
        (annotation,) = (one for one in get_args(annotation) if one is not types.NoneType)
    return annotation


def _limits(name: str, field: FieldInfo) -> str:
    found: dict[str, Any] = {
        limit: value
        for each in field.metadata
        for limit in ("ge", "gt", "le", "max_length", "pattern")
        if (value := getattr(each, limit, None)) is not None
    }
    words = []
    if "ge" in found and "le" in found:
        words.append(f"{_number(found['ge'])} to {_number(found['le'])}")
    elif "ge" in found:
        words.append(f"at least {_number(found['ge'])}")
    elif "gt" in found:
        words.append(f"more than {_number(found['gt'])}")
    if "max_length" in found:
        words.append(f"at most {found['max_length']} characters")
    if "pattern" in found:
        words.append(f"matches `{found['pattern']}`")
    unit = next((unit for suffix, unit in _UNITS if name.endswith(suffix)), "")
    return " ".join([", ".join(words), unit]).strip()


def _number(value: float) -> str:
    return f"{value:,}"
