"""A seed draws the same unit weights and the same batches in every cell; `vary` says which of the two it draws."""

from itertools import pairwise, product

import numpy as np
import pytest
from protocol_cases import MOONS, assert_same_bits, bits, cell, entries, part, scores_of, start, train

from nnbench.nn import MLP, Identity, Normal

OPTIMIZERS, ACTIVATIONS, INITIALIZERS = (
    {name: part(entry) for name, entry in entries(group).items()}
    for group in ("optimizer", "activation", "initializer")
)
SEEDS = (3, 0, 4)
SIZES = (2, 6, 5, 2)


def unit_draws(seed):
    """Return the standard normal draws of each layer's weights, a bias for each unit between them."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    draws = []
    for fan_in, fan_out in pairwise(SIZES):
        draws.append(rng.standard_normal((fan_in, fan_out)))
        rng.standard_normal(fan_out)
    return draws


def order_of_batches(seed, num_epochs):
    """Return the places of the training samples in the order in which they are seen."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[1])
    return np.concatenate([rng.permutation(len(MOONS.train)) for _ in range(num_epochs)])


def seen_by(monkeypatch, tested):
    """Train a cell; return the first inputs of every sample that it trained on, (replicas, samples)."""
    batches = []
    forward = MLP.forward

    def noting(self, inputs):
        if inputs.ndim == 3:  # evaluation shows the same samples to all replicas
            batches.append(inputs.copy())
        return forward(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(MLP, "forward", noting)
        training = train(tested)
    assert not training.diverged.any()
    return np.concatenate(batches, axis=1)


@pytest.mark.parametrize(("optimizer", "activation"), list(product(OPTIMIZERS, ACTIVATIONS)))
def test_every_pair_starts_from_the_same_unit_draws(optimizer, activation):
    wanted = [unit_draws(seed) for seed in SEEDS]
    function = ACTIVATIONS[activation]()
    for name, initializer in INITIALIZERS.items():
        settings = {"activations": (function, function), "hidden": (6, 5), "seeds": SEEDS, "dtype": "float64"}
        model = start(cell(new_optimizer=OPTIMIZERS[optimizer], initializer=initializer(), **settings)).model
        for layer, weights in enumerate(model.weights):
            follows = Identity() if layer == 2 else function
            std = initializer().std(*SIZES[layer : layer + 2], follows)
            for replica, draws in enumerate(wanted):
                np.testing.assert_allclose(weights[replica] / std, draws[layer], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(("optimizer", "activation"), list(product(OPTIMIZERS, ACTIVATIONS)))
def test_every_pair_sees_the_same_batches(monkeypatch, optimizer, activation):
    settings = {"activations": (ACTIVATIONS[activation](),), "seeds": SEEDS, "num_epochs": 2, "diagnostics": "none"}
    seen = seen_by(monkeypatch, cell(new_optimizer=OPTIMIZERS[optimizer], **settings))
    for replica, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(seen[replica], MOONS.train.inputs[order_of_batches(seed, 2)])


@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("diagnostics", ["basic", "full"])
def test_neither_initializer_nor_diagnostics_change_the_batches(monkeypatch, initializer, diagnostics):
    settings = {"initializer": INITIALIZERS[initializer](), "seeds": SEEDS, "num_epochs": 2}
    plain = seen_by(monkeypatch, cell(**settings, diagnostics="none"))
    np.testing.assert_array_equal(plain[0], MOONS.train.inputs[order_of_batches(3, 2)])
    # Full diagnostics look at batches again, after the epoch; what is trained on comes first.
    seen = seen_by(monkeypatch, cell(**settings | {"num_epochs": 1}, diagnostics=diagnostics))
    np.testing.assert_array_equal(seen[:, :320], plain[:, :320])


def states(tested):
    return [rng.bit_generator.state for rng in start(tested).rngs]


@pytest.mark.parametrize(
    ("vary", "varying_weights", "varying_order"),
    [("all", True, True), ("init", True, False), ("order", False, True)],
)
def test_seeds_vary_what_they_are_told_to_and_nothing_else(monkeypatch, vary, varying_weights, varying_order):
    seeds = (3, 4, 7)
    tested = cell(vary=vary, seeds=seeds, num_epochs=2, diagnostics="none")
    common = start(cell(vary="all", seeds=(0,)))
    of_seeds = start(cell(vary="all", seeds=seeds))

    params = start(tested).model.params
    wanted = of_seeds.model.params if varying_weights else np.repeat(common.model.params, 3, axis=0)
    np.testing.assert_array_equal(params, wanted)
    assert len(np.unique(params, axis=0)) == (3 if varying_weights else 1)

    seen = seen_by(monkeypatch, tested)
    for replica, seed in enumerate(seeds):
        order = order_of_batches(seed if varying_order else 0, 2)
        np.testing.assert_array_equal(seen[replica], MOONS.train.inputs[order])
    assert len(np.unique(seen, axis=0)) == (3 if varying_order else 1)


@pytest.mark.parametrize("vary", ["all", "init", "order"])
def test_replica_does_not_depend_on_the_other_seeds(vary):
    settings = {"vary": vary, "num_epochs": 12, "patience": 4, "target_accuracy": 0.8}
    alone = bits(scores_of(cell(seeds=(3,), **settings)))
    for company in ((5, 3, 9), (3, 4), (1, 0, 2, 3)):
        assert_same_bits(bits(scores_of(cell(seeds=company, **settings)), [company.index(3)]), alone)


@pytest.mark.parametrize("vary", ["all", "init", "order"])
def test_order_of_the_seeds_is_the_order_of_the_results(vary):
    settings = {"vary": vary, "num_epochs": 12, "patience": 4, "target_accuracy": 0.8}
    forth = bits(scores_of(cell(seeds=(0, 1, 2, 3, 4), **settings)), [2, 0, 4, 1, 3])
    assert_same_bits(bits(scores_of(cell(seeds=(2, 0, 4, 1, 3), **settings))), forth)


def test_different_seeds_have_different_results_under_every_choice_of_what_varies():
    for vary in ("all", "init", "order"):
        params = scores_of(cell(vary=vary, seeds=(1, 2, 3))).trained.model.params
        assert len(np.unique(params, axis=0)) == 3


def test_weights_that_are_too_large_by_far_are_drawn_in_the_same_order():
    drawn = start(cell(initializer=Normal(weight_std=100.0), seeds=(3,), dtype="float64")).model.weights
    usual = start(cell(initializer=Normal(weight_std=1.0), seeds=(3,), dtype="float64")).model.weights
    for large, small in zip(drawn, usual, strict=True):
        np.testing.assert_allclose(large, 100 * small, rtol=1e-14)
