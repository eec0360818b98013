"""``python -m tracker``: the command line, also for the child processes of ``tracker dev``."""

from tracker.cli import main

if __name__ == "__main__":
    main()
