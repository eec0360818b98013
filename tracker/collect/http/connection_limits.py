"""How many connections, and how many bytes of unfinished requests, are allowed: in all, and for each address.

When there are too many, a few more are accepted as a reserve. They are served nothing but the paths of probes, and are
closed after it: an attacker who holds all connections does not make the collector look dead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from tracker.collect.errors import RequestError

#: Connections beyond the limit that are accepted for probes, and how many of them one address may have.
RESERVED_CONNECTIONS: Final = 128
RESERVED_PER_ADDRESS: Final = 8
#: Parts of requests that wait for their rest, in memory: of all connections, and of one address.
MAX_BUFFERED_BYTES: Final = 128 * 1024 * 1024
MAX_BUFFERED_PER_ADDRESS_BYTES: Final = 32 * 1024 * 1024


class Standing(Enum):
    """How a connection is served."""

    FULL = auto()
    #: Only the paths for probes.
    RESERVE = auto()
    REFUSED = auto()


@dataclass(slots=True)
class _Usage:
    """The use of one address, or of all together."""

    connections: int = 0
    reserved: int = 0
    buffered_bytes: int = 0


@dataclass(slots=True)
class ConnectionLimits:
    """Counts connections and buffered bytes.

    Attributes:
        max_connections: Of all addresses.
        max_per_address: Of one address.
        counted_as: Returns the name that an address is counted under; None: only the total limit holds.
        must_wait: Whether the first request of a new connection from an address is read only about a second later.
        always_served: Paths that the reserve is for.
    """

    max_connections: int
    max_per_address: int
    counted_as: Callable[[str], str | None] = lambda peer: peer
    must_wait: Callable[[str], bool] = lambda _: False
    always_served: frozenset[str] = frozenset()
    _all: _Usage = field(default_factory=_Usage)
    _addresses: dict[str, _Usage] = field(default_factory=dict)

    @property
    def is_crowded(self) -> bool:
        """Whether no further connection is served in full."""
        return self._all.connections >= self.max_connections

    def join(self, peer: str) -> Standing:
        """Count a new connection, unless it is refused."""
        usage = self._usage(peer)
        is_within = usage is None or usage.connections < self.max_per_address
        if is_within and not self.is_crowded:
            self._all.connections += 1
            if usage is not None:
                usage.connections += 1
            return Standing.FULL
        may_probe = usage is None or usage.reserved < RESERVED_PER_ADDRESS
        if not may_probe or self._all.reserved >= RESERVED_CONNECTIONS:
            return Standing.REFUSED
        self._all.reserved += 1
        if usage is not None:
            usage.reserved += 1
        return Standing.RESERVE

    def leave(self, peer: str, standing: Standing, buffered_bytes: int) -> None:
        """Forget a connection that is closed, and its buffered bytes."""
        usage = self._usage(peer)
        for each in (self._all, usage):
            if each is not None:
                each.connections -= standing is Standing.FULL
                each.reserved -= standing is Standing.RESERVE
                each.buffered_bytes -= buffered_bytes
        if usage is not None and not (usage.connections or usage.reserved):
            self._addresses.pop(self.counted_as(peer) or "", None)

    def buffer(self, peer: str, more_bytes: int) -> None:
        """Count bytes that are kept for later; a negative number: that are not kept any more.

        Raises:
            RequestError: ``overloaded``: there are too many. They are counted until the connection closes.
        """
        usage = self._usage(peer)
        self._all.buffered_bytes += more_bytes
        if usage is not None:
            usage.buffered_bytes += more_bytes
        if more_bytes <= 0:
            return
        is_own_fault = usage is not None and usage.buffered_bytes > MAX_BUFFERED_PER_ADDRESS_BYTES
        if is_own_fault or self._all.buffered_bytes > MAX_BUFFERED_BYTES:
            raise RequestError("overloaded", "too many large requests arrive at once")

    def refusal(self, peer: str) -> RequestError:
        """Return what a connection that is not served in full is told."""
        usage = self._usage(peer)
        if usage is not None and usage.connections >= self.max_per_address:
            return RequestError("rate_limited", "this address has too many connections")
        return RequestError("overloaded", "too many connections at once")

    def _usage(self, peer: str) -> _Usage | None:
        name = self.counted_as(peer)
        return None if name is None else self._addresses.setdefault(name, _Usage())
