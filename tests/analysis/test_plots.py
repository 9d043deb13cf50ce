"""A figure shows the numbers that it was given, in colours that mean the same everywhere."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from nnbench.analysis import plots
from nnbench.analysis.tables import leaderboard

HISTORY = pd.DataFrame(
    [
        {
            "cell": f"{optimizer} relu",
            "optimizer": optimizer,
            "activation": "relu",
            "seed": seed,
            "epoch": epoch,
            "val/accuracy": base + seed / 10 + epoch / 100,
        }
        for optimizer, base in (("adam", 0.3), ("gd", 0.1))
        for seed in (0, 1, 2)
        for epoch in (1, 2, 3)
    ]
)


def axes():
    return Figure().subplots()


def test_a_curve_is_the_mean_over_seeds_with_one_standard_deviation():
    ax = plots.learning_curves(HISTORY, axes())

    colours = plots.colour_by_optimizer(["adam", "gd"])
    for optimizer in ("adam", "gd"):
        (line,) = (
            line for line in ax.lines if len(line.get_xdata()) and same_color(line.get_color(), colours[optimizer])
        )
        by_epoch = HISTORY[HISTORY["optimizer"] == optimizer].groupby("epoch")["val/accuracy"]
        np.testing.assert_allclose(line.get_ydata(), by_epoch.mean())
        (band,) = (band for band in ax.collections if same_color(band.get_facecolor()[0, :3], colours[optimizer]))
        edges = band.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose(edges.min(), (by_epoch.mean() - by_epoch.std()).min())
        np.testing.assert_allclose(edges.max(), (by_epoch.mean() + by_epoch.std()).max())
    assert ax.get_xlabel() == "epoch"
    assert ax.get_ylabel() == "validation accuracy\n(mean ± 1 sd over seeds)"


def test_each_cell_has_its_own_curve_whatever_it_differs_in():
    slow = HISTORY.assign(
        **{"cell": HISTORY["cell"] + " learning_rate=0.1", "val/accuracy": HISTORY["val/accuracy"] / 2}
    )
    ax = plots.learning_curves(pd.concat([HISTORY, slow]), axes())

    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["adam relu", "adam relu learning_rate=0.1", "gd relu", "gd relu learning_rate=0.1"]
    assert len({line.get_color() for line in ax.lines}) == 4
    np.testing.assert_allclose(ax.lines[1].get_ydata(), ax.lines[0].get_ydata() / 2)


def test_a_diverged_seed_leaves_its_curve_and_not_the_figure():
    history = HISTORY.copy()
    history.loc[(history["seed"] == 2) & (history["epoch"] > 1), "val/accuracy"] = np.nan

    ax = plots.learning_curves(history[history["optimizer"] == "adam"], axes())

    drawn = next(line.get_ydata() for line in ax.lines if len(line.get_xdata()))
    np.testing.assert_allclose(drawn, [0.3 + 0.1 + 0.01, 0.3 + 0.05 + 0.02, 0.3 + 0.05 + 0.03])


def test_a_colour_belongs_to_an_optimizer_whoever_is_beside_it():
    together = plots.colour_by_optimizer(["adam", "gd", "rmsprop"])

    assert plots.colour_by_optimizer(["adam"])["adam"] == together["adam"]
    assert len(set(together.values())) == 3
    assert plots.colour_by_optimizer(["adam", "mine"])["adam"] == together["adam"]
    assert len(set(plots.colour_by_optimizer(plots.OPTIMIZERS).values())) == len(plots.OPTIMIZERS)


def test_a_line_style_belongs_to_an_activation():
    assert plots.dashes_by_activation(["tanh"])["tanh"] == plots.dashes_by_activation(["relu", "tanh", "mine"])["tanh"]
    assert len(set(plots.dashes_by_activation(plots.ACTIVATIONS).values())) == len(plots.ACTIVATIONS)


def test_every_seed_is_a_point_and_the_best_cell_is_on_top():
    scores = {"gd relu": [0.5, 0.6], "adam relu": [0.9, 0.8]}
    rows = [
        {"cell": cell, "optimizer": cell.split()[0], "seed": seed, "status": "finished", "test/accuracy": value,
         "val/selected_accuracy": value}
        for cell, values in scores.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    table = pd.DataFrame(rows)

    ax = plots.accuracy_points(table, leaderboard(table), axes())

    assert [label.get_text() for label in ax.get_yticklabels()] == ["adam relu", "gd relu"]
    assert ax.yaxis_inverted()
    np.testing.assert_allclose(sorted(ax.collections[0].get_offsets()[:, 0]), [50, 60, 80, 90])
    means = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(means, [85, 55])


def test_a_confusion_matrix_shows_shares_of_the_true_class():
    counts = pd.DataFrame([[3, 1, 0], [0, 2, 0], [0, 0, 0]], index=list("abc"), columns=list("abc"))

    ax = plots.confusion_matrix(counts, axes())

    shown = np.asarray(ax.collections[0].get_array()).reshape(3, 3)
    np.testing.assert_array_equal(shown, [[75, 25, 0], [0, 100, 0], [0, 0, 0]])
    assert [text.get_text() for text in ax.texts] == ["75", "25", "", "", "100", "", "", "", ""]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_many_classes_are_drawn_without_numbers():
    names = [f"class {number}" for number in range(26)]

    ax = plots.confusion_matrix(pd.DataFrame(np.eye(26), index=names, columns=names), axes())

    assert not ax.texts


@pytest.mark.parametrize("name", ["$x^2", "a $\\frac{", "_hidden", "100 %", "{x}", "ü"])
def test_a_class_may_be_called_anything(name, tmp_path):
    counts = pd.DataFrame([[1, 0], [0, 1]], index=[name, "b"], columns=[name, "b"])

    figure = plots.confusion_matrix_figure(counts, title=name)
    with mpl.rc_context({"text.parse_math": False}):
        figure.savefig(tmp_path / "figure.png")

    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_plain_text_is_shown_as_it_is():
    assert plots.plain("a $x$") == r"a \$x\$"
    assert plots.plain("_mine").startswith(" ")
