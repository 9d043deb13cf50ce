"""Disks that are full or cannot be written: file systems of their own, and a limit on the size of a file."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from command_line import PYTHON_M, results, run
from trouble import ask, cell_runs

SWEEP = ("-m", "dataset=iris", "hidden=[4]", "optimizer=adam,gd,momentum", "activation=relu,tanh", "num_epochs=3")
SWEEP += ("seeds=2", "report=false")
NUM_CELLS = 6
MAY_MOUNT = subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
MOUNTS = pytest.mark.skipif(not MAY_MOUNT, reason="this container lets nobody mount a file system")

# Gives a command on a small disk, makes the disk larger, gives it again, and keeps what the disk has.
TWICE = """
mkdir disk kept; mount -t tmpfs -o size=$0 tmpfs disk; cd disk; cp ../mlflow.db . 2> ../no_store
"$@" > ../first.out 2> ../first.err; echo $? > ../first.status; cp mlflow.db ../first.db
mount -o remount,size=64m .
"$@" > ../second.out 2> ../second.err; echo $? > ../second.status
cp -r . ../kept
"""
READ_ONLY = """
mkdir disk; mount -t tmpfs tmpfs disk; cd disk; mount -o remount,ro .
"$@" 2> ../err; echo $? > ../status; ls -A > ../left
"""


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}


def is_sound(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large disk")
    assert run(folder, *SWEEP, "tracking=none").status == 0
    (sweep,) = (folder / "multirun").iterdir()
    return results(sweep)


@MOUNTS
@pytest.mark.parametrize("size", ["500k", "1700k", "2000k"])
def test_full_disk_stops_the_sweep_in_a_line_and_loses_nothing(tmp_path, empty_database, undisturbed, size):
    if size != "500k":  # where there is no room for it
        shutil.copy(empty_database, tmp_path / "mlflow.db")
    # One by one, each published before the next: side by side, all records may be there before the store is full.
    command = ["unshare", "-rm", "sh", "-c", TWICE, size, *PYTHON_M, *SWEEP, "workers=1"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True, timeout=200)

    said = (tmp_path / "first.err").read_text()
    assert (tmp_path / "first.status").read_text() == "1\n", said
    assert "Traceback" not in said
    if size == "500k":  # nor for what Hydra writes
        assert "database or disk is full" in said
        assert any("No space left on device" in line for line in said.splitlines() if line.startswith("error: "))
    else:
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "cannot be written: No space left on device" in line
        assert "MB are free; make room and give the command again; what is done is safe" in line
        assert is_sound(tmp_path / "first.db")

    said = (tmp_path / "second.err").read_text()
    assert (tmp_path / "second.status").read_text() == "0\n", said
    num_done = 0 if size == "500k" else said.count("is finished already")
    assert num_done > 0 or size == "500k"
    assert said.count("test accuracy") == NUM_CELLS - num_done
    assert [status for _, status in cell_runs(tmp_path / "kept") if status != "KILLED"] == ["FINISHED"] * NUM_CELLS
    newest = max((tmp_path / "kept" / "multirun").iterdir(), key=lambda path: path.name)
    assert results(newest).keys() == undisturbed.keys()
    for label, table in results(newest).items():
        assert table.equals(undisturbed[label])


def test_file_that_may_not_grow_stops_the_sweep_in_a_line(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    assert run(tmp_path, *SWEEP[:-3], "num_epochs=1", "seeds=1", "report=false").status == 0  # there is a store

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))  # bytes, less than a record's files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    ended = subprocess.run(
        [*PYTHON_M, *SWEEP, "tracking=none"],
        cwd=tmp_path, env=environment(), preexec_fn=limit, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be written: File too large" in line
    assert len(ask(tmp_path, "SELECT 1 FROM runs WHERE status = 'FINISHED'")) > NUM_CELLS


@MOUNTS
@pytest.mark.parametrize("tracking", ["mlflow", "none"])
def test_folder_that_cannot_be_written_is_refused_in_a_line_before_the_first_cell(tmp_path, tracking):
    command = ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", *PYTHON_M, *SWEEP, f"tracking={tracking}"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True, timeout=100)

    assert (tmp_path / "status").read_text() == "1\n"
    assert (tmp_path / "left").read_text() == ""
    (line,) = [line for line in (tmp_path / "err").read_text().splitlines() if line.startswith("error: ")]
    assert "the sweep cannot start: OSError: [Errno 30] Read-only file system: " in line
    assert line.endswith("work in a folder that you may write")
    assert "test accuracy" not in (tmp_path / "err").read_text()
