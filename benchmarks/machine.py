"""What the machine did meanwhile, from the kernel's own books."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """The time of all cores since the boot, in ticks: all of it, and what other guests of the host took."""

    total: int
    stolen: int

    @classmethod
    def now(cls) -> Self:
        """Read the books."""
        # user, nice, system, idle, iowait, irq, softirq, steal; guest times are in user and nice already.
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return cls(sum(ticks), ticks[7])

    def steal_percent_since(self, before: Self) -> float:
        """Return the share of the time since then in which a core was ready and the host ran somebody else."""
        return 100 * (self.stolen - before.stolen) / max(1, self.total - before.total)
