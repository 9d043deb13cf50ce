"""The compact protocol of Thrift, written: for headers of Parquet files that no writer would write."""

from typing import Any


class Long(int):
    """A number that is written as one of 64 bits."""


def varint(number: int) -> bytes:
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def value(thing: Any) -> tuple[int, bytes]:
    """Return the kind of a value and its bytes."""
    if isinstance(thing, int):
        return 6 if isinstance(thing, Long) else 5, varint(thing << 1 ^ thing >> 63)
    if isinstance(thing, bytes):
        return 8, varint(len(thing)) + thing
    if isinstance(thing, dict):
        return 12, struct(thing)
    kinds, contents = zip(*map(value, thing), strict=True) if thing else ((5,), ())
    head = bytes([len(thing) << 4 | kinds[0]]) if len(thing) < 15 else bytes([240 | kinds[0]]) + varint(len(thing))
    return 9, head + b"".join(contents)


def struct(fields: dict[int, Any]) -> bytes:
    """Return a structure of numbered fields, in which True and False have no bytes of their own."""
    content = bytearray()
    last = 0
    for number, thing in sorted(fields.items()):
        kind, encoded = (2 - thing, b"") if isinstance(thing, bool) else value(thing)
        step = number - last
        content += (bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + varint(number << 1)) + encoded
        last = number
    return bytes(content) + b"\0"
