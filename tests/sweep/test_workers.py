"""Workers: cells side by side have the results of cells one by one, and what happens to one of them is its own."""

import os
import pty
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from command_line import PYTHON_M, assert_same, histories, newest_sweep, records, results, run
from trouble import OWN, ask, cell_runs, children, descendants, is_running, send, start, wait_until, write_rules

from nnbench.sweep import cores

SWEEP = (*OWN, "optimizer=gd,adam", "activation=relu,tanh", "num_epochs=3")
SLOW = (*OWN, "optimizer=slow", "activation=relu,tanh,sigmoid", "num_epochs=40")


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    folder = write_rules(tmp_path_factory.mktemp("one by one"))
    assert run(folder, *SWEEP, "workers=1").status == 0
    return newest_sweep(folder)


def test_cells_side_by_side_have_the_bits_of_cells_one_by_one(tmp_path, one_by_one):
    write_rules(tmp_path)

    ended = run(tmp_path, *SWEEP, "workers=3")

    assert ended.status == 0
    assert "3 cells at a time" in ended.err
    assert_same(results(newest_sweep(tmp_path)), results(one_by_one))
    assert_same(histories(newest_sweep(tmp_path)), histories(one_by_one))
    assert Counter(status for _, status in cell_runs(tmp_path)) == {"FINISHED": 4}


NOTING = """
import sys
from pathlib import Path
from nnbench.nn import GD

class Noting(GD):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        note = Path("notes", str(self.num_steps))
        if not note.exists():
            note.write_text(str("mlflow" in sys.modules))
"""


def test_first_cells_do_not_wait_for_mlflow_and_all_are_published(tmp_path, empty_database):
    write_rules(tmp_path, empty_database)
    (tmp_path / "rules.py").write_text(NOTING)
    (tmp_path / "own" / "optimizer" / "noting.yaml").write_text("_target_: rules.Noting\nlearning_rate: 0.1\n")
    (tmp_path / "notes").mkdir()

    ended = run(tmp_path, *OWN, "optimizer=noting,gd", "num_epochs=3", "workers=2")

    assert ended.status == 0
    assert {note.read_text() for note in (tmp_path / "notes").iterdir()} == {"False"}
    assert Counter(status for _, status in cell_runs(tmp_path)) == {"FINISHED": 2}


STORES = {
    "of another version": "UPDATE alembic_version SET version_num = 'abc'",
    "of another program": "DROP TABLE alembic_version",
}


@pytest.mark.parametrize("resume", ["true", "false"])
@pytest.mark.parametrize("kind", [*STORES, "no file", "out of reach"])
def test_store_that_cannot_be_used_is_told_before_the_first_cell(tmp_path, empty_database, kind, resume):
    write_rules(tmp_path, empty_database)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    if kind in STORES:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
            database.execute(STORES[kind])
    elif kind == "no file":
        (tmp_path / "mlflow.db").write_text("no database")
    else:
        uri = "sqlite:////proc/nowhere/mlflow.db"

    ended = run(tmp_path, *SWEEP, "workers=2", f"resume={resume}", f"tracking.uri={uri}")

    assert ended.status == 1
    assert ended.err.count("the sweep cannot start") == 1
    assert not list(tmp_path.glob("multirun/*/*/begun.json"))
    assert not list(tmp_path.glob("multirun/*/*/record"))


def test_store_that_is_locked_in_the_beginning_costs_no_training(tmp_path, empty_database):
    write_rules(tmp_path, empty_database)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        ended = run(tmp_path, *OWN, "optimizer=gd,adam", "num_epochs=2", "workers=2")
    assert ended.status == 0
    assert ended.err.count("is locked: another program") >= 1
    assert [cell.status for cell in records(newest_sweep(tmp_path)).values()] == ["finished"] * 2


def test_sweep_is_announced_though_its_publisher_is_killed_before_there_is_a_store(tmp_path):
    command = start(write_rules(tmp_path), *SWEEP, "workers=2")
    wait_until(lambda: list(tmp_path.glob("mlflow.db.tmp")) or command.poll() is not None, "the creation of a store")
    for worker in training(command):
        if any("mlflow.db.tmp" in os.path.realpath(link) for link in Path(f"/proc/{worker}/fd").iterdir()):
            send(worker, signal.SIGKILL)

    assert command.wait(timeout=120) == 0
    assert Counter(status for _, status in cell_runs(tmp_path)) == {"FINISHED": 4}
    announced = "SELECT count(*) FROM tags WHERE key = 'nnbench.kind' AND value = 'sweep'"
    assert ask(tmp_path, announced) == [(1,)]
    assert "train something first" not in (tmp_path / "words").read_text()


def training(command):
    """Return the workers of a command."""
    return [worker for child in children(command.pid) for worker in children(child)]


def test_worker_that_is_killed_costs_its_cell_a_second_training_and_the_others_nothing(tmp_path):
    command = start(write_rules(tmp_path), *SLOW, "workers=2")
    wait_until(lambda: len(list(tmp_path.glob("multirun/*/*/begun.json"))) == 2, "two cells")

    send(training(command)[0], signal.SIGKILL)

    assert command.wait(timeout=120) == 0
    words = (tmp_path / "words").read_text()
    assert words.count("the process that trained it was killed by SIGKILL; it is trained again") == 1
    assert Counter(status for _, status in cell_runs(tmp_path))["FINISHED"] == 3


def test_words_to_a_parent_that_is_gone_are_no_failure_of_a_cell(tmp_path):
    read, write = pty.openpty()  # a terminal, to which a worker speaks ten times a second
    command = subprocess.Popen(
        [*PYTHON_M, *SLOW, "workers=2", "tracking=none"], cwd=write_rules(tmp_path), stdout=write, stderr=write
    )
    os.close(write)
    reader = threading.Thread(target=drain, args=(read,), daemon=True)
    reader.start()
    wait_until(lambda: len(list(tmp_path.glob("multirun/*/*/begun.json"))) == 2, "two cells")

    send(children(command.pid)[0], signal.SIGKILL)

    assert command.wait(timeout=120) == 0
    assert [cell.status for cell in records(newest_sweep(tmp_path)).values()] == ["finished"] * 3


def drain(terminal):
    """Read what is written to a terminal until nobody has it any more."""
    with suppress(OSError):
        while os.read(terminal, 2**16):
            pass
    os.close(terminal)


@pytest.mark.parametrize("optimizer", ["killed", "leaving"])
def test_cell_whose_worker_dies_again_is_trained_alone_in_the_end_and_then_to_blame(tmp_path, optimizer):
    write_rules(tmp_path)

    ended = run(tmp_path, *OWN, f"optimizer={optimizer},gd,adam", "num_epochs=3", "workers=2")

    assert ended.status == 1
    became = dict(cell_runs(tmp_path))
    assert {name.split()[0]: status for name, status in became.items()} == {
        optimizer: "FAILED",
        "gd": "FINISHED",
        "adam": "FINISHED",
    }
    assert "it is trained again when the others are done" in ended.err
    assert "perhaps it wants more memory" in ended.out + ended.err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stop_reaches_every_worker_and_the_same_command_goes_on(tmp_path, empty_database, number, status):
    command = start(write_rules(tmp_path, empty_database), *SLOW, "workers=2")
    wait_until(lambda: len(list(tmp_path.glob("multirun/*/*/begun.json"))) == 2, "two cells")
    family = descendants(command.pid)

    send(command.pid, number)

    assert command.wait(timeout=20) == status
    wait_until(lambda: not any(map(is_running, family)), "the end of all workers", seconds=10)
    words = (tmp_path / "words").read_text()
    assert "Traceback" not in words
    assert "of 3 cells done" in words
    assert {state for _, state in cell_runs(tmp_path)} <= {"KILLED", "FINISHED"}


def test_publisher_that_is_killed_costs_no_record(tmp_path):
    command = start(write_rules(tmp_path), *SWEEP, "workers=2")

    def publisher():
        named = [worker for worker in training(command) if any_run_of(tmp_path, worker)]
        return named or command.poll() is not None

    wait_until(publisher, "a publisher")
    for worker in training(command):
        if any_run_of(tmp_path, worker):
            send(worker, signal.SIGKILL)

    assert command.wait(timeout=120) == 0
    assert Counter(status for _, status in cell_runs(tmp_path))["FINISHED"] == 4


def any_run_of(folder, process):
    """Whether a process has begun a run in the store."""
    if not (folder / "mlflow.db").exists():
        return False
    marks = ask(folder, "SELECT value FROM tags WHERE key = 'nnbench.process'")
    return any(mark.split(" ")[-2] == str(process) for (mark,) in marks)


@pytest.mark.parametrize(
    ("text", "wanted"), [("max 100000", []), ("150000 100000", [1.5]), ("-1 100000", []), ("oops", [])]
)
def test_share_of_a_container_is_read(tmp_path, text, wanted):
    (tmp_path / "membership").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert list(cores.group_shares(tmp_path / "membership", tmp_path)) == wanted


def test_cores_are_at_least_one_and_no_more_than_the_machine_has():
    assert 1 <= cores.available() <= os.cpu_count()
