"""``tracker topics``: make the catalog's topics, compare them with the broker, show them."""

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from topics.catalog import CATALOG
from tracker.cli.options import command_settings, load_settings
from tracker.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

    from tracker.kafka.admin import Drift

app = typer.Typer(no_args_is_help=True, help="Make, compare and show the topics of topics/catalog.py.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def create() -> None:
    """Make the topics that are missing; leave the others alone.

    Example: TRACKER_PARTITIONS=64 TRACKER_REPLICATION_FACTOR=3 tracker topics create
    """
    from tracker.kafka.admin import create_topics

    settings = command_settings()
    for name, verdict in asyncio.run(create_topics(settings)).items():
        did = f"created, {settings.partitions} partitions" if verdict == "created" else "exists, left alone"
        typer.echo(f"{name}: {did}")


@app.command()
def check(*, as_json: Json = False) -> None:
    """Compare the broker's topics with the catalog; exit code 1 if they differ.

    Example, in a deployment: tracker topics check --json
    """
    from rich.console import Console

    from tracker.kafka.access import require_access
    from tracker.kafka.admin import check_topics

    settings = command_settings()
    drifts = asyncio.run(check_topics(settings))
    if drifts:
        asyncio.run(require_access(settings, "topics"))  # a topic that may not be seen looks as if there were none
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
    from tracker.kafka.admin import describe_broker

    settings = command_settings()
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


@app.command()
def acls(
    *,
    process: Annotated[
        list[str] | None, typer.Option(help="Only these: collect, process, sink, or a command such as replay.")
    ] = None,
    principal: Annotated[
        list[str] | None, typer.Option(help="PROCESS=PRINCIPAL; default: User:tracker-PROCESS for each.")
    ] = None,
    as_commands: Annotated[
        bool, typer.Option("--commands", help="Print kafka-acls.sh commands, with the login in admin.properties.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the ACLs that each process needs, and no more. Asks no broker.

    For example:

      tracker topics acls --process sink

      tracker topics acls --principal collect=User:edge --commands > acls.sh
    """
    from tracker.kafka.acls import commands, needs

    settings = load_settings()
    principals = _principals(process or [], principal or [])
    rows = [
        {"process": name, "principal": who, **dataclasses.asdict(need)}
        for name, who in principals.items()
        for need in needs(name, settings.topic_prefix)
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif as_commands:
        for command in commands(settings.kafka_bootstrap, settings.topic_prefix, principals):
            typer.echo(command)
    else:
        _print_acls(rows)


def _principals(processes: list[str], given: list[str]) -> dict[str, str]:
    from tracker.kafka.acls import PROCESSES, default_principal

    named = dict(word.partition("=")[::2] for word in given)
    for name in (*processes, *named):
        if name not in PROCESSES:
            raise ConfigurationError(f"{name!r} is none of {', '.join(PROCESSES)}")
    for name, who in named.items():
        if not who.partition(":")[2]:
            raise ConfigurationError(f"--principal {name}={who}: say it as {name}=User:NAME")
    return {
        name: named.get(name) or default_principal(name) for name in PROCESSES if not processes or name in processes
    }


def _print_acls(rows: list[dict[str, Any]]) -> None:
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


@app.command()
def asyncapi() -> None:
    """Print the AsyncAPI 3 document of the topics, for services that produce to Kafka or read from it themselves.

    Key, partitioner, headers and the schema of every value, with examples. Nothing is asked of the broker.

    Example: tracker topics asyncapi > asyncapi.json && npx @asyncapi/cli start studio asyncapi.json
    """
    from importlib.metadata import version

    from topics.asyncapi import document

    settings = load_settings()
    shown = document(
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        bootstrap=settings.kafka_bootstrap,
        version=version("event-tracker"),
    )
    typer.echo(json.dumps(shown, indent=2))


def _table(drifts: "list[Drift]") -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("topic", no_wrap=True)
    for column in ("setting", "expected", "found"):
        table.add_column(column, overflow="fold")
    for drift in drifts:
        table.add_row(drift.topic, drift.setting, drift.expected, drift.found)
    return table
