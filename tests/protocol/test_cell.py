"""A cell is trained on the training split, selected on validation, and tested once; its seeds are paired."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from protocol_cases import (
    ALL_DIVERGE,
    MOONS,
    ONE_DIVERGES,
    WatchedSplit,
    assert_same_bits,
    assert_same_results,
    bits,
    cell,
    scores_of,
    start,
    train,
    trained,
    with_test,
)

from nnbench.data import Moons
from nnbench.nn import GD, MLP, Adam, Momentum, ReLU, RMSprop, Sigmoid, Tanh, evaluate
from nnbench.protocol.result import finish, run
from nnbench.protocol.stack import merge


def test_the_test_split_is_not_read_before_training_is_over_and_then_once():
    watched = WatchedSplit(MOONS.test)
    dataset = replace(MOONS, test=watched)
    tested = cell(num_epochs=3)

    after_training = trained(tested, dataset)
    assert watched.num_reads == {"inputs": 0, "labels": 0}

    finish(tested, dataset, after_training)
    assert watched.num_reads["inputs"] == 1


def test_each_replica_that_did_not_diverge_predicts_the_test_split_once(monkeypatch):
    predicted = []
    logits = MLP.logits

    def counting(self, inputs):
        if inputs is MOONS.test.inputs:
            predicted.append(self.num_replicas)
        return logits(self, inputs)

    monkeypatch.setattr(MLP, "logits", counting)
    scores_of(cell(new_optimizer=ONE_DIVERGES))

    assert predicted == [2]


def test_the_selected_epoch_is_the_best_on_validation_though_the_test_split_prefers_another():
    # With every label of the test split turned round, a network is the better the less it has learned.
    contrary = with_test(MOONS.test.inputs, 1 - MOONS.test.labels)
    tested = cell(num_epochs=20, new_optimizer=partial(Adam, learning_rate=0.1))
    training = start(tested, contrary)
    test_accuracy = []  # of each epoch, looked at by this test alone
    training.run(
        contrary.train,
        contrary.validation,
        on_epoch=lambda training: test_accuracy.append(evaluate(training.model, contrary.test)[1]),
    )
    result = finish(tested, contrary, merge(tested.seeds, [training]))
    test_accuracy = np.array(test_accuracy)  # (epochs, replicas)

    validation = zip(result.trained.history["val/accuracy"].T, result.trained.history["val/loss"].T, strict=True)
    best = [np.lexsort((loss, -accuracy))[0] for accuracy, loss in validation]
    np.testing.assert_array_equal(result.summary["val/selected_epoch"], np.array(best) + 1)
    np.testing.assert_array_equal(result.summary["test/accuracy"], test_accuracy[best, [0, 1, 2]])
    assert (np.array(best) < 19).all()  # nor is it the last
    assert (result.summary["test/accuracy"] < test_accuracy.max(axis=0)).all()


def test_nothing_but_the_test_scores_depends_on_the_test_split():
    rng = np.random.default_rng(0)
    other = with_test(100 * rng.standard_normal((7, 2)).astype(np.float32), rng.integers(2, size=7))

    one, two = scores_of(cell()), scores_of(cell(), other)

    np.testing.assert_array_equal(one.trained.model.params, two.trained.model.params)
    assert one.best_replica == two.best_replica
    for name in one.summary:
        assert name.startswith("test/") or np.array_equal(one.summary[name], two.summary[name], equal_nan=True)
    assert not np.array_equal(one.summary["test/accuracy"], two.summary["test/accuracy"])


def test_rows_of_the_test_split_teach_nothing():
    poisoned = with_test(np.full_like(MOONS.test.inputs, np.nan), MOONS.test.labels)

    np.testing.assert_array_equal(train(cell()).selected_params, train(cell(), poisoned).selected_params)


def test_the_best_replica_is_the_best_on_validation():
    contrary = with_test(MOONS.test.inputs, 1 - MOONS.test.labels)
    result = scores_of(cell(seeds=tuple(range(8)), num_epochs=2), contrary)

    accuracy, loss = result.summary["val/selected_accuracy"], result.summary["val/selected_loss"]
    alike = np.flatnonzero(accuracy == accuracy.max())
    assert result.best_replica == alike[loss[alike].argmin()]
    assert result.best_replica != result.summary["test/accuracy"].argmax()


def test_selection_may_be_the_last_epoch():
    result = scores_of(cell(selection="last"))

    np.testing.assert_array_equal(result.summary["val/selected_epoch"], [5, 5, 5])
    np.testing.assert_array_equal(result.summary["val/selected_accuracy"], result.trained.history["val/accuracy"][-1])


def test_a_diverged_replica_is_named_scored_at_chance_level_and_never_the_best():
    result = scores_of(cell(new_optimizer=ONE_DIVERGES))

    assert result.statuses == ("finished", "diverged", "finished")
    assert run(cell(new_optimizer=ONE_DIVERGES), MOONS).status == "finished"
    assert result.summary["test/accuracy"][1] == 1 / 2
    assert np.isnan(result.summary["test/loss"][1])
    assert (result.test.predictions[1] == -1).all()
    assert result.test.confusion[1].sum() == 0
    assert result.best_replica != 1


def test_a_replica_that_diverges_after_good_epochs_is_scored_at_chance_level_on_validation_too():
    training = train(cell())
    training.diverged_step[1] = 40  # in the middle of an epoch, after it had been selected
    summary = finish(cell(), MOONS, merge((0, 1, 2), [training])).summary

    assert summary["val/selected_accuracy"][1] == summary["train/selected_accuracy"][1] == 0.5
    assert summary["val/selected_accuracy"][0] == training.history["val/accuracy"][:, 0].max()
    assert np.isnan([summary[name][1] for name in ("val/selected_loss", "val/selected_epoch", "test/loss")]).all()


def test_a_diverged_replica_is_not_the_best_even_where_the_others_are_worse_than_chance():
    contrary = replace(MOONS, validation=replace(MOONS.validation, labels=1 - MOONS.validation.labels))
    result = scores_of(cell(new_optimizer=ONE_DIVERGES, selection="last"), contrary)

    assert (result.summary["val/selected_accuracy"][[0, 2]] < 0.5).all()
    assert result.best_replica != 1


def test_the_curves_of_a_diverged_replica_are_not_numbers_and_those_of_the_others_are():
    history = trained(cell(new_optimizer=ONE_DIVERGES)).history

    for name, values in history.items():
        assert np.isnan(values[:, 1]).all() or name == "time/train_seconds", name
        assert np.isfinite(values[:, [0, 2]]).all(), name


def test_a_diverged_neighbour_changes_no_bit():
    beside = scores_of(cell(new_optimizer=ONE_DIVERGES))
    alone = scores_of(cell(new_optimizer=partial(GD, learning_rate=0.1), seeds=(0, 2)))

    np.testing.assert_array_equal(beside.trained.model.params[[0, 2]], alone.trained.model.params)
    np.testing.assert_array_equal(beside.summary["test/loss"][[0, 2]], alone.summary["test/loss"])


def test_a_cell_of_which_every_replica_diverged_is_diverged():
    result = run(cell(new_optimizer=ALL_DIVERGE), MOONS)

    assert result.status == "diverged"
    assert result.final.statuses == ("diverged",) * 3
    np.testing.assert_array_equal(result.final.summary["test/accuracy"], [0.5] * 3)


def test_time_to_target_is_the_first_epoch_that_meets_it_and_a_miss_is_infinite():
    tested = cell(target_accuracy=0.9, num_epochs=4)
    training = train(tested)
    training.history["val/accuracy"] = np.array(
        [[0.5, 0.5, 0.9], [0.9, 0.6, 0.5], [0.95, 0.7, 0.5], [0.1, np.nan, 0.5]]
    )
    training.history["time/train_seconds"] = np.array([[1.0] * 3, [2.0] * 3, [4.0] * 3, [8.0] * 3])

    summary = finish(tested, MOONS, merge((0, 1, 2), [training])).summary

    np.testing.assert_array_equal(summary["val/target_epoch"], [2, np.inf, 1])
    np.testing.assert_array_equal(summary["val/target_gradient_evaluations"], [20, np.inf, 10])
    np.testing.assert_array_equal(summary["time/target_seconds"], [2, np.inf, 1])


def test_a_diverged_replica_misses_every_target():
    summary = scores_of(cell(new_optimizer=ONE_DIVERGES, target_accuracy=0.01)).summary

    np.testing.assert_array_equal(summary["val/target_epoch"], [1, np.inf, 1])


def test_without_a_target_no_time_is_told():
    assert not any("target" in name for name in scores_of(cell()).summary)


def test_equal_seeds_start_from_the_same_parameters_under_every_optimizer():
    starts = [start(cell(new_optimizer=new)).model.params for new in (Adam, RMSprop, GD, Momentum)]

    for params in starts[1:]:
        np.testing.assert_array_equal(params, starts[0])


def test_equal_seeds_start_from_the_same_draws_under_every_activation():
    starts = [start(cell(activations=(activation,))).model for activation in (ReLU(), Tanh(), Sigmoid())]

    for model in starts[1:]:
        for weights, wanted in zip(model.weights, starts[0].weights, strict=True):
            ratio = weights / wanted  # (replicas, fan_in, fan_out), the ratio of two gains
            np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)


class Recording(GD):
    """Takes no step, so that the gradients show the batches alone."""

    def step(self, grads, factor=1.0):
        self.num_steps += 1
        self.seen = [*getattr(self, "seen", []), grads.copy()]


class Other(Recording):
    """Another optimizer that sees the same."""


def test_equal_seeds_see_the_same_batches_under_every_optimizer():
    one, two = (train(cell(new_optimizer=new, num_epochs=2)).optimizer.seen for new in (Recording, Other))

    assert len(one) == 2 * 10  # 320 samples
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[0], one[10])  # the second epoch is in another order


def test_different_seeds_start_differently_and_see_different_batches():
    training = start(cell(seeds=(0, 1)))

    assert not np.array_equal(*training.model.params)
    assert training.rngs[0].bit_generator.state != training.rngs[1].bit_generator.state


def test_a_seed_means_the_same_alone_and_in_any_company():
    settings = {"num_epochs": 20, "diagnostics": "full", "patience": 8, "target_accuracy": 0.8}
    alone = bits(scores_of(cell(seeds=(3,), **settings)))
    for company in ((5, 3, 9), (3, 4), (1, 0, 2, 3)):
        assert_same_bits(bits(scores_of(cell(seeds=company, **settings)), [company.index(3)]), alone)


def test_training_again_changes_no_bit():
    assert_same_results(run(cell(), MOONS), run(cell(), MOONS))


@pytest.mark.parametrize(("batch_size", "steps"), [(32, 10), (100, 4), (320, 1), ("full", 1)])
def test_steps_of_an_epoch_count_the_last_small_batch(batch_size, steps):
    tested = cell(batch_size=batch_size, num_epochs=1)

    assert tested.steps_per_epoch(len(MOONS.train)) == steps
    assert train(tested).optimizer.num_steps == steps


def test_diagnostics_may_be_left_out_and_are_then_all_gone():
    with_them, without = trained(cell()).history, trained(cell(diagnostics="none")).history

    layers = {f"layer{n}/{name}" for n in (1, 2) for name in ("grad_norm", "update_ratio", "distance_from_start")}
    assert with_them.keys() - without.keys() == {*layers, "layer1/dead_units", "train/grad_norm"}
    assert without.keys() < with_them.keys()


def test_splits_do_not_depend_on_the_seeds():
    one, two = Moons(num_points=100, split_seed=1).load(), Moons(num_points=100, split_seed=1).load()

    np.testing.assert_array_equal(one.test.inputs, two.test.inputs)
    assert not np.array_equal(one.test.inputs, Moons(num_points=100, split_seed=2).load().test.inputs)
