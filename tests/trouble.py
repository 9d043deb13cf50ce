"""What the tests of faults share: optimizers that get their process into trouble, and commands to be disturbed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from command_line import PYTHON_M

# Rules of one step each. All but `Slow` do to their process what may happen to one.
RULES = '''
import os
import signal
import time
import warnings

import nnbench.sweep.attempt
from nnbench.nn import GD

nnbench.sweep.attempt.FLUSH_EVERY = 0.5  # seconds; short cells are treated as long ones are
nnbench.sweep.attempt.SAVE_EVERY = 0.2


class Slow(GD):
    """Takes 5 ms for a step, unless it is told to be quick."""

    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        time.sleep(0.0 if "QUICK" in os.environ else 0.005)


class Killed(Slow):
    """Is killed at its tenth step, as by a system that has run out of memory."""

    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        if self.num_steps == 10:
            os.kill(os.getpid(), signal.SIGKILL)


class Leaving(GD):
    """Ends its process without a word."""

    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        if self.num_steps == 10:
            os._exit(3)


class Quitting(GD):
    def step(self, grads, factor=1.0):
        raise SystemExit(5)


class Hungry(GD):
    def step(self, grads, factor=1.0):
        raise MemoryError("Unable to allocate 8.00 TiB")


class Endless(GD):
    def step(self, grads, factor=1.0):
        self.step(grads, factor)


class Warning(GD):
    def step(self, grads, factor=1.0):
        warnings.simplefilter("error")
        warnings.warn("an error by now", UserWarning)
'''
NAMES = ("slow", "killed", "leaving", "quitting", "hungry", "endless", "warning")
QUICK = {"QUICK": "yes"}  # in the environment of a command; its results are the same
OWN = ("-m", "--config-dir=own", "plugins=[rules]", "dataset=iris", "hidden=[4]", "report=false", "seeds=2")


def write_rules(folder: Path, database: Path | None = None) -> Path:
    """Write the rules and their yaml files into a folder, and a copy of the database of a store; return the folder."""
    (folder / "own" / "optimizer").mkdir(parents=True)
    (folder / "rules.py").write_text(RULES, encoding="utf-8")
    for name in NAMES:
        text = f"_target_: rules.{name.title()}\nlearning_rate: 0.1\n"
        (folder / "own" / "optimizer" / f"{name}.yaml").write_text(text, encoding="utf-8")
    if database is not None:
        shutil.copy(database, folder / "mlflow.db")
    return folder


def start(folder: Path, *arguments: str, program: Sequence[str] = PYTHON_M) -> subprocess.Popen[str]:
    """Start a command in a folder and in a process group of its own, as a shell does; its words go to a file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}
    with (folder / "words").open("a", encoding="utf-8") as words:
        return subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            env=environment | {"COLUMNS": "200"},
            stdout=words,
            stderr=words,
            text=True,
            start_new_session=True,
        )


def children(process: int) -> list[int]:
    """Return the numbers of the children of a process that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = path.read_text(encoding="utf-8", errors="replace").partition(" ")
        except OSError:  # it has ended meanwhile
            continue
        state, parent = rest.rpartition(")")[2].split()[:2]
        if int(parent) == process and state not in "ZX":
            found.append(int(number))
    return found


def descendants(process: int) -> list[int]:
    """Return the numbers of all processes below a process."""
    below = children(process)
    return below + [further for child in below for further in descendants(child)]


def is_running(process: int) -> bool:
    """Whether a process has not ended yet."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(is_so, what: str, *, seconds: float = 120) -> None:
    """Wait until something is so."""
    last = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < last, f"{what} did not happen in {seconds} s"
        time.sleep(0.02)


def wait_for_a_cell(folder: Path, command: subprocess.Popen) -> None:
    """Wait until a command is at a cell, or has ended."""
    before = {path.parent.parent.name for path in folder.glob("multirun/*/*/record")}
    wait_until(
        lambda: (
            command.poll() is not None
            or any(path.parent.parent.name not in before for path in folder.glob("multirun/*/*/begun.json"))
        ),
        "a cell",
    )


def num_results(folder: Path) -> int:
    """Return how many cells have been trained to the end in a folder, whether MLflow knows it yet or not."""
    return len(list(folder.glob(".nnbench/cells/*/result.json")))


def wait_for_a_result(folder: Path, command: subprocess.Popen) -> None:
    """Wait until a command has trained a cell, or has ended."""
    before = num_results(folder)
    wait_until(lambda: command.poll() is not None or num_results(folder) > before, "a result")


def send(process: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(process, number)


def ask(folder: Path, query: str) -> list[tuple]:
    """Ask the store of a folder, read without MLflow."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return database.execute(query).fetchall()


def cell_runs(folder: Path) -> list[tuple[str, str]]:
    """Return name and status of every run of a cell."""
    return ask(
        folder,
        "SELECT name, status FROM runs JOIN tags USING (run_uuid)"
        " WHERE tags.key = 'nnbench.place' AND tags.value = 'cell' ORDER BY name, status",
    )
