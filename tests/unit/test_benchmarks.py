import subprocess
import sys
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[2]


def test_every_part_of_the_benchmark_can_be_loaded() -> None:
    """They run too rarely for a rename elsewhere to be noticed."""
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "peers" in answer.stdout
