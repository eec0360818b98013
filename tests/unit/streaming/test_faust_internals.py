"""The contract with Faust's inside: an upgrade that moved a name fails here, and the failure names it."""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import tracker.streaming
from tests.unit.private_names import missing, used
from tracker.streaming import faust_internals as internals


def test_faust_has_every_private_name_that_we_lean_on():
    assert missing(internals.LEANED_ON) == []


def test_every_private_name_in_the_seam_is_listed():
    assert used(Path(internals.__file__)) == {name for _, name in internals.LEANED_ON}


MODULES = [name for _, name, _ in pkgutil.iter_modules(tracker.streaming.__path__) if name != "faust_internals"]


@pytest.mark.parametrize("name", MODULES)
def test_no_other_module_touches_or_overrides_a_private_name_of_faust(name: str):
    module = import_module(f"tracker.streaming.{name}")
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    faust_has = {
        attribute
        for cls in classes
        for base in cls.__mro__
        if base.__module__.startswith(("faust", "mode"))
        for attribute in vars(base)
    }
    assert used(Path(str(module.__file__))) & faust_has == set()
