"""Schedules: worked by hand, and the same for every batch size."""

import math

import numpy as np
import pytest
from nn_cases import SCHEDULES, blobs, build_training

from nnbench import nn


@pytest.mark.parametrize(
    ("schedule", "num_epochs", "factors_by_epoch"),
    [
        (nn.Constant(), 10, {0: 1, 3.7: 1, 9.99: 1}),
        (nn.Step(every=2, factor=0.1), 10, {0: 1, 1.99: 1, 2: 0.1, 3.5: 0.1, 4: 0.01, 9.9: 1e-4}),
        (nn.Exponential(factor=0.25), 10, {0: 1, 0.5: 0.5, 1: 0.25, 2: 0.0625}),
        (nn.Cosine(), 12, {0: 1, 4: 0.75, 6: 0.5, 8: 0.25, 12: 0}),
        (nn.Cosine(final=0.2), 12, {0: 1, 4: 0.8, 6: 0.6, 12: 0.2, 15: 0.2}),
        (nn.Warmup(warmup_epochs=4, start=0.2), 10, {0: 0.2, 1: 0.4, 2: 0.6, 4: 1, 9: 1}),
        (nn.Warmup(warmup_epochs=0.5, start=0.0), 10, {0: 0, 0.25: 0.5, 0.5: 1, 1: 1}),
    ],
    ids=repr,
)
def test_factor_worked_by_hand(schedule, num_epochs, factors_by_epoch):
    for epoch, factor in factors_by_epoch.items():
        assert schedule(epoch, num_epochs) == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_factor_is_a_finite_number_at_every_epoch(schedule):
    factors = [schedule(epoch, 30) for epoch in np.linspace(0, 30, 301).tolist()]
    assert all(math.isfinite(factor) and factor >= 0 for factor in factors)
    assert max(factors) > 0


def factors_by_progress(schedule, batch_size, *, num_samples=24, num_epochs=7):
    """Train and return the factor of every step by the fraction of epochs done before it."""
    training = build_training("gd", [0], num_epochs=num_epochs, batch_size=batch_size, schedule=schedule)
    factors = []
    take_step = training.optimizer.step
    training.optimizer.step = lambda grads, factor: (factors.append(factor), take_step(grads, factor))
    training.run(blobs(num_samples), blobs(6, seed=1))
    steps_per_epoch = len(factors) // num_epochs
    return {step / steps_per_epoch: factor for step, factor in enumerate(factors)}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_schedule_is_the_same_for_every_batch_size(schedule):
    by_batch_size = [factors_by_progress(schedule, batch_size) for batch_size in (3, 6, 12, 24, "full")]
    assert [len(factors) for factors in by_batch_size] == [56, 28, 14, 7, 7]
    for factors in by_batch_size[1:]:
        assert factors == {progress: by_batch_size[0][progress] for progress in factors}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_every_step_has_the_factor_of_its_own_fraction_of_an_epoch(schedule):
    for progress, factor in factors_by_progress(schedule, 6).items():
        assert factor == schedule(progress, 7)


def test_factor_multiplies_the_learning_rate():
    plain = build_training("gd", [0], options={"learning_rate": 0.05})
    halved = build_training("gd", [0], options={"learning_rate": 0.1}, schedule=lambda epoch, num_epochs: 0.5)
    for training in (plain, halved):
        training.run(blobs(24), blobs(6, seed=1))
    np.testing.assert_array_equal(halved.model.params, plain.model.params)


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        (nn.Step, {"every": 0}, "every is 0; it must be at least 1 epoch"),
        (nn.Step, {"every": math.nan}, "every is nan"),
        (nn.Step, {"factor": 0.0}, "factor is 0.0; it must be above 0 and at most 1"),
        (nn.Step, {"factor": 1.5}, "factor is 1.5"),
        (nn.Exponential, {"factor": -0.5}, "factor is -0.5; it must be above 0 and at most 1"),
        (nn.Exponential, {"factor": math.nan}, "factor is nan"),
        (nn.Cosine, {"final": 1.1}, "final is 1.1; it must be between 0 and 1"),
        (nn.Cosine, {"final": -0.1}, "final is -0.1"),
        (nn.Warmup, {"warmup_epochs": 0}, "warmup_epochs is 0; it must be a finite number above 0"),
        (nn.Warmup, {"warmup_epochs": math.inf}, "warmup_epochs is inf"),
        (nn.Warmup, {"start": math.nan}, "start is nan; it must be between 0 and 1"),
    ],
)
def test_options_out_of_range_are_refused(schedule, options, message):
    with pytest.raises(ValueError, match=message):
        schedule(**options)
