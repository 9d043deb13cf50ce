"""What the figures have in common: their size, panels where curves are many, and how many cells are drawn."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnbench.analysis import plots
from nnbench.report.display import Paragraph, lay_out
from nnbench.report.results import Results

MOST_IN_ONE = 8  # cells whose curves share a figure; more are drawn optimizer by optimizer
MOST_DRAWN = 24  # cells of a data set
WIDTH = 8  # inches
Arguments = ParamSpec("Arguments")
Said = TypeVar("Said")


def drawn_once(draw: Callable[Arguments, Said]) -> Callable[Arguments, Said]:
    """Let a notebook draw the figures of a function once, when it shows them.

    By itself pyplot would draw them before, for a window that a notebook has not, and then twice more for their layout.
    """

    @wraps(draw)
    def draw_once(*args: Arguments.args, **options: Arguments.kwargs) -> Said:
        said = draw(*args, **options)
        for number in plt.get_fignums():
            lay_out(plt.figure(number))
        plt.uninstall_repl_displayhook()
        return said

    return draw_once


def axes(height: float, title: str = "") -> Axes:
    """Return the axes of a new figure of a height in inches."""
    figure, ax = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    if title:
        figure.suptitle(plots.plain(title))
    return ax


def heading(results: Results, dataset: str) -> str:
    """Return what stands above a figure: the data set, if there are several."""
    return dataset if len(results.datasets) > 1 else ""


def panels(table: pd.DataFrame, draw: Callable[[pd.DataFrame, Axes], Axes], title: str = "") -> None:
    """Draw all cells on one pair of axes, or, where they are many, optimizer by optimizer."""
    num_optimizers = table["optimizer"].nunique()
    if table["cell"].nunique() <= MOST_IN_ONE or num_optimizers == 1:
        draw(table, axes(4.5, title))
        return
    num_rows = math.ceil(num_optimizers / 2)
    size = (WIDTH + 2, 2.6 * num_rows + 0.6)
    figure, grid = plt.subplots(
        num_rows, 2, sharex=True, sharey=True, squeeze=False, figsize=size, layout="constrained"
    )
    plots.small_multiples(table, grid, draw)
    if title:
        figure.suptitle(plots.plain(title))


def drawn(results: Results, dataset: str) -> pd.DataFrame:
    """Return the leaderboard of the networks that are drawn: the best of them, if they are many."""
    return results.board(dataset).head(MOST_DRAWN)


def of_drawn(results: Results, dataset: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the networks that are drawn."""
    return table[table["cell"].isin(drawn(results, dataset)["cell"])]


def curves_of(results: Results, dataset: str) -> pd.DataFrame:
    """Return the history of a data set with the status of each seed."""
    statuses = results.of(dataset, "replicas")[["cell", "seed", "status"]]
    history = results.of(dataset, "history").drop(columns="status", errors="ignore")
    return history.merge(statuses, on=["cell", "seed"], how="left")


def sentences(*parts: str | Paragraph | None) -> Paragraph | None:
    """Return one paragraph of several sentences; nothing if there is none."""
    said = dict.fromkeys(str(part) for part in parts if part)
    return Paragraph(" ".join(said)) if said else None


def note(results: Results, datasets: Sequence[str] | None = None) -> Paragraph | None:
    """Return how many networks are drawn of how many; nothing if all are."""
    sizes = {name: len(results.board(name)) for name in (results.datasets if datasets is None else datasets)}
    cut = [f"of {size} on {name}" for name, size in sizes.items() if size > MOST_DRAWN]
    return Paragraph(f"Drawn are the best {MOST_DRAWN} networks, {', '.join(cut)}.") if cut else None


def detached(num_columns: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure that no notebook shows by itself, and its axes beside each other."""
    figure = Figure(figsize=(WIDTH + 2, height), layout="constrained")
    return figure, list(figure.subplots(1, num_columns, squeeze=False)[0])
