"""The right to train a cell."""

import os
import signal
import subprocess
import sys

import pytest

from nnbench.sweep import claims
from nnbench.sweep.claims import Claim

MARK = "a" * 64
HOLDS = """
import sys, time
from pathlib import Path
from nnbench.sweep.claims import Claim
with Claim(Path(sys.argv[1]), sys.argv[2]).taken("of another") as taken:
    print(taken, flush=True)
    time.sleep(600)
"""


def test_place_where_no_claim_can_be_written_is_told_before_anything_is_trained(tmp_path):
    claims.prepare(tmp_path)
    assert list((tmp_path / claims.CELLS).iterdir()) == []

    (tmp_path / "other" / ".nnbench").mkdir(parents=True)
    (tmp_path / "other" / claims.CELLS).write_text("a file where the folder is to be")
    with pytest.raises(OSError, match="cells"):
        claims.prepare(tmp_path / "other")


def test_claim_is_of_one_process_and_free_when_that_is_killed(tmp_path):
    claim = Claim(tmp_path, MARK)
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path, MARK], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with claim.taken("mine") as taken:
            assert not taken
        with Claim(tmp_path, "b" * 64).taken("mine") as another_cell:
            assert another_cell
        words = claim.holder()
        assert words.startswith(f"process {other.pid} on {os.uname().nodename} (sweep of another, since 2")
        os.kill(other.pid, signal.SIGKILL)
    with claim.taken("mine") as taken:
        assert taken
    assert f"process {os.getpid()} on " in claim.holder()


@pytest.mark.parametrize("place", ["lock", "."], ids=["folder", "file"])
def test_what_lies_in_the_place_of_a_lock_costs_no_cell(tmp_path, place):
    claim = Claim(tmp_path, MARK)
    if place == "lock":
        (claim.folder / "lock").mkdir(parents=True)
    else:
        claim.folder.parent.mkdir(parents=True)
        claim.folder.write_text("a file in the place of the folder")
    with claim.taken("mine") as taken:
        assert taken
    assert claim.result() is None


def test_claim_is_given_back_when_its_cell_raises(tmp_path):
    claim = Claim(tmp_path, MARK)
    try:
        with claim.taken("mine"):
            raise RuntimeError("the cell's")
    except RuntimeError:
        pass
    with Claim(tmp_path, MARK).taken("mine") as taken:
        assert taken


def test_result_is_remembered_by_its_place_below_the_root(tmp_path):
    claim = Claim(tmp_path, MARK)
    assert claim.result() is None
    with claim.taken("mine"):
        claim.keep_result(tmp_path / "multirun" / "mine" / "0" / "record")
    assert Claim(tmp_path, MARK).result() == "multirun/mine/0/record"
    assert Claim(tmp_path, "b" * 64).result() is None


def test_what_is_damaged_is_as_good_as_nothing(tmp_path):
    claim = Claim(tmp_path, MARK)
    with claim.taken("mine"):
        claim.keep_result(tmp_path / "record")
    for content in (b"", b"[1", b"[]", b"\xff", b'{"record": 3}'):
        for name in ("holder.json", "result.json"):
            (claim.folder / name).write_bytes(content)
        assert claim.result() is None
        assert claim.holder() == "another process"
