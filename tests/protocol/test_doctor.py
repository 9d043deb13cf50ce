"""The doctor finds the disease that a training was given, and the override that it names helps."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hydra._internal.utils import get_args_parser

from nnbench import app, grid
from nnbench.data import Dataset
from nnbench.protocol import stack
from nnbench.protocol.cell import Cell
from nnbench.protocol.doctor import FINDINGS, Finding, diagnose
from nnbench.protocol.search import Range
from nnbench.protocol.stack import Trained

MOONS = ("dataset=moons", "dataset.num_points=400", "num_epochs=15")
CIRCLES = ("dataset=circles", "dataset.num_points=400", "num_epochs=20")
DEEP_SIGMOID = (*CIRCLES, "optimizer=momentum", "activation=sigmoid", "hidden=[16,16,16,16]")
BIG_WEIGHTS = ("initializer=normal", "initializer.weight_std=5")
SICK = {
    "diverged": (*MOONS, "optimizer=gd", "optimizer.learning_rate=100000"),
    "dead units": (*MOONS, "hidden=[3,3,3,3,3,3]", "optimizer.learning_rate=0.01"),
    "saturated": ("dataset=wine", "activation=tanh", "batch_size=16", *BIG_WEIGHTS),
    "vanishing gradients": DEEP_SIGMOID,
    "momentum too high": (
        *(*MOONS, "activation=leaky_relu", "optimizer=momentum", "optimizer.learning_rate=0.1"),
        "optimizer.momentum=0.999",
    ),
    "learning rate too high": (*MOONS, "activation=leaky_relu", "optimizer=momentum", "optimizer.learning_rate=2"),
    "learning rate too low": (*MOONS, "optimizer=gd", "optimizer.learning_rate=0.001"),
    "overfitting": (
        *("dataset=moons", "dataset.num_points=150", "dataset.noise=0.5", "dataset.validation_fraction=0.3"),
        *("hidden=[64,64]", "batch_size=16", "num_epochs=80", "optimizer.learning_rate=0.01"),
    ),
}
TRY = {
    "diverged": "optimizer.learning_rate=0.01",
    "dead units": "activation=leaky_relu",
    "saturated": "initializer=auto",
    "vanishing gradients": "activation=relu",
    "momentum too high": "optimizer.momentum=0.9",
    "learning rate too high": "optimizer.learning_rate=0.2",
    "learning rate too low": "optimizer.learning_rate=0.01",
    "overfitting": "weight_decay=0.01",
}
HEALTHY = (*MOONS, "optimizer.learning_rate=0.03")


def typed(*settings: str) -> tuple[Cell, Dataset]:
    """Return the cell of these settings, with three seeds if they do not say, and its data."""
    os.environ.setdefault(app.SWEEP, "a sweep")
    cells = app._cells(grid.expand(get_args_parser().parse_args(["tracking=none", "seeds=3", *settings])))
    return cells[0], app._datasets(cells)[0]


def examined(*settings: str, learning_rates: Sequence[float] | None = None) -> tuple[Finding, Trained]:
    """Train a cell of three seeds, or one with a learning rate for each seed, and ask the doctor."""
    cell, dataset = typed(*settings)
    hyperparameters = None if learning_rates is None else {"learning_rate": np.array(learning_rates)}
    trained = stack.train(cell, dataset, cell.seeds, hyperparameters)
    return diagnose(cell, trained, learning_rate=cell.learning_rate), trained


def final_loss(trained: Trained) -> float:
    """Return the mean validation loss after the last epoch; infinite where a replica has diverged."""
    return float(np.nan_to_num(trained.history["val/loss"][-1], nan=np.inf).mean())


def has_numbers(evidence: str) -> bool:
    return re.search(r"\d", evidence) is not None


@pytest.mark.parametrize("name", SICK)
def test_the_disease_is_found_and_the_override_helps(name):
    finding, trained = examined(*SICK[name])

    assert finding.name == name
    assert finding.seeds == 3
    assert has_numbers(finding.evidence)
    assert finding.override == TRY[name]

    # Whoever types another initializer leaves out the options of the first.
    kept = [setting for setting in SICK[name] if setting not in BIG_WEIGHTS]
    _, treated = examined(*kept, finding.override)
    assert final_loss(treated) < final_loss(trained)


def test_every_finding_but_health_is_tried():
    assert {*SICK, "healthy", "undecided"} == set(FINDINGS)


def test_a_good_training_is_healthy():
    finding, _ = examined(*HEALTHY)

    assert (finding.name, finding.seeds, finding.override) == ("healthy", 3, "")
    assert has_numbers(finding.evidence)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_the_first_commands_cells_are_healthy(optimizer, activation):
    finding, _ = examined(f"optimizer={optimizer}", f"activation={activation}", "seeds=2")
    assert finding.name == "healthy"


def test_an_excellent_network_is_healthy_though_most_of_its_outputs_are_saturated():
    finding, trained = examined("activation=sigmoid", "optimizer.learning_rate=0.1", "num_epochs=15", "seeds=1")

    assert trained.history["layer1/saturation"][-1] > 0.7
    assert finding.name == "healthy"


def test_evidence_counts_the_seeds_that_diverged_and_their_first_step():
    finding, trained = examined(*MOONS, "optimizer=gd", learning_rates=[0.1, 1e30, 0.1])

    assert (finding.name, finding.seeds) == ("diverged", 1)
    assert re.fullmatch("1 of 3 seeds diverged, the first after ([0-9]+) gradient evaluations?", finding.evidence)
    assert int(finding.evidence.split()[-3]) == trained.diverged_step[1]
    assert finding.override == "optimizer.learning_rate=0.001"


def test_all_seeds_may_diverge_before_the_first_epoch_ends():
    finding, _ = examined(*MOONS, "optimizer=gd", learning_rates=[1e30] * 3)
    assert (finding.name, finding.seeds) == ("diverged", 3)


def test_the_cell_gets_the_finding_of_most_replicas():
    finding, _ = examined(*MOONS, learning_rates=[0.03, 0.0001, 0.0001])
    assert (finding.name, finding.seeds) == ("learning rate too low", 2)


def test_of_two_equally_frequent_findings_the_more_severe_counts():
    finding, _ = examined(*MOONS, "seeds=2", learning_rates=[0.03, 0.0001])
    assert (finding.name, finding.seeds) == ("learning rate too low", 1)


@pytest.mark.parametrize(
    "name", ["diverged", "momentum too high", "learning rate too high", "learning rate too low", "overfitting"]
)
def test_the_curves_alone_show_it(name):
    finding, _ = examined(*SICK[name], "diagnostics=none")
    assert (finding.name, finding.override) == (name, TRY[name])


def test_the_curves_alone_show_that_nothing_is_learned():
    finding, _ = examined(*DEEP_SIGMOID, "diagnostics=none")
    assert (finding.name, finding.override) == ("vanishing gradients", "activation=relu")


def test_the_curves_alone_show_no_disease_of_a_good_training():
    finding, _ = examined(*HEALTHY, "diagnostics=none")
    assert finding.name == "healthy"


@pytest.mark.parametrize("num_epochs", [1, 2, 4])
def test_few_epochs_are_neither_called_slow_nor_healthy(num_epochs):
    finding, _ = examined(*MOONS, f"num_epochs={num_epochs}", "optimizer=gd", "optimizer.learning_rate=1e-5")
    assert (finding.name, finding.override) == ("undecided", "num_epochs=10")
    assert has_numbers(finding.evidence)


def test_following_the_advice_on_a_rate_far_too_high_does_not_lead_in_a_circle():
    deep = ("dataset=digits", "hidden=[32,32,32]", "seeds=2")
    finding, _ = examined(*deep, "optimizer.learning_rate=0.3")
    assert finding.override == "optimizer.learning_rate=0.03"


def test_a_divergence_before_the_first_step_is_a_matter_of_the_initial_weights():
    wild = ("initializer=normal", "initializer.weight_std=1e6", "hidden=[32,32,32,32,32,32]", "seeds=2")
    finding, _ = examined(*wild)
    assert (finding.name, finding.override) == ("diverged", "initializer=auto")


def test_a_single_epoch_can_show_that_the_first_steps_were_too_big():
    finding, _ = examined(*MOONS, "num_epochs=1", "activation=leaky_relu", "optimizer.learning_rate=30")
    assert (finding.name, finding.override) == ("learning rate too high", "optimizer.learning_rate=3")


@pytest.mark.parametrize(
    ("learning_rate", "name"), [(0.001, "learning rate too low"), (3, "healthy"), (1e308, "diverged")]
)
def test_a_linear_model_has_learning_rates_alone_to_suffer_from(learning_rate, name):
    settings = ("dataset=iris", "hidden=[]", "optimizer=gd", "batch_size=16")
    finding, _ = examined(*settings, f"optimizer.learning_rate={learning_rate}")
    assert finding.name == name


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("data", [MOONS, ("dataset=iris", "batch_size=16")])
def test_a_low_learning_rate_is_seen_with_every_loss(loss, data):
    finding, _ = examined(*data, f"loss={loss}", "optimizer=gd", "optimizer.learning_rate=0.0001")
    assert finding.name == "learning rate too low"


def test_outputs_saturated_under_a_squared_error_do_not_ask_for_a_higher_learning_rate():
    settings = ("dataset=iris", "batch_size=16", "loss=mean_squared_error", "optimizer.learning_rate=10")
    finding, _ = examined(*settings, "activation=leaky_relu")
    assert (finding.name, finding.override) == ("learning rate too high", "optimizer.learning_rate=1")


def test_the_whole_training_split_as_a_batch_is_no_disease():
    settings = ("dataset=iris", "batch_size=full", "num_epochs=60")
    assert examined(*settings, "optimizer.learning_rate=0.03")[0].name == "healthy"
    assert examined(*settings, "optimizer.learning_rate=0.00001")[0].name == "learning rate too low"


def test_the_level_end_after_patience_was_lost_is_not_looked_at():
    cell, dataset = typed(*HEALTHY, "num_epochs=40", "seeds=1", "patience=3")
    trained = stack.train(cell, dataset, cell.seeds)
    [length] = trained.stopped_epoch
    assert 5 <= length < 40

    level = {
        name: np.concatenate([curves, np.repeat(curves[-1:], 40 - len(curves), axis=0)])
        for name, curves in trained.history.items()
    }
    beside_others = replace(trained, history=level)
    found = diagnose(cell, trained, learning_rate=0.03)
    assert diagnose(cell, beside_others, learning_rate=0.03) == found
    never_stopped = replace(beside_others, stopped_epoch=np.array([-1]))
    assert diagnose(cell, never_stopped, learning_rate=0.03) != found


def test_a_replica_alone_has_the_finding_that_it_has_in_a_stack():
    settings = (*MOONS, "optimizer=gd")
    for seed, learning_rate in enumerate([0.0001, 0.5, 30]):
        alone, _ = examined(*settings, f"seeds=[{seed}]", learning_rates=[learning_rate])
        cell, dataset = typed(*settings)
        together = stack.train(cell, dataset, cell.seeds, {"learning_rate": np.array([0.0001, 0.5, 30])})
        row = slice(seed, seed + 1)
        taken = replace(
            together,
            seeds=cell.seeds[row],
            history={name: curves[:, row] for name, curves in together.history.items()},
            stopped_epoch=together.stopped_epoch[row],
            diverged_step=together.diverged_step[row],
        )
        assert diagnose(cell, taken, learning_rate=cell.learning_rate) == alone


@pytest.mark.parametrize(("activation", "name"), [("relu", "dead units"), ("tanh", "vanishing gradients")])
def test_weights_that_are_all_zero_are_drawn_otherwise(activation, name):
    finding, _ = examined(*MOONS, f"activation={activation}", "initializer=normal", "initializer.weight_std=0")
    assert (finding.name, finding.override) == (name, "initializer=auto")


def test_layers_of_their_own_activations_get_them_changed_by_layer():
    finding, _ = examined(*DEEP_SIGMOID, "layer_activations=[sigmoid,sigmoid,sigmoid,tanh]")
    assert (finding.name, finding.override) == ("vanishing gradients", "layer_activations=[relu,relu,relu,relu]")
    assert examined(*DEEP_SIGMOID, finding.override)[0].name == "healthy"


def test_a_learning_rate_that_tuning_chose_is_lowered_without_tuning_and_raised_by_more_epochs():
    cell, dataset = typed(*SICK["learning rate too low"], "seeds=2")
    tuned = replace(cell, space={"learning_rate": Range(low=0.001, high=1.0)})
    for learning_rate, override in [(0.001, "num_epochs=30"), (1e30, "tuning=none optimizer.learning_rate=0.01")]:
        trained = stack.train(tuned, dataset, tuned.seeds, {"learning_rate": np.full(2, learning_rate)})
        assert diagnose(tuned, trained, learning_rate=learning_rate).override == override


def test_weight_decay_that_does_not_suffice_is_raised():
    finding, _ = examined(*SICK["overfitting"], "weight_decay=0.0001")
    assert (finding.name, finding.override) == ("overfitting", "weight_decay=0.001")
