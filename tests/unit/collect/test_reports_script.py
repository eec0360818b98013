"""The page of reports: small, loaded from nowhere else, and made from the sources that are in ``reports/``."""

import gzip
import hashlib
import re
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[3]
SOURCE_DIR = PROJECT_DIR / "reports"
STATIC_DIR = PROJECT_DIR / "tracker/collect/static"

MAX_GZIPPED_BYTES = 40 * 1024


def test_what_the_page_loads_is_at_most_40_kilobytes_gzipped() -> None:
    files = [STATIC_DIR / f"reports.{kind}" for kind in ("html", "js", "css")]
    assert sum(len(gzip.compress(file.read_bytes(), compresslevel=9)) for file in files) <= MAX_GZIPPED_BYTES


def test_it_was_built_after_its_sources_changed_last() -> None:
    sources = [SOURCE_DIR / "package-lock.json", *sorted(SOURCE_DIR.glob("*.js")), SOURCE_DIR / "style.css"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    for name in ("reports.js", "reports.css"):
        assert (STATIC_DIR / name).read_text().startswith(f"/* {name} {digest};"), "run: make sdk"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = (STATIC_DIR / "reports.html").read_text()
    assert "default-src 'none'" in page
    assert re.findall(r"""(?:src|href)=["']([^"']+)""", page) == ["data:,", "/reports.css", "/reports.js", "#report"]
