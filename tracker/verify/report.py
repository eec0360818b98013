"""The result: checks, and the faults of each."""

from dataclasses import dataclass, field
from typing import Final

#: Of each check's faults only so many are kept; the count goes on.
MAX_FAULTS_KEPT: Final = 100


@dataclass(slots=True)
class Check:
    """One thing that is promised, over how much it was looked at, and where it does not hold."""

    name: str
    promise: str
    looked_at: int = 0
    fault_count: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, what: str) -> None:
        """Note where it does not hold."""
        self.fault_count += 1
        if len(self.faults) < MAX_FAULTS_KEPT:
            self.faults.append(what)

    @property
    def holds(self) -> bool:
        """Whether it holds everywhere."""
        return not self.fault_count
