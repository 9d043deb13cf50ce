"""A leaderboard ranks cells by their mean over seeds; worked by hand here."""

import numpy as np
import pandas as pd
import pytest

from nnbench.analysis.statistics import bootstrap_interval
from nnbench.analysis.tables import leaderboard


def replicas(scores, *, diverged=(), val_accuracy=0.8):
    """Return one row for each replica of {cell: test accuracies}; `diverged` names (cell, seed)."""
    rows = [
        {
            "cell": cell,
            "seed": seed,
            "status": "diverged" if (cell, seed) in diverged else "finished",
            "test/accuracy": accuracy,
            "val/selected_accuracy": np.nan if (cell, seed) in diverged else val_accuracy,
        }
        for cell, accuracies in scores.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    return pd.DataFrame(rows)


def test_worked_by_hand():
    board = leaderboard(replicas({"worse": [0.5, 0.7], "better": [0.9, 0.8, 0.7], "single": [0.75]}))

    assert list(board["cell"]) == ["better", "single", "worse"]
    np.testing.assert_allclose(board["mean"], [0.8, 0.75, 0.6])
    assert list(board["seeds"]) == [3, 1, 2]
    assert list(board["diverged"]) == [0, 0, 0]
    np.testing.assert_allclose(board["val_accuracy"], 0.8)
    assert list(board.index) == [0, 1, 2]


def test_interval_is_that_of_the_seeds_and_missing_for_one():
    board = leaderboard(replicas({"many": [0.9, 0.8, 0.7], "one": [0.5]})).set_index("cell")

    assert tuple(board.loc["many", ["low", "high"]]) == bootstrap_interval([0.9, 0.8, 0.7])
    assert board.loc["one", ["low", "high"]].isna().all()


def test_ties_keep_the_order_of_training():
    scores = {"first": [0.5, 0.7], "second": [0.6, 0.6], "third": [0.7, 0.5]}

    assert list(leaderboard(replicas(scores))["cell"]) == ["first", "second", "third"]
    assert list(leaderboard(replicas(dict(reversed(scores.items()))))["cell"]) == ["third", "second", "first"]


def test_a_diverged_seed_counts_with_the_score_it_was_given():
    board = leaderboard(replicas({"shaky": [1.0, 0.5]}, diverged={("shaky", 1)}))

    assert board.loc[0, "mean"] == 0.75
    assert board.loc[0, "diverged"] == 1
    assert board.loc[0, "seeds"] == 2
    assert board.loc[0, "val_accuracy"] == 0.8  # of those that have one


@pytest.mark.parametrize("accuracy", [0.5, 0.45])
def test_a_cell_that_diverged_as_a_whole_is_never_before_one_that_did_not(accuracy):
    scores = {"gone": [0.5, 0.5], "poor": [accuracy, accuracy], "shaky": [0.5, 0.3]}
    board = leaderboard(replicas(scores, diverged={("gone", 0), ("gone", 1), ("shaky", 0)}))

    assert list(board["cell"]) == ["poor", "shaky", "gone"]


def test_nothing_but_diverged_cells_is_a_leaderboard_too():
    board = leaderboard(replicas({"gone": [0.1, 0.1]}, diverged={("gone", 0), ("gone", 1)}))

    assert (board.loc[0, "mean"], board.loc[0, "diverged"]) == (0.1, 2)
    assert np.isnan(board.loc[0, "val_accuracy"])


def test_another_metric_may_rank():
    table = replicas({"a": [0.9], "b": [0.8]}).assign(**{"test/f1_macro": [0.1, 0.2]})

    assert list(leaderboard(table, metric="test/f1_macro")["cell"]) == ["b", "a"]
