"""The three kinds of error, and nothing else.

*Retry*: the world is in the way and will get out of it. *Reject*: this record can't be taken; it becomes a dead
letter or a 4xx (``topics.codec.RejectedRecord``). *Bug*: something that can't be; the process stops rather than
going on past it, because a skipped chunk would be a gap in someone's numbers.
"""


class TrackerError(Exception):
    """Base of every error that this project raises on purpose."""


class RetryableError(TrackerError):
    """An operating error that passes: a broker away, a rate limit, a time-out."""


class DiskFullError(RetryableError):
    """The local disk takes no more. Nothing is lost by waiting: what was not written is in the changelog."""


class StateDamagedError(TrackerError):
    """The local state can't be read. It costs a recovery, nothing else: the changelog has it all."""


class ConfigurationError(TrackerError):
    """The operator has to change something; the message says what."""


class InvariantError(TrackerError):
    """A bug or a corrupted log: the process must stop, with nothing committed."""
