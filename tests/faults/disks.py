"""Faults of the local disk: files cut short, and no space left."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.worker import Worker
from tests.faults.world import FaultFailedError, World

DISK_MIB = 192
BALLAST_BLOCK_BYTES = 65_536
FULL_SECONDS = 5.0
FULL_LINE = "the disk is full"
#: What RocksDB can't do without, one kind of file each time: its log, its tables, and what lists them.
KINDS = ("*.log", "*.sst", "MANIFEST-*", "CURRENT", "*")


async def truncated_files(world: World, times: int) -> None:
    """SIGKILL, and files of every store cut short: what is damaged is rebuilt from the changelog."""
    for number in range(times):
        kind = KINDS[number % len(KINDS)]
        victim = await world.victim()
        if not _files(victim, kind):
            # What its log holds becomes a table when it is opened again.
            victim.kill()
            victim.start()
            await world.until_leased(victim)
        strike = await world.struck(f"{victim.worker_id} killed, {kind} cut short")
        victim.kill()
        files = _files(victim, kind)
        if not files:
            raise FaultFailedError(f"{victim.worker_id} has no {kind} to cut short")
        for path in files:
            os.truncate(path, world.rng.randrange(path.stat().st_size))
        victim.start()
        await world.recovered(strike)


def _files(worker: Worker, kind: str) -> list[Path]:
    return [path for path in worker.store_files() if path.match(kind) and path.stat().st_size]


async def disk_full(world: World, times: int) -> None:
    """No space left: the worker says so in one line and waits, and goes on by itself once there is space again."""
    with small_disk(world.data_dir / "small-disk") as disk:
        worker = world.new_worker(disk)
        worker.start()
        for other in world.up():
            if other is not worker:
                await asyncio.to_thread(other.stop)
        await world.until_leased(worker)
        for _ in range(times):
            strike = await world.struck(f"{worker.worker_id}: disk full")
            said = worker.words().count(FULL_LINE)
            ballast = fill(disk)
            await world.until(lambda said=said: worker.words().count(FULL_LINE) > said, f"the line: {FULL_LINE}")
            await world.calm(FULL_SECONDS)
            ballast.unlink()
            await world.recovered(strike)
        if "Traceback" in worker.words():
            raise FaultFailedError(f"{worker.worker_id} did not take it calmly\n{worker.last_words()}")
        worker.kill()
        world.new_worker().start()
        await world.recovered(await world.struck(f"{worker.worker_id} gone"))


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of DISK_MIB in memory; needs root."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Take all space that is left; deleting the file gives it back."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(BALLAST_BLOCK_BYTES))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return ballast
