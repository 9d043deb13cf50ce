"""What the tests of the command line share: the checks of a command in this process, and whole commands in a folder."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from hydra._internal.utils import get_args_parser

from nnbench import app, grid
from nnbench.components import ConfigError
from nnbench.data import Dataset
from nnbench.grid import Grid
from nnbench.protocol.cell import Cell
from nnbench.tracking import record
from nnbench.tracking.record import Record

ROOT = Path(__file__).resolve().parents[1]
PYTHON_M = (sys.executable, "-m", "nnbench")
SCRIPT = (str(Path(sys.executable).with_name("nnbench")),)
LIMIT = 300  # seconds; far more than any of these commands takes

# What a researcher writes to add an optimizer: one class, and a yaml that names it.
SIGN = '''
import numpy as np

from nnbench.nn.optimizers import Optimizer


class Sign(Optimizer):
    """Steps of one size, whatever the gradient's."""

    def __init__(self, params, *, learning_rate=0.001):
        super().__init__(params, learning_rate=learning_rate)

    def step(self, grads, factor=1.0):
        self.num_steps += 1
        self.params -= self.cast(self.learning_rate * factor) * np.sign(grads)
'''


@dataclass(frozen=True)
class Ended:
    """What a command has left: exit status, and what it wrote to both streams."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that say what is wrong."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


def run(folder: Path, *arguments: str, program: Sequence[str] = PYTHON_M, **variables: str) -> Ended:
    """Run a command in a folder, on a wide terminal; a traceback is never right."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}
    environment |= {"COLUMNS": "200", "PYTHONUTF8": "1", **variables}
    ended = subprocess.run(
        [*program, *arguments], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=LIMIT
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def grid_of(*arguments: str) -> Grid:
    """Return the grid of a command's arguments, its cells not checked yet."""
    os.environ.setdefault(app.SWEEP, "a sweep")
    return grid.expand(get_args_parser().parse_args(list(arguments)))


def cells_of(*arguments: str) -> list[Cell]:
    """Return the checked cells of a command's arguments."""
    return app._cells(grid_of(*arguments))


def cells_and_data(*arguments: str) -> list[tuple[Cell, Dataset]]:
    """Return the cells of a command's arguments with their data, after every check before the first training."""
    cells = cells_of(*arguments)
    return list(zip(cells, app._datasets(cells), strict=True))


def problems_of(*arguments: str) -> list[str]:
    """Return the lines with which a command's arguments are refused, none if they are fine."""
    try:
        cells_and_data(*arguments)
    except ConfigError as error:
        return error.problems
    return []


def newest_sweep(folder: Path) -> Path:
    """Return the folder of the newest sweep of a folder."""
    return max((folder / "multirun").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def records(sweep: Path) -> dict[str, Record]:
    """Return the records of a sweep's folder by label."""
    found = [record.read(path.parent) for path in sorted(sweep.glob(f"*/{record.FOLDER}/{record.MANIFEST}"))]
    return {entry.identity.label: entry for entry in found}


def results(sweep: Path) -> dict[str, pd.DataFrame]:
    """Return all that a sweep's folder says of its replicas but for their times, by label."""
    return {label: _without_times(entry.replicas()) for label, entry in records(sweep).items()}


def histories(sweep: Path) -> dict[str, pd.DataFrame]:
    """Return the curves of a sweep's replicas but for their times, by label."""
    return {label: _without_times(entry.history()) for label, entry in records(sweep).items()}


def assert_same(actual: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame]) -> None:
    """Compare two sets of tables bit for bit."""
    assert actual.keys() == wanted.keys()
    for label in wanted:
        pd.testing.assert_frame_equal(actual[label], wanted[label], check_exact=True, obj=label)


def _without_times(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in table if name.startswith("time/")])
