"""Every error that this project raises on purpose is one of three kinds."""

import importlib
import pkgutil
from collections.abc import Iterator

import tracker
from tracker.errors import InvariantError, RejectedError, RetryableError, TrackerError

KINDS = {RetryableError, RejectedError, InvariantError}


def import_everything() -> None:
    for module in pkgutil.walk_packages(tracker.__path__, "tracker."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def all_below(error: type[BaseException]) -> Iterator[type[BaseException]]:
    for below in error.__subclasses__():
        yield below
        yield from all_below(below)


def test_every_error_of_ours_is_one_of_the_three_kinds():
    import_everything()
    assert set(TrackerError.__subclasses__()) == KINDS


def test_no_error_is_two_kinds_at_once():
    import_everything()
    assert [error for error in all_below(TrackerError) if sum(issubclass(error, kind) for kind in KINDS) != 1] == []


def test_no_exception_class_of_ours_stands_outside_of_them():
    import_everything()
    outside = {
        error.__qualname__
        for error in all_below(Exception)
        if error.__module__.startswith("tracker.") and not issubclass(error, TrackerError)
    }
    # An error code of Kafka's that aiokafka does not know: its base must be aiokafka's own.
    assert outside == {"FencedInstanceIdError"}
