"""What the tests of sweeps share: commands given in this process in a folder of their own, and cells to plan."""

import os
import sqlite3
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser

from nnbench import app, grid
from nnbench.__main__ import in_this_process
from nnbench.data import Dataset
from nnbench.protocol.cell import Cell

TINY = ("dataset=iris", "hidden=[4]", "report=false")
STEPS = 4  # of an epoch on iris: 120 samples, 32 at a time

# Each does to a cell what may happen to one. A stack of a probe takes at most two epochs, so step 10 is in training.
RULES = """
import os
from pathlib import Path

import numpy as np

from nnbench.nn import GD
from nnbench.sweep.status import coverage


class Seldom(GD):
    def __init__(self, params, *, learning_rate=0.1):
        super().__init__(params, learning_rate=learning_rate)
        self.learning_rate = np.where(params[:, :1] > 0.5, 1e30, self.learning_rate)


class Broken(GD):
    def step(self, grads, factor=1.0):
        raise RuntimeError("the [/] rule is [red]wrong")


class Stopping(GD):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        order = Path("stop")
        if self.num_steps == 10 and order.exists():
            number = int(order.read_text())
            order.unlink()
            os.kill(os.getpid(), number)


class Asking(GD):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        if self.num_steps == 10:
            cells = coverage(f"sqlite:///{Path.cwd()}/mlflow.db", "nnbench").cells
            Path("seen").write_text(cells.set_index("cell").loc["asking relu", "state"])
"""
FILES = {
    "rules.py": RULES,
    "own/optimizer/wild.yaml": "_target_: nnbench.nn.GD\nlearning_rate: 1.0e+30\n",
    **{
        f"own/optimizer/{name}.yaml": f"_target_: rules.{name.title()}\nlearning_rate: 0.1\n"
        for name in ("seldom", "broken", "stopping", "asking")
    },
}
OWN = ("--config-dir=own", "plugins=[rules]")


@dataclass(frozen=True)
class Ended:
    """What a command has left: exit status, and what it wrote to both streams."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it wrote to standard output, less the frames of tables."""
        return [line.rstrip() for line in self.out.splitlines() if line[:1] not in "┏┡└"]


@dataclass(frozen=True)
class Place:
    """A folder in which someone gives nnbench's commands."""

    folder: Path

    @classmethod
    def with_rules(cls, folder: Path) -> "Place":
        """Return a folder with optimizers that get into trouble."""
        for name, content in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        return cls(folder)

    def give(self, *arguments: str) -> Ended:
        """Give a command line in this process."""
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.syspath_prepend(self.folder)
            patch.setattr(sys, "argv", ["nnbench", *arguments])
            patch.setenv("COLUMNS", "200")
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            patch.setitem(os.environ, app.SWEEP, "of a command")  # which it replaces
            try:
                status = in_this_process()
            except SystemExit as stop:
                status = int(stop.code or 0)
            finally:
                sys.modules.pop("rules", None)  # another folder has its own
        return Ended(status, out.getvalue(), err.getvalue())

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    @property
    def newest_sweep(self) -> Path:
        return max((self.folder / "multirun").iterdir(), key=lambda path: path.stat().st_mtime_ns)

    def ask(self, query: str, *values: Any) -> list[tuple]:
        """Ask the database file itself."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            return database.execute(query, values).fetchall()

    def runs(self, name: str) -> list[tuple[str, str | None]]:
        """Return status and reason of the runs of a name, oldest first."""
        return self.ask(
            "SELECT r.status, t.value FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid "
            "AND t.key = 'nnbench.reason' WHERE r.name = ? AND r.lifecycle_stage = 'active' ORDER BY r.start_time",
            name,
        )

    def files(self) -> set[str]:
        """Return every file but those that Python itself writes."""
        return {str(path) for path in self.folder.rglob("*") if "__pycache__" not in path.parts}


def cells_and_data(*arguments: str) -> tuple[list[Cell], list[Dataset]]:
    """Return the checked cells of a command's arguments, and their data."""
    os.environ.setdefault(app.SWEEP, "a sweep")
    cells = app._cells(grid.expand(get_args_parser().parse_args(list(arguments))))
    return cells, app._datasets(cells)
