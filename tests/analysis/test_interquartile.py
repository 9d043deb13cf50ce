"""The interquartile mean and its interval agree with scipy and with the definition."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, trim_mean

from nnbench.analysis.statistics import interquartile_interval, interquartile_mean
from nnbench.analysis.tables import interquartile_means


@pytest.mark.parametrize("num_values", range(1, 14))
def test_it_is_the_mean_trimmed_by_a_quarter_at_each_end(num_values):
    values = np.random.default_rng(num_values).gamma(2, size=(3, num_values))

    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=-1))


def test_one_diverged_seed_does_not_move_it():
    assert interquartile_mean([0.9, 0.91, 0.92, 0.1]) == interquartile_mean([0.9, 0.91, 0.92, 0.8])


def test_no_values_have_none():
    assert np.isnan(interquartile_mean([]))


@pytest.mark.parametrize("num_seeds", [5, 10, 30])
def test_its_interval_is_that_of_scipy(num_seeds):
    values = np.random.default_rng(num_seeds).gamma(2, size=num_seeds)

    interval = interquartile_interval(values)

    wanted = bootstrap(
        (values,), lambda sample, axis: trim_mean(sample, 0.25, axis=axis), n_resamples=50_000, method="percentile",
        batch=1000, rng=1,
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(interval, wanted, atol=0.05 * values.std() / np.sqrt(num_seeds))


def test_interval_of_several_cells_resamples_seeds_with_all_of_their_cells():
    # Two cells that share all of their luck are no more evidence than one.
    values = np.random.default_rng(0).normal(0.9, 0.01, size=12)

    alone, twice = interquartile_interval(values), interquartile_interval(np.stack([values, values]))

    np.testing.assert_allclose(twice, alone, atol=1e-12)
    assert interquartile_interval(values) == alone


@pytest.mark.parametrize("scores", [[0.9], [[0.9], [0.8]]])
def test_one_seed_has_no_interval(scores):
    assert np.isnan(interquartile_interval(np.array(scores))).all()


def test_table_worked_by_hand():
    scores = {("adam", "relu"): [9, 8, 7, 1], ("adam", "tanh"): [6, 5, 4, 3], ("gd", "relu"): [2, 2, 2, 2],
              ("gd", "tanh"): [9, 9, 9, 9], ("gd", "sigmoid"): [99, 99, 99, 99]}  # fmt: skip
    table = pd.DataFrame(
        [
            {"optimizer": optimizer, "activation": activation, "seed": seed, "test/accuracy": value / 100}
            for (optimizer, activation), values in scores.items()
            for seed, value in enumerate(values)
        ]
    )

    first, second = interquartile_means(table).to_dict("records")

    # adam: 1 3 | 4 5 6 7 | 8 9; gd: 2 2 | 2 2 9 9 | 9 9; sigmoid is not compared, as adam lacks it.
    assert (first["optimizer"], second["optimizer"]) == ("adam", "gd")
    assert (first["interquartile_mean"], second["interquartile_mean"]) == pytest.approx((0.055, 0.055))
    assert (second["low"], second["high"]) == pytest.approx((0.055, 0.055))
    assert first["low"] < 0.055 < first["high"]
    assert (first["seeds"], first["cells"]) == (4, 2)
