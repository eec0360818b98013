"""Asks a broker whether it serves, in Kafka's own protocol: that its port is open says too little."""

import socket
import struct
from typing import Final

from tracker.local.ports import LOOPBACK

PROBE_TIMEOUT_SECONDS: Final = 2.0
_METADATA: Final = 3
_VERSION: Final = 1
_CORRELATION_ID: Final = 7
_CLIENT_ID: Final = b"tracker-local-probe"
#: Header (key, version, correlation id, client id), then an empty list of topics: brokers only.
_REQUEST: Final = (
    struct.pack(">hhih", _METADATA, _VERSION, _CORRELATION_ID, len(_CLIENT_ID)) + _CLIENT_ID + struct.pack(">i", 0)
)
#: Length, correlation id and number of live brokers: all of the answer that matters.
_ANSWER: Final = struct.Struct(">iii")


def serves(port: int) -> bool:
    """Tell whether a broker on this machine answers and counts itself among the live ones.

    Before that it would refuse new topics ("replication factor larger than available brokers").
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=PROBE_TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            with connection.makefile("rb") as answers:
                answer = answers.read(_ANSWER.size)
    except OSError:
        return False
    if len(answer) < _ANSWER.size:
        return False
    _, correlation_id, live_brokers = _ANSWER.unpack(answer)
    return bool(correlation_id == _CORRELATION_ID and live_brokers > 0)
