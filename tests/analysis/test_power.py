"""Power agrees with published figures and with what happens when one tries."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from nnbench.analysis.comparison import compare, compare_with, fewest_seeds
from nnbench.analysis.power import (
    detectable_differences,
    nearest_rival,
    paired_t_power,
    seeds_needed,
    smallest_effect,
)
from nnbench.analysis.statistics import sign_flip_test, sign_flip_tests


def test_power_is_that_of_r_and_of_g_power():
    # Dalgaard, 2008, Introductory Statistics with R, section 8.3: power.t.test(delta=10, sd=10*sqrt(2), power=0.85,
    # type="paired") gives n = 19.96892. It leaves out the far tail, which is next to nothing here.
    assert paired_t_power(1 / np.sqrt(2), 19.96892) == pytest.approx(0.85, abs=1e-5)
    # G*Power 3.1, means: difference between two dependent means, dz = .5, n = 34: actual power .8077775.
    assert paired_t_power(0.5, 34) == pytest.approx(0.8077775, abs=1e-6)


@pytest.mark.parametrize(("effect", "num_seeds"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_for_small_medium_and_large_effects_are_those_of_g_power(effect, num_seeds):
    assert seeds_needed(effect) == num_seeds
    assert paired_t_power(effect, num_seeds - 1) < 0.8 <= paired_t_power(effect, num_seeds)


@pytest.mark.parametrize("num_pairs", [1, 6, 190])
def test_smallest_effect_and_seeds_needed_are_each_others_inverse(num_pairs):
    for num_seeds in (15, 20, 50):
        effect = smallest_effect(num_seeds, num_pairs=num_pairs)
        assert paired_t_power(effect, num_seeds, alpha=0.05 / num_pairs) == pytest.approx(0.8)
        assert seeds_needed(1.0001 * effect, num_pairs=num_pairs) == num_seeds


def test_more_seeds_find_less_and_more_pairs_need_more():
    assert smallest_effect(40) < smallest_effect(10)
    assert smallest_effect(20, num_pairs=45) > smallest_effect(20)
    assert seeds_needed(0.5, num_pairs=45) > seeds_needed(0.5)


@pytest.mark.parametrize("num_pairs", [1, 45, 190])
def test_below_the_fewest_seeds_no_difference_is_found(num_pairs):
    fewest = max(fewest_seeds(num_pairs), 6)

    assert np.isinf(smallest_effect(fewest - 1, num_pairs=num_pairs))
    assert np.isfinite(smallest_effect(fewest, num_pairs=num_pairs))
    assert seeds_needed(1000, num_pairs=num_pairs) == fewest


@pytest.mark.parametrize("effect", [0, -1, np.nan, 1e-6])
def test_an_effect_that_no_one_can_find_is_refused(effect):
    with pytest.raises(ValueError, match="the effect is"):
        seeds_needed(effect)


def test_the_smallest_difference_is_found_as_often_as_promised():
    rng = np.random.default_rng(0)
    effect = smallest_effect(12)
    differences = rng.normal(effect, 1, size=(1000, 12))

    t_test = np.mean([ttest_1samp(row, 0).pvalue < 0.05 for row in differences])
    sign_flips = np.mean([sign_flip_test(row) < 0.05 for row in differences])

    assert t_test == pytest.approx(0.8, abs=0.04)
    assert sign_flips == pytest.approx(0.8, abs=0.04)


def replicas(scores):
    return pd.DataFrame(
        [
            {"cell": cell, "seed": seed, "test/accuracy": value}
            for cell, values in scores.items()
            for seed, value in enumerate(values)
        ]
    )


def test_table_of_pairs():
    rng = np.random.default_rng(0)
    base = rng.normal(0.9, 0.01, size=20)
    scores = {"a": base, "b": base + rng.normal(0, 0.002, size=20), "c": base + rng.normal(0, 0.02, size=20)}

    table = detectable_differences(replicas(scores), wished=0.01)

    close = table.iloc[0]
    deviation = np.std(scores["a"] - scores["b"], ddof=1)
    assert (close["first"], close["second"], close["seeds"]) == ("a", "b", 20)
    assert close["deviation"] == pytest.approx(deviation)
    assert close["detectable"] == pytest.approx(deviation * smallest_effect(20, num_pairs=3))
    assert close["seeds_needed"] == seeds_needed(0.01 / deviation, num_pairs=3)
    assert table["detectable"].is_monotonic_increasing
    assert table["seeds_needed"].iloc[-1] > 20


def test_equal_cells_and_single_seeds():
    table = detectable_differences(replicas({"a": [0.9] * 8, "b": [0.9] * 8, "c": [0.8]}))
    rows = {(row["first"], row["second"]): row for row in table.to_dict("records")}

    assert (rows["a", "b"]["deviation"], rows["a", "b"]["detectable"]) == (0, 0)
    assert rows["a", "b"]["seeds_needed"] == fewest_seeds(3)
    assert np.isnan(rows["a", "c"]["detectable"])
    assert pd.isna(rows["a", "c"]["seeds_needed"])
    assert np.isinf(detectable_differences(replicas({"a": [0.9] * 4, "b": [0.8] * 4}))["detectable"]).all()


def test_pairs_of_one_cell_are_rows_of_the_table_of_all():
    rng = np.random.default_rng(1)
    table = replicas({name: rng.normal(0.9, 0.01 * spread, size=12) for spread, name in enumerate("abcde", start=1)})
    whole = detectable_differences(table)

    of_one = detectable_differences(table, cell="c")

    wanted = whole[(whole["first"] == "c") | (whole["second"] == "c")].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_one, wanted)
    assert len(of_one) == 4


def close_race(*, num_seeds=12):
    """Return a leader, a rival that it leads by .001 with a deviation of about .03, and two that are far behind."""
    rng = np.random.default_rng(2)
    base = rng.normal(0.9, 0.002, size=num_seeds)
    noise = rng.normal(0, 0.03, size=num_seeds)
    noise -= noise.mean()
    return {"third": base - 0.05, "leader": base, "rival": base - 0.001 + noise, "last": base - 0.1}


def test_the_nearest_rival_is_the_one_that_cannot_be_told_apart():
    scores = close_race()
    table = replicas(scores)
    differences = scores["leader"] - scores["rival"]

    for pairs in (compare(table), compare_with(table, "leader")):
        rivalry = nearest_rival(table, pairs, cell="leader")

        assert (rivalry.cell, rivalry.rival, rivalry.verdict) == ("leader", "rival", "cannot tell")
        assert (rivalry.seeds, rivalry.num_pairs) == (12, 6)
        assert rivalry.difference == pytest.approx(0.001)
        assert rivalry.deviation == pytest.approx(differences.std(ddof=1))
        assert rivalry.seeds_needed == seeds_needed(0.001 / rivalry.deviation, num_pairs=6) > 12
        assert rivalry.detectable == pytest.approx(rivalry.deviation * smallest_effect(12, num_pairs=6))
        assert rivalry.to_draw_level == rivalry.difference


def test_as_many_seeds_as_it_says_tell_them_apart_and_half_as_many_seldom_do():
    rng = np.random.default_rng(3)
    base = rng.normal(0.9, 0.01, size=8)
    noise = rng.normal(0, 0.01, size=8)
    table = replicas({"a": base, "b": base + 0.005 + (noise - noise.mean()) / noise.std(ddof=1) * 0.01})
    rivalry = nearest_rival(table, compare(table), cell="b")

    assert rivalry.verdict == "cannot tell"
    needed = rivalry.seeds_needed
    found = {
        num_seeds: np.mean(
            sign_flip_tests(rng.normal(rivalry.difference, rivalry.deviation, size=(300, num_seeds))) < 0.05
        )
        for num_seeds in (needed, needed // 2)
    }
    assert found[needed] == pytest.approx(0.8, abs=0.08)
    assert found[needed // 2] < 0.65


def test_without_a_doubtful_rival_the_nearest_is_the_runner_up():
    table = replicas(
        {"a": np.linspace(0.9, 0.91, 12), "b": np.linspace(0.8, 0.82, 12), "c": np.linspace(0.7, 0.71, 12)}
    )

    rivalry = nearest_rival(table, compare(table), cell="a")

    assert (rivalry.rival, rivalry.verdict) == ("b", "better")
    assert nearest_rival(table, compare(table), cell="b").rival == "a"
    behind = nearest_rival(table, compare(table), cell="c")
    assert (behind.rival, behind.verdict, behind.to_draw_level) == ("b", "worse", 0)
    assert behind.difference == pytest.approx(-0.105)


def test_equal_cells_take_no_number_of_seeds_and_few_seeds_find_nothing():
    equal = replicas({"a": [0.9] * 4, "b": [0.9] * 4})
    apart = replicas({"a": [0.9] * 4, "b": [0.8] * 4})
    nearly = replicas({"a": [0.9, 0.1, 0.5, 0.7], "b": [0.1, 0.9, 0.5, 0.7 - 1e-9]})

    assert nearest_rival(equal, compare(equal), cell="a").seeds_needed is None
    assert nearest_rival(nearly, compare(nearly), cell="a").seeds_needed is None
    rivalry = nearest_rival(apart, compare(apart), cell="a")
    assert (rivalry.deviation, rivalry.seeds_needed) == (0, 6)
    assert np.isinf(rivalry.detectable)


def test_without_equal_seeds_there_is_no_rival():
    alone, single = replicas({"a": [0.9] * 6}), replicas({"a": [0.9], "b": [0.8]})

    assert nearest_rival(alone, compare(alone), cell="a") is None
    assert nearest_rival(single, compare(single), cell="a") is None
