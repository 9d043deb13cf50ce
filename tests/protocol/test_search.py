"""The trials of a search: where a range lies, what a grid and random draws try, and what lies beyond the edge."""

from itertools import pairwise
from math import log, log10

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from protocol_cases import entries, part, space

from nnbench.protocol.search import FIRST_TUNING_SEED, LearningRateGrid, RandomSearch, Range

SPACES = {name: space(entry) for name, entry in entries("optimizer").items()}
DEFAULTS = {
    name: {key: value for key, value in entry.items() if key not in ("_target_", "space")}
    for name, entry in entries("optimizer").items()
}
GRID, RANDOM = (part(entries("tuning")[name])() for name in ("learning_rate", "random"))
BY_OPTIMIZER = pytest.mark.parametrize("optimizer", SPACES)
BY_SEARCH = pytest.mark.parametrize("search", [GRID, RANDOM], ids=["grid", "random"])


def fraction(ends, value):
    """Return how far a value lies on the way from low to high."""
    scale = {"log": log, "log_complement": lambda number: log(1 - number), "linear": float}[ends.scale]
    return (scale(value) - scale(ends.low)) / (scale(ends.high) - scale(ends.low))


# Ranges.


@pytest.mark.parametrize(
    ("scale", "low", "high", "values"),
    [
        ("log", 1e-4, 0.1, [1e-4, 1e-3, 0.01, 0.1]),
        ("log_complement", 0.0, 0.999, [0.0, 0.9, 0.99, 0.999]),
        ("log_complement", 0.1, 0.9, [0.1, 0.567325, 0.791992, 0.9]),
        ("linear", -1.0, 2.0, [-1.0, 0.0, 1.0, 2.0]),
    ],
)
def test_range_worked_by_hand_at_its_ends_and_thirds(scale, low, high, values):
    ends = Range(low=low, high=high, scale=scale)
    found = [ends.at(third / 3) for third in range(4)]
    assert [found[0], found[-1]] == [low, high]
    np.testing.assert_allclose(found, values, atol=2e-6)


@pytest.mark.parametrize("optimizer", SPACES)
def test_ends_of_every_range_of_conf_are_met_exactly(optimizer):
    for name, ends in SPACES[optimizer].items():
        assert (ends.at(0), ends.at(1)) == (ends.low, ends.high), name


@given(
    st.sampled_from(["log", "log_complement", "linear"]),
    st.floats(1e-3, 0.99),
    st.floats(1e-3, 0.99),
    st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_value_lies_at_its_fraction_in_range_and_is_short_enough_to_read(scale, one, other, place):
    low, high = sorted((float(f"{one:.3g}"), float(f"{other:.3g}")))
    assume(high - low > 1e-2)
    ends = Range(low=low, high=high, scale=scale)
    value = ends.at(place)
    assert low <= value <= high
    assert fraction(ends, value) == pytest.approx(place, abs=1e-3)
    assert len(f"{value!r}".replace("e-", "")) <= 12
    rounded = 1 - value if scale == "log_complement" else value
    assert float(f"{rounded:.6g}") == pytest.approx(rounded, rel=1e-12)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "low is 1.0 and high is 1.0; low must be below high"),
        ({"low": 2.0, "high": 1.0}, "low must be below high"),
        ({"low": 0.0, "high": float("inf"), "scale": "linear"}, "both finite"),
        ({"low": 0.0, "high": 1.0}, "on a log scale it must be above 0"),
        ({"low": 0.0, "high": 1.0, "scale": "log_complement"}, "on a log_complement scale it must be below 1"),
    ],
)
def test_impossible_range_is_refused(ends, message):
    with pytest.raises(ValueError, match=message):
        Range(**ends)


# Every optimizer of conf.


@BY_OPTIMIZER
def test_grid_contains_the_configured_learning_rate_exactly(optimizer):
    rates = [trial["learning_rate"] for trial in GRID.trials(SPACES[optimizer])]
    assert DEFAULTS[optimizer]["learning_rate"] in rates[1:-1]  # inside, so that both sides are seen


@BY_OPTIMIZER
def test_grid_is_even_on_a_log_scale_and_changes_the_learning_rate_alone(optimizer):
    trials = GRID.trials(SPACES[optimizer])
    assert all(trial.keys() == {"learning_rate"} for trial in trials)
    rates = [trial["learning_rate"] for trial in trials]
    np.testing.assert_allclose([after / before for before, after in pairwise(rates)], 10**0.5, rtol=1e-5)


@BY_SEARCH
def test_every_optimizer_gets_the_same_number_of_trials_and_the_same_seeds(search):
    assert {len(search.trials(ends)) for ends in SPACES.values()} == {search.num_trials}
    assert len(search.tuning_seeds) == 3


@BY_OPTIMIZER
def test_space_of_conf_holds_hyperparameters_with_their_defaults_inside(optimizer):
    for name, ends in SPACES[optimizer].items():
        assert ends.low <= DEFAULTS[optimizer][name] <= ends.high, name


def test_grids_of_all_optimizers_span_as_many_decades():
    assert {round(log10(ends["learning_rate"].high / ends["learning_rate"].low), 9) for ends in SPACES.values()} == {3}


# Random draws.


@BY_OPTIMIZER
def test_random_draws_are_in_range_all_different_and_come_again(optimizer):
    trials = RANDOM.trials(SPACES[optimizer])
    assert trials == RandomSearch().trials(SPACES[optimizer])
    for name, ends in SPACES[optimizer].items():
        values = [trial[name] for trial in trials]
        assert ends.low <= min(values) < max(values) <= ends.high
        assert len(set(values)) == len(trials)
    assert trials != RandomSearch(draw_seed=1).trials(SPACES[optimizer])


def test_random_draws_are_spread_evenly_over_each_range():
    draws = RandomSearch(num_trials=2000).trials(SPACES["adam"])
    for name, ends in SPACES["adam"].items():
        places = np.array([fraction(ends, trial[name]) for trial in draws])
        counts = np.histogram(places, bins=10, range=(0, 1))[0]
        assert counts.min() > 150, name
        assert counts.max() < 250, name


def test_random_draws_of_two_hyperparameters_have_nothing_to_do_with_each_other():
    draws = RandomSearch(num_trials=2000).trials(SPACES["adam"])
    places = [[fraction(SPACES["adam"][name], trial[name]) for trial in draws] for name in SPACES["adam"]]
    correlations = np.corrcoef(places) - np.eye(len(places))
    assert np.abs(correlations).max() < 0.08


@BY_OPTIMIZER
def test_learning_rates_of_all_optimizers_are_the_same_unit_draws(optimizer):
    wanted = np.random.default_rng(0).random(20)
    ends = SPACES[optimizer]["learning_rate"]
    places = [fraction(ends, trial["learning_rate"]) for trial in RANDOM.trials(SPACES[optimizer])]
    np.testing.assert_allclose(places, wanted, atol=1e-5)


def test_draws_do_not_depend_on_the_order_in_which_a_space_is_written():
    backwards = dict(reversed(SPACES["adam"].items()))
    assert RANDOM.trials(backwards) == RANDOM.trials(SPACES["adam"])


# Beyond the edge.

FOUR = LearningRateGrid(num_trials=4)
DECADES = {"learning_rate": Range(low=1e-3, high=1.0)}


def rates_beyond(best, trials=None):
    trials = trials or FOUR.trials(DECADES)
    return [trial["learning_rate"] for trial in FOUR.beyond(DECADES, trials, {"learning_rate": best})]


def test_beyond_an_edge_are_two_more_values_at_the_same_spacing():
    assert rates_beyond(1e-3) == [1e-4, 1e-5]
    assert rates_beyond(1.0) == [10.0, 100.0]


@pytest.mark.parametrize("best", [0.01, 0.1])
def test_beyond_the_inside_is_nothing(best):
    assert rates_beyond(best) == []


def test_beyond_an_extended_grid_counts_its_new_edges():
    trials = [*FOUR.trials(DECADES), {"learning_rate": 10.0}, {"learning_rate": 100.0}]
    assert rates_beyond(1.0, trials) == []
    assert rates_beyond(10.0, trials) == []
    assert rates_beyond(100.0, trials) == [1000.0, 10000.0]
    assert rates_beyond(1e-3, trials) == [1e-4, 1e-5]


@BY_OPTIMIZER
def test_extension_of_every_grid_of_conf_goes_on_evenly(optimizer):
    trials = GRID.trials(SPACES[optimizer])
    for edge in (0, -1):
        more = GRID.beyond(SPACES[optimizer], trials, trials[edge])
        rates = sorted(trial["learning_rate"] for trial in [*trials, *more])
        assert len(rates) == len(set(rates)) == 9
        np.testing.assert_allclose([after / before for before, after in pairwise(rates)], 10**0.5, rtol=1e-5)


@BY_OPTIMIZER
def test_random_draws_have_no_edge(optimizer):
    trials = RANDOM.trials(SPACES[optimizer])
    best = max(trials, key=lambda trial: trial["learning_rate"])
    assert RANDOM.beyond(SPACES[optimizer], trials, best) == []
    assert RANDOM.max_extensions == 0


# Seeds and options.


@pytest.mark.parametrize("kind", [LearningRateGrid, RandomSearch])
def test_count_of_tuning_seeds_is_beyond_every_count_of_final_seeds(kind):
    assert kind(seeds=2).tuning_seeds == (FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1)
    assert min(kind(seeds=2).tuning_seeds) >= 10_000
    assert kind(seeds=(5, 3)).tuning_seeds == (5, 3)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LearningRateGrid, {"num_trials": 2}, "num_trials is 2; it must be 3 to 10000"),
        (LearningRateGrid, {"max_extensions": -1}, "max_extensions is -1; it must be 0 to 10"),
        (LearningRateGrid, {"seeds": 0}, "seeds is 0; it must be a number from 1 to 1000"),
        (LearningRateGrid, {"seeds": (1, 1)}, r"seeds is \[1, 1\]; it must be a list of different seeds"),
        (RandomSearch, {"num_trials": 0}, "num_trials is 0; it must be 1 to 10000"),
        (RandomSearch, {"draw_seed": -1}, "draw_seed is -1; it must be at least 0"),
        (RandomSearch, {"seeds": ()}, r"seeds is \[\]; it must be"),
        (RandomSearch, {"seeds": (-1,)}, r"seeds is \[-1\]; it must be"),
    ],
)
def test_impossible_search_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)
