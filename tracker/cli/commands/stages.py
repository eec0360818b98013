"""Commands that run one stage in the foreground until SIGTERM or Ctrl-C. Each imports only its own stage."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.options import DataDir
from tracker.cli.workers import begin_stage, run_stage
from tracker.errors import RetryableError

if TYPE_CHECKING:
    from tracker.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.", min=1, max=65535)]
Processes = Annotated[
    int | None,
    typer.Option(help="Workers under one parent, which derives their names and ports.", min=0),
]

local = typer.Typer(no_args_is_help=True, help="The embedded stack for one machine: Kafka and a local Tinybird.")


def collect(
    host: Host = None,
    port: Port = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes on the port; SIGHUP then restarts them without a refused request.", min=0),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the collector: HTTP in, Kafka out.

    Example, all of a machine with four cores: tracker collect --port 8080 --processes 4
    """
    from tracker.collect.run import parent
    from tracker.collect.run.process import run
    from tracker.kafka.access import require_access

    options = {"collect_host": host, "collect_port": port, "collect_processes": processes, "data_dir": data_dir}
    settings = begin_stage(**options)
    with contextlib.suppress(RetryableError):  # Kafka is away: that is what the spill is for
        asyncio.run(require_access(settings, "collect"))
    if not settings.collect_processes:
        run(settings)
    elif code := parent.run(settings, options):
        raise typer.Exit(code)


def process(
    host: Host = None,
    port: Port = None,
    worker_id: Annotated[
        str | None, typer.Option(help="Name of this worker; its state lives under it. \\[TRACKER_WORKER_ID]")
    ] = None,
    processes: Processes = None,
    data_dir: DataDir = None,
) -> None:
    """Run a processor: numbers the events of the partitions that it is assigned.

    Examples, all of a machine with four cores, and a second worker started by hand:

        tracker process --processes 4

        tracker process --worker-id worker-2 --port 6067
    """
    options = {
        "process_host": host,
        "process_port": port,
        "process_processes": processes,
        "worker_id": worker_id,
        "data_dir": data_dir,
    }

    def run_one(settings: "Settings") -> None:
        from tracker.process.main import run

        run(settings)

    run_stage("process", options, run_one, passed_on=["/session/{id}"])


def sink(
    *,
    host: Host = None,
    port: Port = None,
    worker_id: Annotated[
        str | None, typer.Option(help="Name of this worker within the group. \\[TRACKER_WORKER_ID]")
    ] = None,
    tinybird_url: Annotated[str | None, typer.Option(help="Where rows go. \\[TRACKER_TINYBIRD_URL]")] = None,
    processes: Processes = None,
    data_dir: DataDir = None,
) -> None:
    """Run the sink: batches of rows to Tinybird.

    Example: tracker sink --tinybird-url https://api.tinybird.co --port 6068 --processes 2
    """
    options = {
        "sink_host": host,
        "sink_port": port,
        "sink_processes": processes,
        "worker_id": worker_id,
        "tinybird_url": tinybird_url,
        "data_dir": data_dir,
    }

    def run_one(settings: "Settings") -> None:
        from tracker.sink.main import run

        run(settings)

    run_stage("sink", options, run_one)


@local.command()
def kafka(port: Port = None, data_dir: DataDir = None) -> None:
    """Run a one-node Kafka from Apache's own jars (Java 17; Maven for the first run).

    Example: tracker local kafka --port 9092
    """
    from tracker.local.kafka import run

    bootstrap = f"localhost:{port}" if port else None
    run(begin_stage(kafka_bootstrap=bootstrap, data_dir=data_dir))


@local.command()
def tinybird(port: Port = None, data_dir: DataDir = None) -> None:
    """Run a local Tinybird: its Events API and SQL over an embedded ClickHouse.

    Example: tracker local tinybird --port 7181
    """
    from tracker.local.tinybird.main import run

    url = f"http://localhost:{port}" if port else None
    run(begin_stage(tinybird_url=url, data_dir=data_dir))
