"""The command line: the composition root that knows every stage. Stages are imported when they are run."""

from tracker.cli.app import main

__all__ = ["main"]
