"""The rights that each process needs on the cluster, and no more.

It is the one list behind ``tracker topics acls`` and the check that each process makes at its start.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from topics.catalog import (
    CATALOG,
    CHANGELOG,
    DEAD_LETTERS,
    FRONT_DOORS,
    HISTORY,
    LEGACY,
    SEQUENCED,
    SESSIONS,
    SOURCE,
    USAGE,
    Topic,
)

Operation = Literal["Read", "Write", "Create", "Delete", "Alter", "Describe", "DescribeConfigs", "IdempotentWrite"]
Resource = Literal["topic", "group", "cluster"]
Pattern = Literal["literal", "prefixed"]

#: Kafka's name of the one cluster resource.
CLUSTER: Final = "kafka-cluster"
READ: Final[tuple[Operation, ...]] = ("Read", "Describe")
WRITE: Final[tuple[Operation, ...]] = ("Write", "Describe")
READ_WRITE: Final[tuple[Operation, ...]] = ("Read", "Write", "Describe")


@dataclass(frozen=True, slots=True)
class Need:
    """Operations that a process needs on one resource. ``why`` is for the reader of the table."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    why: str
    pattern: Pattern = "literal"
    #: Whether the process starts without it: only the part that ``why`` names needs it.
    optional: bool = False


def _collect(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, SOURCE, WRITE, "events that arrive")
    yield _topic(prefix, LEGACY, WRITE, "sessions that a migration leaves on the queue", optional=True)
    yield _topic(prefix, SEQUENCED, READ, "the live page", optional=True)
    yield _topic(prefix, SESSIONS, READ, "the live page", optional=True)
    yield _topic(prefix, USAGE, READ, "workspaces' quotas", optional=True)
    yield _group(prefix, "process", ("Describe",), "the live page's lag", optional=True)
    yield _group(prefix, "sink", ("Describe",), "the live page's lag", optional=True)
    yield _idempotence()


def _process(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, SOURCE, READ_WRITE, "events in; ticks and forwards")
    yield _topic(prefix, SOURCE, ("DescribeConfigs",), "the check that the broker stamps records", optional=True)
    yield _topic(prefix, CHANGELOG, READ_WRITE, "sessions, and their recovery")
    yield _topic(prefix, HISTORY, READ, "what operators have decided about the log")
    yield _topic(prefix, SEQUENCED, WRITE, "numbered events")
    yield _topic(prefix, SESSIONS, WRITE, "session rows")
    yield _topic(prefix, DEAD_LETTERS, WRITE, "what can't be taken")
    yield _topic(prefix, USAGE, WRITE, "usage")
    yield _group(prefix, "process", READ, "the processors' group")
    yield _idempotence()


def _sink(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, SEQUENCED, READ, "rows of events")
    yield _topic(prefix, SESSIONS, READ, "rows of sessions")
    yield _topic(prefix, USAGE, READ, "rows of usage")
    yield _topic(prefix, DEAD_LETTERS, WRITE, "what Tinybird refuses")
    yield _group(prefix, "sink", READ, "the sinks' group")
    yield _idempotence()


def _topics(prefix: str) -> Iterator[Need]:
    for topic in CATALOG:
        yield _topic(prefix, topic, ("Create", "Alter", "Describe", "DescribeConfigs"), "create, grow, check")
    yield _group(prefix, "process", ("Describe",), "among how many partitions keys are spread")


def _replay(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, SOURCE, READ, "what is folded again")
    yield _topic(prefix, HISTORY, READ, "what operators have decided about the log", optional=True)
    for topic in (SEQUENCED, SESSIONS, DEAD_LETTERS, USAGE):
        yield _topic(prefix, topic, READ, "what --compare holds against", optional=True)
    yield _group(prefix, "process", ("Describe",), "how far live has come, and how it spreads keys")
    yield _own(prefix, "replay.", "the outputs of generations")
    yield _idempotence()


def _import(prefix: str) -> Iterator[Need]:
    yield _own(prefix, "import.", "the imports' logs")
    yield _groups(prefix, "import.", READ, "the mark of an import whose rows are written")
    yield _idempotence()


def _dead_letters(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, DEAD_LETTERS, READ_WRITE, "letters, and marks of what was sent again")
    for topic in FRONT_DOORS:
        yield _topic(prefix, topic, READ_WRITE, "where records are sent again")
    yield _idempotence()


def _verify(prefix: str) -> Iterator[Need]:
    for topic in (SEQUENCED, SESSIONS, USAGE, DEAD_LETTERS):
        yield _topic(prefix, topic, READ, "what Tinybird must have")
    yield _topic(prefix, SOURCE, READ, "the records that are accounted for")
    for stage in ("process", "sink"):
        yield _group(prefix, stage, ("Describe",), "how far the stage has come")
    yield Need("topic", prefix + "import.", READ, "rows of imports", "prefixed", optional=True)
    yield _groups(prefix, "import.", ("Describe",), "which imports are finished", optional=True)


def _session(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, SEQUENCED, READ, "a session's numbered events")
    yield _group(prefix, "process", ("Describe",), "among how many partitions keys are spread")


def _skip(prefix: str) -> Iterator[Need]:
    yield _topic(prefix, SOURCE, ("Describe",), "where the log ends")
    yield _group(prefix, "process", ("Describe",), "how far the processors have come")
    yield _topic(prefix, HISTORY, WRITE, "the decision")
    yield _idempotence()


def _migration(prefix: str) -> Iterator[Need]:
    for topic in (SOURCE, LEGACY):
        yield _topic(prefix, topic, READ, "the two lanes that are compared")


_NEEDS: Final = {
    "collect": _collect,
    "process": _process,
    "sink": _sink,
    "topics": _topics,
    "replay": _replay,
    "import": _import,
    "dead-letters": _dead_letters,
    "verify": _verify,
    "session": _session,
    "skip": _skip,
    "migration": _migration,
}
#: The stages, then the operators' commands.
PROCESSES: Final = tuple(_NEEDS)


def needs(process: str, prefix: str) -> tuple[Need, ...]:
    """Return what a process needs under a deployment's topic prefix."""
    return tuple(_NEEDS[process](prefix))


def default_principal(process: str) -> str:
    """Return who a process is taken to log in as."""
    return f"User:tracker-{process}"


def commands(bootstrap: str, prefix: str, principals: Mapping[str, str]) -> Iterator[str]:
    """Yield the commands of Kafka's own tools that grant each process, by its principal, its rights."""
    for process, principal in principals.items():
        for need in needs(process, prefix):
            words = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--command-config", "admin.properties"]
            words += ["--add", "--allow-principal", principal]
            words += [word for operation in need.operations for word in ("--operation", operation)]
            words += ["--cluster"] if need.resource == "cluster" else [f"--{need.resource}", need.name]
            words += ["--resource-pattern-type", need.pattern] if need.pattern != "literal" else []
            yield shlex.join(words)


def _topic(prefix: str, topic: Topic, operations: tuple[Operation, ...], why: str, *, optional: bool = False) -> Need:
    return Need("topic", topic.name(prefix), operations, why, optional=optional)


def _group(prefix: str, name: str, operations: tuple[Operation, ...], why: str, *, optional: bool = False) -> Need:
    return Need("group", prefix + name, operations, why, optional=optional)


def _groups(prefix: str, name: str, operations: tuple[Operation, ...], why: str, *, optional: bool = False) -> Need:
    return Need("group", prefix + name, operations, why, "prefixed", optional)


def _own(prefix: str, name: str, why: str) -> Need:
    operations: tuple[Operation, ...] = ("Create", "Read", "Write", "Delete", "Describe")
    return Need("topic", prefix + name, operations, why, "prefixed")


def _idempotence() -> Need:
    return Need("cluster", CLUSTER, ("IdempotentWrite",), "brokers before 2.8: writing without doubling")
