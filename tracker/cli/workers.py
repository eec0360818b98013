"""Runs a stage as one worker, or as several under a parent, with names and ports that are derived."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from tracker.cli.options import load_settings

if TYPE_CHECKING:
    from tracker.processes.worker_processes import Worker
    from tracker.settings import Settings

#: Between the ports of a parent and its workers, one after the other. The stages' default ports differ in their last
#: digit, so they never meet.
PORT_STEP: Final = 10


def begin_stage(**options: Any) -> "Settings":
    """Load the settings of this process; from now on its logs are as they say, and its files are for its user only.

    Raises:
        ConfigurationError: a variable is no setting.
        pydantic.ValidationError: a setting is not valid.
    """
    from tracker.observe.logs import configure_logging
    from tracker.processes.directories import keep_files_private

    settings = load_settings(**options)
    configure_logging(settings)
    keep_files_private()
    return settings


def run_stage(
    stage: Literal["process", "sink"],
    options: Mapping[str, Any],
    run_one: Callable[["Settings"], None],
    *,
    passed_on: Sequence[str] = (),
) -> None:
    """Run a stage with these options until it is told to stop, one worker by ``run_one``.

    A parent of several has the stage's port. Paths in ``passed_on`` it passes on to a worker that can answer.

    Raises:
        ConfigurationError: a variable is no setting, or the only worker or the parent can't run as it is set up.
        pydantic.ValidationError: a setting is not valid, also one that is derived for a worker.
        typer.Exit: the workers ended with an error.
    """
    settings = begin_stage(**options)
    processes: int = getattr(settings, f"{stage}_processes")
    if not processes:
        run_one(settings)
        return
    from tracker.observe.internal_token import InternalToken
    from tracker.processes.worker_pages import PagesAddress
    from tracker.processes.worker_processes import run_workers
    from tracker.settings.environment import variable

    host: str = getattr(settings, f"{stage}_host")
    port: int = getattr(settings, f"{stage}_port")
    address = PagesAddress(host, port, InternalToken.of(settings), variable(f"{stage}_port"), passed_on)
    workers = list(_workers(stage, options, settings.worker_id, port, processes))
    if code := run_workers(["-m", "tracker", stage], workers, address):
        raise typer.Exit(code)


def _workers(
    stage: str, options: Mapping[str, Any], worker_id: str, parent_port: int, processes: int
) -> Iterator["Worker"]:
    """Yield each worker; the first has the name of a lone one, so that it finds that one's state."""
    from tracker.processes.worker_processes import Worker
    from tracker.settings.environment import variable

    for number in range(processes):
        name = worker_id if number == 0 else f"{worker_id}.{number + 1}"
        port = parent_port + (number + 1) * PORT_STEP
        own = {**options, "worker_id": name, f"{stage}_port": port, f"{stage}_processes": 0}
        load_settings(**own)
        given = {variable(field): str(value) for field, value in own.items() if value is not None}
        inherited = {key: value for key, value in os.environ.items() if key.upper() not in given}
        yield Worker(name, port, {**inherited, **given})
