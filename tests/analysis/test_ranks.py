"""Ranks, Friedman's test and Nemenyi's critical difference are those of Demsar's article."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from nnbench.analysis.ranks import critical_difference, rank, rank_methods

# Demsar, 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, table 6: AUC of C4.5 and three
# variants on 14 data sets. In the row "voting" two of the ranks differ where the printed digits do not: .975 is .9749.
DEMSAR = pd.DataFrame(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.9749], [0.957, 0.978, 0.946, 0.970],
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)  # fmt: skip
DEMSAR_Q = {  # table 5(a)
    0.05: {4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031},
    0.10: {4: 2.291, 5: 2.459, 6: 2.589, 7: 2.693, 8: 2.780},
}


def test_ranks_of_the_published_example():
    table = rank(DEMSAR).table

    assert list(table["method"]) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    np.testing.assert_allclose(table["mean_rank"], [1.964, 2.000, 2.893, 3.143], atol=5e-4)
    assert set(table["blocks"]) == {14}


def test_friedman_of_the_published_example_is_its_statistic_corrected_for_ties():
    ranking = rank(DEMSAR)

    tied = 3 * (2**3 - 2) + (4**3 - 4)  # iris, lung cancer, primary tumor; all four of mushroom
    assert ranking.statistic * (1 - tied / (14 * (4**3 - 4))) == pytest.approx(9.28, abs=0.005)
    assert (ranking.statistic, ranking.p) == pytest.approx(tuple(friedmanchisquare(*DEMSAR.to_numpy().T)))


@pytest.mark.parametrize(("alpha", "distance"), [(0.05, 1.25), (0.10, 1.12)])
def test_critical_difference_of_the_published_example(alpha, distance):
    assert rank(DEMSAR, alpha=alpha).critical_difference == pytest.approx(distance, abs=0.005)


@pytest.mark.parametrize("alpha", DEMSAR_Q)
@pytest.mark.parametrize("num_methods", range(4, 9))
def test_critical_difference_has_the_published_q(num_methods, alpha):
    scale = np.sqrt(num_methods * (num_methods + 1) / (6 * 30))

    assert critical_difference(num_methods, 30, alpha=alpha) / scale == pytest.approx(
        DEMSAR_Q[alpha][num_methods], abs=0.0015
    )


def test_groups_of_the_published_example():
    # "At p = .05 the difference of the best and the worst, 1.18, is below 1.25"; at .10, C4.5 differs from two.
    assert rank(DEMSAR).groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    assert rank(DEMSAR, alpha=0.10).groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"))


def test_a_method_apart_from_all_others_is_in_no_group():
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.normal(size=(40, 4)), columns=list("abcd")).assign(e=10.0)

    assert rank(scores).groups == (tuple(rank(scores).table["method"][1:]),)
    assert rank(scores).table["method"][0] == "e"


def test_where_friedman_finds_nothing_there_is_one_group():
    scores = pd.DataFrame(np.random.default_rng(1).normal(size=(8, 6)), columns=list("abcdef"))

    assert rank(scores).p > 0.05
    assert len(rank(scores).groups) == 1


def test_equal_methods_are_tied():
    ranking = rank(pd.DataFrame(np.ones((10, 4)), columns=list("abcd")))

    assert (ranking.statistic, ranking.p) == (0, 1)
    assert set(ranking.table["mean_rank"]) == {2.5}


@pytest.mark.parametrize("num_methods", [2, 3, 9])
def test_outside_four_to_eight_methods_there_is_no_diagram(num_methods):
    with pytest.raises(ValueError, match=f"there are {num_methods} methods"):
        rank(pd.DataFrame(np.zeros((10, num_methods))))


def test_five_blocks_are_too_few():
    with pytest.raises(ValueError, match="5 blocks"):
        rank(pd.DataFrame(np.zeros((5, 4))))


def replicas(scores):
    """Return rows of {(dataset, optimizer, activation): scores by seed}."""
    return pd.DataFrame(
        [
            {"dataset": dataset, "optimizer": optimizer, "activation": activation, "seed": seed, "test/accuracy": score}
            for (dataset, optimizer, activation), values in scores.items()
            for seed, score in enumerate(values)
        ]
    )


def test_a_block_is_a_seed_of_a_data_set_and_its_score_the_mean_over_activations():
    rng = np.random.default_rng(0)
    scores = {
        (dataset, optimizer, activation): rng.random(7)
        for dataset in ("digits", "wine")
        for optimizer in "abcd"
        for activation in ("relu", "tanh")
    }

    ranking = rank_methods(replicas(scores))

    blocks = [
        [-(scores[dataset, optimizer, "relu"][seed] + scores[dataset, optimizer, "tanh"][seed]) for optimizer in "abcd"]
        for dataset in ("digits", "wine")
        for seed in range(7)
    ]  # fmt: skip
    wanted = friedmanchisquare(*np.transpose(blocks))
    assert set(ranking.table["blocks"]) == {14}
    assert (ranking.statistic, ranking.p) == pytest.approx(tuple(wanted))
    assert ranking.by == "optimizer"


def test_false_alarms_are_as_rare_as_promised_though_activations_share_their_seed():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        luck = rng.normal(size=(5, 10))  # of an optimizer with a seed, the same for all of its activations
        scores = {("d", f"o{place}", name): luck[place] for place in range(5) for name in ("relu", "tanh", "sigmoid")}
        alarms += rank_methods(replicas(scores)).p < 0.05

    assert alarms <= 20  # ten expected; with activations as blocks of their own it is every second table
