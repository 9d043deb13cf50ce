"""What a person sees in the terminal: plan, progress, leaderboard, problems.

Results go to standard output, everything else to standard error; without a terminal the progress is a line for each
cell and one each half minute of a long cell.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from nnbench.data import Dataset
    from nnbench.nn import Training
    from nnbench.protocol.cell import Cell

LINE_EVERY = 30  # seconds between lines about a long cell where there is no terminal


def out() -> Console:
    """Return the console for results."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console for everything else."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_problems(problems: Sequence[str]) -> None:
    """Print one line for each problem that keeps a command from starting."""
    console = err()
    for problem in problems:
        console.print(Text.assemble(("error: ", "bold red"), problem))
    if len(problems) > 1:
        console.print(f"{len(problems)} problems; nothing was started")


def say(text: str) -> None:
    """Print a line about what is being done."""
    err().print(Text(text))


class CellProgress:
    """The progress of one cell: bars on a terminal, lines elsewhere; nothing if switched off."""

    def __init__(self, label: str, *, job: int, num_cells: int, num_epochs: int, shown: bool):
        self.label = label
        self.job = job
        self.num_epochs = num_epochs
        self.num_cells = num_cells
        self.shown = shown
        self.console = err()
        self.last_line = perf_counter()
        self.bars: Progress | None = None

    def __enter__(self) -> "CellProgress":
        if self.shown and self.console.is_terminal:
            self.bars = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(), console=self.console, transient=True,
            )  # fmt: skip
            if self.num_cells > 1:
                self.bars.add_task("cells", total=self.num_cells, completed=self.job, state="")
            self.cell_bar = self.bars.add_task(self.label, total=self.num_epochs, state="")
            self.bars.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bars is not None:
            self.bars.stop()

    def epoch_done(self, training: "Training") -> None:
        """Show how far the cell is."""
        accuracy = training.history["val/accuracy"][-1, training.active]
        state = f"validation accuracy {accuracy.mean():.1%}" if len(accuracy) else "all seeds diverged"
        if self.bars is not None:
            self.bars.update(self.cell_bar, completed=training.epoch, state=state)
        elif self.shown and perf_counter() - self.last_line > LINE_EVERY:
            self.last_line = perf_counter()
            self.line(f"epoch {training.epoch}/{self.num_epochs}, {state}")

    def line(self, text: str) -> None:
        """Print a line about the cell, above the bars."""
        if self.shown:
            (self.bars.console if self.bars is not None else self.console).print(
                Text(f"cell {self.job + 1}/{self.num_cells}  {self.label}  {text}")
            )


def print_plan(cells: "Sequence[Cell]", datasets: "Sequence[Dataset]") -> None:
    """Print what is about to be trained."""
    console = err()
    replicas = sum(len(cell.seeds) for cell in cells)
    steps = sum(
        cell.num_epochs * cell.steps_per_epoch(len(dataset.train))
        for cell, dataset in zip(cells, datasets, strict=True)
    )
    console.print(
        f"{_count(len(cells), 'cell')}, {_count(replicas, 'training')}, {_count(steps, 'step')} of the stacks"
    )
    for dataset in {dataset.name: dataset for dataset in datasets}.values():
        sizes = " / ".join(str(len(split)) for split in (dataset.train, dataset.validation, dataset.test))
        console.print(
            Text(f"{dataset.name}: {dataset.num_features} features, {dataset.num_classes} classes, "
                 f"{sizes} training / validation / test samples")
        )  # fmt: skip
        for warning in dataset.warnings:
            console.print(Text.assemble(("warning: ", "yellow"), warning))


def print_datasets(datasets: "Iterable[Dataset]") -> None:
    """Print how many samples of each class each split has."""
    import numpy as np

    for dataset in datasets:
        table = Table(title=Text(f"{dataset.name}: samples of each class"), title_justify="left")
        table.add_column("class")
        for name in ("training", "validation", "test"):
            table.add_column(name, justify="right")
        counts = [
            np.bincount(split.labels, minlength=dataset.num_classes)
            for split in (dataset.train, dataset.validation, dataset.test)
        ]
        for label, name in enumerate(dataset.class_names):
            table.add_row(Text(name), *(str(count[label]) for count in counts))
        out().print(table)


def print_leaderboard(leaderboard: "pd.DataFrame", *, dataset: str | None) -> None:
    """Print a leaderboard of `nnbench.analysis.tables`, best cell first; `dataset` is named where there are several."""
    any_diverged = bool(leaderboard["diverged"].any())
    title = "Accuracy in %, mean over seeds, best first"
    table = Table(title=Text(f"{dataset}: {title}" if dataset else title), title_justify="left")
    table.add_column("cell", overflow="fold")
    for name in ("test", "95 % interval", "validation", "seeds", *(["diverged"] if any_diverged else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in leaderboard.itertuples():
        interval = f"{100 * row.low:.2f} to {100 * row.high:.2f}" if row.seeds > 1 else "one seed"
        validation = f"{100 * row.val_accuracy:.2f}" if row.diverged < row.seeds else "-"
        cells = [f"{100 * row.mean:.2f}", interval, validation, str(row.seeds)]
        table.add_row(Text(str(row.cell)), *cells, *([str(row.diverged)] if any_diverged else []))
    out().print(table)


def print_failures(rows: Sequence[tuple[str, str, Path]]) -> None:
    """Print the cells that failed: label, error and where the traceback is."""
    table = Table(title=f"{_count(len(rows), 'cell')} failed", title_justify="left", title_style="bold red")
    for name in ("cell", "error", "traceback"):
        table.add_column(name, overflow="fold")
    for label, error, log in rows:
        table.add_row(Text(label), Text(error), Text(str(log)))
    err().print(table)


def print_cells(labels: Sequence[str]) -> None:
    """Print the cells of a sweep, one in a line."""
    for number, label in enumerate(labels, start=1):
        out().print(Text(f"{number:4}  {label}"))


def print_stop(done: int, total: int, command: str | None) -> None:
    """Print what a stopped sweep has done and the command that continues it."""
    err().print(Text(f"stopped: {done} of {_count(total, 'cell')} done"))
    if command is not None:
        err().print(Text(f"continue with  {command}"))


def print_next(steps: Mapping[str, str]) -> None:
    """Print what can be done next: a word and a command or a file."""
    for word, step in steps.items():
        err().print(Text(f"{word}  {step}"))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
