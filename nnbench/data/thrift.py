"""The compact protocol of Thrift, in which the headers of a Parquet file are written, as plain Python values.

A structure becomes a dictionary from field numbers to values, a list a list; nothing is taken on the word of a length.
Apache Thrift, doc/specs/thrift-compact-protocol.md.
"""

from mmap import mmap
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _MAP, STRUCT = range(1, 13)
MOST_LEVELS = 16  # of structures in structures; those of Parquet have 5


class Reader:
    """Reads one structure after the other from bytes; raises ValueError or IndexError where there is none."""

    def __init__(self, content: bytes | mmap, position: int = 0):
        self.content = content
        self.position = position
        self.levels = 0

    def struct(self) -> dict[int, Any]:
        """Read a structure: field number -> value."""
        if self.levels == MOST_LEVELS:
            raise ValueError(f"its header has more than {MOST_LEVELS} levels")
        self.levels += 1
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            step, kind = divmod(head, 16)
            number = number + step if step else self._integer()
            if number in fields or not 0 < number < 2**15:  # where readers differ in what they make of it
                raise ValueError(f"its header has the field {number} twice, or no such field")
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind)
        self.levels -= 1
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE, BYTE):  # in a list, where a truth value has a byte of its own
            return self._byte()
        if kind in (I16, I32, I64):
            return self._integer()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind in (LIST, SET):
            count, kind = divmod(self._byte(), 16)
            return [self._value(kind) for _ in range(self._varint() if count == 15 else count)]
        if kind == STRUCT:
            return self.struct()
        raise ValueError(f"its header has a value of the unknown kind {kind}")

    def _byte(self) -> int:
        byte = self.content[self.position]
        self.position += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        if count > len(self.content) - self.position:
            raise IndexError("its header is cut off")
        self.position += count
        return bytes(self.content[self.position - count : self.position])

    def _integer(self) -> int:
        folded = self._varint()
        return folded // 2 ^ -(folded % 2)  # 0, -1, 1, -2, ... are written as 0, 1, 2, 3, ...

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("its header has a number of more than 64 bits")
