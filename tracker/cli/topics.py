"""``tracker topics``: make the catalog's topics, compare them with the broker, show them."""

import asyncio
import dataclasses
import json
import logging
from typing import TYPE_CHECKING, Annotated

import typer

from topics.catalog import CATALOG
from tracker.cli.options import load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from tracker.admin import Drift
    from tracker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Make, compare and show the topics of topics/catalog.py.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def create() -> None:
    """Make the topics that are missing; leave the others alone.

    Example: TRACKER_PARTITIONS=64 TRACKER_REPLICATION_FACTOR=3 tracker topics create
    """
    from tracker.admin import create_topics

    settings = _prepare()
    for name, verdict in asyncio.run(create_topics(settings)).items():
        did = f"created, {settings.partitions} partitions" if verdict == "created" else "exists, left alone"
        typer.echo(f"{name}: {did}")


@app.command()
def check(*, as_json: Json = False) -> None:
    """Compare the broker's topics with the catalog; exit code 1 if they differ.

    Example, in a deployment: tracker topics check --json
    """
    from rich.console import Console

    from tracker.admin import check_topics

    settings = _prepare()
    drifts = asyncio.run(check_topics(settings))
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(drift) for drift in drifts], indent=2))
    elif drifts:
        Console().print(_table(drifts))
        # Not in the table: a command that is broken over lines can't be copied.
        for mend in dict.fromkeys(drift.mend for drift in drifts):
            typer.echo(f"mend: {mend}")
    else:
        typer.echo(f"{len(CATALOG)} topics on {settings.kafka_bootstrap} are as in the catalog")
    if drifts:
        raise typer.Exit(1)


@app.command()
def describe(
    *,
    broker: Annotated[bool, typer.Option("--broker", help="Ask the broker and show its state too.")] = False,
    as_json: Json = False,
) -> None:
    """Show every topic: key, value, purpose and configuration.

    Example: tracker topics describe --broker
    """
    from tracker.admin import describe_broker

    settings = _prepare()
    found = asyncio.run(describe_broker(settings)) if broker else None
    rows = []
    for topic in CATALOG:
        name = topic.name(settings.topic_prefix)
        config = " ".join(f"{key}={value}" for key, value in topic.config.items())
        row = {
            "topic": name,
            "purpose": topic.purpose,
            "key": topic.key,
            "value": topic.value,
            "config": config,
        }
        if found is not None:
            state = found.get(name)
            row["broker"] = f"{state.partitions} partitions x {state.replicas} replicas" if state else "missing"
        rows.append(row)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.secho(row.pop("topic"), bold=True)
        for label, text in row.items():
            typer.echo(f"  {label:<8} {text}")


def _prepare() -> "Settings":
    # aiokafka logs each address that refuses; our own line says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return load_settings()


def _table(drifts: "list[Drift]") -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("topic", no_wrap=True)
    for column in ("setting", "expected", "found"):
        table.add_column(column, overflow="fold")
    for drift in drifts:
        table.add_row(drift.topic, drift.setting, drift.expected, drift.found)
    return table
