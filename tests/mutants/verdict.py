"""Which mutants were caught, which count, and what that makes."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
#: What mutmut says of a mutant that the tests noticed. A test that hangs has noticed, too.
CAUGHT = {"killed", "timeout", "segfault", "suspicious", "caught by type check"}


@dataclass(frozen=True, slots=True)
class Equivalents:
    """Mutants that change nothing that anybody could see, each with its reason."""

    #: By function and changed lines.
    listed: Mapping[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)
    #: By what the changed lines look like, in any function.
    always: Mapping[re.Pattern[str], str] = field(default_factory=dict)

    def reason_of(self, function: str, change: tuple[str, ...]) -> str | None:
        """Why a mutant is one of these, or None if it is not."""
        alike = (reason for pattern, reason in self.always.items() if pattern.fullmatch("\n".join(change)))
        return self.listed.get((function, change)) or next(alike, None)


@dataclass(slots=True)
class Score:
    """What became of the mutants of one part."""

    caught: int = 0
    #: Those that change nothing that anybody could see, with the reason.
    equivalent: int = 0
    survivors: list[str] = field(default_factory=list)

    @property
    def counted(self) -> int:
        return self.caught + len(self.survivors)

    @property
    def share(self) -> float:
        """How many of those that count were caught."""
        return self.caught / self.counted if self.counted else 1.0


def score_of(results: list[dict[str, Any]], equivalents: Equivalents) -> Score:
    """Judge what mutmut says."""
    score = Score()
    for result in results:
        if result["state"] in CAUGHT:
            score.caught += 1
        elif equivalents.reason_of(function_of(result["name"]), changed_lines(result["difference"])):
            score.equivalent += 1
        else:
            changed = "\n".join(changed_lines(result["difference"]))
            score.survivors.append(f"{function_of(result['name'])}: {result['state']}\n{changed}")
    return score


def function_of(mutant_name: str) -> str:
    """``a.b.xǁCǁf__mutmut_3`` is a mutant of ``a.b.C.f``."""
    name = mutant_name.partition("__mutmut_")[0]
    module, _, function = name.rpartition(".")
    return (
        f"{module}.{function.removeprefix('xǁ').replace('ǁ', '.') if 'ǁ' in function else function.removeprefix('x_')}"
    )


def changed_lines(difference: str) -> tuple[str, ...]:
    """The lines that differ, without their indentation: they stay the same when the code around them changes."""
    lines = [line for line in difference.splitlines() if re.match(r"[-+](?![-+]{2} )", line)]
    return tuple(f"{line[0]} {line[1:].strip()}" for line in lines)


def read_equivalents(path: Path = EQUIVALENTS) -> Equivalents:
    """Read the list."""
    found = tomllib.loads(path.read_text())
    return Equivalents(
        {(each["function"], _lines(each["change"])): each["reason"] for each in found.get("equivalent", ())},
        {re.compile("\n".join(_lines(each["pattern"]))): each["reason"] for each in found.get("always", ())},
    )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())
