"""What is mutated, and which tests have to notice."""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

#: Lines that decide nothing: words for the operator, and types.
NOT_MUTATED_LINES = (r"^\s*log\.\w+\(", r"^\s*raise \w*\(", r"\bcast\(")


@dataclass(frozen=True, slots=True)
class Part:
    """Some modules of ``tracker``, and the tests that run against each of their mutants.

    ``least_score`` is the share of mutants that count which a whole run has to see caught.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    least_score: float
    #: Wiring and metrics' names: they decide nothing, and the integration tests start what they wire.
    left_out: tuple[str, ...] = ("*/main.py", "*/metrics.py", "*/__init__.py")

    def files(self, root: Path) -> list[str]:
        """The modules that there are, as paths below the root."""
        found = {str(path.relative_to(root)) for pattern in self.modules for path in root.glob(pattern)}
        return sorted(name for name in found if not any(fnmatch(name, pattern) for pattern in self.left_out))


SESSIONS = ("tests/unit/sessions", "tests/property")
SIMULATOR = ("tests/simulation/test_few_seeds.py",)
QUOTAS = ("tracker/collect/quotas/quotas.py", "tracker/collect/quotas/tally.py")
PARTS = (
    Part("sessions", ("tracker/sessions/*.py",), SESSIONS, 0.85),
    Part(
        "process",
        ("tracker/process/*.py", "tracker/streaming/lease.py", "tracker/streaming/chunk.py"),
        (
            "tests/unit/process",
            "tests/unit/streaming",
            "tests/unit/table/test_rows_of_a_key.py",
            "tests/property/test_log_properties.py",
            *SIMULATOR,
        ),
        0.85,
    ),
    Part(
        "table",
        ("tracker/table/*.py", "tracker/kafka/record_batches.py"),
        (
            "tests/unit/table",
            "tests/unit/kafka",
            "tests/unit/process/test_checkpoint_rows.py",
            "tests/property/test_merge_properties.py",
            *SIMULATOR,
        ),
        0.85,
    ),
    Part(
        "sink",
        (
            "tracker/sink/*.py",
            *(f"tracker/tinybird/{name}.py" for name in ("answers", "circuit", "delivery", "pacing")),
        ),
        ("tests/unit/sink", "tests/unit/tinybird", "tests/property", *SIMULATOR),
        0.85,
    ),
    Part(
        "access",
        ("tracker/collect/access/*.py", "tracker/collect/records/*.py", *QUOTAS),
        ("tests/unit/collect",),
        0.8,
    ),
    Part("delivery", ("tracker/collect/delivery/*.py",), ("tests/unit/collect",), 0.8),
    Part(
        "spill",
        ("tracker/collect/spill/*.py",),
        ("tests/unit/collect", "tests/property/test_spill_properties.py"),
        0.8,
    ),
    Part("http", ("tracker/collect/http/*.py",), ("tests/unit/collect",), 0.8),
    Part("api", ("tracker/collect/api/*.py",), ("tests/unit/collect",), 0.75),
)
