"""The lessons of experiments/study, on less of everything: the doctor names each disease, and what it says cures it."""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hydra._internal.utils import get_args_parser
from numpy.typing import NDArray

from nnbench import app, grid
from nnbench.nn import Momentum
from nnbench.protocol import result, stack
from nnbench.protocol.cell import Cell
from nnbench.protocol.doctor import diagnose
from nnbench.protocol.result import CellResult

DEAD = ("hidden=[32,32]", "selection=last", "num_epochs=15", "optimizer.learning_rate=0.1")
DEEP = ("optimizer=gd", "optimizer.learning_rate=0.1", "hidden=[32,32,32,32,32,32]", "num_epochs=15")
STEEP = ("optimizer.learning_rate=0.1", "selection=last", "num_epochs=15")
# Grey values of 0 to 16 are too large as they are, for the same reason as those of 0 to 255.
GREY = ("optimizer=gd", "optimizer.learning_rate=0.1", "hidden=[128,32]", "num_epochs=15", "selection=last")
TINY_WEIGHTS = ("initializer=normal", "initializer.weight_std=0.01")


def cells(*settings: str) -> list[Cell]:
    os.environ.setdefault(app.SWEEP, "a sweep")
    return app._cells(grid.expand(get_args_parser().parse_args(["tracking=none", *settings])))


def trained(*settings: str) -> CellResult:
    """Return what three seeds of the cell of these settings leave behind."""
    [cell] = cells("seeds=3", *settings)
    return result.run(cell, cell.source.load())


def accuracies(found: CellResult) -> NDArray:
    """Return the test accuracy of each seed, (seeds,)."""
    return np.asarray(found.final.summary["test/accuracy"])


def followed(settings: tuple[str, ...], override: str) -> CellResult:
    """Train as the doctor says; who types another initializer leaves out the options of the first."""
    kept = [one for one in settings if "initializer=" not in override or one not in TINY_WEIGHTS]
    return trained(*kept, *override.split())


def test_units_that_long_steps_kill_are_cured_by_shorter_ones_or_by_a_leak():
    sick = trained(*DEAD)
    assert (sick.finding.name, sick.finding.seeds) == ("dead units", 3)
    assert sick.finding.override == "optimizer.learning_rate=0.01"

    worst_of_the_cured = accuracies(followed(DEAD, sick.finding.override)).min()
    worst_of_the_leaky = accuracies(trained(*DEAD, "activation=leaky_relu")).min()
    assert min(worst_of_the_cured, worst_of_the_leaky) > accuracies(sick).max() + 0.2


def test_a_deep_sigmoid_network_learns_nothing_until_its_activation_is_changed():
    settings = (*DEEP, "activation=sigmoid")
    sick = trained(*settings)
    assert (sick.finding.name, sick.finding.seeds) == ("vanishing gradients", 3)
    assert accuracies(sick).max() < 0.3

    cured = followed(settings, sick.finding.override)
    assert cured.finding.name == "healthy"
    assert accuracies(cured).min() > 0.9


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
@pytest.mark.parametrize("momentum", [0.99, 0.999])
def test_a_momentum_out_of_line_is_named_and_lowering_it_alone_cures(optimizer, momentum):
    settings = (*STEEP, f"optimizer={optimizer}", f"optimizer.momentum={momentum}")
    sick = trained(*settings)
    assert (sick.finding.name, sick.finding.seeds) == ("momentum too high", 3)
    assert f"momentum {momentum} multiplies by up to {1 / (1 - momentum):g}" in sick.finding.evidence
    assert sick.finding.override == "optimizer.momentum=0.9"

    cured = followed(settings, sick.finding.override)
    assert cured.finding.name == "healthy"
    assert accuracies(cured).min() > accuracies(sick).max()


def test_an_accuracy_of_98_percent_is_no_health_where_the_loss_is_above_that_of_guessing():
    sick = trained("optimizer=momentum", "optimizer.momentum=0.999", "seeds=2")

    history = sick.final.trained.history
    assert history["train/accuracy"][-10:].mean() > 0.97
    assert history["train/loss"][-1].min() > np.log(10)
    assert (sick.finding.name, sick.finding.override) == ("momentum too high", "optimizer.momentum=0.9")


def test_of_two_things_out_of_line_the_learning_rate_is_named_first_and_then_the_momentum():
    settings = ("dataset=moons", "dataset.num_points=400", "activation=leaky_relu", "optimizer=momentum")
    heavy = (*settings, "optimizer.momentum=0.99", "num_epochs=15")
    findings = [trained(*heavy, f"optimizer.learning_rate={rate}").finding for rate in (2, 0.1)]
    assert [finding.name for finding in findings] == ["learning rate too high", "momentum too high"]
    assert [finding.override for finding in findings] == ["optimizer.learning_rate=0.2", "optimizer.momentum=0.9"]


def test_a_divergence_under_a_momentum_out_of_line_is_cured_by_lowering_it():
    # Three seeds at once with a learning rate that the momentum makes a hundred times as large.
    [cell] = cells("optimizer=momentum", "optimizer.momentum=0.99", "seeds=3", "dataset=moons", "num_epochs=5")
    diverged = stack.train(cell, cell.source.load(), cell.seeds, {"learning_rate": np.full(3, 1e30)})
    assert diagnose(cell, diverged, learning_rate=0.1).override == "optimizer.momentum=0.9"


def test_inputs_that_are_not_scaled_are_named_before_the_learning_rate_and_scaling_them_cures():
    settings = (*GREY, "dataset.scaling=none", "initializer=he")
    sick = trained(*settings)
    assert (sick.finding.name, sick.finding.override) == ("dead units", "dataset.scaling=standard")

    cured = followed(settings, sick.finding.override)
    assert cured.finding.name == "healthy"
    assert accuracies(cured).min() > accuracies(sick).mean()


def test_two_mistakes_that_make_up_for_each_other_are_mended_together():
    settings = (*GREY, "dataset.scaling=none", *TINY_WEIGHTS)
    sick = trained(*settings)
    assert sick.finding.override == "dataset.scaling=standard initializer=auto"

    one_mended = trained(*GREY, "dataset.scaling=standard", *TINY_WEIGHTS)
    both_mended = followed(settings, sick.finding.override)
    assert both_mended.finding.name == "healthy"
    assert accuracies(one_mended).mean() < accuracies(sick).mean() < accuracies(both_mended).mean()


def test_a_plateau_under_tiny_initial_weights_is_a_matter_of_the_weights():
    settings = (*GREY, "dataset.scaling=global_minmax", *TINY_WEIGHTS)
    sick = trained(*settings)
    assert (sick.finding.name, sick.finding.override) == ("learning rate too low", "initializer=auto")
    assert accuracies(followed(settings, sick.finding.override)).min() > accuracies(sick).max() + 0.3


def test_seeds_that_draw_the_batch_order_alone_hide_most_of_the_luck():
    spread = {
        vary: np.ptp(accuracies(trained(f"vary={vary}", "dataset.test_fraction=0.3", "seeds=12")))
        for vary in ("all", "init", "order")
    }
    assert spread["order"] < min(spread["init"], spread["all"])


@pytest.mark.parametrize("momentum", [None, "heavy", 1.0])
def test_a_momentum_of_a_plugin_may_be_no_number_below_1(momentum):
    class Foreign(Momentum):
        def __init__(self, params, *, learning_rate=0.01, momentum=momentum):
            super().__init__(params, learning_rate=learning_rate)

    [cell] = cells("optimizer=momentum", "seeds=1", "dataset=moons", "num_epochs=2")
    diverged = stack.train(cell, cell.source.load(), cell.seeds, {"learning_rate": np.full(1, 1e30)})
    foreign = replace(cell, new_optimizer=partial(Foreign, momentum=momentum))
    assert diagnose(foreign, diverged, learning_rate=0.1).override == "optimizer.learning_rate=0.01"
