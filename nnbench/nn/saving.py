"""Arrays on the disk, whole or not at all: a file that was cut short, damaged or half written is never believed.

A file is an .npz archive with the SHA-256 of its bytes behind it, where readers of archives do not look. It is written
beside its place, forced to the disk and renamed, so that a process that is killed, or a disk that is full, leaves what
was there before. No pickles, so that no file can run code.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

NUM_DIGITS = 64  # of a SHA-256 in hexadecimal
CHUNK = 2**20  # bytes


def write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write named arrays of numbers and texts in place of what `path` was.

    Raises ValueError for an array of objects and OSError where the disk is full or may not be written; then the file
    that was there stays.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w+b") as file:
            with ZipFile(file, "w") as archive:
                for name, values in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, values, allow_pickle=False)
            file.write(_digest(file, file.tell()))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Read what `write_arrays` wrote; ValueError if it is anything else, OSError if it cannot be read."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - NUM_DIGITS
        if size < 0 or _digest(file, size) != file.read():
            raise ValueError(f"{path} is damaged or no file of nnbench's: its checksum is wrong; delete it")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return dict(archive)
        except Exception as error:  # several libraries' errors: it was written by someone else
            raise ValueError(f"{path} is no archive of arrays ({error}); delete it") from error


def _digest(file: BinaryIO, size: int) -> bytes:
    """Return the SHA-256 of the first `size` bytes, and stay behind them."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(min(CHUNK, size - file.tell())):
        digest.update(chunk)
    return digest.hexdigest().encode()


def sync(path: Path) -> None:
    """Force a file, or the names of a folder's files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
