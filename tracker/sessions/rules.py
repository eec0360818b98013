"""The numbers and policies that the session rules turn on. Times are milliseconds of stream time."""

from dataclasses import dataclass
from typing import Final, Literal

from topics.catalog import MIN_COMPACTION_LAG_MS

#: What a session inherits from the one before it under its key: all context and the time-out, only whose it is
#: (``topics.session.IDENTITY_FIELDS``), or nothing but its workspace.
RenewalContext = Literal["all", "identity", "none"]

#: What another campaign within a session does: nothing but leave a touch, or end the session and begin the next one.
CampaignChange = Literal["keep", "split"]

_FIRST_LAYOUT_OF_0_2: Final = 3

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Rules:
    """Deployment-wide session rules; a session may carry its own inactivity gap.

    The caps close a session that no person makes, so that no row of a query or a join grows without end: one event a
    second for the whole maximum length is 86,400 events, and ordinary context is some hundred bytes.
    """

    timeout_ms: int = 30 * 60_000
    max_length_ms: int = DAY_MS
    closed_stub_retention_ms: int = 7 * DAY_MS
    #: A forgotten key leaves its offset behind for as long as stale writes may still come, so that none brings it back.
    forgotten_retention_ms: int = MIN_COMPACTION_LAG_MS
    #: An event that comes again within this time of its first coming is a duplicate.
    duplicate_window_ms: int = DAY_MS
    #: How long after its end a session still takes passive events, such as a page that is left.
    passive_grace_ms: int = DAY_MS
    renewal_context: RenewalContext = "all"
    campaign_change: CampaignChange = "keep"
    #: Event ids that a state remembers itself, before they go to a page.
    page_events: int = 64
    #: No key is new: every session has a derived id. For the logs of imports, whose keys the live log may have used.
    keys_are_used: bool = False
    max_events: int = 100_000
    max_context_bytes: int = 8_192
    #: For how long usage is counted before it is put out (``tracker.sessions.usage``); 0: it is not counted.
    usage_interval_ms: int = 0
    #: The layout in which states are written (``tracker.sessions.layouts``). Under layout 2 the fold keeps to what a
    #: worker of 0.1.0 can carry on: one workspace a key, and the last 128 event ids.
    layout: int = 3

    @property
    def keeps_to_layout_2(self) -> bool:
        """Whether a worker of 0.1.0 has to be able to carry on: no workspaces, pages, touches, seals or usage."""
        return self.layout < _FIRST_LAYOUT_OF_0_2

    @property
    def memory_ms(self) -> int:
        """How long a closed session keeps the ids of its events: the window, and the rest of a second it is told in."""
        return self.duplicate_window_ms + SECOND_MS
