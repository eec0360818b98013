"""What ``tracker topics`` shows: the catalog, how the broker differs from it, and ACLs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from topics.catalog import CATALOG
from tracker.cli.views.terminal import print_json, print_table
from tracker.kafka.admin import Verdict
from tracker.kafka.topic_checks import Drift


class TopicsView:
    """Topics and ACLs for a person, or for a machine."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    def created(self, verdicts: Mapping[str, Verdict]) -> None:
        """Print for each topic whether it was created, got partitions, or existed already."""
        did = {"created": "created", "exists": "exists, left alone", "grown": "exists, got more partitions"}
        for name, verdict in verdicts.items():
            typer.echo(f"{name}: {did[verdict]}")

    def drifts(self, drifts: Sequence[Drift], bootstrap: str) -> None:
        """Show where the broker's topics differ from the catalog, and the commands that mend it."""
        if self._as_json:
            print_json([dataclasses.asdict(drift) for drift in drifts])
        elif drifts:
            rows = [(drift.topic, drift.setting, drift.expected, drift.found) for drift in drifts]
            print_table(("topic", "setting", "expected", "found"), rows, whole=("topic",))
            # Not in the table: a command that is broken over lines can't be copied.
            for mend in dict.fromkeys(drift.mend for drift in drifts):
                typer.echo(f"mend: {mend}")
        else:
            typer.echo(f"{len(CATALOG)} topics on {bootstrap} are as in the catalog")

    def topics(self, rows: Sequence[dict[str, str]]) -> None:
        """Show each topic with its key, value, purpose and configuration."""
        if self._as_json:
            print_json(rows)
            return
        for row in rows:
            typer.secho(row["topic"], bold=True)
            for label, text in row.items():
                if label != "topic":
                    typer.echo(f"  {label:<8} {text}")

    def acls(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the ACLs of each principal."""
        if self._as_json:
            print_json(rows)
            return
        names = [f"{row['resource']} {row['name']}{'*' if row['pattern'] == 'prefixed' else ''}" for row in rows]
        operations = [", ".join(row["operations"]) for row in rows]
        widths = max(map(len, names)), max(map(len, operations))
        shown = ""
        for row, name, allowed in zip(rows, names, operations, strict=True):
            if row["principal"] != shown:
                shown = row["principal"]
                typer.secho(shown, bold=True)
            why = f"{row['why']} (if wanted)" if row["optional"] else row["why"]
            typer.echo(f"  {name:<{widths[0]}}  {allowed:<{widths[1]}}  {why}")

    def commands(self, commands: Iterable[str]) -> None:
        """Print commands, one a line."""
        for command in commands:
            typer.echo(command)

    def asyncapi(self, document: Mapping[str, Any]) -> None:
        """Print the AsyncAPI document."""
        print_json(document)
