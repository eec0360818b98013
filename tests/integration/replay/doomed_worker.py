"""``python -m tests.integration.replay.doomed_worker replay-worker …``: the worker as it is, which is killed at a step.

What it calls on its way is wrapped from outside; the production code knows nothing of it. ``DOOM_STEP`` names the step,
``DOOM_CHUNK`` the chunk in which it strikes.
"""

import os
import signal
from typing import Any

from tracker.cli import main as tracker
from tracker.replay import partition, targets
from tracker.replay.partition import PartitionReplay

#: After the first output topic of a chunk; after all of them, before the progress is written down; after that.
STEPS = ("one topic", "outputs", "progress")
#: Small, so that each partition takes several chunks.
CHUNK_MAX_RECORDS = 200


def main() -> None:
    step, last_chunk = os.environ["DOOM_STEP"], int(os.environ["DOOM_CHUNK"])
    assert step in STEPS, step
    chunks = 1
    send_batches, checkpoint = targets.send_batches, PartitionReplay._checkpoint

    def reached(now: str) -> None:
        if now == step and chunks == last_chunk:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watched_send(*args: Any) -> Any:
        written = await send_batches(*args)
        reached("one topic")
        return written

    def watched_checkpoint(*args: Any) -> None:
        nonlocal chunks
        reached("outputs")
        checkpoint(*args)
        reached("progress")
        chunks += 1

    targets.send_batches = watched_send
    PartitionReplay._checkpoint = watched_checkpoint  # type: ignore[method-assign]
    partition.CHUNK_MAX_RECORDS = CHUNK_MAX_RECORDS
    tracker()


if __name__ == "__main__":
    main()
