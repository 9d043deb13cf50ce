"""A figure shows the numbers that it was given, in colours that mean the same everywhere."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
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


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_curve_is_the_mean_over_seeds_with_one_standard_deviation():
    ax = plots.learning_curves(HISTORY, axes())

    colours = plots.colour_by_optimizer(["adam", "gd"])
    for optimizer in ("adam", "gd"):
        (line,) = (
            line for line in ax.lines if len(line.get_xdata()) and same_color(line.get_color(), colours[optimizer])
        )
        by_epoch = HISTORY[HISTORY["optimizer"] == optimizer].groupby("epoch")["val/accuracy"]
        np.testing.assert_allclose(line.get_ydata(), 100 * by_epoch.mean())
        (band,) = (band for band in ax.collections if same_color(band.get_facecolor()[0, :3], colours[optimizer]))
        edges = band.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose(edges.min(), 100 * (by_epoch.mean() - by_epoch.std()).min())
        np.testing.assert_allclose(edges.max(), 100 * (by_epoch.mean() + by_epoch.std()).max())
    assert ax.get_xlabel() == "epoch"
    assert ax.get_ylabel() == "validation accuracy (%)\n(mean ± 1 sd over seeds)"


def test_each_cell_has_its_own_curve_whatever_it_differs_in():
    slow = HISTORY.assign(
        **{"cell": HISTORY["cell"] + " learning_rate=0.1", "val/accuracy": HISTORY["val/accuracy"] / 2}
    )
    ax = plots.learning_curves(pd.concat([HISTORY, slow]), axes())

    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["adam relu", "adam relu learning_rate=0.1", "gd relu", "gd relu learning_rate=0.1"]
    assert len({tuple(line.get_color()) for line in ax.lines}) == 4
    np.testing.assert_allclose(ax.lines[1].get_ydata(), ax.lines[0].get_ydata() / 2)


def test_a_mean_is_over_all_seeds_and_ends_where_one_is_missing():
    history = HISTORY.copy()
    history.loc[(history["seed"] == 2) & (history["epoch"] == 3), "val/accuracy"] = np.nan

    ax = plots.learning_curves(history[history["optimizer"] == "adam"], axes())

    line, end = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [100 * (0.3 + 0.1 + 0.01), 100 * (0.3 + 0.1 + 0.02), np.nan])
    assert (end.get_marker(), *end.get_xdata(), *end.get_ydata()) == ("x", 2, pytest.approx(42))
    assert legend(ax) == ["adam relu (1 of 3 seeds end early)"]


def test_a_seed_without_any_value_leaves_no_line_and_a_label():
    history = HISTORY[HISTORY["optimizer"] == "adam"].copy()
    history.loc[history["seed"] == 0, "val/accuracy"] = np.nan

    ax = plots.learning_curves(history, axes())

    assert len(ax.lines[0].get_ydata()) == 0
    assert [text.replace("\n", " ") for text in legend(ax)] == ["adam relu (no curve: 1 of 3 seeds end early)"]


def test_an_epoch_stands_at_the_clock_of_its_last_seed():
    stopped = np.minimum(HISTORY["epoch"], np.where(HISTORY["seed"] == 0, 1, 9))  # seed 0 stops after an epoch
    history = HISTORY.assign(**{"train/gradient_evaluations": 45.0 * stopped})

    ax = plots.learning_curves(history, axes(), against="train/gradient_evaluations")

    np.testing.assert_allclose(ax.lines[0].get_xdata(), [45, 90, 135])
    assert ax.get_xlabel() == "gradient evaluations"


def test_losses_that_differ_widely_are_on_a_logarithmic_axis_and_an_explosion_is_cut_off():
    epochs = np.arange(1, 11)
    parts = []
    for cell, losses in {"adam relu": 10.0 ** -(epochs / 3), "gd relu": np.full(10, 2.3)}.items():
        optimizer = cell.split()[0]
        parts.append(pd.DataFrame({"cell": cell, "optimizer": optimizer, "activation": "relu", "seed": 0,
                                   "epoch": epochs, "train/loss": losses}))  # fmt: skip
    wide = pd.concat(parts)
    exploding = parts[1].assign(**{"train/loss": [2.3] * 9 + [1e30]})

    assert plots.learning_curves(wide, axes(), metric="train/loss").get_yscale() == "log"
    ax = plots.learning_curves(exploding, axes(), metric="train/loss")
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[1] < 3


def test_twenty_cells_leave_the_curves_uncovered():
    cells = pd.DataFrame(
        [(f"{optimizer} {activation}", optimizer, activation)
         for optimizer in plots.OPTIMIZERS[:5] for activation in plots.ACTIVATIONS[:4]],
        columns=["cell", "optimizer", "activation"],
    )  # fmt: skip
    history = cells.merge(HISTORY[HISTORY["optimizer"] == "adam"][["seed", "epoch", "val/accuracy"]], how="cross")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    ax = plots.learning_curves(history, figure.subplots())
    figure.draw_without_rendering()

    box, beside = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert len(legend(ax)) == 20
    assert beside.x0 >= box.x1
    assert beside.x1 <= figure.bbox.x1
    assert beside.y0 >= figure.bbox.y0
    assert box.width > 0.6 * figure.bbox.width


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
    means = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(means, [85, 55])


def test_a_failed_cell_stands_at_the_edge_with_its_number_and_leaves_room_for_the_others():
    scores = {"adam relu": [0.97, 0.96], "rmsprop relu": [0.95, 0.96], "gd relu": [0.1, 0.12]}
    rows = [
        {"cell": cell, "optimizer": cell.split()[0], "seed": seed, "status": "finished", "test/accuracy": value,
         "val/selected_accuracy": value}
        for cell, values in scores.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    table = pd.DataFrame(rows)

    ax = plots.accuracy_points(table, leaderboard(table), axes())

    edge = 97 - 4 * (97 - 95.5)  # the highest seed and the median one
    failed = ax.lines[-1]
    assert (failed.get_marker(), *failed.get_xdata()) == ("<", pytest.approx(edge))
    assert [text.get_text() for text in ax.texts] == ["11.0"]
    assert edge - 1 < ax.get_xlim()[0] < edge
    assert len(ax.collections[1].get_offsets()) == 2  # its seeds


def test_a_score_a_few_samples_below_the_others_is_no_failure():
    # 15 test samples: one miss is 6.7 points, however many seeds have none.
    table = pd.DataFrame(
        {"cell": "adam relu", "optimizer": "adam", "seed": range(10), "status": "finished",
         "test/accuracy": [1.0] * 7 + [14 / 15, 14 / 15, 12 / 15], "val/selected_accuracy": 1.0}
    )  # fmt: skip

    ax = plots.accuracy_points(table, leaderboard(table), axes())

    assert ax.get_xlim()[0] < 80
    assert not ax.texts


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


def test_colours_are_those_of_seaborns_palette_for_the_colour_blind():
    assert sns.color_palette("colorblind") == plots.COLOURS
