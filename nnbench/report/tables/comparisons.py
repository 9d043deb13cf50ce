"""Paired comparisons of cells and of methods, where differences come from, and what the seeds can show."""

from typing import Any

import pandas as pd

from nnbench.analysis import variance
from nnbench.report import cells
from nnbench.report.display import Paragraph, Table, count, number, p_value, points, text
from nnbench.report.results import MOST_FOR_ALL_PAIRS, Results
from nnbench.report.tables.parts import by_dataset, table

PAIR = {
    "first": ("higher mean", text),
    "second": ("lower mean", text),
    "seeds": ("equal seeds", count),
    "difference": ("difference (points)", points),
    "low": ("95 % from", points),
    "high": ("to", points),
    "probability_of_improvement": ("share of seeds won", number),
    "p": ("p", p_value),
    "p_holm": ("p after Holm", p_value),
    "verdict": ("verdict", text),
}
NO_SECOND = "There is no second cell to compare with."
OTHER = {"optimizer": "activation", "activation": "optimizer"}


def comparisons(results: Results, cell: str | None = None) -> Table | Paragraph:
    """Return the pairs of a network, by default of the leader of each data set, smallest difference first.

    Raises ValueError for a name that no network has.
    """
    if cell is not None:
        cells.checked(results, cell)

    def compute(dataset: str) -> pd.DataFrame:
        chosen = cell or results.leader(dataset)
        known = chosen in set(results.board(dataset)["cell"])
        return results.pairs_of(dataset, chosen).sort_values("difference") if known else pd.DataFrame()

    rows = by_dataset(results.datasets, compute)
    return table("comparisons", rows, PAIR, otherwise=NO_SECOND)


def optimizers(results: Results) -> Table | Paragraph:
    """Return the pairs of optimizers, each seed's score being the mean over the activations that all of them have."""
    return _methods(results, "optimizer")


def activations(results: Results) -> Table | Paragraph:
    """Return the pairs of activations, each seed's score being the mean over the optimizers that all of them have."""
    return _methods(results, "activation")


def _methods(results: Results, by: str) -> Table | Paragraph:
    grids, reason = results.grids()
    rows = by_dataset(grids, lambda name: results.method_pairs(name, by, OTHER[by]))
    return table(f"{by}s", rows, PAIR, otherwise=reason)


def variance_shares(results: Results) -> Table | Paragraph:
    """Return what part of the differences between trainings goes with optimizer, activation, both together and seed.

    Of tuning also what goes with the learning rates that were tried.
    """
    rows = by_dataset(results.datasets, lambda name: shares_of(results, name))
    columns = {
        "of": ("scores", text),
        "source": ("source", text),
        "share": ("share of the differences (%)", lambda share: number(share, "{:.1%}").removesuffix("%")),
    }
    otherwise = (
        "The differences cannot be divided among optimizers, activations and seeds: that takes several of each, every "
        "combination with the same seeds."
    )
    return table("variance_shares", rows, columns, otherwise=otherwise)


def shares_of(results: Results, dataset: str) -> pd.DataFrame:
    """Return the shares of one data set, of the final trainings and of those of tuning, if there are any."""
    parts = []
    replicas, tuning = results.of(dataset, "replicas"), results.of(dataset, "tuning")
    if not results.without_grid(dataset):
        parts.append(variance.variance_shares(replicas).assign(of="test accuracy"))
        if "learning_rate" in tuning:
            first_grid = tuning[tuning["extension"] == 0] if "extension" in tuning else tuning
            shares = variance.variance_shares(first_grid, within="trial", metric="val/selected_accuracy")
            shares["source"] = shares["source"].replace("trial within cell", "hyperparameters tried")
            parts.append(shares.assign(of="validation accuracy while tuning"))
    parts = [part for part in parts if part["share"].notna().all()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def detectable_differences(results: Results) -> Table | Paragraph:
    """Return what these seeds can show of the leader of each data set and each other cell."""

    def compute(dataset: str) -> pd.DataFrame:
        leader = results.leader(dataset)
        if not 2 <= len(results.board(dataset)) <= MOST_FOR_ALL_PAIRS:
            return pd.DataFrame()
        pairs = results.detectable_differences(dataset)
        if pairs["deviation"].isna().all():
            return pd.DataFrame()
        pairs = pairs.copy()
        pairs["other"] = pairs["first"].where(pairs["second"] == leader, pairs["second"])
        return pairs.sort_values("seeds_needed", kind="stable")

    columns = {
        "other": ("the leader against", text),
        "seeds": ("equal seeds", count),
        "deviation": ("deviation of the differences (points)", lambda value: number(100 * value, "{:.2f}")),
        "detectable": ("found with a chance of 80 % (points)", _detectable),
        "seeds_needed": ("seeds to find half a point", count),
    }
    rows = by_dataset(results.datasets, compute)
    sizes = [len(results.board(name)) for name in results.datasets]
    if max(sizes, default=0) < 2:
        otherwise = NO_SECOND
    elif min(size for size in sizes if size > 1) > MOST_FOR_ALL_PAIRS:
        otherwise = f"This is worked out for at most {MOST_FOR_ALL_PAIRS} networks on a data set."
    else:
        otherwise = "Fewer than two equal seeds say nothing of how much differences vary."
    return table("detectable_differences", rows, columns, otherwise=otherwise)


def _detectable(value: Any) -> str:
    return "none, too few seeds" if value == float("inf") else number(100 * value, "{:.2f}")
