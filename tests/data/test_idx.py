"""The IDX format: the exact content of a sound file, one `DataError` for every other."""

import gzip
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.data import DataError
from nnbench.data.idx import parse_idx, read_idx

IMAGES = np.random.default_rng(0).integers(256, size=(20, 4, 3), dtype=np.uint8)
PLAIN = struct.pack(">HBB3I", 0, 8, 3, *IMAGES.shape) + IMAGES.tobytes()
PACKED = gzip.compress(PLAIN, mtime=0)


def header(*dimensions, kind=8):
    return struct.pack(f">HBB{len(dimensions)}I", 0, kind, len(dimensions), *dimensions)


@pytest.mark.parametrize("content", [PLAIN, PACKED], ids=["plain", "packed"])
def test_sound_file_is_read_exactly(content):
    np.testing.assert_array_equal(parse_idx(content, "file", num_dimensions=3), IMAGES)


DAMAGED = {
    "empty": (b"", "is empty"),
    "empty member": (gzip.compress(b""), "starts with b''"),
    "web page": (b"<!DOCTYPE html><html>404</html>", "starts with b'<!DOCTYP'"),
    "packed web page": (gzip.compress(b"<!DOCTYPE html><html>404</html>"), "starts with b'<!DOCTYP'"),
    "labels for images": (header(20) + bytes(20), r"starts with b'\x00\x00\x08\x01"),
    "other type": (header(20, 4, 3, kind=13) + bytes(960), r"starts with b'\x00\x00\r\x03"),
    "half a header": (PLAIN[:9], "starts with"),
    "no samples": (header(0, 4, 3), "which hold nothing"),
    "no pixels": (header(20, 0, 3), "which hold nothing"),
    "truncated": (PLAIN[:-1], "has 255 bytes where its header claims 256"),
    "trailing byte": (PLAIN + b"\0", "has 257 bytes where its header claims 256"),
    "packed truncated content": (gzip.compress(PLAIN[:-1]), "has 255 bytes where its header claims 256"),
    "packed trailing content": (gzip.compress(PLAIN + b"\0"), "has more than 256 bytes where its header claims 256"),
    "cut off": (PACKED[:-30], "is cut off"),
    "cut off checksum": (PACKED[:-3], "is cut off"),
    "one byte": (PACKED[:1], "starts with"),
    "two bytes": (PACKED[:2], "starts with b''"),
    "trailing zeros": (PACKED + bytes(8), "has 8 bytes after its end"),
    "two members": (PACKED + PACKED, "bytes after its end"),
    "wrong checksum": (PACKED[:-5] + bytes([PACKED[-5] ^ 1]) + PACKED[-4:], "not a sound gzip file"),
    "claims 8 GB": (header(2**33 // 12 // 2, 24, 1) + bytes(100), "has 116 bytes where its header claims"),
    "claims everything": (header(2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(9), "has 25 bytes where its header claims"),
    "packed claim of 8 TB": (gzip.compress(header(2**31, 2**12, 1) + bytes(99)), "packed bytes at most 67108864 are"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_one_clear_error(name):
    content, message = DAMAGED[name]

    with pytest.raises(DataError) as error:
        parse_idx(content, "folder/file.gz", num_dimensions=3)

    assert message in str(error.value)
    assert str(error.value).startswith("folder/file.gz ")
    assert str(error.value).endswith("delete the file and get it again")


def test_bomb_is_unpacked_no_further_than_its_header_claims():
    bomb = gzip.compress(PLAIN + bytes(100_000_000), compresslevel=1)
    tracemalloc.start()
    start = time.perf_counter()

    with pytest.raises(DataError, match="more than 256 bytes"):
        parse_idx(bomb, "bomb", num_dimensions=3)

    assert time.perf_counter() - start < 2
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_missing_file_and_folder_are_data_errors(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(path, num_dimensions=3)


def test_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no room

    with pytest.raises(DataError, match="has 2147483648 bytes"):
        read_idx(path, num_dimensions=3)


positions = st.integers(0, len(PACKED) - 1)


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(st.tuples(positions, st.integers(0, 255)), max_size=4),
    end=st.one_of(st.none(), positions),
    tail=st.binary(max_size=20),
)
def test_mutated_packed_file_gives_exact_data_or_a_data_error(edits, end, tail):
    content = bytearray(PACKED)
    for position, value in edits:
        content[position] = value
    mutated = bytes(content[:end]) + tail

    try:
        images = parse_idx(mutated, "file", num_dimensions=3)
    except DataError:
        return

    np.testing.assert_array_equal(images, IMAGES)


@settings(max_examples=300, deadline=None)
@given(dimensions=st.tuples(*[st.integers(0, 2**32 - 1)] * 3), body=st.binary(max_size=100), pack=st.booleans())
def test_any_header_is_believed_only_if_the_content_is_there(dimensions, body, pack):
    content = header(*dimensions) + body

    try:
        images = parse_idx(gzip.compress(content) if pack else content, "file", num_dimensions=3)
    except DataError:
        return

    assert images.shape == dimensions
    assert images.tobytes() == body


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=64))
def test_arbitrary_bytes_are_data_errors(content):
    with pytest.raises(DataError):
        parse_idx(content, "file", num_dimensions=3)


@pytest.mark.mnist
def test_genuine_files_are_read(mnist_folder: Path):
    images = read_idx(mnist_folder / "t10k-images-idx3-ubyte.gz", num_dimensions=3)
    labels = read_idx(mnist_folder / "t10k-labels-idx1-ubyte.gz", num_dimensions=1)

    assert images.shape == (10000, 28, 28)
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
