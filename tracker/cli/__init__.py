"""The command line: the composition root that knows every stage. Stages are imported when they are run."""

from tracker.processes.garbage_collection import look_for_cycles_rarely


def main() -> None:
    """Run the command line; the entry point of ``tracker`` and ``python -m tracker``."""
    look_for_cycles_rarely()  # before the imports: they make no cycles worth looking for

    from tracker.cli.app import app

    app(prog_name="tracker")
