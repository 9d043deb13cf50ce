"""Signals and kills, one at a time: who ends, how soon, with which status and words."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from command_line import PYTHON_M, newest_sweep, records, results, run
from trouble import (
    OWN,
    QUICK,
    ask,
    cell_runs,
    children,
    descendants,
    is_running,
    send,
    start,
    wait_for_a_cell,
    wait_until,
)
from trouble import write_rules as rules

from nnbench.sweep import supervision

LONG = (*OWN, "optimizer=slow", "activation=relu,tanh,sigmoid", "num_epochs=200", "progress=false")
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
LAUNCHERS = pytest.mark.parametrize("launcher", [(), PARALLEL], ids=["serial", "parallel"])


def words(folder):
    return (folder / "words").read_text(encoding="utf-8")


@LAUNCHERS
def test_parent_that_is_killed_takes_all_its_workers_along(tmp_path, launcher):
    command = start(rules(tmp_path), *LONG, *launcher, "tracking=none")
    wait_for_a_cell(tmp_path, command)
    family = descendants(command.pid)
    assert len(family) > len(launcher)

    command.kill()

    wait_until(lambda: not any(map(is_running, family)), "the end of the workers", seconds=10)
    assert command.wait() == -signal.SIGKILL


@LAUNCHERS
@pytest.mark.parametrize(
    ("number", "status", "tracking"),
    [(signal.SIGINT, 130, "none"), (signal.SIGTERM, 143, "mlflow")],
    ids=["INT", "TERM"],
)
def test_signal_to_a_whole_group_is_one_signal(tmp_path, empty_database, launcher, number, status, tracking):
    command = start(rules(tmp_path, empty_database), *LONG, *launcher, f"tracking={tracking}")
    wait_for_a_cell(tmp_path, command)
    family = descendants(command.pid)
    time.sleep(0.3)

    started = time.monotonic()
    for process in (command.pid, *family):  # as a terminal does, and Slurm
        send(process, number)

    assert command.wait(timeout=30) == status
    assert time.monotonic() - started < 10  # seconds; Slurm gives 30
    assert "stopped: 0 of 3 cells done" in words(tmp_path)
    assert "Traceback" not in words(tmp_path)
    if tracking == "mlflow":
        assert "continue with  python -m nnbench -m" in words(tmp_path)
        assert not [status for _, status in cell_runs(tmp_path) if status == "RUNNING"]
    wait_until(lambda: not any(map(is_running, family)), "the end of the workers", seconds=10)


def test_second_ctrl_c_ends_the_command_at_once(tmp_path):
    (tmp_path / "mine.py").write_text(STUBBORN)
    command = start(tmp_path, "plugins=[mine]", "tracking=none")
    wait_until((tmp_path / "deaf").exists, "the plugin")
    for _ in range(2):
        send(command.pid, signal.SIGINT)
        time.sleep(0.8)

    assert command.wait(timeout=5) == 130
    assert words(tmp_path).endswith("stopped\n")


STUBBORN = """
import time
from pathlib import Path

Path("deaf").touch()
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


GRACE = 1.0  # seconds, in place of nnbench's own


def test_process_that_heeds_no_sigterm_is_killed_in_ten_seconds(tmp_path):
    (tmp_path / "mine.py").write_text(STUBBORN)
    impatient = f"""
import sys
from nnbench.__main__ import main
from nnbench.sweep import supervision

supervision.GRACE = {GRACE}
sys.argv = ["nnbench", "plugins=[mine]", "tracking=none"]
sys.exit(main())
"""
    command = start(tmp_path, program=(sys.executable, "-c", impatient))
    wait_until((tmp_path / "deaf").exists, "the plugin")
    (child,) = children(command.pid)

    command.terminate()

    assert command.wait(timeout=GRACE + 10 - supervision.GRACE) == 143
    assert not is_running(child)


def test_signal_that_is_to_be_ignored_is_ignored(tmp_path):
    folder = rules(tmp_path)
    deaf = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    quick = (*OWN, "optimizer=slow", "num_epochs=40", "tracking=none")
    with (folder / "words").open("w") as file:
        command = subprocess.Popen(
            [sys.executable, "-c", deaf, *PYTHON_M, *quick], cwd=folder, stdout=file, stderr=file
        )
    wait_for_a_cell(folder, command)
    command.send_signal(signal.SIGHUP)  # as when the terminal of a nohup is closed

    assert command.wait(timeout=60) == 0


@pytest.mark.parametrize(
    "options", [("tracking=mlflow",), (*PARALLEL, "tracking=none")], ids=["serial, tracked", "parallel, untracked"]
)
def test_process_that_trains_is_replaced_when_it_is_killed(tmp_path, empty_database, options):
    folder = rules(tmp_path, empty_database)
    short = (*OWN, "optimizer=slow", "activation=relu,tanh,sigmoid", "num_epochs=40")
    command = start(folder, *short, *options)
    wait_for_a_cell(folder, command)
    (child,) = children(command.pid)
    below = children(child)
    send(child, signal.SIGKILL)

    assert command.wait(timeout=120) == 0, words(folder)
    assert "the process that trained was killed by SIGKILL; another one goes on" in words(folder)
    (sweep,) = (folder / "multirun").iterdir()  # it is one sweep, in one folder
    assert [cell.status for cell in records(sweep).values()] == ["finished"] * 3
    if options == ("tracking=mlflow",):
        assert [status for _, status in cell_runs(folder) if status != "KILLED"] == ["FINISHED"] * 3
        assert len(ask(folder, "SELECT 1 FROM tags WHERE key = 'nnbench.kind' AND value = 'sweep'")) == 1
    wait_until(lambda: not any(map(is_running, below)), "the end of the workers", seconds=10)


def test_worker_of_a_launcher_that_is_killed_costs_its_cells_a_second_training(tmp_path):
    folder = rules(tmp_path)
    short = (*OWN, "optimizer=slow", "activation=relu,tanh,sigmoid,leaky_relu", "num_epochs=40")
    command = start(folder, *short, *PARALLEL, "tracking=none")
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = {path: path.stat().st_mtime_ns for path in folder.glob("multirun/*/*/begun.json")}
        wait_until(
            lambda before=before: any(
                path.stat().st_mtime_ns != before.get(path) for path in folder.glob("multirun/*/*/begun.json")
            ),
            "another cell",
        )
        worker = workers(command)[0]
        send(worker, number)
        wait_until(lambda gone=worker: not is_running(gone), "the end of the worker", seconds=30)

    assert command.wait(timeout=120) == 0, words(folder)
    assert "what they had in hand is trained again" in words(folder)
    assert {cell.status for cell in records(next((folder / "multirun").iterdir())).values()} == {"finished"}


def workers(command):
    """Return the workers of joblib's launcher, of the sweep of a command."""
    found = [number for child in children(command.pid) for number in children(child)]
    return [number for number in found if b"popen_loky" in Path(f"/proc/{number}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("launcher", "names"),
    [
        ((), "killed,leaving,quitting,hungry,endless,warning,adam"),
        ((*PARALLEL, "tracking=none"), "killed,quitting,hungry,adam"),
    ],
    ids=["serial", "parallel"],
)
def test_one_cell_that_kills_its_process_costs_one_cell(tmp_path, empty_database, launcher, names):
    ended = run(rules(tmp_path, empty_database), *OWN, f"optimizer={names}", "num_epochs=5", *launcher)

    assert ended.status == 1
    reasons = {
        "killed": "KilledError: its process was killed, or left, ",
        "leaving": "KilledError: its process was killed, or left, ",
        "quitting": "SystemExit: 5",
        "hungry": "MemoryError: Unable to allocate 8.00 TiB",
        "endless": "RecursionError: ",
        "warning": "UserWarning: an error by now",
    }
    (sweep,) = (tmp_path / "multirun").iterdir()
    found = records(sweep)
    assert {label for label, cell in found.items() if cell.status == "finished"} == {"adam relu"}
    table = "".join(ended.err.partition("cells failed")[2].split())
    for name in names.split(",")[:-1]:
        assert found[f"{name} relu"].cell["error"].startswith(reasons[name])
        assert found[f"{name} relu"].folder.joinpath("error.log").read_text()
        assert f"{name}relu" in table
    if not launcher:
        statuses = {name: status for name, status in cell_runs(tmp_path) if status != "KILLED"}
        assert statuses.pop("adam relu") == "FINISHED"
        assert set(statuses.values()) == {"FAILED"}


def test_long_cell_that_is_killed_goes_on_from_its_checkpoint(tmp_path):
    folder = rules(tmp_path)
    long = (
        *OWN,
        "tracking=none",
        "optimizer=slow",
        "num_epochs=100",
        "tuning=learning_rate",
        "tuning.num_trials=3",
        "tuning.seeds=1",
    )
    command = start(folder, *long)
    wait_until(lambda: list(folder.glob(".nnbench/checkpoints/*/*.npz")), "a checkpoint")
    time.sleep(0.5)
    family = descendants(command.pid)
    command.kill()
    command.wait()
    wait_until(lambda: not any(map(is_running, family)), "the end of the one that trained", seconds=10)

    ended = run(folder, *long, **QUICK)

    assert ended.status == 0, ended.err
    assert "goes on after epoch " in ended.err
    assert not list(folder.glob(".nnbench/checkpoints/*"))
    (continued,) = results(newest_sweep(folder)).values()
    other = rules(tmp_path / "other")
    assert run(other, *long, **QUICK).status == 0
    (undisturbed,) = results(newest_sweep(other)).values()
    pd.testing.assert_frame_equal(continued, undisturbed, check_exact=True)
