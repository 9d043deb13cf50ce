"""Profiles agree with their definitions, written naively."""

import numpy as np
import pandas as pd
import pytest

from nnbench.analysis.profiles import performance_profile, score_profile


def replicas(values, *, metric, activations=("relu",)):
    """Return rows of {optimizer: (activations, seeds)}."""
    return pd.DataFrame(
        [
            {"optimizer": optimizer, "activation": activation, "seed": seed, metric: value}
            for optimizer, table in values.items()
            for activation, row in zip(activations, np.atleast_2d(table), strict=True)
            for seed, value in enumerate(row)
        ]
    )


def at(table, optimizer, threshold):
    """Return the share of a step curve at a threshold."""
    rows = table[table["optimizer"] == optimizer]
    return rows.loc[rows.iloc[:, 1] <= threshold, "share"].iloc[-1]


def test_performance_profile_worked_by_hand():
    times = {"adam": [2, 4, 6, np.inf], "gd": [4, 4, np.inf, np.inf]}

    table = performance_profile(replicas(times, metric="val/target_epoch"))

    # Factors: adam 1 1 1 miss, gd 2 1 miss miss.
    assert list(table.columns) == ["optimizer", "factor", "share", "low", "high"]
    assert [at(table, "adam", factor) for factor in (1, 1.9, 2, 99)] == [0.75] * 4
    assert [at(table, "gd", factor) for factor in (1, 1.9, 2, 99)] == [0.25, 0.25, 0.5, 0.5]


def test_performance_profile_is_that_of_dolan_and_more():
    rng = np.random.default_rng(0)
    times = {name: np.where(rng.random((3, 8)) < 0.2, np.inf, rng.integers(1, 30, (3, 8))) for name in "abc"}

    table = performance_profile(replicas(times, metric="time", activations=("r", "s", "t")), metric="time")

    for name in "abc":
        for factor in (1, 1.25, 2, 3.5, 30):
            solved = 0
            for problem in np.ndindex(3, 8):
                fastest = min(times[other][problem] for other in "abc")
                solved += bool(np.isfinite(times[name][problem]) and times[name][problem] / fastest <= factor)
            assert at(table, name, factor) == pytest.approx(solved / 24)


def test_where_nobody_meets_the_target_all_miss_it():
    table = performance_profile(replicas({"a": [np.inf] * 3, "b": [np.inf] * 3}, metric="val/target_epoch"))

    assert set(table["share"]) == {0}
    assert set(table["factor"]) == {1}


def test_without_a_target_there_is_no_profile():
    with pytest.raises(ValueError, match="target_accuracy"):
        performance_profile(replicas({"a": [1.0]}, metric="test/accuracy"))


def test_score_profile_is_the_share_of_runs_above_each_score():
    rng = np.random.default_rng(1)
    scores = {name: rng.integers(80, 99, (2, 6)) / 100 for name in "ab"}

    table = score_profile(replicas(scores, metric="test/accuracy", activations=("r", "s")))

    for row in table.itertuples():
        assert row.share == pytest.approx(np.mean(scores[row.optimizer] > row.threshold))
        assert row.low <= row.share <= row.high
    for name in "ab":  # the area below a curve is the mean
        rows = table[table["optimizer"] == name]
        assert np.sum(rows["share"].iloc[:-1] * np.diff(rows["threshold"])) == pytest.approx(scores[name].mean())


def test_band_resamples_seeds_with_all_of_their_cells():
    rng = np.random.default_rng(2)
    scores = rng.integers(80, 99, (2, 10)) / 100

    table = score_profile(replicas({"a": scores}, metric="test/accuracy", activations=("r", "s")))

    chosen = np.random.default_rng(3).integers(10, size=(20_000, 10))
    for row in table.iloc[3::4].itertuples():
        shares = (scores > row.threshold)[:, chosen].mean(axis=(0, 2))
        np.testing.assert_allclose((row.low, row.high), np.quantile(shares, [0.025, 0.975]), atol=0.051)


def test_compared_are_the_cells_and_seeds_that_all_have():
    table = replicas({"a": [0.9, 0.8], "b": [0.7, 0.6]}, metric="test/accuracy")
    more = pd.DataFrame([{"optimizer": "a", "activation": "relu", "seed": 2, "test/accuracy": 0.1},
                         {"optimizer": "a", "activation": "tanh", "seed": 0, "test/accuracy": 0.1}])  # fmt: skip

    pd.testing.assert_frame_equal(score_profile(pd.concat([table, more])), score_profile(table))


def test_one_seed_has_no_band():
    assert score_profile(replicas({"a": [0.9], "b": [0.8]}, metric="test/accuracy"))["low"].isna().all()


def test_doubled_seeds_and_several_data_sets_are_refused():
    table = replicas({"a": [0.9, 0.8]}, metric="test/accuracy")
    with pytest.raises(ValueError, match="two rows"):
        score_profile(pd.concat([table, table]))
    with pytest.raises(ValueError, match="several data sets"):
        score_profile(pd.concat([table.assign(dataset="digits"), table.assign(dataset="wine")]))
