"""What results cost: time to a target, and tuning."""

import numpy as np
import pandas as pd

from nnbench.report.display import Paragraph, Table, count, number, per_cent, text
from nnbench.report.results import Results
from nnbench.report.tables.parts import by_dataset, table

NO_TARGET = "No target was set; target_accuracy=0.95 records when validation first meets it."
CLOCKS = {
    "val/target_epoch": "epochs",
    "val/target_gradient_evaluations": "gradient_evaluations",
    "time/target_seconds": "seconds",
}


def time_to_target(results: Results) -> Table | Paragraph:
    """Return how many seeds of each cell met the target, and the median time of all seeds, a miss being infinite.

    Cells that were trained without a target have not missed it, and are left out.
    """
    if "val/target_epoch" not in results.replicas:
        return Paragraph(NO_TARGET)

    def compute(dataset: str) -> pd.DataFrame:
        replicas = results.of(dataset, "replicas").dropna(subset="val/target_epoch")
        targets = results.targets()
        rows = []
        for cell, seeds in replicas.groupby("cell", sort=False):
            times = {
                name: float(np.quantile(seeds[metric], 0.5, method="inverted_cdf"))
                for metric, name in CLOCKS.items()
                if metric in seeds
            }
            met = int(np.isfinite(seeds["val/target_epoch"]).sum())
            counts = {"met": met, "seeds": len(seeds), "hit_rate": met / len(seeds)}
            rows.append({"cell": cell, "target": targets.get(cell, np.nan), **counts, **times})
        table = pd.DataFrame(rows, columns=["cell", "target", "met", "seeds", "hit_rate", *CLOCKS.values()])
        return table.sort_values(["epochs", "hit_rate"], ascending=[True, False], kind="stable")

    columns = {
        "cell": ("cell", text),
        "target": ("target (%)", lambda share: number(100 * share, "{:g}")),
        "met": ("seeds that met it", count),
        "seeds": ("of", count),
        "hit_rate": ("hit rate (%)", lambda share: number(100 * share, "{:.0f}")),
        "epochs": ("median epochs", _time),
        "gradient_evaluations": ("median gradient evaluations", _time),
        "seconds": ("median seconds", lambda value: _time(value, "{:.3g}")),
    }
    return table("time_to_target", by_dataset(results.datasets, compute), columns, otherwise=NO_TARGET)


def price_of_tuning(results: Results) -> Table | Paragraph:
    """Return what the tuning of each cell chose, what it cost and what it gained over the configured values."""
    untuned = Paragraph("Nothing was tuned: every cell ran with the hyperparameters of its configuration.")
    if not results.any_tuned:
        return untuned
    board = results.leaderboard()
    costs = ["cell", "num_trials", "num_trainings", "num_extensions", "gradient_evaluations", "train_seconds"]
    tuned = board[board["tuned"].fillna("") != ""].merge(results.cells[costs], on="cell")
    columns = {
        "cell": ("cell", text),
        "tuned": ("tuned to", text),
        "test_accuracy": ("test accuracy (%)", per_cent),
        "untuned_accuracy": ("untuned (%)", per_cent),
        "num_trials": ("trials", count),
        "num_trainings": ("trainings", count),
        "num_extensions": ("extensions", count),
        "gradient_evaluations": ("gradient evaluations", count),
        "train_seconds": ("seconds", lambda value: number(value, "{:.1f}")),
    }
    kept = ["dataset", *columns]
    return table("price_of_tuning", tuned[kept], columns, otherwise=untuned.text)


def _time(value: object, pattern: str = "{:.0f}") -> str:
    return "missed" if value == float("inf") else number(value, pattern)
