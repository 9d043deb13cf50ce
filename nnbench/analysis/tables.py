"""Tables of results.

`replicas` has one row for each replica: `cell` (the label), `optimizer`, `activation`, `seed`, `status` and its
metrics.
"""

import pandas as pd

from nnbench.analysis.statistics import bootstrap_interval


def leaderboard(replicas: pd.DataFrame, *, metric: str = "test/accuracy") -> pd.DataFrame:
    """Return one row for each cell, best mean first: mean and 95 % interval over seeds, seeds, diverged seeds.

    Diverged replicas count with the score at chance level that they were given; cells without any other come last,
    whatever that level is. Columns: cell, mean, low, high, seeds,
    diverged, val_accuracy.
    """
    rows = []
    for cell, group in replicas.groupby("cell", sort=False):
        low, high = bootstrap_interval(group[metric].to_numpy())
        rows.append(
            {
                "cell": cell,
                "mean": group[metric].mean(),
                "low": low,
                "high": high,
                "seeds": len(group),
                "diverged": int((group["status"] == "diverged").sum()),
                "val_accuracy": group["val/selected_accuracy"].mean(),
            }
        )
    board = pd.DataFrame(rows)
    board["all diverged"] = board["diverged"] == board["seeds"]
    in_order = board.sort_values(["all diverged", "mean"], ascending=[True, False], ignore_index=True)  # stable
    return in_order.drop(columns="all diverged")
