"""What the figures of a report draw, and that they draw nothing where there is nothing."""

import math

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from report_cases import planted, results_of

from nnbench.report import figures, tables
from nnbench.report.build import TEMPLATE
from nnbench.tracking.record import Predictions

CLASSES = ["no", "yes"]
COUNTS = pd.DataFrame([[3, 1], [0, 4]], index=CLASSES, columns=CLASSES)


@pytest.fixture(autouse=True)
def _closed():
    plt.close("all")
    yield
    plt.close("all")


def drawn() -> int:
    """Return how many figures a notebook would show."""
    return len(plt.get_fignums())


def curves(replicas: pd.DataFrame, **metrics: float) -> pd.DataFrame:
    """Five epochs of each replica, with a loss that begins at 1."""
    epochs = [
        replicas[["cell", "optimizer", "activation", "dataset", "seed"]].assign(epoch=epoch) for epoch in range(1, 6)
    ]
    history = pd.concat(epochs, ignore_index=True)
    return history.assign(**{"val/accuracy": 0.5, "train/loss": 1 / history["epoch"], **metrics})


def all_diverged():
    replicas = planted({"gd relu": [0.1] * 4, "gd tanh": [0.1] * 4}).assign(status="diverged")
    history = curves(replicas, **{"train/loss": math.nan, "time/train_seconds": math.nan})
    history = history[history["epoch"] == 1].assign(**{"layer1/grad_norm": math.nan})
    nothing = dict.fromkeys(replicas["cell"].unique(), 0 * COUNTS)
    return results_of(replicas, history=history, confusion=nothing, update_rules={"gd": "theta <- theta - eta g"})


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (figures.learning_curves, "There is no curve of val/accuracy over epoch"),
        (lambda results: figures.learning_curves(results, "train/loss"), "There is no curve of train/loss over epoch"),
        (figures.confusion, "has no confusion matrix"),
        (lambda results: figures.confusion_matrix(results, "gd relu"), "has no confusion matrix"),
        (lambda results: figures.layers(results, "gd relu"), "all seeds diverged in the first epoch"),
        (figures.update_rules, "theta <- theta"),
    ],
)
def test_cells_that_all_diverged_are_a_sentence_and_no_figure(draw, said):
    shown = draw(all_diverged())
    assert said in str(shown)
    assert "diagnostics" not in str(shown)
    assert "<img" not in shown._repr_html_()
    assert drawn() == 0


def test_update_rules_of_all_optimizers_have_one_scale():
    replicas = planted({"adam relu": [0.9, 0.8], "gd relu": [0.7, 0.6]})
    history = curves(replicas)
    history.loc[history["optimizer"] == "adam", "train/loss"] = 0.001 ** history["epoch"]
    shown = figures.update_rules(results_of(replicas, history=history))
    losses = [part.figure.axes[-1] for part in shown.parts]
    assert [ax.get_ylabel().startswith("training loss") for ax in losses] == [True, True]
    assert {ax.get_yscale() for ax in losses} == {"log"}
    assert len({ax.get_ylim() for ax in losses}) == 1


def images_of(cells: dict[str, list[float]]):
    said = Predictions(
        labels=np.array([0, 1]), predicted=np.array([[1, 1], [1, 1]]), seeds=np.array([0, 1]), samples=np.array([0]),
        images=np.zeros((1, 4, 4), dtype=np.uint8),
    )  # fmt: skip
    replicas = planted(cells)
    known = dict.fromkeys(cells, COUNTS)
    return results_of(replicas, confusion=known, predictions=dict.fromkeys(cells, said))


@pytest.mark.parametrize(("cells", "expected"), [(["a relu"], 1), (["a relu", "b relu"], 2)])
def test_images_of_the_only_network_are_drawn_once(cells, expected):
    figures.missed_images(images_of({cell: [0.9, 0.8] for cell in cells}))
    assert drawn() == expected


def noisy(place: int) -> list[float]:
    return list(0.9 + 0.01 * place + 0.001 * np.random.default_rng(place).standard_normal(8))


@pytest.mark.parametrize(
    ("optimizers", "activations", "expected"), [("ab", "wxyz", 1), ("abcd", "wxyz", 2), ("ab", "xy", 0)]
)
def test_ranks_are_drawn_of_optimizers_and_of_activations(optimizers, activations, expected):
    cells = {f"{first} {second}": noisy(ord(first) + ord(second)) for first in optimizers for second in activations}
    said = str(figures.ranks(results_of(planted(cells))))
    assert drawn() == expected
    assert ("no contradiction" in said) == (expected > 0)
    assert said.startswith("No ranks of optimizers") == (expected == 0)


def test_calibration_of_baselines_alone_says_that_networks_have_no_probabilities():
    baselines = planted({"svm": [0.9, 0.9]})
    bins = baselines.assign(bin_low=0.9, bin_high=1.0, confidence=0.95, accuracy=0.9, count=20)
    results = results_of(planted({"adam relu": [0.9, 0.8]}), baselines=baselines, calibration=bins)
    assert str(figures.calibration(results)) == "No network on digits has probabilities on record."
    assert drawn() == 0


def test_calibration_without_a_point_of_a_network_is_a_sentence():
    replicas, baselines = planted({"adam relu": [0.9, 0.8]}), planted({"svm": [0.9, 0.9]})
    rows = pd.concat([replicas, baselines], ignore_index=True)
    bins = rows.assign(
        bin_low=0.9, bin_high=1.0, confidence=0.95, accuracy=0.9, count=np.where(rows["cell"] == "svm", 20, 1)
    )
    results = results_of(replicas, baselines=baselines, calibration=bins)
    assert "too few samples" in str(figures.calibration(results))
    assert drawn() == 0


def test_one_seed_or_one_network_is_a_sentence_where_differences_would_stand():
    assert "Fewer than two equal seeds" in str(
        tables.detectable_differences(results_of(planted({"a b": [0.9], "c b": [0.8]})))
    )
    assert "no second cell" in str(tables.detectable_differences(results_of(planted({"a b": [0.9, 0.8]}))))


def test_words_of_the_template_are_true_of_every_study():
    words = " ".join(
        " ".join(cell.source.split()) for cell in jupytext.read(TEMPLATE).cells if cell.cell_type == "markdown"
    )
    assert "stays hidden" not in words
    assert "equal seeds share both" not in words  # of vary=init or vary=order they share one
    for explained in ("*stack*", "*residual*", "five samples for each seed are left out"):
        assert explained in words
