"""A whole replay: plan it or take it up again, share it out over processes, watch them, sum up."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic
from typing import Final

import msgspec

from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka import admin
from tracker.kafka.access import require_access
from tracker.kafka.log_reader import new_range_reader
from tracker.processes.children import Child
from tracker.processes.signals import calling_on_stop
from tracker.replay.compare import Comparison
from tracker.replay.generation import Generation
from tracker.replay.partition import Progress
from tracker.replay.plan import PartitionPlan, Plan, Request, share_out
from tracker.replay.planner import make_plan
from tracker.replay.targets import OUTPUT_TOPICS
from tracker.replay.worker import EXIT_INTERRUPTED
from tracker.settings import Settings

#: Of a worker's errors the last lines are shown.
KEPT_ERROR_LINES: Final = 20

OnProgress = Callable[[Progress], None]


class Summary(msgspec.Struct, kw_only=True):
    """The result of a run."""

    name: str
    records: int
    outputs: int
    seconds: float
    interrupted: bool
    comparisons: list[Comparison] = msgspec.field(default_factory=list)

    @property
    def differences(self) -> int:
        """Outputs that are not as live has them; 0 without ``--compare``."""
        return sum(comparison.differences for comparison in self.comparisons)


async def prepare(settings: Settings, request: Request, *, dry_run: bool = False) -> tuple[Generation, Plan, bool]:
    """Return the generation, its plan, and whether it was there before. A dry run leaves nothing behind.

    Raises:
        ConfigurationError: the request can't be carried out; says why.
        RetryableError: Kafka can't be reached.
    """
    generation = Generation(settings, request.name)
    plan = generation.resumable(request)
    if plan is not None:
        if plan.cluster_id != await admin.cluster_id(settings):
            raise ConfigurationError(f"{request.name!r} was made on another cluster; {generation.discard_command}")
        return generation, plan, True
    await require_access(settings, "replay")  # fails with one line; a consumer would try for long
    async with new_range_reader(settings, f"{settings.topic_prefix}replay") as reader:
        plan = await make_plan(settings, request, reader)
    if not dry_run:
        if request.target == "topics":
            own = settings.model_copy(update={"topic_prefix": generation.topic_prefix})
            await admin.create_topics(own, OUTPUT_TOPICS)
        generation.create(plan)
    return generation, plan, False


async def run(
    settings: Settings,
    generation: Generation,
    plan: Plan,
    *,
    processes: int,
    max_rate: int | None,
    on_progress: OnProgress,
) -> Summary:
    """Fold the rest of the plan and return the result.

    Raises:
        RetryableError: a worker failed; quotes its last words. The generation can be resumed.
    """
    left = [each for each in plan.partitions if generation.result(each.partition) is None]
    shares = share_out(left, processes)
    began = monotonic()
    latest: dict[int, Progress] = {}

    def note(progress: Progress) -> None:
        latest[progress.partition] = progress
        on_progress(progress)

    rate = None if max_rate is None else max(1, max_rate // max(1, len(shares)))
    codes = await _run_workers(settings, generation.name, shares, rate, note)
    records = sum(
        progress.next_offset - each.begin for each in left if (progress := latest.get(each.partition)) is not None
    )
    comparisons = [found for each in plan.partitions for found in generation.result(each.partition) or ()]
    return Summary(
        name=generation.name,
        records=records,
        outputs=sum(progress.outputs for progress in latest.values()),
        seconds=monotonic() - began,
        interrupted=EXIT_INTERRUPTED in codes,
        comparisons=comparisons,
    )


async def _run_workers(
    settings: Settings, name: str, shares: Sequence[Sequence[PartitionPlan]], rate: int | None, note: OnProgress
) -> list[int]:
    workers = [_start(settings, name, share, rate) for share in shares]

    def stop_all() -> None:
        for worker in workers:
            worker.terminate()

    try:
        with calling_on_stop(stop_all):
            codes = await asyncio.gather(*(_follow(worker, note, stop_all) for worker in workers))
    finally:
        stop_all()
    failures = [words for _, words in codes if words]
    if failures:
        raise RetryableError(f"a replay process failed; run the same command again to resume\n{failures[0]}")
    return [code for code, _ in codes]


def _start(settings: Settings, name: str, share: Sequence[PartitionPlan], rate: int | None) -> Child:
    numbers = ",".join(str(plan.partition) for plan in share)
    command = [sys.executable, "-m", "tracker", "replay-worker", name, "--partitions", numbers]
    command += ["--data-dir", str(settings.data_dir)]
    if rate is not None:
        command += ["--max-rate", str(rate)]
    return Child(
        "replay-worker",
        command,
        env={**os.environ, "TRACKER_TOPIC_PREFIX": settings.topic_prefix},
        output=subprocess.PIPE,
        errors=subprocess.PIPE,
    )


async def _follow(worker: Child, note: OnProgress, stop_others: Callable[[], None]) -> tuple[int, str]:
    """Pass a worker's progress on until it ends; return its code, and its last lines if it failed."""
    errors = asyncio.create_task(_last_lines(worker.error_lines()))
    async for line in worker.output_lines():
        note(msgspec.json.decode(line, type=Progress))
    code = await worker.ended()
    if code == -signal.SIGTERM:  # told to stop before it could say how
        code = EXIT_INTERRUPTED
    lines = await errors
    if code in {0, EXIT_INTERRUPTED}:
        return code, ""
    stop_others()
    return code, "\n".join(lines) or f"exit status {code}"


async def _last_lines(lines: AsyncIterator[bytes]) -> Sequence[str]:
    kept: deque[str] = deque(maxlen=KEPT_ERROR_LINES)
    async for line in lines:
        kept.append(line.decode(errors="replace").rstrip())
    return kept
