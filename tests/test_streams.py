"""A training does not depend on whether somebody reads what it says."""

import os
import subprocess
from pathlib import Path

import pytest
from command_line import PYTHON_M, newest_sweep, records
from trouble import OWN, wait_until, write_rules

SWEEP = (*PYTHON_M, *OWN, "optimizer=slow", "activation=relu,tanh", "num_epochs=60", "tracking=none")


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_cells_whose_words_nobody_can_read_any_more_are_trained(tmp_path, unbuffered):
    folder = write_rules(tmp_path)
    with (folder / "rules.py").open("a") as rules:  # a line for each moment of a cell, as a long one has many
        rules.write("\nimport nnbench.terminal\n\nnnbench.terminal.LINE_EVERY = 0.1\n")
    reading, writing = os.pipe()
    own = environment() | {"PYTHONUNBUFFERED": unbuffered}
    sweep = (*SWEEP, "activation=relu,tanh,sigmoid")
    with subprocess.Popen(sweep, cwd=folder, env=own, stdout=subprocess.DEVNULL, stderr=writing) as command:
        os.close(writing)
        wait_until(lambda: command.poll() is not None or list(folder.glob("multirun/*/0/begun.json")), "a cell")
        os.close(reading)  # as when the tee behind it is killed
        assert command.wait(timeout=120) == 0
    assert [cell.status for cell in records(newest_sweep(folder)).values()] == ["finished"] * 3


def test_command_whose_streams_are_closed_trains(tmp_path):
    folder = write_rules(tmp_path)
    closed = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    ended = subprocess.run((*closed, *SWEEP), cwd=folder, env=environment(), timeout=120)
    assert ended.returncode == 0
    assert [cell.status for cell in records(newest_sweep(folder)).values()] == ["finished"] * 2


def test_results_that_cannot_be_printed_are_one_error(tmp_path):
    train = ("dataset=iris", "hidden=[4]", "seeds=1", "num_epochs=1", "tracking=none", "progress=false")
    for words, buffered in ((train, "1"), (("sync",), "1"), (("sync",), "")):
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                (*PYTHON_M, *words), cwd=tmp_path, env=environment() | {"PYTHONUNBUFFERED": buffered},
                stdout=full, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith("error: standard output cannot be written: No space left on")
        assert "Traceback" not in ended.stderr
        assert "Exception ignored" not in ended.stderr
    assert len(list(tmp_path.glob("outputs/*/record"))) == 1


def test_folder_that_is_gone_is_one_line(tmp_path):
    gone = ("sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh")
    ended = subprocess.run((*gone, *PYTHON_M), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "the current folder is no longer there; change to another one" in ended.stderr
