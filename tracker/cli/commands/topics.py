"""``tracker topics``: make the catalog's topics, compare them with the broker, show them."""

import asyncio
import dataclasses
from typing import Annotated

import typer

from topics.catalog import CATALOG
from tracker.cli.options import command_settings, load_settings
from tracker.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="Make, compare and show the topics of topics/catalog.py.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def create() -> None:
    """Make the topics that are missing; give those that have fewer partitions than the source topic the missing ones.

    Nothing else of a topic that exists is changed. Exit code 1 if one can't be used as it is.

    Example: TRACKER_PARTITIONS=64 TRACKER_REPLICATION_FACTOR=3 tracker topics create
    """
    from tracker.cli.views.topics import TopicsView
    from tracker.kafka.admin import create_topics
    from tracker.kafka.topic_checks import require_usable_topics

    settings = command_settings()
    TopicsView().created(asyncio.run(create_topics(settings)))
    asyncio.run(require_usable_topics(settings))


@app.command()
def check(*, as_json: Json = False) -> None:
    """Compare the broker's topics with the catalog; exit code 1 if they differ.

    Example, in a deployment: tracker topics check --json
    """
    from tracker.cli.views.topics import TopicsView
    from tracker.kafka.access import require_access
    from tracker.kafka.topic_checks import check_topics

    settings = command_settings()
    drifts = asyncio.run(check_topics(settings))
    if drifts:
        asyncio.run(require_access(settings, "topics"))  # a topic that may not be seen looks as if there were none
    TopicsView(as_json=as_json).drifts(drifts, settings.kafka_bootstrap)
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
    from tracker.cli.views.topics import TopicsView
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
    TopicsView(as_json=as_json).topics(rows)


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
    from tracker.cli.views.topics import TopicsView
    from tracker.kafka.acls import commands, needs

    settings = load_settings()
    principals = _principals(process or [], principal or [])
    rows = [
        {"process": name, "principal": who, **dataclasses.asdict(need)}
        for name, who in principals.items()
        for need in needs(name, settings.topic_prefix)
    ]
    view = TopicsView(as_json=as_json)
    if as_commands and not as_json:
        view.commands(commands(settings.kafka_bootstrap, settings.topic_prefix, principals))
    else:
        view.acls(rows)


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


@app.command()
def asyncapi() -> None:
    """Print the AsyncAPI 3 document of the topics, for services that produce to Kafka or read from it themselves.

    Key, partitioner, headers and the schema of every value, with examples. Nothing is asked of the broker.

    Example: tracker topics asyncapi > asyncapi.json && npx @asyncapi/cli start studio asyncapi.json
    """
    from importlib.metadata import version

    from topics.asyncapi import document
    from tracker.cli.views.topics import TopicsView

    settings = load_settings()
    shown = document(
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        bootstrap=settings.kafka_bootstrap,
        version=version("event-tracker"),
    )
    TopicsView().asyncapi(shown)
