"""How many replicas are trained at once changes no result."""

from functools import partial

import numpy as np
import pytest
from protocol_cases import ALL_DIVERGE, MOONS, Seldom, assert_same_bits, assert_same_results, bits, cell, scores_of

from nnbench.nn import GD
from nnbench.protocol import stack
from nnbench.protocol.result import run
from nnbench.protocol.search import LearningRateGrid, RandomSearch, Range
from nnbench.protocol.stack import fastest_size, train

SEEDS = tuple(range(7))
SETTINGS = {"seeds": SEEDS, "num_epochs": 14, "patience": 3, "target_accuracy": 0.85, "new_optimizer": Seldom}
RATES = {"learning_rate": Range(low=0.03, high=3.0)}


def tuned(**changes):
    settings = SETTINGS | {"space": RATES, "untuned": {"learning_rate": 0.1}, "diagnostics": "basic"}
    return cell(**settings | changes)


def test_stack_has_diverged_stopped_and_finished_replicas_so_that_these_tests_say_something():
    trained = scores_of(cell(**SETTINGS)).trained
    stopped = trained.stopped_epoch >= 0
    assert 0 < trained.diverged.sum() < 7
    assert 0 < stopped.sum() < 7
    assert (~trained.diverged & ~stopped).any()
    assert not (trained.diverged & stopped).any()


@pytest.mark.parametrize("stack_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("diagnostics", ["none", "basic", "full"])
def test_size_of_the_stack_changes_no_result(stack_size, diagnostics):
    settings = SETTINGS | {"diagnostics": diagnostics}
    wanted = bits(scores_of(cell(**settings)))
    assert_same_bits(bits(scores_of(cell(**settings, stack_size=stack_size))), wanted)


@pytest.mark.parametrize("search", [LearningRateGrid(num_trials=3, seeds=2), RandomSearch(num_trials=3, seeds=2)])
def test_size_of_the_stack_changes_no_tuning(search):
    wanted = run(tuned(tuning=search), MOONS)
    assert "diverged" in wanted.tuning.table["status"]
    for stack_size in (1, 2, 3):
        assert_same_results(run(tuned(tuning=search, stack_size=stack_size), MOONS), wanted)


@pytest.mark.parametrize("stack_size", [1, 2, None])
def test_order_of_the_seeds_changes_the_order_alone(stack_size):
    order = [4, 0, 6, 2, 1, 5, 3]
    wanted = bits(scores_of(cell(**SETTINGS)), order)
    assert_same_bits(bits(scores_of(cell(**SETTINGS | {"seeds": tuple(order)}, stack_size=stack_size))), wanted)


@pytest.mark.parametrize("diagnostics", ["none", "basic", "full"])
def test_stacks_that_diverge_altogether_have_the_results_of_one(diagnostics):
    settings = {"new_optimizer": ALL_DIVERGE, "diagnostics": diagnostics}
    wanted = bits(scores_of(cell(**settings)))
    for stack_size in (1, 2):
        assert_same_bits(bits(scores_of(cell(**settings, stack_size=stack_size))), wanted)


def test_hyperparameters_follow_their_seeds_into_the_stacks():
    rates = {"learning_rate": np.array([0.1, 1e30, 0.2, 0.01, 1.0])}
    whole, parts = (train(cell(stack_size=size), MOONS, (0, 0, 1, 2, 2), rates) for size in (None, 2))
    np.testing.assert_array_equal(parts.model.params, whole.model.params)
    np.testing.assert_array_equal(parts.diverged_step, whole.diverged_step)
    assert parts.seeds == whole.seeds == (0, 0, 1, 2, 2)
    assert whole.diverged.tolist() == [False, True, False, False, False]


def test_seconds_are_those_of_all_stacks_and_of_one_replicas_step():
    trained = train(cell(stack_size=1), MOONS, (0, 1, 2))
    of_each = [train(cell(), MOONS, (seed,)) for seed in (0, 1, 2)]
    np.testing.assert_allclose(trained.history["time/train_seconds"][-1], trained.train_seconds)  # of each replica
    assert trained.diagnostics_seconds > 0
    assert 0 < trained.optimizer_seconds_per_step * 3 * 50 < trained.train_seconds
    assert all(0 < each.optimizer_seconds_per_step * 50 < each.train_seconds for each in of_each)


def test_no_stack_is_larger_than_asked_for():
    sizes = []
    train(cell(stack_size=2), MOONS, range(5), on_epoch=lambda training: sizes.append(training.model.num_replicas))
    assert sizes == [2] * 10 + [1] * 5


@pytest.mark.parametrize("stacks_at_once", [1, 3])
def test_stacks_in_turns_and_in_threads_change_no_result(monkeypatch, stacks_at_once):
    settings = SETTINGS | {"patience": 2, "new_optimizer": partial(GD, learning_rate=0.5)}
    wanted = bits(scores_of(cell(**settings)))
    monkeypatch.setattr(stack, "PARAMS_OF_A_STACK", 1)  # each replica is a stack of its own
    assert_same_bits(bits(scores_of(cell(**settings, stacks_at_once=stacks_at_once))), wanted)


def test_stacks_in_turns_have_curves_of_all_replicas_meanwhile(monkeypatch):
    monkeypatch.setattr(stack, "PARAMS_OF_A_STACK", 1)
    stacks, epochs = [], []

    def on_epoch(training):
        stacks.extend([training] if training not in stacks else [])
        if len(stacks) == 3:
            curves = stack.histories(stacks, min(each.epoch for each in stacks))
            epochs.append(curves["val/loss"].shape)

    whole = train(cell(num_epochs=3), MOONS, (0, 1, 2), on_epoch=on_epoch)

    assert epochs == [(1, 3)] + [(2, 3)] * 3 + [(3, 3)] * 3
    np.testing.assert_array_equal(stack.histories(stacks, 3)["val/loss"], whole.history["val/loss"])


def test_large_networks_train_in_small_stacks_and_small_ones_in_large():
    assert fastest_size(cell(hidden=(100_000,)), MOONS) == 1
    assert fastest_size(cell(hidden=()), MOONS) > 1000
