"""The capacity model agrees with what was measured, grows as it should, and docs/capacity.md shows what it says."""

from pathlib import Path

import pytest

from tracker.capacity import Load, capacity
from tracker.cli.views.capacity import lines, size

PROJECT_DIR = Path(__file__).parents[2]
SIZES = (1_000, 100_000, 10_000_000)
#: CPU of the broker and of the load's own sender for a million events, in the run that docs/performance.md shows.
OTHERS_CPU_SECONDS = 40.0


def shown(rate: int) -> str:
    return "\n".join(lines(capacity(Load(events_per_second=rate, events_per_request=5))))


@pytest.mark.parametrize("rate", SIZES)
def test_the_page_shows_what_the_model_says(rate: int) -> None:
    assert shown(rate) in (PROJECT_DIR / "docs" / "capacity.md").read_text(), shown(rate)


def test_all_stages_on_two_cores_carry_what_was_measured() -> None:
    """Measured: 20,900 to 21,900 events/s in batches of 50, beside the broker and the sender."""
    found = capacity(Load(events_per_second=21_400, events_per_request=50))
    ours = found.collect.cores + found.process.cores + found.sink.cores
    others = 21_400 * OTHERS_CPU_SECONDS / 1_000_000
    assert ours + others == pytest.approx(2.0, rel=0.15)


def test_the_sink_comes_to_tinybirds_limit_at_the_rows_that_were_measured() -> None:
    """Measured: 33,400 rows a second are 100 % of 20 MB/s."""
    found = capacity(Load(events_per_second=33_400, events_per_session=1e9))
    assert found.events_bytes_per_second == pytest.approx(20_000_000, rel=0.02)


def test_a_million_sessions_take_the_memory_and_the_recovery_that_were_measured() -> None:
    """Measured: 746 MiB and 10.1 s with one worker."""
    found = capacity(Load(events_per_second=1_000, events_per_session=1, session_seconds=2_000))
    assert found.open_sessions == 2_000_000
    assert found.process.processes == 2
    assert found.process.memory_bytes == pytest.approx(746 * 1_048_576, rel=0.02)
    assert found.recovery_seconds == pytest.approx(10.1, rel=0.02)


def test_single_events_and_full_batches_cost_what_was_measured() -> None:
    single = capacity(Load(events_per_second=1_000_000, events_per_request=1)).collect.cores
    batched = capacity(Load(events_per_second=1_000_000, events_per_request=50)).collect.cores
    assert (single, batched) == (pytest.approx(87.0), pytest.approx(11.4, rel=0.01))


def test_the_first_wall_is_named_at_each_size() -> None:
    assert not [wall for wall in capacity(Load(events_per_second=1_000)).walls if "Tinybird" in wall]
    for rate in SIZES[1:]:
        assert "Tinybird's limit" in next(capacity(Load(events_per_second=rate)).walls)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2e9, "2 GB"), (3e18, "3,000 PB")]
)
def test_sizes_are_read_easily(count: float, text: str) -> None:
    assert size(count) == text
