"""What ``tracker settings`` shows."""

from collections.abc import Mapping, Sequence

import typer

from tracker.cli.views.terminal import print_json, print_table


class SettingsView:
    """Settings for a person, or for a machine."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def settings(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Show each setting with its value and its origin."""
        if self._as_json:
            print_json(rows)
        elif not rows:
            typer.echo("every setting has its default")
        else:
            cells = [(row["variable"], row["value"], row["from"], row["description"]) for row in rows]
            print_table(("variable", "value", "from", "what it is"), cells, whole=("variable", "from"))
