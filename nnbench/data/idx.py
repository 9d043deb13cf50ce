"""The IDX format of the MNIST family, plain or packed by gzip, read with distrust.

A file is a magic number (two zero bytes, the type, the number of dimensions), the dimensions as big-endian 32-bit
integers, and the content. LeCun, Cortes & Burges, The MNIST database.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbench.data.dataset import DataError
from nnbench.data.limits import most_bytes

MAX_FILE_BYTES = 2**30  # packed or not; the largest file of the family has 47 MB
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 16 + zlib.MAX_WBITS  # tells zlib to expect the gzip header and to check length and CRC-32 at the end
UNSIGNED_BYTES = 8  # the type of content, in the third byte of the magic number

WAY_OUT = "delete the file and get it again"


def read_idx(path: Path, *, num_dimensions: int) -> NDArray:
    """Return the content of an IDX file of unsigned bytes, with its dimensions as shape; raises `DataError`."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes > MAX_FILE_BYTES:
            raise DataError(f"{path} has {num_bytes} bytes; an IDX file of this kind has at most {MAX_FILE_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return parse_idx(content, str(path), num_dimensions=num_dimensions)


def parse_idx(content: bytes, origin: str, *, num_dimensions: int) -> NDArray:
    """Return the array in the bytes of a plain or packed IDX file; `origin` is its name in errors."""
    if not content:
        raise DataError(f"{origin} is empty; {WAY_OUT}")
    packed = content.startswith(GZIP_MAGIC)
    header_bytes = 4 + 4 * num_dimensions
    header = unpack(content, header_bytes, origin) if packed else content[:header_bytes]
    magic = struct.pack(">HBB", 0, UNSIGNED_BYTES, num_dimensions)
    if len(header) < header_bytes or not header.startswith(magic):
        raise DataError(f"{origin} starts with {header[:8]!r}, an IDX file of this kind with {magic!r}; {WAY_OUT}")

    shape = struct.unpack(f">{num_dimensions}I", header[4:])
    expected = header_bytes + math.prod(shape)
    if math.prod(shape) == 0:
        raise DataError(f"{origin} claims dimensions {shape}, which hold nothing; {WAY_OUT}")
    # Before unpacking: a header that lies must not be believed with memory.
    if packed and expected > (allowed := most_bytes(len(content))):
        raise DataError(
            f"{origin} claims {expected} bytes, but of its {len(content)} packed bytes at most {allowed} are read; "
            f"unpack it with gunzip if it is sound, else {WAY_OUT}"
        )
    plain = unpack(content, expected + 1, origin, complete=True) if packed else content
    if len(plain) != expected:
        found = f"more than {expected}" if packed and len(plain) > expected else len(plain)
        raise DataError(f"{origin} has {found} bytes where its header claims {expected}; {WAY_OUT}")
    return np.frombuffer(plain, np.uint8, offset=header_bytes).reshape(shape)


def unpack(content: bytes, max_bytes: int, origin: str, *, complete: bool = False) -> bytes:
    """Unpack at most `max_bytes` of a gzip file; if `complete`, it must be one whole member and nothing else."""
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    try:
        plain = unpacker.decompress(content, max_bytes)
    except zlib.error as error:
        raise DataError(f"{origin} is not a sound gzip file ({error}); {WAY_OUT}") from error
    if complete and len(plain) < max_bytes:
        if not unpacker.eof:
            raise DataError(f"{origin} is cut off after {len(content)} packed bytes; {WAY_OUT}")
        if unpacker.unused_data:
            raise DataError(f"{origin} has {len(unpacker.unused_data)} bytes after its end; {WAY_OUT}")
    return plain
