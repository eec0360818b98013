"""Among how many partitions a deployment's keys are spread. The source may have more: their records are forwarded.

Processors store the number together with W and refuse another TRACKER_PARTITIONS. Commands can't read W: for them the
number is in the metadata of the processors' committed offsets, which costs one request.
"""

from typing import Final

from topics.catalog import SOURCE
from tracker.errors import ConfigurationError
from tracker.kafka.admin import committed
from tracker.settings import Settings

_NAME: Final = "partitions="


def encode_spread(partitions: int) -> str:
    """Return the metadata of a processor's commit. 0: the number is not known."""
    return f"{_NAME}{partitions}" if partitions else ""


def decode_spread(metadata: str) -> int:
    """Return among how many partitions keys are spread, as a commit's metadata says it; 0: it does not say."""
    number = metadata.removeprefix(_NAME)
    return int(number) if number != metadata and number.isdecimal() else 0


async def spread_of(settings: Settings) -> int:
    """Return among how many partitions keys are spread; TRACKER_PARTITIONS as long as no processor has committed.

    Raises:
        ConfigurationError: we may not see the processors' group.
        RetryableError: Kafka can't be reached.
    """
    found = await committed(settings, f"{settings.topic_prefix}process")
    return max((decode_spread(at.metadata or "") for at in found.values()), default=0) or settings.partitions


async def require_spread(settings: Settings) -> None:
    """Hold TRACKER_PARTITIONS against what the processors go by.

    Raises:
        ConfigurationError: it is another number; says which. Or we may not see the processors' group.
        RetryableError: Kafka can't be reached.
    """
    spread = await spread_of(settings)
    if spread != settings.partitions:
        raise ConfigurationError(
            f"the sessions of {SOURCE.name(settings.topic_prefix)} are spread among {spread} partitions, "
            f"TRACKER_PARTITIONS is {settings.partitions}: set it to {spread} "
            "(docs/decisions/0043-the-spread-of-keys-stays.md)"
        )
