"""A network is compared with baselines on equal seeds, in a family of their own."""

import numpy as np
import pandas as pd
import pytest

from nnbench.analysis.comparison import compare, compare_baselines
from nnbench.analysis.statistics import bootstrap_interval, holm, sign_flip_test

COLUMNS = ["baseline", "seeds", "difference", "low", "high", "probability_of_improvement", "p", "p_holm", "verdict"]


def replicas(scores, *, seeds=None):
    return pd.DataFrame(
        [
            {"cell": cell, "seed": seed, "test/accuracy": accuracy}
            for cell, accuracies in scores.items()
            for seed, accuracy in zip((seeds or {}).get(cell, range(len(accuracies))), accuracies, strict=True)
        ]
    )


NETWORK = np.array([0.95, 0.96, 0.94, 0.95, 0.97, 0.93, 0.95, 0.96])


def test_worked_by_hand():
    networks = replicas({"adam relu": NETWORK, "gd relu": [0.5] * 8})
    baselines = replicas({"dummy": [0.1] * 8, "svm": [0.99] * 8, "knn": [0.95] * 8, "mlp_classifier": NETWORK + 0.001})

    table = compare_baselines(networks, baselines, cell="adam relu")

    assert list(table.columns) == COLUMNS
    assert list(table["baseline"]) == ["dummy", "svm", "knn", "mlp_classifier"]
    assert list(table["seeds"]) == [8] * 4
    np.testing.assert_allclose(table["difference"], [0.85125, -0.03875, 0.00125, -0.001])
    assert list(table["probability_of_improvement"]) == [1, 0, (3 + 3 / 2) / 8, 0]
    # Two of 2^8 patterns are as clear as all of one sign. Against knn the differences are 0 .01 -.01 0 .02 -.02 0 .01
    # with the sum .01; three of .01 and two of .02 add up to an odd number of .01 under any signs, so to .01 at least.
    assert list(table["p"]) == [2 / 256, 2 / 256, 1, 2 / 256]
    assert list(table["p_holm"]) == [8 / 256, 8 / 256, 1, 8 / 256]
    assert list(table["verdict"]) == ["better", "worse", "cannot tell", "equivalent"]
    for row in table.to_dict("records"):
        baseline = baselines.loc[baselines["cell"] == row["baseline"], "test/accuracy"].to_numpy()
        assert (row["low"], row["high"]) == bootstrap_interval((NETWORK - baseline).round(12))


def test_one_baseline_is_a_pair_seen_from_the_network():
    rng = np.random.default_rng(0)
    for lead in (-0.02, 0.02):
        networks = replicas({"adam": rng.normal(0.9 + lead, 0.01, size=9)})
        baselines = replicas({"random_forest": rng.normal(0.9, 0.01, size=9)})

        (row,) = compare_baselines(networks, baselines, cell="adam").to_dict("records")
        (pair,) = compare(pd.concat([networks, baselines])).to_dict("records")

        sign = 1 if pair["first"] == "adam" else -1
        assert row["difference"] == pytest.approx(sign * pair["difference"])
        assert (row["p"], row["p_holm"]) == (pair["p"], pair["p_holm"])
        low, high = sorted([sign * pair["low"], sign * pair["high"]])
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=5e-4)  # its resamples are mirrored
        assert row["verdict"] == ("better" if sign == 1 else "worse")


def test_other_networks_are_not_corrected_for():
    rng = np.random.default_rng(1)
    scores = {f"cell {place}": rng.normal(0.9, 0.01, size=9) for place in range(20)}
    baselines = replicas({"a": rng.normal(0.9, 0.01, size=9), "b": rng.normal(0.88, 0.01, size=9)})

    table = compare_baselines(replicas(scores), baselines, cell="cell 3")

    of_baselines = baselines.pivot_table(index="seed", columns="cell", values="test/accuracy")
    p_values = [sign_flip_test((scores["cell 3"] - of_baselines[name]).round(12)) for name in ("a", "b")]
    np.testing.assert_array_equal(table["p_holm"], holm(p_values))


def test_seeds_are_those_that_both_have():
    networks = replicas({"adam": [0.9, 0.8, 0.7]}, seeds={"adam": [4, 2, 7]})
    baselines = replicas({"svm": [0.5, 0.5], "knn": [0.5]}, seeds={"svm": [2, 9], "knn": [1]})

    svm, knn = compare_baselines(networks, baselines, cell="adam").to_dict("records")

    assert (svm["seeds"], svm["difference"], svm["verdict"]) == (1, pytest.approx(0.3), "cannot tell")
    assert (knn["seeds"], knn["verdict"]) == (0, "cannot tell")
    assert np.isnan([svm["p"], svm["low"], knn["difference"], knn["p_holm"]]).all()


def test_a_network_may_have_the_name_of_a_baseline():
    (row,) = compare_baselines(replicas({"svm": [0.9] * 6}), replicas({"svm": [0.8] * 6}), cell="svm").to_dict(
        "records"
    )

    assert (row["baseline"], row["verdict"], row["difference"]) == ("svm", "better", pytest.approx(0.1))


def test_another_metric_may_decide():
    networks = replicas({"adam": [0.9] * 6}).assign(**{"test/f1_macro": 0.2})
    baselines = replicas({"knn": [0.8] * 6}).assign(**{"test/f1_macro": 0.3})

    assert compare_baselines(networks, baselines, cell="adam", metric="test/f1_macro")["verdict"][0] == "worse"


def test_data_sets_and_unknown_cells_are_refused():
    networks, baselines = replicas({"adam": [0.9] * 6}), replicas({"svm": [0.8] * 6})
    with pytest.raises(ValueError, match="several data sets, iris, wine"):
        compare_baselines(networks.assign(dataset="iris"), baselines.assign(dataset="wine"), cell="adam")
    with pytest.raises(ValueError, match="no cell gd"):
        compare_baselines(networks, baselines, cell="gd")
    with pytest.raises(ValueError, match="cell svm, seed 3 has two rows"):
        compare_baselines(networks, pd.concat([baselines, baselines.iloc[[3]]]), cell="adam")
