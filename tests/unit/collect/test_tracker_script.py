"""The script that pages load: small, and made from the sources that stand beside it."""

import gzip
import hashlib
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[3]
SCRIPT = PROJECT_DIR / "tracker/collect/static/tracker.js"
SOURCES = ("tracker.js", "script.js")

MAX_GZIPPED_BYTES = 5 * 1024


def test_it_is_at_most_5_kilobytes_gzipped() -> None:
    assert len(gzip.compress(SCRIPT.read_bytes(), compresslevel=9)) <= MAX_GZIPPED_BYTES


def test_it_was_built_after_its_sources_changed_last() -> None:
    digest = hashlib.sha256(b"".join((PROJECT_DIR / "sdk" / name).read_bytes() for name in SOURCES))
    assert SCRIPT.read_text().startswith(f"/* tracker.js {digest.hexdigest()[:12]} */"), "run: make sdk"
