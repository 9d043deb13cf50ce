"""Optimizers: PyTorch's trajectories to ten digits, replica-wise hyperparameters, ranges, saved state."""

import inspect
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from nn_cases import OPTIMIZERS, family

from nnbench import nn
from nnbench.nn.optimizers import Optimizer

BY_OPTIMIZER = pytest.mark.parametrize("name", OPTIMIZERS)
# Optimizers of conf/optimizer/ that PyTorch does not have, each with the oracle that stands in for it.
NOT_IN_PYTORCH: dict[str, str] = {}


@cache
def golden():
    return json.loads((Path(__file__).parent / "golden" / "optimizers.json").read_text())


RUNS = [pytest.param(run, id=f"{run['optimizer']}-{place % 2}") for place, run in enumerate(golden()["runs"])]


def gradient(params, rows):
    """Of logistic regression with a bowl around zero, by hand; PyTorch's side takes it by autograd."""
    features, targets = (np.array(golden()[name])[rows] for name in ("features", "targets"))
    error = 1 / (1 + np.exp(-params @ features.T)) - targets
    return error @ features / len(rows) + golden()["bowl"] * params


def trajectory(optimizer, params):
    """Return the parameters after the kept steps, (kept, replicas, num_params)."""
    kept = []
    batch_size, num_samples = golden()["batch_size"], len(golden()["targets"])
    for step in range(golden()["steps"][-1]):
        rows = (batch_size * step + np.arange(batch_size)) % num_samples
        optimizer.step(gradient(params.astype(np.float64), rows).astype(params.dtype))
        if step + 1 in golden()["steps"]:
            kept.append(params.copy())
    return np.array(kept)


def start(num_replicas=1, dtype=np.float64):
    return np.array([golden()["start"]] * num_replicas, dtype)


def assert_follows_pytorch(optimizer, params, run):
    np.testing.assert_allclose(trajectory(optimizer, params)[:, 0], run["params"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("run", RUNS)
def test_optimizer_follows_pytorch_for_200_steps(run):
    params = start()
    assert_follows_pytorch(family("optimizer")[run["optimizer"]].build(params, **run["options"]), params, run)


@pytest.mark.parametrize("run", RUNS)
def test_float32_stays_near_the_float64_trajectory(run):
    params = start(dtype=np.float32)
    steps = trajectory(family("optimizer")[run["optimizer"]].build(params, **run["options"]), params)
    assert steps.dtype == np.float32
    np.testing.assert_allclose(steps[:, 0], run["params"], atol=1e-3)


@BY_OPTIMIZER
def test_default_of_every_optimizer_is_among_those_followed(name):
    if name in NOT_IN_PYTORCH:
        return
    followed = [run["options"] for run in golden()["runs"] if run["optimizer"] == name]
    assert family("optimizer")[name].options in followed, f"add {name} to golden/make_optimizer_golden.py"
    assert len(followed) >= 2


@BY_OPTIMIZER
def test_optimizer_descends(name):
    params = np.array([[0.3, -0.2, 0.05]])
    curvature = np.array([1.0, 0.3, 2.0])
    optimizer = family("optimizer")[name].build(params, learning_rate=0.01)
    before = (curvature * params**2).sum()
    for _ in range(500):
        optimizer.step(2 * curvature * params)
    assert (curvature * params**2).sum() < before / 4


@BY_OPTIMIZER
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_hyperparameter_may_differ_by_replica(name, dtype):
    entry = family("optimizer")[name]
    numbers = {key: np.array([[value], [value * 0.9], [value * 0.5]]) for key, value in entry.options.items()}
    if "increase" in numbers:
        numbers["increase"] = np.array([[1.2], [1.3], [1.5]])
    grads = np.random.default_rng(0).standard_normal((50, 3, 6)).astype(dtype)
    params = start(3, dtype)
    stack = entry.build(params, **numbers)
    for grad in grads:
        stack.step(grad, 0.7)
    for replica in range(3):
        alone = start(1, dtype)
        optimizer = entry.build(alone, **{key: values[replica].item() for key, values in numbers.items()})
        for grad in grads:
            optimizer.step(grad[[replica]], 0.7)
        np.testing.assert_array_equal(params[[replica]], alone)


@BY_OPTIMIZER
def test_replicas_that_are_taken_go_on_as_if_the_others_had_never_been(name):
    entry = family("optimizer")[name]
    rates = entry.options["learning_rate"] * np.array([[1.0], [2.0], [3.0], [4.0]])
    rng = np.random.default_rng(0)
    grads = rng.standard_normal((20, 4, 6))
    params, kept, alone = start(4), [3, 1], start(2)
    stack, pair = entry.build(params, learning_rate=rates), entry.build(alone, learning_rate=rates[kept])
    for step in range(10):
        stack.step(grads[step])
        pair.step(grads[step, kept])
    params = params[kept]
    stack.take(np.array(kept), params)
    for step in range(10, 20):
        stack.step(grads[step, kept])
        pair.step(grads[step, kept])
    np.testing.assert_array_equal(params, alone)


@BY_OPTIMIZER
def test_restored_state_continues_bit_for_bit(name):
    entry = family("optimizer")[name]
    grads = np.random.default_rng(0).standard_normal((20, 1, 6))
    params = start()
    through = entry.build(params)
    for grad in grads[:10]:
        through.step(grad)
    stopped = params.copy()
    continued = entry.build(stopped)
    continued.restore({key: values.copy() for key, values in through.state().items()})
    for grad in grads[10:]:
        through.step(grad)
        continued.step(grad)
    np.testing.assert_array_equal(stopped, params)


@BY_OPTIMIZER
def test_step_works_in_place_and_leaves_the_gradients_alone(name):
    params = start()
    optimizer = family("optimizer")[name].build(params)
    grads = np.ones_like(params)
    before = params.copy()
    optimizer.step(grads)
    assert optimizer.params is params
    assert (params < before).all()
    np.testing.assert_array_equal(grads, 1)


@BY_OPTIMIZER
def test_zero_gradients_from_the_start_move_nothing(name):
    params = start(dtype=np.float32)
    without_decay = {"decoupled_weight_decay": 0} if name == "adamw" else {}
    optimizer = family("optimizer")[name].build(params, **without_decay)
    for _ in range(3):
        optimizer.step(np.zeros_like(params))
    np.testing.assert_array_equal(params, start(dtype=np.float32))


@BY_OPTIMIZER
def test_every_option_is_keyword_only(name):
    _, *options = inspect.signature(family("optimizer")[name].target).parameters.values()
    assert all(option.kind is option.KEYWORD_ONLY for option in options)


def test_steps_worked_by_hand():
    def two_steps(kind, **options):
        params = np.array([[1.0]])
        optimizer = kind(params, **options)
        optimizer.step(np.array([[2.0]]))
        first = params.item()
        optimizer.step(np.array([[4.0]]))
        return first, params.item()

    assert two_steps(nn.GD, learning_rate=0.1) == pytest.approx((0.8, 0.4))
    assert two_steps(nn.Momentum, learning_rate=0.1, momentum=0.5) == pytest.approx((0.8, 0.3))
    assert two_steps(nn.Nesterov, learning_rate=0.1, momentum=0.5) == pytest.approx((0.7, 0.05))
    assert two_steps(nn.Adagrad, learning_rate=0.1, epsilon=1e-300) == pytest.approx((0.9, 0.9 - 0.4 / math.sqrt(20)))
    assert two_steps(nn.RMSprop, learning_rate=0.1, decay=0.75, epsilon=1e-300) == pytest.approx(
        (0.8, 0.8 - 0.4 / math.sqrt(0.75 + 4))
    )
    assert two_steps(nn.Adam, learning_rate=0.1, beta1=0.5, beta2=0.75, epsilon=1e-300) == pytest.approx(
        (0.9, 0.9 - 0.1 * (2.5 / 0.75) / math.sqrt(4.75 / 0.4375))
    )
    assert two_steps(nn.Rprop, learning_rate=0.1) == pytest.approx((0.9, 0.78))


def test_rprop_halves_its_step_and_waits_when_the_gradient_turns():
    params = np.array([[0.0]])
    optimizer = nn.Rprop(params, learning_rate=0.1)
    places = []
    for grad in (1.0, -1.0, -1.0, -1.0):
        optimizer.step(np.array([[grad]]))
        places.append(params.item())
    assert places == pytest.approx([-0.1, -0.1, -0.05, 0.01])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *(
            (name, {"learning_rate": value}, f"learning_rate is {value}; it must be a finite number above 0")
            for name in OPTIMIZERS
            for value in (0, -1, math.nan, math.inf)
        ),
        ("momentum", {"momentum": 1}, "momentum is 1; it must be a finite number at least 0 and below 1"),
        ("momentum", {"momentum": -0.1}, "momentum is -0.1; it must be"),
        ("nesterov", {"momentum": 1.0}, "momentum is 1.0; it must be"),
        ("nesterov", {"momentum": math.nan}, "momentum is nan; it must be"),
        ("adagrad", {"epsilon": 0}, "epsilon is 0; it must be a finite number above 0"),
        ("rmsprop", {"decay": 1}, "decay is 1; it must be a finite number at least 0 and below 1"),
        ("rmsprop", {"epsilon": -1e-8}, "epsilon is -1e-08; it must be"),
        ("adam", {"beta1": 1.0}, "beta1 is 1.0; it must be a finite number at least 0 and below 1"),
        ("adam", {"beta2": 1}, "beta2 is 1; it must be"),
        ("adam", {"beta2": math.inf}, "beta2 is inf; it must be"),
        ("adam", {"epsilon": 0.0}, "epsilon is 0.0; it must be a finite number above 0"),
        ("rprop", {"increase": 1}, "increase is 1; it must be a finite number above 1"),
        ("rprop", {"decrease": 0}, "decrease is 0; it must be a finite number above 0 and below 1"),
        ("rprop", {"decrease": 1}, "decrease is 1; it must be"),
        ("rprop", {"smallest_step": 0}, "smallest_step is 0; it must be a finite number above 0"),
        ("rprop", {"largest_step": math.inf}, "largest_step is inf; it must be"),
    ],
)
def test_number_out_of_range_is_refused_by_name_value_and_what_is_wanted(name, options, message):
    with pytest.raises(ValueError, match=message):
        family("optimizer")[name].build(start(), **options)


def test_one_bad_number_among_those_of_the_replicas_is_refused():
    with pytest.raises(ValueError, match="learning_rate is"):
        nn.GD(start(2), learning_rate=np.array([[0.1], [0.0]]))


def test_optimizer_without_an_update_rule_says_so():
    class Forgetful(Optimizer):
        pass

    with pytest.raises(TypeError, match=r"Forgetful has no update rule; define step\(\)"):
        Forgetful(start(), learning_rate=0.1).step(start())


# What the origins got wrong: Adam's step counter restarted each epoch.


class AdamRestartedEachEpoch(nn.Adam):
    def step(self, grads, factor=1.0):
        if self.num_steps == 5:  # five batches are an epoch of the golden problem
            self.num_steps = 0
        super().step(grads, factor)


@pytest.mark.parametrize("run", [run for run in golden()["runs"] if run["optimizer"] == "adam"])
def test_adam_restarted_each_epoch_is_revealed(run):
    params = start()
    with pytest.raises(AssertionError):
        assert_follows_pytorch(AdamRestartedEachEpoch(params, **run["options"]), params, run)


def test_replica_with_hyperparameters_of_its_own_has_the_same_bits_alone_and_in_a_stack():
    rng = np.random.default_rng(0)
    num_replicas, beta1, grads = 20, rng.uniform(0.5, 0.99, (20, 1)), rng.standard_normal((300, 20, 7))
    together = nn.Adam(np.zeros((num_replicas, 7)), beta1=beta1)
    alone = [nn.Adam(np.zeros((1, 7)), beta1=beta1[[place]]) for place in range(num_replicas)]
    for of_step in grads:
        together.step(of_step)
        for place, optimizer in enumerate(alone):
            optimizer.step(of_step[[place]])
    np.testing.assert_array_equal(np.concatenate([optimizer.params for optimizer in alone]), together.params)
