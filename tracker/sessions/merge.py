"""How two versions of a row become one: the highest source offset wins.

A woken zombie's writes are stale, but they come last. Last write wins would let them overrule what came after; the
offset that each version carries does not. Merging is commutative and idempotent, so it does not matter who reads a
stretch of the changelog, how often, or in which pieces. A removal leaves no offset to compare with: there the log's
order counts, and for the time of the compaction lag the forgotten state that comes before it.
"""

from tracker.sessions.layouts import offset_of


def wins(challenger_offset: int, holder: bytes | None) -> bool:
    """Return whether a version at this source offset replaces the encoded one that is held."""
    return holder is None or challenger_offset >= offset_of(holder)
