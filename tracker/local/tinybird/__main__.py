"""``python -m tracker.local.tinybird``: the local Tinybird as a separate process."""

import sys

from tracker.errors import TrackerError
from tracker.local.tinybird.main import run
from tracker.observe.logs import configure_logging
from tracker.settings.environment import read_settings

if __name__ == "__main__":
    settings = read_settings()
    configure_logging(settings)
    try:
        run(settings)
    except TrackerError as error:
        sys.exit(f"error: {error}")
