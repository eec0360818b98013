"""``tracker settings``: the values in force, and where each was set."""

from typing import Annotated, Literal

import typer

from tracker.cli.options import load_settings

Stage = Annotated[
    Literal["collect", "process", "sink", "local"] | None, typer.Option(help="Only what this stage reads.")
]


def settings(
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from its default.")] = False,
    stage: Stage = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print the settings in force and where each one was set; secrets are not shown.

    docs/settings.md has the limits of each. Exit code 1 if one is wrong; the message names it.

    For example:

      tracker settings --changed

      tracker settings --stage sink --json
    """
    from tracker.cli.views.settings import SettingsView
    from tracker.settings.describe import GROUPS, described, shown
    from tracker.settings.environment import source

    in_force = load_settings()
    rows = [
        {
            "variable": setting.variable,
            "value": shown(setting.field, getattr(in_force, setting.field)),
            "default": setting.default,
            "from": source(setting.field),
            "description": setting.description,
        }
        for group in GROUPS
        if stage is None or stage in group.stages
        for setting in described(group)
    ]
    SettingsView(as_json=as_json).settings([row for row in rows if not changed or row["value"] != row["default"]])
