"""The contract with aiokafka's inside: an upgrade that moved a name fails here, and the failure names it."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.unit.private_names import missing, used
from tracker.kafka import aiokafka_internals as internals


def test_aiokafka_has_every_private_name_that_we_lean_on():
    assert missing(internals.LEANED_ON) == []


def test_a_moved_name_is_named():
    assert missing([(AIOKafkaProducer, "_moved_elsewhere")]) == ["AIOKafkaProducer._moved_elsewhere"]


def test_every_private_name_in_the_seam_is_listed():
    assert used(Path(internals.__file__)) == {name for _, name in internals.LEANED_ON}


@pytest.mark.parametrize("owner", sorted({owner for owner, _ in internals.LEANED_ON}, key=lambda one: one.__name__))
def test_only_aiokafkas_own_classes_are_listed(owner: type):
    assert owner.__module__.startswith("aiokafka.")
