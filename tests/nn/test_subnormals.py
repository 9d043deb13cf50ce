"""Subnormal numbers: zero while a network trains, and everywhere else what they were."""

import sys
from dataclasses import dataclass
from platform import machine
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from nnbench import nn
from nnbench.nn.subnormals import can_be_flushed, flushed

FLUSHED = pytest.mark.skipif(not can_be_flushed(), reason="this machine's subnormal numbers cannot be flushed")


@dataclass(frozen=True)
class Samples:
    inputs: NDArray
    labels: NDArray


def halves(number: float) -> float:
    """Return half of a float32 number, as the processor computes it now."""
    return float((np.full(1, number, np.float32) * np.full(1, 0.5, np.float32))[0])


@pytest.mark.skipif((sys.platform, machine()) != ("linux", "x86_64"), reason="elsewhere nothing is promised")
def test_linux_on_x86_can_flush():
    assert can_be_flushed()


@FLUSHED
def test_results_and_operands_are_flushed_within_and_kept_without():
    smallest_normal = float(np.finfo(np.float32).tiny)
    assert halves(smallest_normal) == smallest_normal / 2
    with flushed():
        assert halves(smallest_normal) == 0
        assert (np.full(1, 1e-39, np.float32) * np.full(1, 1e3, np.float32))[0] == 0
        assert halves(1.0) == 0.5
    assert halves(smallest_normal) == smallest_normal / 2


@FLUSHED
def test_flushing_ends_with_an_error_and_reaches_threads_that_begin_in_it():
    seen = []
    smallest_normal = float(np.finfo(np.float32).tiny)

    def stopped():
        other = Thread(target=lambda: seen.append(halves(smallest_normal)))
        with flushed():
            other.start()
            other.join()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert seen == [0]  # a thread begins with its maker's register
    assert halves(smallest_normal) == smallest_normal / 2


@FLUSHED
def test_trained_network_and_its_optimizer_hold_no_subnormal_number():
    rng = np.random.default_rng(0)
    inputs = rng.random((64, 6)).astype(np.float32)
    inputs[:, :2] *= 1e-38  # their gradients are as small, and the averages of them smaller still
    samples = Samples(inputs, rng.integers(3, size=64))
    model = nn.MLP((6, 5, 3), activations=[nn.Tanh()], loss=nn.SoftmaxCrossEntropy())
    model.initialize(nn.Auto(), [rng])
    optimizer = nn.Momentum(model.params, momentum=0.5)
    callbacks = []
    training = nn.Training(model, optimizer, [rng], num_epochs=4, batch_size=16)
    training.run(samples, samples, on_epoch=lambda _: callbacks.append(halves(np.finfo(np.float32).tiny)))
    for values in (model.params, model.grads, optimizer.velocity):
        sizes = np.abs(values[values != 0])
        assert sizes.min() >= np.finfo(np.float32).tiny
    assert min(callbacks) > 0
