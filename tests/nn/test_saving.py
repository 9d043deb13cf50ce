"""A file of arrays is whole or it is not believed, whatever happens to the process, the disk or the file."""

import hashlib
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nnbench.nn.saving import read_arrays, write_arrays

ARRAYS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "folder/empty": np.empty((0, 3)),
    "text": np.array('{"a": [1, "é"]}'),
    "number": np.array(-0.0),
    "mask": np.array([True, False]),
}
# Writes the same file again and again, each time full of another number.
WRITER = """
import sys, numpy as np
from pathlib import Path
from nnbench.nn.saving import write_arrays
first = int(sys.argv[2])
for number in range(first, first + 10**6):
    write_arrays(Path(sys.argv[1]), {"number": np.array(number), "values": np.full(10**6, number)})
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    write_arrays(tmp_path / "arrays.npz", ARRAYS)
    return tmp_path / "arrays.npz"


def refused(path):
    with pytest.raises(ValueError, match=r"arrays\.npz is .*; delete it"):
        read_arrays(path)


def test_arrays_come_back_as_they_were(path):
    back = read_arrays(path)
    assert back.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(back[name], values, strict=True)
    assert np.signbit(back["number"])
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays.npz"]


def test_file_is_an_archive_that_numpy_reads(path):
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == set(ARRAYS)


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 65, "half", "all but one"])
def test_file_that_was_cut_short_is_refused(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: {"half": len(content) // 2, "all but one": len(content) - 1}.get(kept, kept)])
    refused(path)


def test_every_flipped_bit_is_noticed(path):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in (0, len(content) - 1, len(content) - 64, len(content) - 65, *rng.integers(len(content), size=200)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        refused(path)


@pytest.mark.parametrize("end", [b"", b"\0", b"a" * 64])
def test_file_that_someone_else_wrote_is_refused(path, end):
    np.savez(path, **ARRAYS)
    path.write_bytes(path.read_bytes() + end)
    refused(path)


def signed(path, content):
    """Give a file the checksum that it would have, had we written it."""
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_file_that_is_no_archive_is_refused_whatever_its_checksum(path, content):
    signed(path, content)
    refused(path)


def test_pickle_is_refused_whatever_the_checksum(path):
    np.savez(path, objects=np.array([print], dtype=object))
    signed(path, path.read_bytes())
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_arrays(path)


def test_pickle_is_not_written(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_arrays(path, {"objects": np.array([print], dtype=object)})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays.npz"]


def test_full_disk_leaves_the_file_that_was_there(path):
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # bytes of a file, at most
    try:
        with pytest.raises(OSError, match="File too large"):
            write_arrays(path, {"values": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays.npz"]


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    path = tmp_path / "arrays.npz"
    rng = np.random.default_rng(0)
    last, num_halves = -1, 0
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(last + 1)], stdout=subprocess.PIPE, text=True
        )
        said = int(writer.stdout.readline())
        time.sleep(rng.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        said = int((writer.communicate()[0].split() or [said])[-1])
        assert writer.returncode == -signal.SIGKILL
        num_halves += path.with_name("arrays.npz.tmp").exists()
        arrays = read_arrays(path)
        last = int(arrays["number"])
        assert last in (said, said + 1)  # it may be killed before it has said so
        np.testing.assert_array_equal(arrays["values"], last)
    assert num_halves > 0  # some were in the middle of writing
