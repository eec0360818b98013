"""``python -m tracker.local.tinybird``: the local Tinybird as a process of its own."""

import sys

from tracker.errors import TrackerError
from tracker.local.tinybird.main import run
from tracker.observe.logs import configure_logging
from tracker.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    configure_logging(settings)
    try:
        run(settings)
    except TrackerError as error:
        sys.exit(f"error: {error}")
