"""Figures of several processes as one page in Prometheus' text format, told apart by a label."""

from collections.abc import Iterator, Mapping
from itertools import chain


def with_label(label: str, texts: Mapping[str, str]) -> str:
    """Merge expositions into one, each of its samples with its process as a further label.

    Args:
        label: The label; no sample has it already.
        texts: What each process shows, as ``prometheus_client.generate_latest`` writes it, by the label's value.
    """
    families: dict[str, list[str]] = {}
    for value, text in texts.items():
        for line, head in _samples(text):
            families.setdefault(head, []).append(_labelled(line, f'{label}="{value}"'))
    return "".join(f"{line}\n" for line in chain.from_iterable((head, *lines) for head, lines in families.items()))


def _samples(text: str) -> Iterator[tuple[str, str]]:
    """Yield each sample with the comment lines of its family, which may come once in a page only."""
    head, is_complete = "", True
    for line in text.splitlines():
        if line.startswith("#"):
            head, is_complete = (line if is_complete else f"{head}\n{line}"), False
        elif line:
            is_complete = True
            yield line, head


def _labelled(sample: str, pair: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f"{name}{{{pair},{rest}"
    name, _, value = sample.partition(" ")
    return f"{name}{{{pair}}} {value}"
