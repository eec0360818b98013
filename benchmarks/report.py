"""What comes out: a table for people, and a JSON line per figure for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.bench import Figure

OUT_FILE: Final = Path(__file__).with_name("out") / "latest.jsonl"
_SIGNIFICANT_DIGITS: Final = 3
_VERDICTS: Final = {None: "", True: "[green]held[/green]", False: "[red]missed[/red]"}


def print_table(console: Console, figures: Sequence[Figure]) -> None:
    """Print every figure with its runs and its ratio."""
    table = Table(title="Medians; a ratio is how many times better, the median over pairs of runs", title_style="")
    table.add_column("figure", no_wrap=True)
    for heading in ("value", "unit", "runs", "ratio"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    table.add_column("against", no_wrap=True)
    table.add_column("goal", justify="right")
    table.add_column("verdict")
    for figure in figures:
        runs = " ".join(map(_short, figure.runs))
        ratio = f"{figure.ratio:.1f}x" if figure.ratio is not None else ""
        bound = "at least" if figure.goal_is_least else "at most"
        goal = f"{bound} {_short(figure.goal)}" if figure.goal is not None else ""
        verdict = _VERDICTS[figure.held]
        table.add_row(figure.name, _short(figure.value), figure.unit, runs, ratio, figure.against or "", goal, verdict)
    console.print(table, soft_wrap=True)


def write_lines(figures: Sequence[Figure], path: Path = OUT_FILE) -> None:
    """Write a JSON line per figure, in place of those of the run before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(asdict(figure), option=orjson.OPT_APPEND_NEWLINE) for figure in figures))


def _short(value: float) -> str:
    whole_digits = len(str(int(abs(value))))
    return f"{value:,.{max(0, _SIGNIFICANT_DIGITS - whole_digits)}f}"
