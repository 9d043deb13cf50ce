"""What MLflow gets of numbers: points of curves, and the scores in the end; none that is not finite."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nnbench.tracking.record import Record

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Metric

SECONDS = "time/train_seconds"
CURVES_OF_A_SEED = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")


def mean_curves(history: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mean over all replicas, one row for each epoch; not a number where one of them has none.

    A mean over those that are left would rank a cell by its luckiest seeds.
    """
    by_epoch = history.drop(columns="seed").groupby("epoch")
    curves = by_epoch.mean(skipna=False)
    curves[SECONDS] = by_epoch[SECONDS].max().ffill().fillna(0)  # the clock of the stack, whoever is left in it
    return curves


def without_stale(curves: "pd.DataFrame") -> "pd.DataFrame":
    """Return the curves that are scored after a divergence, and the clocks.

    MLflow ranks a run by its latest values: those of all other curves would be from before. The record has them.
    """
    return curves[[name for name in curves if name.endswith("/accuracy") or name == SECONDS]]


def curve_points(curves: "pd.DataFrame", started: float, *, besides: Sequence[str] = ()) -> "list[Metric]":
    """Return the points of all curves, epoch by epoch, each stamped with the training time that had passed."""
    from mlflow.entities import Metric

    seconds = curves[SECONDS].ffill().fillna(0)  # of a diverged replica there is none
    curves = curves.drop(columns=list(besides))
    return [
        Metric(name, float(value), milliseconds(started + seconds[epoch]), int(epoch))
        for epoch, row in zip(curves.index, curves.to_dict("records"), strict=True)
        for name, value in row.items()
        if math.isfinite(value)
    ]


def with_summary(
    curves: "pd.DataFrame", summary: Mapping[str, float], started: float, ended: int, *, besides: Sequence[str] = ()
) -> "list[Metric]":
    """Return the points of all curves and the scores in the end; one that is the last point of its curve is one."""
    last = curves.drop(columns=list(besides)).iloc[-1]
    scores = {name: value for name, value in summary.items() if last.get(name) != value}
    return curve_points(curves, started, besides=besides) + summary_points(scores, int(curves.index[-1]), ended)


def summary_points(summary: Mapping[str, float], step: int, timestamp: int) -> "list[Metric]":
    """Return a point for each score; `timestamp` in milliseconds."""
    from mlflow.entities import Metric

    return [Metric(name, float(value), timestamp, step) for name, value in summary.items() if math.isfinite(value)]


def cell_summary(cell: Record, replicas: "pd.DataFrame") -> dict[str, float]:
    """Return the mean of each score over the seeds, the spread of the main one, and the counts beside them."""
    scores = replicas.drop(columns=["seed", "status"])
    summary = {name: float(values.mean(skipna=False)) for name, values in scores.items()}
    if "val/target_epoch" in scores:
        summary["val/target_hit_rate"] = float(scores["val/target_epoch"].map(math.isfinite).mean())
    if len(replicas) > 1:
        summary["test/accuracy_std"] = float(replicas["test/accuracy"].std())
    summary["seeds"] = len(replicas)
    summary["seeds_diverged"] = int((replicas["status"] == "diverged").sum())
    summary["test/openings"] = cell.cell["test_openings"]
    summary[SECONDS] = cell.cell["train_seconds"]  # of all stacks, where `stack_size` makes several
    summary["time/evaluation_seconds"] = cell.cell["evaluation_seconds"]
    summary["time/diagnostics_seconds"] = cell.cell["diagnostics_seconds"]
    summary["time/optimizer_seconds_per_step"] = cell.cell["optimizer_seconds_per_step"]
    if cell.cell["tuning"]:
        facts = {name: value for name, value in cell.cell["tuning"].items() if name != "chosen"}
        summary |= {f"tuning/{name}": float(value) for name, value in facts.items()}
        summary["untuned/accuracy"] = float(cell.untuned()["test/accuracy"].mean())
    return summary


def baseline_summary(cell: Record, replicas: "pd.DataFrame") -> dict[str, float]:
    """Return the mean of each score over the fits, and the counts beside them."""
    scores = replicas.drop(columns=["seed", "status"])
    summary = {name: float(values.mean(skipna=False)) for name, values in scores.items()}
    if cell.cell["num_fits"] > 1:
        summary["test/accuracy_std"] = float(replicas["test/accuracy"].std())
    summary["seeds"] = cell.cell["num_fits"]
    summary["test/openings"] = cell.cell["test_openings"]
    summary[SECONDS] = cell.cell["train_seconds"]
    return summary


def milliseconds(seconds: float) -> int:
    """Return a time, in seconds since 1970, as MLflow has it."""
    return round(seconds * 1000)
