"""A MaxMind file of one network, written by its published format (https://maxmind.github.io/MaxMind-DB/)."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

_RECORD_BYTES = 3
_SEPARATOR = bytes(16)
_MARKER = b"\xab\xcd\xefMaxMind.com"
_STRING, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY = 2, 5, 6, 7, 9, 11
_FIRST_EXTENDED = 8


def write_geo_file(path: Path, network: str, found: dict[str, Any]) -> None:
    """Write a file in which every address of the network, and no other, has this entry."""
    bits = IPv4Network(network)
    nodes = bits.prefixlen
    data = _encoded(found)
    tree = bytearray()
    for depth in range(nodes):
        onward = depth + 1 if depth + 1 < nodes else nodes + len(_SEPARATOR)  # the data section's first byte
        is_right = int(bits.network_address) >> (31 - depth) & 1
        left, right = (nodes, onward) if is_right else (onward, nodes)  # the number of nodes means: nothing here
        tree += left.to_bytes(_RECORD_BYTES, "big") + right.to_bytes(_RECORD_BYTES, "big")
    metadata = {
        "node_count": (_UINT32, nodes),
        "record_size": (_UINT16, 8 * _RECORD_BYTES),
        "ip_version": (_UINT16, 4),
        "database_type": "GeoLite2-City",
        "languages": ["en"],
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, 1),
        "description": {"en": "one network"},
    }
    path.write_bytes(bytes(tree) + _SEPARATOR + data + _MARKER + _encoded(metadata))


def _encoded(value: Any) -> bytes:
    match value:
        case str():
            return _control(_STRING, len(value.encode())) + value.encode()
        case list():
            return _control(_ARRAY, len(value)) + b"".join(map(_encoded, value))
        case (kind, number):
            size = (number.bit_length() + 7) // 8
            return _control(kind, size) + number.to_bytes(size, "big")
        case dict():
            return _control(_MAP, len(value)) + b"".join(_encoded(k) + _encoded(v) for k, v in value.items())
    raise TypeError(value)


def _control(kind: int, size: int) -> bytes:
    """The byte before a value: its type and its size; a type over 7 comes in a byte of its own."""
    return bytes([kind << 5 | size]) if kind < _FIRST_EXTENDED else bytes([size, kind - 7])
