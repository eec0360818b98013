"""``python -m tests.faults.doomed process``: the processor as it is, which ends or stops itself at a chosen step.

What the processor calls on its way is wrapped from outside, the producer's ``send_batch`` and the store's ``write`` and
``merge``; the production code knows nothing of it. ``FAULT_STEP`` names the step, ``FAULT_CHUNK`` how many chunks (or
reads of a recovery) are let through first, ``FAULT_SIGNAL`` the signal. Just before it strikes, it leaves a note of
where it was.
"""

import asyncio
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from topics.catalog import CHANGELOG, DEAD_LETTERS, SEQUENCED, SESSIONS, USAGE
from tracker.cli import main as tracker
from tracker.process import main as process
from tracker.table import changelog
from tracker.table.store import SessionStore

#: After the fold, before any output; after the first output batch; after all outputs; between two changelog batches;
#: after the changelog, before the store; after the store; between two reads of a recovery.
STEPS = ("fold", "some-outputs", "outputs", "changelog-1", "changelog-2", "changelog", "store", "recovery")

#: Small, so that a chunk's states take several batches, and a recovery several reads.
RECORD_BATCH_MAX_BYTES = 4_096
RECOVERY_READ_MAX_RECORDS = 300

NOTE_NAME = "struck.json"


class Doom:
    """Watches the steps of every partition's chunk, and strikes once."""

    def __init__(self, step: str, chunk: int, number: signal.Signals, note: Path) -> None:
        self.step = step
        self.chunk = chunk
        self.number = number
        self.note = note
        self.chunks = 0
        self.merges = 0
        self.outputs: dict[int, list[asyncio.Future]] = defaultdict(list)
        self.states: dict[int, list[asyncio.Future]] = defaultdict(list)

    async def before_batch(self, partition: int, *, is_changelog: bool) -> None:
        """A batch is about to be sent: the step before it is over."""
        done = self.states[partition] if is_changelog else self.outputs[partition]
        if not is_changelog and not done:
            self.reached("fold", partition)
        elif not is_changelog and self.step == "some-outputs":
            await asyncio.wait(done[:1])
            self.reached("some-outputs", partition)
        elif is_changelog and not done and self.outputs[partition]:
            self.reached("outputs", partition)
        elif is_changelog and self.step == (step := f"changelog-{len(done)}"):
            await asyncio.wait(done)
            self.reached(step, partition)

    def reached(self, step: str, partition: int) -> None:
        """Strike, if it is time: all chunks that were to pass have passed."""
        if step == self.step and self.chunks >= self.chunk:
            self._strike(partition)

    def recovery_read(self, partition: int) -> None:
        """A recovery has read a part of the changelog, and is about to merge it."""
        self.merges += 1
        if self.step == "recovery" and self.merges > self.chunk:
            self._strike(partition)

    def _strike(self, partition: int) -> None:
        note = {"step": self.step, "partition": partition, "chunks": self.chunks, "recovery_reads": self.merges}
        self.step = ""
        # Whoever sees it can read all of it. The clock is the same for all processes of a machine.
        part = self.note.with_suffix(".part")
        part.write_bytes(orjson.dumps({**note, "at": time.monotonic()}))
        part.replace(self.note)
        sys.stderr.flush()
        os.kill(os.getpid(), self.number)

    def chunk_stored(self, partition: int) -> None:
        """A chunk is through."""
        self.reached("store", partition)
        self.chunks += 1
        self.outputs[partition].clear()
        self.states[partition].clear()


def install(doom: Doom, prefix: str) -> None:
    """Wrap what the checkpoint and the recovery call."""
    outputs = {topic.name(prefix) for topic in (SEQUENCED, SESSIONS, DEAD_LETTERS, USAGE)}
    states = CHANGELOG.name(prefix)
    send_batch, write, merge = AIOKafkaProducer.send_batch, SessionStore.write, SessionStore.merge

    async def watched_send(producer: AIOKafkaProducer, batch: Any, topic: str, *, partition: int) -> asyncio.Future:
        if topic not in outputs and topic != states:
            return await send_batch(producer, batch, topic, partition=partition)
        is_changelog = topic == states
        await doom.before_batch(partition, is_changelog=is_changelog)
        ack = await send_batch(producer, batch, topic, partition=partition)
        (doom.states if is_changelog else doom.outputs)[partition].append(ack)
        return ack

    def watched_write(store: SessionStore, *args: Any) -> None:
        doom.reached("changelog", _partition(store))
        write(store, *args)
        doom.chunk_stored(_partition(store))

    def watched_merge(store: SessionStore, *args: Any) -> Any:
        partition = _partition(store)
        if not doom.states[partition]:
            doom.recovery_read(partition)
            return merge(store, *args)
        # After a zombie's write a chunk is merged too.
        doom.reached("changelog", partition)
        merged = merge(store, *args)
        doom.chunk_stored(partition)
        return merged

    _replace(AIOKafkaProducer, "send_batch", watched_send)
    _replace(SessionStore, "write", watched_write)
    _replace(SessionStore, "merge", watched_merge)
    _replace(process, "RECORD_BATCH_MAX_BYTES", RECORD_BATCH_MAX_BYTES)
    _replace(changelog, "READ_MAX_RECORDS", RECOVERY_READ_MAX_RECORDS)


def _partition(store: SessionStore) -> int:
    return int(store._path.name.rpartition("-")[2])


def _replace(owner: Any, name: str, value: int | Callable[..., Any]) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: this fault would never strike"
    setattr(owner, name, value)


def main() -> None:
    doom = Doom(
        os.environ["FAULT_STEP"],
        int(os.environ["FAULT_CHUNK"]),
        signal.Signals[os.environ["FAULT_SIGNAL"]],
        Path(os.environ["TRACKER_DATA_DIR"]) / NOTE_NAME,
    )
    assert doom.step in STEPS, doom.step
    install(doom, os.environ["TRACKER_TOPIC_PREFIX"])
    tracker()


if __name__ == "__main__":
    main()
