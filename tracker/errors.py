"""The three kinds of error. Every class of ours is one of them, and its kind says how to handle it.

*Retry* (``RetryableError``): the same may work later. *Reject* (``RejectedError``): the same is refused again, so the
one who asked has to change it: a record becomes a dead letter (``topics.codec.RejectedRecord``), a request a 4xx, a
command one line and exit code 1. *Bug* (``InvariantError``): the process stops rather than go on, because a skipped
chunk would be a gap in someone's numbers.
"""


class TrackerError(Exception):
    """Base of every error that this project raises on purpose. Raise one of the three kinds."""


class RetryableError(TrackerError):
    """An operating error that passes: a broker away, a rate limit, a time-out."""


class DiskFullError(RetryableError):
    """The local disk takes no more. Nothing is lost by waiting: the changelog has all rows."""


class StateDamagedError(RetryableError):
    """The local state can't be read. It is rebuilt from the changelog, which has all of it; then the same works."""


class RejectedError(TrackerError):
    """A record, request, query or command that can't be served as it is; the message says why."""


class ConfigurationError(RejectedError):
    """The operator has to change a setting, a file, a topic or a command; the message says what."""


class NotFoundError(RejectedError):
    """A session, dead letter or generation that was asked for does not exist."""


class InvariantError(TrackerError):
    """A bug or a corrupted log: the process must stop, with nothing committed."""
