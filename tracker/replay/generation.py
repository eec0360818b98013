"""A generation's directory: its plan, the state of each partition, and the result."""

import shutil
from pathlib import Path

import msgspec

from tracker.errors import ConfigurationError
from tracker.processes.directories import make_directory
from tracker.replay.compare import Comparison
from tracker.replay.plan import Plan, Request
from tracker.settings import Settings

PLAN_FILE = "plan.json"


class Generation:
    """One replay by its name, under ``TRACKER_DATA_DIR/replay``. Resumed when it is there, made when it is not."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self.path = settings.data_dir / "replay" / name
        #: The prefix of the generation's output topics.
        self.topic_prefix = f"{settings.topic_prefix}replay.{name}."

    @property
    def plan(self) -> Plan | None:
        """The plan, if the generation exists.

        Raises:
            ConfigurationError: the file is damaged or from another version.
        """
        file = self.path / PLAN_FILE
        if not file.exists():
            return None
        try:
            return msgspec.json.decode(file.read_bytes(), type=Plan)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{file} is not readable ({error}); discard it: {self.discard_command}") from error

    def resumable(self, request: Request) -> Plan | None:
        """Return the plan to go on with, or None if the generation is new.

        Raises:
            ConfigurationError: it was made with another request.
        """
        plan = self.plan
        if plan is not None and plan.request != request:
            raise ConfigurationError(
                f"the generation {self.name!r} was made with other options; repeat those to resume it, choose another "
                f"--name, or begin again: {self.discard_command}"
            )
        return plan

    @property
    def discard_command(self) -> str:
        """What removes it."""
        return f"tracker replay discard {self.name}"

    def create(self, plan: Plan) -> None:
        """Write the plan down; from here on an interrupted run is resumed."""
        make_directory(self.path)
        _write(self.path / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan)))

    def store_path(self, partition: int) -> Path:
        """Return the directory of a partition's session states."""
        return self.path / f"partition-{partition}"

    def save_result(self, partition: int, comparisons: list[Comparison]) -> None:
        """Note that a partition has been folded to its end, and what the comparison found."""
        _write(self.path / f"result-{partition}.json", msgspec.json.encode(comparisons))

    def result(self, partition: int) -> list[Comparison] | None:
        """Return a finished partition's comparisons (none without ``--compare``), or None if it is not finished."""
        file = self.path / f"result-{partition}.json"
        return msgspec.json.decode(file.read_bytes(), type=list[Comparison]) if file.exists() else None

    def discard(self) -> bool:
        """Remove the local state; False if there was none."""
        existed = self.path.exists()
        shutil.rmtree(self.path, ignore_errors=True)
        return existed


def _write(file: Path, content: bytes) -> None:
    """Replace a file whole: a crash leaves the old one or the new one."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(file)
