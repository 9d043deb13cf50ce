"""A verdict is what the seeds allow: it finds what is there, and seldom what is not."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.analysis.comparison import ALPHA, compare, compare_methods, fewest_seeds, too_many_pairs
from nnbench.analysis.statistics import bootstrap_interval, holm, sign_flip_test

NUM_SAMPLES = 10_000  # of the test split, so that accuracies are multiples of 1 / 10,000


def replicas(scores, *, seeds=None):
    """Return one row for each replica of {cell: test accuracies}; `seeds` are those of a cell if not 0, 1, 2, ..."""
    rows = [
        {
            "cell": cell,
            "optimizer": cell.split()[0],
            "activation": cell.split()[-1],
            "seed": seed,
            "status": "finished",
            "test/accuracy": accuracy,
        }
        for cell, accuracies in scores.items()
        for seed, accuracy in zip((seeds or {}).get(cell, range(len(accuracies))), accuracies, strict=True)
    ]
    return pd.DataFrame(rows)


def drawn(rng, shape, *, spread=0.01):
    """Return accuracies, (cells, seeds): those of a seed have something in common."""
    common = rng.normal(0, spread, size=shape[-1])
    return np.round(0.9 + common + rng.normal(0, spread, size=shape), 4)


def only(table):
    (row,) = table.to_dict("records")
    return row


def test_worked_by_hand():
    scores = {"gd": [0.5, 0.6, 0.7, 0.8, 0.9, 0.4], "adam": [0.6, 0.7, 0.8, 0.8, 0.8, 0.8]}

    row = only(compare(replicas(scores)))

    # The differences are .1 .1 .1 0 -.1 .4, their sum .6. With .4 taken as positive, the four of .1 must add at least
    # .2 to it: all of them or three. These 1 + 4 patterns count twice for the sign of .4 and twice for that of 0.
    low, high = bootstrap_interval([0.1, 0.1, 0.1, 0.0, -0.1, 0.4])
    assert (row["first"], row["second"], row["seeds"], row["verdict"]) == ("adam", "gd", 6, "cannot tell")
    assert row["difference"] == pytest.approx(0.1)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["probability_of_improvement"] == pytest.approx((4 + 1 / 2) / 6)
    assert row["p"] == row["p_holm"] == 20 / 64


def test_every_pair_is_there_once_and_corrected_for_all_of_them():
    rng = np.random.default_rng(0)
    scores = dict(zip(["a", "b", "c", "d"], drawn(rng, (4, 9)), strict=True))

    table = compare(replicas(scores))

    assert {frozenset(pair) for pair in zip(table["first"], table["second"], strict=True)} == {
        frozenset(pair) for pair in combinations(scores, 2)
    }
    assert len(table) == 6
    assert (table["difference"] >= 0).all()
    np.testing.assert_array_equal(table["p_holm"], holm(table["p"].to_numpy()))
    for row in table.to_dict("records"):
        differences = np.round(np.subtract(scores[row["first"]], scores[row["second"]]), 12)
        assert row["p"] == sign_flip_test(differences)
        assert (row["low"], row["high"]) == bootstrap_interval(differences)


def test_a_point_is_found_with_ten_seeds():
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(20):
        base = rng.normal(0.9, 0.01, size=10)
        table = compare(replicas({"gd": base, "adam": base + rng.normal(0.01, 0.005, size=10)}))
        verdicts.append((table["first"][0], table["verdict"][0]))

    assert verdicts.count(("adam", "better")) >= 19


def test_equal_distributions_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    num_tables, significant, corrected = 400, 0, 0
    for _ in range(num_tables):
        scores = drawn(rng, (8, 12))
        p_values = np.array([sign_flip_test(first - second) for first, second in combinations(scores, 2)])
        significant += (p_values < ALPHA).any()
        corrected += (holm(p_values) < ALPHA).any()  # the verdict is better in no more tables than this

    assert significant / num_tables > 0.3  # what it would be without Holm
    assert 0 < corrected / num_tables <= ALPHA


@given(st.lists(st.integers(0, NUM_SAMPLES), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_identical_cells_are_never_better(counts):
    accuracies = np.array(counts) / NUM_SAMPLES

    row = only(compare(replicas({"a": accuracies, "b": accuracies})))

    assert row["verdict"] == ("equivalent" if len(counts) >= 6 else "cannot tell")
    assert (row["difference"], row["probability_of_improvement"]) == (0, 0.5)
    assert row["p_holm"] == 1 or len(counts) == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_verdict_knows_no_order_of_rows(seed, num_seeds):
    rng = np.random.default_rng(seed)
    table = replicas(dict(zip(["a", "b", "c"], drawn(rng, (3, num_seeds)), strict=True)))

    pd.testing.assert_frame_equal(compare(table.sample(frac=1, random_state=seed)), compare(table))


@pytest.mark.parametrize("lead", [0.0, 0.002, 0.02])
def test_verdict_knows_no_names(lead):
    rng = np.random.default_rng(1)
    scores = drawn(rng, (2, 10), spread=0.002)
    scores[0] += lead
    table = replicas(dict(zip(["a", "b"], scores, strict=True)))
    swapped = replicas(dict(zip(["b", "a"], scores, strict=True)))

    wanted = compare(table)
    wanted[["first", "second"]] = wanted[["second", "first"]]
    pd.testing.assert_frame_equal(compare(swapped), wanted)


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 4, 5])
def test_with_five_seeds_or_fewer_nothing_can_be_told(num_seeds):
    clear = compare(replicas({"good": np.linspace(0.98, 0.99, num_seeds), "bad": np.linspace(0.1, 0.12, num_seeds)}))
    equal = compare(replicas({"good": np.linspace(0.98, 0.99, num_seeds), "same": np.linspace(0.98, 0.99, num_seeds)}))

    assert clear["p"].isna().all() if num_seeds == 1 else clear["p"][0] == 2 / 2**num_seeds > ALPHA
    assert list(clear["verdict"]) == list(equal["verdict"]) == ["cannot tell"]


@pytest.mark.parametrize("num_cells", [2, 3, 5, 8])
def test_fewest_seeds_are_where_differences_begin_to_be_seen(num_cells):
    num_seeds = fewest_seeds(num_cells * (num_cells - 1) // 2)
    for count, verdict in ((num_seeds, "better"), (num_seeds - 1, "cannot tell")):
        steps = np.linspace(0.01, 0.02, count)  # every cell beats the one before it by that, seed by seed
        table = compare(replicas({f"cell {place}": 0.5 + place * steps for place in range(num_cells)}))
        assert set(table["verdict"]) == {verdict}


def test_beyond_2500_pairs_no_number_of_seeds_tells_any_apart():
    # 50,000 random patterns and the observed one: the smallest p is 1 / 50,001, and Holm multiplies it by the pairs.
    assert not too_many_pairs(2500)
    assert too_many_pairs(71 * 72 // 2)
    assert sign_flip_test(np.full(40, 0.1)) * 2500 < ALPHA < sign_flip_test(np.full(40, 0.1)) * 2556


def test_fewest_seeds_grow_with_the_logarithm_of_the_number_of_pairs():
    assert [fewest_seeds(num_pairs) for num_pairs in (1, 6, 28, 190)] == [6, 8, 11, 13]


def test_a_difference_of_no_consequence_is_not_better_however_certain():
    base = np.linspace(0.9, 0.95, 10)
    scores = replicas({"a": base + np.linspace(0.001, 0.002, 10), "b": base})

    wide, narrow = only(compare(scores)), only(compare(scores, region=0.001))

    assert wide["p_holm"] == 2 / 2**10
    assert (wide["verdict"], narrow["verdict"]) == ("equivalent", "better")


@pytest.mark.parametrize(("outlier", "first", "leaves"), [(0.0269, "a", "below"), (0.0271, "b", "above")])
def test_an_interval_that_leaves_the_region_on_either_side_is_not_equivalent(outlier, first, leaves):
    row = only(compare(replicas({"a": [0.903] * 9 + [0.9 - outlier], "b": [0.9] * 10})))

    assert row["first"] == first  # by a thousandth of a point
    assert (row["low"] < -0.005, row["high"] > 0.005) == (leaves == "below", leaves == "above")
    assert row["verdict"] == "cannot tell"


def test_unequal_seeds_are_compared_on_those_that_both_have():
    scores = {"a": [0.9, 0.8, 0.1], "b": [0.7, 0.95]}

    row = only(compare(replicas(scores, seeds={"a": [4, 2, 7], "b": [2, 9]})))

    assert (row["first"], row["seeds"]) == ("a", 1)
    assert row["difference"] == pytest.approx(0.8 - 0.7)


def test_a_cell_may_lead_over_all_seeds_and_trail_on_the_equal_ones():
    row = only(compare(replicas({"a": [0.5] * 6 + [1.0] * 6, "b": [0.6] * 6})))

    assert (row["first"], row["second"], row["seeds"]) == ("b", "a", 6)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert (row["p"], row["probability_of_improvement"], row["verdict"]) == (2 / 2**6, 1, "better")


def test_without_an_equal_seed_nothing_is_said_or_corrected_for():
    scores = {"a": [0.9, 0.8], "b": [0.7, 0.6], "c": [0.5, 0.4]}

    table = compare(replicas(scores, seeds={"c": [2, 3]})).set_index(["first", "second"])

    assert list(table["seeds"]) == [2, 0, 0]
    assert table.loc[("a", "b"), "p_holm"] == table.loc[("a", "b"), "p"] == 1 / 2
    assert table.loc[[("a", "c"), ("b", "c")], ["difference", "low", "p", "p_holm"]].isna().all(axis=None)
    assert set(table["verdict"]) == {"cannot tell"}


def test_one_cell_has_no_pair():
    table = compare(replicas({"a": [0.9, 0.8]}))

    assert len(table) == 0
    assert list(table.columns) == list(compare(replicas({"a": [0.9], "b": [0.8]})).columns)


def test_a_diverged_seed_counts_with_its_score():
    table = replicas({"shaky": [0.95] * 9 + [0.1], "steady": [0.9] * 10})
    table.loc[9, "status"] = "diverged"

    row = only(compare(table))

    assert (row["first"], row["seeds"], row["verdict"]) == ("steady", 10, "cannot tell")
    assert row["probability_of_improvement"] == pytest.approx(0.1)


def test_a_seed_twice_is_refused():
    table = replicas({"a": [0.9, 0.8], "b": [0.9, 0.8]})

    with pytest.raises(ValueError, match="cell b, seed 1 has two rows"):
        compare(pd.concat([table, table.iloc[[3]]]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_replica_without_a_score_is_refused(value):
    table = replicas({"a": [0.9, 0.8], "b": [0.9, value]})

    with pytest.raises(ValueError, match=f"cell b, seed 1, test/accuracy {value} is no score"):
        compare(table)


def test_data_sets_are_not_compared():
    table = replicas({"a": [0.9, 0.8], "b": [0.9, 0.8]}).assign(dataset=["iris", "iris", "wine", "wine"])

    with pytest.raises(ValueError, match="several data sets, iris, wine"):
        compare(table)


def test_another_metric_may_decide():
    table = replicas({"a": [0.9, 0.8], "b": [0.8, 0.7]})
    table["test/f1_macro"] = 1 - table["test/accuracy"]

    assert only(compare(table, metric="test/f1_macro"))["first"] == "b"


def grid(optimizers, activations, num_seeds, *, lead=0.0):
    """Return replicas of a grid in which the first optimizer leads, with activations that differ much more."""
    rng = np.random.default_rng(0)
    scores = {
        f"{optimizer} {activation}": 0.5 + 0.1 * place + lead * (optimizer == optimizers[0]) + 0.01 * noise
        for place, activation in enumerate(activations)
        for optimizer, noise in zip(optimizers, rng.normal(size=(len(optimizers), num_seeds)), strict=True)
    }
    return replicas(scores)


def test_optimizers_are_compared_by_the_mean_of_each_seed():
    table = grid(["adam", "gd"], ["relu", "tanh", "sigmoid"], 10, lead=0.02)
    by_seed = table.groupby(["optimizer", "seed"])["test/accuracy"].mean()

    row = only(compare_methods(table))

    differences = np.round(by_seed["adam"] - by_seed["gd"], 12)
    assert (row["first"], row["second"], row["seeds"], row["verdict"]) == ("adam", "gd", 10, "better")
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["p"] == sign_flip_test(differences.to_numpy())


def test_activations_are_compared_over_optimizers():
    rows = compare_methods(grid(["adam", "gd"], ["relu", "tanh"], 10), by="activation", over="optimizer")

    assert (only(rows)["first"], only(rows)["second"]) == ("tanh", "relu")
    assert only(rows)["difference"] == pytest.approx(0.1, abs=0.02)


def test_activations_and_seeds_that_one_optimizer_lacks_do_not_count():
    table = grid(["adam", "gd"], ["relu", "tanh", "sigmoid"], 10)
    whole = table[(table["activation"] != "sigmoid") & (table["seed"] < 9)]
    gone = (table["optimizer"] == "gd") & (table["activation"] == "sigmoid")
    gone |= (table["optimizer"] == "adam") & (table["activation"] == "tanh") & (table["seed"] == 9)

    pd.testing.assert_frame_equal(compare_methods(table[~gone]), compare_methods(whole))


def test_optimizers_that_swap_their_scores_between_activations_are_equal():
    accuracies = drawn(np.random.default_rng(0), (3, 10))
    names = ["relu", "tanh", "sigmoid"]
    scores = {f"adam {name}": row for name, row in zip(names, accuracies, strict=True)}
    scores |= {f"gd {name}": row for name, row in zip(names, accuracies[[1, 2, 0]], strict=True)}

    row = only(compare_methods(replicas(scores)))

    assert (row["difference"], row["p"], row["verdict"]) == (0, 1, "equivalent")  # though the sums differ by rounding


def test_optimizers_that_share_no_activation_are_not_compared():
    row = only(compare_methods(replicas({"adam relu": [0.9] * 8, "gd tanh": [0.8] * 8})))

    assert (row["seeds"], row["verdict"]) == (0, "cannot tell")


def test_optimizers_with_two_settings_are_refused():
    table = replicas({"adam relu": [0.9, 0.8], "adam fast relu": [0.9, 0.8], "gd relu": [0.9, 0.8]})

    with pytest.raises(ValueError, match="optimizer adam, activation relu, seed 0 has two rows"):
        compare_methods(table)
