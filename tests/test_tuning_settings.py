"""Tuning and what came with it at the border: every wrong option is one line, every right one reaches the cell."""

from copy import deepcopy
from functools import cache, reduce
from operator import getitem

import pytest
from command_line import SIGN, cells_of, grid_of, problems_of
from hydra.core.override_parser.overrides_parser import OverridesParser

from nnbench.components import ConfigError
from nnbench.settings import parse

PLUGINS = f'''{SIGN}

class Bare(Sign):
    """Nothing to tune by name."""

    def __init__(self, params):
        super().__init__(params)


class Unbuildable(Sign):
    def __init__(self, params, *, learning_rate=0.001):
        raise RuntimeError("half written")


class Plain:
    """An activation without its second derivative."""

    gain = 1.0
    family = "other"

    def __call__(self, z, value, slope):
        value[...], slope[...] = z, 1
'''
RANDOM, GRID = "tuning=random", "tuning=learning_rate"
KNOWN = "known are beta1, beta2, epsilon, learning_rate"
REFUSED = {
    (GRID, "tuning.num_trials=2"): "tuning.num_trials is 2; it must be 3 to 10000: with fewer the grid is all edge",
    (RANDOM, "tuning.num_trials=0"): "tuning.num_trials is 0; it must be 1 to 10000",
    (GRID, "tuning.num_trials=seven"): 'tuning.num_trials is "seven"; it must be an integer',
    (GRID, "tuning.num_trials=7.5"): "tuning.num_trials is 7.5; it must be an integer",
    (GRID, "tuning.max_extensions=-1"): "tuning.max_extensions is -1; it must be 0 to 10",
    (RANDOM, "tuning.draw_seed=-1"): "tuning.draw_seed is -1; it must be at least 0 and below 2^53",
    (GRID, "tuning.seeds=0"): "tuning.seeds is 0; it must be a number from 1 to 1000, or a list of seeds",
    (GRID, "tuning.seeds=1001"): "tuning.seeds is 1001; it must be a number from 1 to 1000, or a list of seeds",
    (GRID, "tuning.seeds=[]"): "tuning.seeds is []; it must be a list of different seeds, each from 0 to below 2^53",
    (
        GRID,
        "tuning.seeds=[20,20]",
    ): "tuning.seeds is [20, 20]; it must be a list of different seeds, each from 0 to below 2^53",
    (
        GRID,
        "tuning.seeds=[-1]",
    ): "tuning.seeds is [-1]; it must be a list of different seeds, each from 0 to below 2^53",
    (GRID, "tuning.seeds=few"): 'tuning.seeds is "few"; it must be an integer or a list of values, each an integer',
    (GRID, "tuning.seeds=[9,20]"): (
        "tuning.seeds has [9], which seeds has, too; the winner must be trained on fresh seeds, so give others"
    ),
    (GRID, "seeds=[3,1000001]"): (
        "tuning.seeds has [1000001], which seeds has, too; the winner must be trained on fresh seeds, so give others"
    ),
    (RANDOM, "optimizer.space.beta3={low:0.1,high:0.2}"): (
        f"optimizer.space.beta3 is not an option of Adam; {KNOWN}; did you mean beta2?"
    ),
    (
        GRID,
        "tuning.num_trials=20000",
    ): "tuning.num_trials is 20000; it must be 3 to 10000: with fewer the grid is all edge",
    (GRID, "tuning.seeds=[9007199254740992]"): (
        "tuning.seeds is [9007199254740992]; it must be a list of different seeds, each from 0 to below 2^53"
    ),
    ("vary=order", "batch_size=full"): (
        "vary is order and batch_size is full, so that every seed is the same training; use vary=all or vary=init, "
        "a smaller batch_size, or seeds=1"
    ),
    (RANDOM, "optimizer.space.beta1.low=0.995"): (
        "optimizer.space.beta1.low is 0.995 and high is 0.99; low must be below high, and both finite"
    ),
    (RANDOM, "optimizer.space.learning_rate.low=0.1"): (
        "optimizer.space.learning_rate.low is 0.1 and high is 0.1; low must be below high, and both finite"
    ),
    (RANDOM, "optimizer.space.learning_rate.high=inf"): (
        "optimizer.space.learning_rate.low is 0.0001 and high is inf; low must be below high, and both finite"
    ),
    (RANDOM, "optimizer.space.learning_rate.low=0"): (
        "optimizer.space.learning_rate.low is 0.0; on a log scale it must be above 0"
    ),
    (RANDOM, "optimizer.space.beta1.high=1.5"): (
        "optimizer.space.beta1.high is 1.5; on a log_complement scale it must be below 1"
    ),
    (RANDOM, "optimizer.space.beta1={low:0.5,high:1.5,scale:linear}"): (
        "optimizer.space.beta1 leads too far: beta1 is 1.5; it must be a finite number at least 0 and below 1"
    ),
    (RANDOM, "optimizer.space.beta1.scale=exp"): (
        'optimizer.space.beta1.scale is "exp"; it must be log or log_complement or linear'
    ),
    (RANDOM, "optimizer.space.beta1.low=small"): 'optimizer.space.beta1.low is "small"; it must be a number',
    (RANDOM, "optimizer.space.beta1.middle=0.9"): (
        "optimizer.space.beta1.middle is not an option of Range; known are high, low, scale"
    ),
    (RANDOM, "optimizer.space.beta1=0.9"): "optimizer.space.beta1 is 0.9; it must have low, high and scale",
    (RANDOM, "optimizer.space=3"): "optimizer.space is 3; it must map hyperparameters to low, high and scale",
    (RANDOM, "optimizer.space=null"): (
        "optimizer.space is empty; tuning=random draws from it, so declare it in the optimizer's file"
    ),
    (GRID, "optimizer.space.learning_rate.scale=linear"): (
        "optimizer.space.learning_rate.scale is linear; "
        "the grid of tuning=learning_rate is a log one, so it must be log"
    ),
}
UNKNOWN = {
    (GRID, "tuning.num_trail=3"): (
        "tuning.num_trail is not an option of tuning=learning_rate; known are max_extensions, num_trials, seeds; "
        "did you mean num_trials?"
    ),
    (GRID, "tuning.draw_seed=1"): (
        "tuning.draw_seed is not an option of tuning=learning_rate; known are max_extensions, num_trials, seeds; "
        "did you mean seeds?"
    ),
    (RANDOM, "tuning.max_extensions=1"): (
        "tuning.max_extensions is not an option of tuning=random; known are draw_seed, num_trials, seeds"
    ),
    ("tuning=grid", "seeds=2"): (
        "tuning is grid, which is not one of its choices; known are learning_rate, none, random"
    ),
}
WRONG_VALUES = {
    "vary=both": 'vary is "both"; it must be all, init or order',
    "vary=null": "vary is null; it must be all, init or order",
    "patience=0": "patience is 0; it must be a number of epochs, at least 1, or null",
    "patience=2.5": "patience is 2.5; it must be a number of epochs, at least 1, or null",
    "patience=long": 'patience is "long"; it must be a number of epochs, at least 1, or null',
    "stack_size=0": "stack_size is 0; it must be a number of replicas, at least 1, or null",
    "stack_size=-2": "stack_size is -2; it must be a number of replicas, at least 1, or null",
    "stack_size=all": 'stack_size is "all"; it must be a number of replicas, at least 1, or null',
    "stack_size=true": "stack_size is true; it must be a number of replicas, at least 1, or null",
}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A function that returns the arguments of a command that uses one of the classes above."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tuned_plugins.py").write_text(PLUGINS)

    def arguments(group, name, options=""):
        path = tmp_path / "own" / group / f"{name.lower()}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"_target_: tuned_plugins.{name}\n{options}")
        return ("--config-dir", str(tmp_path / "own"), "plugins=[tuned_plugins]", f"{group}={name.lower()}")

    return arguments


@cache
def job_of(tuning):
    grid = grid_of(tuning)
    return grid.jobs[0], grid.activation_choices


def refusal_of(tuning, override):
    """Put a value, written as on the command line, into a configuration; return what is said against it."""
    job, activation_choices = job_of(tuning)
    config = deepcopy(dict(job.config))
    (parsed,) = OverridesParser.create().parse_overrides([override])
    *groups, key = parsed.key_or_group.split(".")
    reduce(getitem, groups, config)[key] = parsed.value()
    try:
        parse(config, job.choices, activation_choices)
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize("overrides", REFUSED, ids=" ".join)
def test_wrong_option_of_tuning_is_refused_in_one_line(overrides):
    assert refusal_of(*overrides) == [REFUSED[overrides]]


@pytest.mark.parametrize("overrides", UNKNOWN, ids=" ".join)
def test_unknown_option_of_tuning_is_refused_with_those_there_are(overrides):
    assert problems_of(*overrides) == [UNKNOWN[overrides]]


@pytest.mark.parametrize("override", WRONG_VALUES)
def test_wrong_value_is_refused_in_one_line(override):
    assert refusal_of("tuning=none", override) == [WRONG_VALUES[override]]


def test_all_problems_of_tuning_are_told_at_once():
    wrong = ["tuning.num_trials=0", "optimizer.space.beta1.low=2", "patience=0", "stack_size=0", "vary=none"]

    keys = [line.split()[0] for line in problems_of(RANDOM, *wrong)]

    assert sorted(keys) == sorted(override.partition("=")[0] for override in wrong)


@pytest.mark.parametrize("tuning", [RANDOM, GRID])
def test_tuning_seeds_are_a_count_beyond_the_final_ones_or_a_list(tuning):
    ((few,), (some,), (fresh,)) = (
        cells_of(tuning, *seeds)
        for seeds in (["tuning.seeds=2"], ["tuning.seeds=[20,30]"], ["seeds=[3,5]", "tuning.seeds=[4]"])
    )

    assert (few.tuning.tuning_seeds, some.tuning.tuning_seeds) == ((1_000_000, 1_000_001), (20, 30))
    assert (fresh.seeds, fresh.tuning.tuning_seeds) == ((3, 5), (4,))


def test_space_reaches_the_cell_with_the_configured_values_beside_it():
    (cell,) = cells_of(RANDOM, "optimizer.space.beta1={low:0.1,high:0.3,scale:linear}", "optimizer.beta1=0.2")

    assert (cell.space["beta1"].low, cell.space["beta1"].high, cell.space["beta1"].scale) == (0.1, 0.3, "linear")
    assert cell.space.keys() == cell.untuned.keys() == {"learning_rate", "beta1", "beta2", "epsilon"}
    assert (cell.untuned["beta1"], cell.untuned["learning_rate"]) == (0.2, 0.001)


def test_space_is_not_looked_at_without_tuning():
    (cell,) = cells_of()

    assert (cell.space, cell.untuned, cell.tuning) == ({}, {}, None)


def test_random_search_needs_a_space_and_says_so(plugin):
    assert problems_of(*plugin("optimizer", "Sign"), RANDOM) == [
        "optimizer.space is empty; tuning=random draws from it, so declare it in the optimizer's file"
    ]


def test_grid_without_a_space_lies_around_the_configured_learning_rate(plugin):
    (default,) = cells_of(*plugin("optimizer", "Sign"), GRID)
    (configured,) = cells_of(*plugin("optimizer", "Sign", "learning_rate: 0.1\n"), GRID)

    rates = [[trial["learning_rate"] for trial in cell.tuning.trials(cell.space)] for cell in (default, configured)]
    assert [row[3] for row in rates] == [0.001, 0.1]
    for row in rates:
        assert row[-1] / row[0] == pytest.approx(1000, rel=1e-4)
    assert (default.untuned, configured.untuned) == ({"learning_rate": 0.001}, {"learning_rate": 0.1})


def test_space_in_the_file_of_a_plugin_is_searched(plugin):
    space = "space: {learning_rate: {low: 0.01, high: 1.0}}\n"
    (cell,) = cells_of(*plugin("optimizer", "Sign", space), RANDOM)

    assert all(0.01 <= trial["learning_rate"] <= 1 for trial in cell.tuning.trials(cell.space))


def test_half_a_range_in_the_file_of_a_plugin_is_refused(plugin):
    assert problems_of(*plugin("optimizer", "Sign", "space: {learning_rate: {low: 0.01}}\n"), RANDOM) == [
        "optimizer.space.learning_rate.high is missing; set it with optimizer.space.learning_rate.high=VALUE"
    ]


def test_grid_needs_an_optimizer_with_a_learning_rate(plugin):
    (line,) = problems_of(*plugin("optimizer", "Bare"), GRID)

    assert line == "tuning is learning_rate, which is not an option of Bare; it has none"


def test_optimizer_that_cannot_be_built_is_refused_in_one_line(plugin):
    assert problems_of(*plugin("optimizer", "Unbuildable")) == [
        "optimizer._target_ is 'tuned_plugins.Unbuildable', which cannot be built: RuntimeError: half written"
    ]


def test_full_diagnostics_need_second_derivatives_and_say_whose(plugin):
    own = plugin("activation", "Plain")
    (line,) = problems_of(*own, "diagnostics=full", "hidden=[4,4]")

    assert (
        line == "diagnostics is full, which needs the second derivatives of Plain; define its curvature, or use basic"
    )
    assert problems_of(*own, "diagnostics=basic") == []
    assert problems_of(*own, "diagnostics=full", "layer_activations=[relu]") == []  # it is not in the network


@pytest.mark.parametrize("vary", ["all", "init", "order"])
def test_what_seeds_vary_reaches_the_cell(vary):
    assert cells_of(f"vary={vary}")[0].vary == vary


def test_patience_and_size_of_stacks_reach_the_cell():
    (cell,), (default,) = cells_of("patience=3", "stack_size=2"), cells_of()

    assert (cell.patience, cell.stack_size) == (3, 2)
    assert (default.patience, default.stack_size) == (None, None)


def test_ways_of_tuning_are_swept_and_told_apart():
    jobs = grid_of("-m", "tuning=learning_rate,none,random", "optimizer=adam,gd").jobs

    assert [job.label for job in jobs] == [
        f"{optimizer} relu {tuning}" for tuning in ("learning_rate", "none", "random") for optimizer in ("adam", "gd")
    ]


def test_options_of_tuning_are_swept_and_told_apart():
    jobs = grid_of("-m", GRID, "tuning.num_trials=3,5", "patience=2,null").jobs

    assert [job.label for job in jobs] == [
        f"adam relu num_trials={trials} patience={patience}" for trials in (3, 5) for patience in (2, None)
    ]


def test_size_of_stacks_is_no_setting_to_compare():
    assert problems_of("-m", "stack_size=1,2") == [
        "stack_size has several values; the cells of a sweep have it in common, so give it one"
    ]
