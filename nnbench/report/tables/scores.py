"""Scores over seeds: networks, baselines, and both against each other."""

import pandas as pd

from nnbench.analysis import tables
from nnbench.report.cells import checked
from nnbench.report.display import Paragraph, Table, count, number, p_value, per_cent, points, seconds, text
from nnbench.report.results import Results
from nnbench.report.tables.parts import by_dataset, table

MEAN = {"low": ("95 % from", per_cent), "high": ("to", per_cent), "seeds": ("seeds", count)}
NO_BASELINES = "No baselines were trained. A sweep (-m) with a report has them; -m model=svm,random_forest trains two."


def leaderboard(results: Results) -> Table | Paragraph:
    """Return the networks of each data set, best first."""
    columns = {
        "cell": ("cell", text),
        "test_accuracy": ("test accuracy (%)", per_cent),
        **MEAN,
        "diverged": ("diverged", count),
        "validation_accuracy": ("validation (%)", per_cent),
        "untuned_accuracy": ("untuned (%)", per_cent),
        "tuned": ("tuned to", text),
        "finding": ("doctor", text),
    }
    if not results.any_tuned:
        del columns["untuned_accuracy"], columns["tuned"]
    return table("leaderboard", results.leaderboard(), columns, otherwise="No network has a result.")


def baselines(results: Results) -> Table | Paragraph:
    """Return the baselines of each data set, best first, with what they cost."""

    def compute(dataset: str) -> pd.DataFrame:
        board = results.baseline_board(dataset)
        if not len(board):
            return board
        clocks = ["time/fit_seconds", "time/predict_seconds"]
        costs = results.of(dataset, "baselines").groupby("cell").mean(numeric_only=True).reindex(columns=clocks)
        costs = costs.rename(columns={"time/fit_seconds": "fit_seconds", "time/predict_seconds": "predict_seconds"})
        runs = results.cells.reindex(columns=["cell", "run_id"])
        board = board.merge(costs.reset_index(), on="cell").merge(runs, on="cell", how="left")
        alike = board["cell"].isin(results.without_draws)
        board["draws"] = board["seeds"].astype(str).mask(alike, "draws nothing, one fit")
        board.loc[alike, ["low", "high"]] = float("nan")
        return board.rename(columns={"mean": "test_accuracy", "val_accuracy": "validation_accuracy"})

    columns = {
        "cell": ("baseline", text),
        "test_accuracy": ("test accuracy (%)", per_cent),
        "low": MEAN["low"],
        "high": MEAN["high"],
        "draws": ("seeds", text),
        "validation_accuracy": ("validation (%)", per_cent),
        "fit_seconds": ("fit (s)", seconds),
        "predict_seconds": ("predict (s)", seconds),
    }
    datasets = list(results.baselines["dataset"].unique())
    return table("baselines", by_dataset(datasets, compute), columns, otherwise=NO_BASELINES)


def against_baselines(results: Results, cell: str | None = None) -> Table | Paragraph:
    """Return the best network of each data set, or another, with each baseline, on equal seeds."""
    datasets = _datasets_of(results, checked(results, cell)) if cell else results.datasets
    both = [name for name in datasets if len(results.of(name, "baselines"))]
    rows = by_dataset(
        both,
        lambda name: (
            results.against_baselines(name, cell).assign(network=cell or results.leader(name)).sort_values("difference")
        ),
    )
    columns = {
        "network": ("network", text),
        "baseline": ("baseline", text),
        "seeds": ("equal seeds", count),
        "difference": ("network leads by (points)", points),
        "low": ("95 % from", points),
        "high": ("to", points),
        "probability_of_improvement": ("share of seeds won", number),
        "p_holm": ("p after Holm", p_value),
        "verdict": ("the network is", text),
    }
    alone = len(results.baselines) > 0 and not results.datasets
    otherwise = "There is no network to compare them with." if alone else NO_BASELINES
    return table("against_baselines", rows, columns, otherwise=otherwise)


def interquartile_means(results: Results) -> Table | Paragraph:
    """Return for each optimizer the mean of the middle half of its scores over all activations."""
    grids, reason = results.grids()
    rows = by_dataset(grids, lambda name: tables.interquartile_means(results.of(name, "replicas")).dropna())
    columns = {
        "optimizer": ("optimizer", text),
        "interquartile_mean": ("interquartile mean (%)", per_cent),
        **MEAN,
        "cells": ("activations", count),
    }
    otherwise = reason or "The optimizers have no activation with seeds in common."
    return table("interquartile_means", rows, columns, otherwise=otherwise)


def _datasets_of(results: Results, cell: str) -> list[str]:
    return list(results.replicas.loc[results.replicas["cell"] == cell, "dataset"].unique())
