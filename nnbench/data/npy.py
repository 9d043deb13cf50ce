"""One array in NumPy's own format, read without pickle and with distrust of its header."""

import math
import sys
import warnings
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nnbench.data.dataset import DataError


def read_npy(file: IO[bytes], place: str, *, allowed: int) -> NDArray:
    """Return the array that a file holds and nothing else, at most `allowed` bytes.

    `place` is what an error calls it. No memory is taken on the word of the header. Raises `DataError` where the array
    is not what its header says, and what NumPy raises where there is no header.
    """
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject or dtype.kind not in "biufU":
        raise DataError(f"{place} has the type {dtype}, which is not read; make it numbers or text")
    claimed = math.prod(shape) * dtype.itemsize
    if any(size < 0 for size in shape) or claimed > allowed:
        raise DataError(
            f"{place} claims the shape {shape} of {dtype}, {claimed} bytes, but has at most {allowed}; "
            "write it again, and do not compress it"
        )
    # One byte more than claimed, so that the end is met, where an archive compares its CRC-32.
    content = file.read(claimed + 1)
    if len(content) != claimed:
        raise DataError(f"{place} does not have the {claimed} bytes that its header claims; write it again")
    if dtype.kind == "U" and (np.frombuffer(content, f"{dtype.byteorder}u4") > sys.maxunicode).any():
        raise DataError(f"{place} holds numbers that are no characters; write it again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether columns come first, and dtype."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a header that NumPy has doubts about is refused
        version = npy.read_magic(file)
        if version == (1, 0):
            return npy.read_array_header_1_0(file)
        if version == (2, 0):
            return npy.read_array_header_2_0(file)
        raise ValueError(f"version {version} of the format is for structured arrays")
