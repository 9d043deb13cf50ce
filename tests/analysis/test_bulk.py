"""What is worked out for many rows at once is what it is for each of them alone."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, wilcoxon

from nnbench.analysis.comparison import ALPHA, MOST_SIGN_PATTERNS, compare, compare_with
from nnbench.analysis.statistics import (
    BATCH,
    RESAMPLES,
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    num_sign_patterns,
    sign_flip_test,
    sign_flip_tests,
)
from nnbench.analysis.tables import leaderboard


def drawn(num_rows, num_seeds, *, gaps=0.0, seed=0):
    """Return accuracies, (rows, seeds), some of which are not there."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(0.9, 0.02, size=(num_rows, num_seeds)), 4)
    return np.where(rng.random(values.shape) < gaps, np.nan, values)


def replicas(values):
    """Return one row for each score that is there, (cells, seeds)."""
    rows = [
        {"cell": f"cell {cell}", "seed": seed, "status": "finished", "test/accuracy": value,
         "val/selected_accuracy": 0.9}
        for (cell, seed), value in np.ndenumerate(values)
        if not np.isnan(value)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def scipy_interval(values):
    outcome = bootstrap(
        (values,), np.mean, batch=BATCH, n_resamples=RESAMPLES, confidence_level=0.95, method="percentile", rng=0
    )
    return outcome.confidence_interval


@pytest.mark.parametrize(("num_seeds", "gaps"), [(3, 0), (10, 0), (10, 0.3), (40, 0)])
def test_intervals_are_those_of_scipy_row_by_row(num_seeds, gaps):
    values = drawn(6, num_seeds, gaps=gaps)

    low, high = bootstrap_intervals(values)

    for place, row in enumerate(values):
        wanted = scipy_interval(row[~np.isnan(row)])
        assert (low[place], high[place]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_an_interval_does_not_know_its_neighbours_to_the_last_bit():
    values = drawn(100, 9)  # more rows than are worked on together

    low, high = bootstrap_intervals(values)

    for place in (0, 50, 99):
        assert (low[place], high[place]) == bootstrap_interval(values[place])


def test_rows_without_spread_without_values_and_with_infinite_ones():
    values = np.array([[0.1, 0.1, 0.1], [np.nan, 0.1, np.nan], [np.nan] * 3, [0.1, 0.2, np.inf], [0.1, np.nan, 0.1]])

    low, high = bootstrap_intervals(values)

    np.testing.assert_array_equal(low, [0.1, np.nan, np.nan, np.nan, 0.1])
    np.testing.assert_array_equal(high, low)


@pytest.mark.parametrize("num_seeds", [2, 6, 11])
def test_each_p_is_the_share_of_its_own_sign_patterns(num_seeds):
    differences = drawn(30, num_seeds, gaps=0.1, seed=1) - 0.9

    p_values = sign_flip_tests(differences)

    for row, p in zip(differences, p_values, strict=True):
        present = row[~np.isnan(row)]
        signs = np.array(list(product((1, -1), repeat=len(present))))
        wanted = np.mean(abs(signs @ present) >= abs(present.sum()) - 1e-12) if len(present) > 1 else np.nan
        assert p == pytest.approx(wanted, abs=0, nan_ok=True)


@pytest.mark.parametrize("num_seeds", [13, 16, 17, 30])
def test_p_does_not_know_its_neighbours(num_seeds):
    differences = drawn(200, num_seeds, seed=2) - 0.9

    p_values = sign_flip_tests(differences)

    for place in (0, 7, 8, 100, 199):
        assert p_values[place] == sign_flip_test(differences[place])


@pytest.mark.parametrize("num_seeds", [4, 8, 15])
def test_p_of_signed_ranks_is_that_of_wilcoxon(num_seeds):
    # The signed-rank test is the sign-flip test of ranks.
    rng = np.random.default_rng(num_seeds)
    ranks = (1 + rng.permutation(num_seeds)) * rng.choice([-1, 1], size=(5, num_seeds))

    for row in ranks.astype(float):
        assert sign_flip_test(row) == pytest.approx(wilcoxon(row, method="exact").pvalue)


@pytest.mark.parametrize("num_seeds", [2, 10, 16, 17, 25])
def test_smallest_p_is_one_over_the_number_of_patterns(num_seeds):
    assert sign_flip_test([0.01] * num_seeds) == 1 / num_sign_patterns(num_seeds)


@pytest.mark.parametrize(("num_seeds", "gaps"), [(7, 0), (10, 0.2), (18, 0)])
def test_pairs_are_those_worked_out_one_by_one(num_seeds, gaps):
    table = replicas(drawn(5, num_seeds, gaps=gaps))
    scores = table.pivot_table(index="seed", columns="cell", values="test/accuracy")

    pairs = compare(table)

    assert len(pairs) == 10
    for row in pairs.to_dict("records"):
        differences = (scores[row["first"]] - scores[row["second"]]).dropna().round(12).to_numpy()
        interval = scipy_interval(differences)
        assert row["seeds"] == len(differences)
        assert row["difference"] == pytest.approx(differences.mean(), abs=1e-12)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-12)
        won = np.mean((differences > 0) + 0.5 * (differences == 0))
        assert row["probability_of_improvement"] == pytest.approx(won)
        assert row["p"] == sign_flip_test(differences)
    np.testing.assert_array_equal(pairs["p_holm"], holm(pairs["p"].to_numpy()))


def test_a_leaderboard_has_the_interval_of_each_cell():
    table = replicas(drawn(6, 12, gaps=0.4))

    for row in leaderboard(table).to_dict("records"):
        scores = table.loc[table["cell"] == row["cell"], "test/accuracy"].to_numpy()
        assert (row["low"], row["high"]) == bootstrap_interval(scores)
        assert (row["mean"], row["seeds"]) == (pytest.approx(scores.mean()), len(scores))


@pytest.mark.parametrize("gaps", [0, 0.25, 0.8])
def test_pairs_of_one_cell_are_rows_of_all_pairs(gaps):
    table = replicas(drawn(7, 9, gaps=gaps, seed=4))
    pairs = compare(table)

    for cell in table["cell"].unique():
        wanted = pairs[(pairs["first"] == cell) | (pairs["second"] == cell)].reset_index(drop=True)
        pd.testing.assert_frame_equal(compare_with(table, cell), wanted)


def test_pairs_of_one_cell_are_corrected_for_all_pairs_of_many():
    values = drawn(60, 8, seed=5)
    values[7] += 0.1
    p_values = np.array([sign_flip_test(first - second) for first, second in combinations(values.round(4), 2)])
    of_seven = np.array([7 in pair for pair in combinations(range(60), 2)])

    table = compare_with(replicas(values), "cell 7")

    np.testing.assert_allclose(np.sort(table["p_holm"]), np.sort(holm(p_values)[of_seven]))
    assert len(table) == 59


def test_what_takes_too_long_to_be_worked_out_could_not_change_a_verdict():
    for num_seeds in range(2, 100):
        num_patterns = num_sign_patterns(num_seeds)
        num_pairs = MOST_SIGN_PATTERNS / num_patterns
        assert num_pairs / num_patterns > ALPHA  # the smallest p after correction


def test_beyond_that_p_is_corrected_for_more_and_never_for_less(monkeypatch):
    values = drawn(8, 12, seed=6) + 0.03 * np.arange(8)[:, np.newaxis]
    exact = compare_with(replicas(values), "cell 7")
    monkeypatch.setattr("nnbench.analysis.comparison.MOST_SIGN_PATTERNS", 100)

    bound = compare_with(replicas(values), "cell 7")

    pd.testing.assert_frame_equal(bound.drop(columns=["p_holm", "verdict"]), exact.drop(columns=["p_holm", "verdict"]))
    assert (bound["p_holm"] >= exact["p_holm"]).all()
    assert (bound["p_holm"] <= np.minimum(28 * exact["p"], 1)).all()  # Bonferroni's


def test_a_cell_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no cell adam"):
        compare_with(replicas(drawn(3, 6)), "adam")


def test_one_cell_alone_has_no_pair():
    table = replicas(drawn(1, 6))

    pd.testing.assert_frame_equal(compare_with(table, "cell 0"), compare(table))
