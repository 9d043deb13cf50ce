"""The samples most often missed are those that one finds by counting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.analysis.missed import most_missed

COLUMNS = ["sample", "true", "predicted", "missed", "trainings"]


def test_worked_by_hand():
    labels = np.array([0, 1, 2, 0, 1])
    predicted = np.array(
        [
            [0, 2, 1, 0, 2],
            [0, 0, 1, 1, 2],
            [-1, -1, -1, -1, -1],  # diverged
            [0, 2, 0, 0, 0],
            [0, 0, 2, 0, 1],
        ]
    )

    table = most_missed(labels, predicted, ["ant", "bee", "cat"])

    # Sample 1 is twice an ant and twice a cat; 2 and 4 are missed three times each.
    assert table.to_numpy().tolist() == [
        [1, "bee", "ant", 4, 4],
        [2, "cat", "bee", 3, 4],
        [4, "bee", "cat", 3, 4],
        [3, "ant", "bee", 1, 4],
    ]
    assert list(table.columns) == COLUMNS


@pytest.mark.parametrize("predicted", [[[0, 1]], [[-1, -1]], np.empty((0, 2), dtype=int)])
def test_where_nothing_is_missed_there_are_no_rows(predicted):
    table = most_missed(np.array([0, 1]), np.array(predicted), ["a", "b"])

    assert len(table) == 0
    assert list(table.columns) == COLUMNS


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_every_miss_is_counted_once(seed, num_trainings, num_samples, num_classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_samples)
    predicted = rng.integers(num_classes, size=(num_trainings, num_samples))
    diverged = rng.random(num_trainings) < 0.3
    predicted[diverged] = -1
    names = [f"class {place}" for place in range(num_classes)]

    table = most_missed(labels, predicted, names)

    kept = predicted[~diverged]
    assert table["missed"].sum() == (kept != labels).sum()
    assert (table["trainings"] == len(kept)).all()
    assert table["missed"].between(1, max(len(kept), 1)).all()
    assert list(zip(-table["missed"], table["sample"], strict=True)) == sorted(
        zip(-table["missed"], table["sample"], strict=True)
    )
    for row in table.to_dict("records"):
        mistakes = Counter(kept[kept[:, row["sample"]] != labels[row["sample"]], row["sample"]].tolist())
        most = max(mistakes.values())
        assert row["true"] == names[labels[row["sample"]]] != row["predicted"]
        assert row["predicted"] == names[min(name for name, count in mistakes.items() if count == most)]
    shuffled = most_missed(labels, rng.permutation(predicted), names)
    assert shuffled.equals(table)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 3\) do not fit 2 labels"):
        most_missed(np.array([0, 1]), np.array([[0, 1, 1]]), ["a", "b"])
    with pytest.raises(ValueError, match="class 2, but there are 2 names"):
        most_missed(np.array([0, 1]), np.array([[0, 2]]), ["a", "b"])
