"""Running other people's programs: Maven, Kafka's own tools, compilers."""

import subprocess
from collections.abc import Sequence


def run_quietly(command: Sequence[str], *, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Run one of our commands and wait for its end; its output is collected in ``stdout``, not printed.

    Raises:
        subprocess.TimeoutExpired: it took too long, and was killed.
    """
    return subprocess.run(  # noqa: S603 - the command is ours
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_seconds,
    )
