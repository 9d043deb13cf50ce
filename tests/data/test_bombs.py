"""Files that are small and would fill the memory: refused fast, in a process that may take little more of it."""

import gzip
import io
import json
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

MANY = 2**27  # bytes of zeros
NOT_PACKED = ("csv", "rows", "npy")
MOST_SECONDS = 2
MOST_MEGABYTES = 300

READ = """
import json, resource, sys, time
from pathlib import Path
from nnbench.data import CSV, DataError, NPZ, Parquet, raw
from nnbench.data.idx import read_idx

kind, sound, bomb = sys.argv[1], *map(Path, sys.argv[2:])
read = {
    "gz": lambda path: read_idx(path, num_dimensions=1),
    "npz": lambda path: NPZ(path=path).read(),
    "parquet": lambda path: Parquet(path=path, target="kind").read(),
    "csv": lambda path: CSV(path=path, target="kind").read(),
    "npy": lambda path: raw.read_array(path, 1, None),
    "rows": lambda path: raw.read_rows(path, ("x",)),
    "png": lambda path: raw.read_picture(path, (1, 1), invert=False),
}[kind]
read(sound)  # what it imports is not counted
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_MEGABYTES * 10**6,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
try:
    read(bomb)
    said = "nothing"
except DataError as error:
    said = str(error)
seconds = time.perf_counter() - started
print(json.dumps([said, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
""".replace("MOST_MEGABYTES", str(MOST_MEGABYTES))


def idx(claimed, content):
    return gzip.compress(struct.pack(">HBBI", 0, 8, 1, claimed) + content, mtime=0)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(inputs):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", inputs)
        archive.writestr("labels.npy", npy(np.arange(4)))
    return file.getvalue()


def parquet(table, **options):
    file = io.BytesIO()
    pq.write_table(pa.table(table), file, **options)
    return file.getvalue()


def png(side):
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


SOUND = {
    "gz": idx(4, bytes(4)),
    "npz": npz(npy(np.zeros((4, 1)))),
    "parquet": parquet({"x": [1.0, 2.0], "kind": ["a", "b"]}),
    "csv": b"x,kind\n1,a\n2,b\n",
    "npy": npy(np.zeros((4, 1))),
    "rows": b"1\n2\n",
    "png": png(3),
}
BOMBS = {
    "IDX that claims what it holds": ("gz", lambda: idx(MANY, bytes(MANY)), "at most"),
    "IDX that holds more than it claims": ("gz", lambda: idx(4, bytes(MANY)), "has more than 12 bytes"),
    "gzip of nothing but zeros": ("gz", lambda: gzip.compress(bytes(MANY), compresslevel=1), "starts with"),
    "NPZ that claims what it holds": ("npz", lambda: npz(npy(np.zeros(MANY, np.uint8))), "at most"),
    "NPZ that holds more than it claims": ("npz", lambda: npz(npy(np.zeros((4, 1))) + bytes(MANY)), "does not have"),
    "Parquet of equal rows": (
        "parquet",
        lambda: parquet({"x": np.zeros(MANY // 8), "kind": np.zeros(MANY // 8, bool)}),
        "claims to hold more than",
    ),
    "Parquet of one page": (
        "parquet",
        lambda: parquet(
            {"x": np.zeros(MANY // 8), "kind": np.zeros(MANY // 8, bool)},
            use_dictionary=False, compression="zstd", data_page_size=2**30, write_batch_size=MANY,
        ),
        "claims to hold more than",
    ),
    "Parquet of long texts": (
        "parquet",
        lambda: parquet(
            {"x": [0.0, 1.0], "kind": pa.array(["a" * 2**26, "b"])},
            use_dictionary=False, write_statistics=False, compression="zstd",
        ),
        "claims to hold more than",
    ),
    "CSV without a line": ("csv", lambda: b"x,kind", "has a line of more than"),
    "rows without a line": ("rows", lambda: b"1", "give fewer samples"),
    "array that claims what it holds": ("npy", lambda: npy(np.zeros(MANY * 2, bool))[:128], "has at most 160000000"),
    "picture of one shade": ("png", lambda: png(12_000), "too many pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_fast_and_in_little_memory(tmp_path, name):
    kind, bomb, message = BOMBS[name]
    (tmp_path / "sound").write_bytes(SOUND[kind])
    with (tmp_path / "bomb").open("wb") as file:
        file.write(bomb())
        if kind in NOT_PACKED:
            file.truncate(MANY * 2 + 128)  # zeros that take no room

    arguments = (kind, tmp_path / "sound", tmp_path / "bomb")
    ended = subprocess.run([sys.executable, "-c", READ, *arguments], capture_output=True, text=True, check=True)

    said, seconds, megabytes = json.loads(ended.stdout)
    assert message in said
    assert seconds < MOST_SECONDS
    assert megabytes < MOST_MEGABYTES
