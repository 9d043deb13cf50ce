"""Plots of cells show the numbers that they were given, each cell in its colour, marker and line style."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nnbench.analysis import plots
from nnbench.analysis.calibration import calibration_error, reliability
from nnbench.analysis.comparison import compare, compare_with
from nnbench.analysis.profiles import performance_profile, score_profile
from nnbench.analysis.ranks import rank, rank_methods
from nnbench.analysis.statistics import bootstrap_interval
from nnbench.analysis.tables import interquartile_means, leaderboard
from nnbench.analysis.variance import variance_shares

OPTIMIZERS, ACTIVATIONS = ("adam", "gd", "rmsprop", "momentum"), ("relu", "tanh")


def axes(*shape, **options):
    return Figure(figsize=(8, 4.5), layout="constrained").subplots(*shape, **options)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def replicas(*, num_seeds=10, optimizers=OPTIMIZERS, activations=ACTIVATIONS):
    """Return final replicas: optimizers a point apart, activations a tenth, and luck that all cells of a seed share."""
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.01, size=num_seeds)
    return pd.DataFrame(
        [
            {
                "cell": f"{optimizer} {activation}", "optimizer": optimizer, "activation": activation, "seed": seed,
                "status": "finished", "val/selected_accuracy": 0.9,
                "test/accuracy": 0.95 - 0.01 * first - 0.001 * second + luck[seed] + rng.normal(0, 0.001),
                "val/target_epoch": np.inf if seed >= num_seeds - first else 1.0 + first + seed,
            }
            for first, optimizer in enumerate(optimizers)
            for second, activation in enumerate(activations)
            for seed in range(num_seeds)
        ]
    )  # fmt: skip


def history(table, *, num_epochs=5):
    """Return curves of such replicas, with the diagnostics of two hidden layers."""
    epochs = pd.DataFrame({"epoch": range(1, num_epochs + 1)})
    curves = table.drop(columns="val/target_epoch").merge(epochs, how="cross")
    accuracy = curves["test/accuracy"] - 0.5 / curves["epoch"]
    layers = {f"layer{layer}/grad_norm": 10.0**layer / curves["epoch"] + curves["seed"] for layer in (1, 2, 3)}
    units = {f"layer{layer}/dead_units": 0.1 * layer + 0.01 * curves["seed"] for layer in (1, 2)}
    return curves.assign(**{"val/accuracy": accuracy, "train/loss": 1 / curves["epoch"], **layers, **units})


def tuning(table):
    """Return a search of five learning rates, the highest of which diverges, with three tuning seeds."""
    trials = pd.DataFrame({"trial": range(5), "learning_rate": 10.0 ** np.arange(-4, 1)})
    seeds = pd.DataFrame({"tuning_seed": [1000, 1001, 1002]})
    cells = table[["cell", "optimizer", "activation"]].drop_duplicates()
    rows = cells.merge(trials, how="cross").merge(seeds, how="cross").rename(columns={"tuning_seed": "seed"})
    diverged = rows["trial"] == 4
    scores = 0.9 - 0.05 * (rows["trial"] - 2) ** 2 + 0.001 * (rows["seed"] - 1001)
    return rows.assign(
        **{"status": np.where(diverged, "diverged", "finished"), "val/selected_accuracy": scores.mask(diverged, 0.1)}
    )


def baselines(names=("dummy", "svm", "random_forest"), *, num_seeds=10):
    """Return replicas of three models, of which the last draws something."""
    scores = {names[0]: [0.1] * num_seeds, names[1]: [0.945] * num_seeds, names[2]: 0.9 + 0.001 * np.arange(num_seeds)}
    return pd.DataFrame(
        [
            {"cell": name, "seed": seed, "status": "finished", "test/accuracy": value}
            for name, values in scores.items()
            for seed, value in enumerate(values)
        ]
    )


def bins(table):
    rng = np.random.default_rng(0)
    parts = []
    for row in table.itertuples():
        probabilities = rng.dirichlet([0.5] * 4, size=300)
        labels = rng.integers(4, size=300)
        part = reliability(probabilities, labels)
        parts.append(part.assign(cell=row.cell, optimizer=row.optimizer, activation=row.activation, seed=row.seed))
    return pd.concat(parts, ignore_index=True)


def test_a_heatmap_has_each_mean_and_half_of_its_interval():
    table = replicas()
    board = leaderboard(table)
    ax = plots.heatmap(table, board, compare(table), axes())

    means = np.asarray(ax.collections[0].get_array()).reshape(4, 2)
    by_cell = board.set_index("cell")
    for row, optimizer in enumerate(OPTIMIZERS):
        for column, activation in enumerate(ACTIVATIONS):
            shown = by_cell.loc[f"{optimizer} {activation}"]
            assert means[row, column] == pytest.approx(100 * shown["mean"])
            half = 50 * (shown["high"] - shown["low"])
            assert f"{100 * shown['mean']:.2f} ± {half:.2f}" in {text.get_text() for text in ax.texts}
    assert [text.get_text() for text in ax.get_yticklabels()] == list(OPTIMIZERS)
    assert [text.get_text() for text in ax.get_xticklabels()] == list(ACTIVATIONS)


def test_a_heatmap_frames_the_best_and_what_it_is_not_better_than():
    table = replicas(num_seeds=12)  # with 28 pairs it takes eleven to tell any apart
    pairs = compare(table)
    best = leaderboard(table)["cell"][0]
    ax = plots.heatmap(table, leaderboard(table), pairs, axes())

    framed = {(int(patch.get_y()), int(patch.get_x())): patch for patch in ax.patches if isinstance(patch, Rectangle)}
    better = set(pairs.loc[(pairs["first"] == best) & (pairs["verdict"] == "better"), "second"])
    assert better  # or else this test shows nothing
    for row, optimizer in enumerate(OPTIMIZERS):
        for column, activation in enumerate(ACTIVATIONS):
            assert ((row, column) in framed) == (f"{optimizer} {activation}" not in better)
    assert [patch.get_linestyle() for patch in framed.values()].count("-") == 1
    assert legend(ax) == ["best", "equivalent to it, or not told apart"]


def test_a_heatmap_tells_of_divergence_of_gaps_and_of_cells_that_it_leaves_out():
    table = replicas(optimizers=("adam", "gd"))
    table.loc[(table["cell"] == "gd tanh") & (table["seed"] < 3), ["status", "test/accuracy"]] = ["diverged", 0.1]
    slow = table[table["cell"] == "adam relu"].assign(cell="adam relu slow")
    slow["test/accuracy"] -= 0.1
    table = pd.concat([table[table["cell"] != "adam tanh"], slow])

    ax = plots.heatmap(table, leaderboard(table), compare(table), axes())

    words = [text.get_text() for text in ax.texts]
    assert sum("best of 2" in text for text in words) == 1
    assert sum("3 of 10 diverged" in text for text in words) == 1
    assert np.ma.count_masked(ax.collections[0].get_array()) == 1


def test_time_to_target_steps_up_with_each_seed_that_meets_it():
    table = replicas(optimizers=("adam", "gd"), activations=("relu",))

    ax = plots.time_to_target(table, axes())

    adam, gd = ax.lines
    np.testing.assert_allclose(adam.get_xdata()[1:-1], np.arange(1, 11))
    np.testing.assert_allclose(adam.get_ydata(), [*np.arange(0, 101, 10), 100])
    np.testing.assert_allclose(gd.get_xdata()[1:-1], np.arange(2, 11))
    assert gd.get_ydata()[-1] == 90
    assert legend(ax) == ["adam relu: 10 of 10", "gd relu: 9 of 10"]
    assert same_color(adam.get_color(), plots.colour_by_optimizer(["adam"])["adam"])
    assert ax.get_xlim()[0] == 0


def test_where_no_seed_meets_the_target_the_line_stays_at_zero():
    table = replicas(optimizers=("adam",)).assign(**{"val/target_epoch": np.inf})

    ax = plots.time_to_target(table, axes())

    assert all((line.get_ydata() == 0).all() for line in ax.lines)
    assert legend(ax) == ["adam relu: 0 of 10", "adam tanh: 0 of 10"]


def test_learning_rates_have_mean_spread_divergence_and_choice():
    table = tuning(replicas(optimizers=("adam",), activations=("relu",)))

    ax = plots.learning_rates(table, axes())

    curve, crosses, ring = ax.lines[0], ax.lines[-4], ax.lines[-3]
    (errorbar,) = ax.containers
    np.testing.assert_allclose(curve.get_xdata().astype(float), 10.0 ** np.arange(-4, 1))
    np.testing.assert_allclose(curve.get_ydata().astype(float), [70, 85, 90, 85, 10])
    spreads = [np.ptp(path.vertices[:, 1]) / 2 for path in errorbar[2][0].get_paths()]
    np.testing.assert_allclose(spreads, [0.1, 0.1, 0.1, 0.1, 0], atol=1e-9)
    assert (crosses.get_marker(), list(crosses.get_xdata()), list(crosses.get_ydata())) == ("x", [1] * 3, [10] * 3)
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([0.01], [pytest.approx(90)])
    assert ax.get_xscale() == "log"
    assert legend(ax) == ["adam relu", "chosen", "diverged seed"]


def test_the_choice_of_tuning_is_the_one_that_is_marked():
    table = tuning(replicas(optimizers=("adam",), activations=("relu",)))

    ax = plots.learning_rates(table, axes(), chosen={"adam relu": 0.1})

    assert [list(line.get_xdata()) for line in ax.lines if line.get_markersize() == 13] == [[0.1]]


def test_trials_that_differ_in_more_than_the_learning_rate_are_not_joined():
    table = tuning(replicas(optimizers=("adam",), activations=("relu",)))

    joined, loose = (plots.learning_rates(part, axes()).lines[0] for part in (table, table.assign(b=table["trial"])))

    assert (joined.get_linestyle(), loose.get_linestyle()) == ("-", "None")


def test_price_of_tuning_is_an_arrow_from_untuned_to_tuned():
    tuned = replicas(optimizers=("adam", "gd"), activations=("relu",))
    untuned = tuned.assign(**{"test/accuracy": tuned["test/accuracy"] - 0.02})
    alone = tuned[tuned["cell"] == "adam relu"].assign(cell="never tuned")

    ax = plots.price_of_tuning(pd.concat([tuned, alone]), untuned, axes())

    assert [text.get_text() for text in ax.get_yticklabels()] == ["adam relu", "gd relu"]
    for place, arrow in enumerate(ax.texts):
        scores = 100 * tuned.loc[tuned["cell"] == ("adam relu", "gd relu")[place], "test/accuracy"]
        assert arrow.xy[0] == pytest.approx(scores.mean())
        assert arrow.xyann[0] == pytest.approx(scores.mean() - 2)
        interval = ax.lines[4 * place + 2].get_xdata()
        assert interval == pytest.approx(bootstrap_interval(scores.to_numpy()))
    assert legend(ax) == ["as configured", "tuned"]


def test_paired_differences_are_seen_from_the_chosen_cell():
    table = replicas(optimizers=("adam", "gd", "rmsprop"), activations=("relu",))
    pairs = compare(table)

    ax = plots.paired_differences(table, pairs, axes(), cell="gd relu")

    assert [text.get_text() for text in ax.get_yticklabels()] == ["adam relu", "rmsprop relu"]
    behind, ahead = (line for line in ax.lines if len(line.get_xdata()) == 1)
    first = pairs[(pairs["first"] == "adam relu") & (pairs["second"] == "gd relu")].iloc[0]
    assert behind.get_xdata()[0] == pytest.approx(-100 * first["difference"])
    assert ahead.get_xdata()[0] > 0
    intervals = [line.get_xdata() for line in ax.lines[1:] if len(line.get_xdata()) == 2]
    assert sorted(intervals[0]) == pytest.approx([-100 * first["high"], -100 * first["low"]])
    assert same_color(behind.get_markerfacecolor(), plots.colour_by_optimizer(["adam"])["adam"])  # told apart


def test_the_face_of_a_marker_is_the_verdict():
    table = replicas(optimizers=("adam", "gd"), activations=("relu",))
    pairs = compare(table)
    faces = {}
    for verdict in ("better", "equivalent", "cannot tell"):
        ax = plots.paired_differences(table, pairs.assign(verdict=verdict), axes(), cell="adam relu")
        faces[verdict] = (ax.lines[-1].get_markerfacecolor(), ax.lines[-1].get_fillstyle())

    colour = plots.colour_by_optimizer(["gd"])["gd"]
    assert faces == {"better": (colour, "full"), "equivalent": (colour, "left"), "cannot tell": ("white", "full")}


def test_a_lead_far_above_the_others_stands_at_the_edge():
    optimizers = ("adam", "rmsprop", "momentum", "gd")
    table = replicas(optimizers=optimizers, activations=("relu",))
    table.loc[table["optimizer"] == "gd", "test/accuracy"] = np.linspace(0.1, 0.12, 10)

    ax = plots.paired_differences(table, compare(table), axes(), cell="adam relu")

    assert ax.lines[-1].get_marker() == ">"
    assert float(ax.texts[-1].get_text()) > 80
    assert ax.get_xlim()[1] < 10


def test_critical_differences_place_methods_at_their_ranks_and_join_groups():
    ranking = rank_methods(replicas())

    ax = plots.critical_differences(ranking, axes())

    points = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
    assert points == pytest.approx(list(ranking.table["mean_rank"]))
    bars = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 4]
    assert len(bars) == len(ranking.groups)
    ranks = dict(zip(ranking.table["method"], ranking.table["mean_rank"], strict=True))
    for bar, group in zip(bars, ranking.groups, strict=True):
        assert tuple(bar) == pytest.approx((ranks[group[0]], ranks[group[-1]]), abs=0.05)
    length = np.ptp(ax.lines[-1].get_xdata())
    assert length == pytest.approx(ranking.critical_difference)
    for method, mean_rank in ranks.items():
        assert f"{method} ({mean_rank:.2f})" in {text.get_text() for text in ax.texts}


def test_a_performance_profile_is_a_step_curve_with_its_band():
    table = performance_profile(replicas(optimizers=("adam", "gd")))

    ax = plots.profile(table, axes())

    adam, gd = ax.lines
    of_gd = table[table["optimizer"] == "gd"]
    np.testing.assert_allclose(gd.get_xdata()[:-1], of_gd["factor"])
    np.testing.assert_allclose(gd.get_ydata()[:-1], 100 * of_gd["share"])
    assert gd.get_drawstyle() == "steps-post"
    assert ax.get_xscale() == "log"
    assert same_color(adam.get_color(), plots.colour_by_optimizer(["adam"])["adam"])
    assert len(ax.collections) == 2


def test_a_score_profile_is_in_per_cent():
    table = score_profile(replicas())

    ax = plots.profile(table, axes())

    assert legend(ax) == sorted(OPTIMIZERS)
    of_first = table[table["optimizer"] == sorted(OPTIMIZERS)[0]]
    np.testing.assert_allclose(ax.lines[0].get_xdata()[:-1], 100 * of_first["threshold"])
    assert 80 < ax.get_xlim()[0] < 100 * table["threshold"].max() < ax.get_xlim()[1]


def test_activations_are_told_apart_by_their_line_style():
    ax = plots.profile(performance_profile(replicas(), by="activation", over="optimizer"), axes())

    assert {line.get_color() for line in ax.lines} == {"black"}
    assert len({str(line._dash_pattern) for line in ax.lines}) == 2


def test_a_reliability_curve_pools_seeds_and_tells_the_error():
    table = bins(replicas(optimizers=("adam",), activations=("relu",), num_seeds=4))

    ax = plots.reliability(table, axes())

    errors = [100 * calibration_error(part) for _, part in table.groupby("seed")]
    number = f"{np.mean(errors):.1f}\xa0±\xa0{np.std(errors, ddof=1):.1f}\xa0%"  # a line ends nowhere in it
    assert legend(ax) == ["as sure as right", f"adam relu: {number}"]
    shown = ax.collections[-1].get_offsets()
    top = table[table["bin_high"] == 1]
    assert tuple(shown[-1]) == pytest.approx(
        tuple(100 * (top[name] * top["count"]).sum() / top["count"].sum() for name in ("confidence", "accuracy"))
    )
    assert len(shown) < table["bin_low"].nunique()  # bins that are next to empty


def test_gradient_flow_has_a_line_for_each_layer():
    curves = history(replicas(optimizers=("gd",), activations=("tanh",), num_seeds=5))

    ax = plots.gradient_flow(curves, axes())

    assert ax.get_yscale() == "log"
    assert legend(ax) == ["layer 1", "layer 2", "layer 3"]
    for layer, line in enumerate(ax.lines, start=1):
        np.testing.assert_allclose(line.get_ydata(), 10.0**layer / np.arange(1, 6) + 2)
    assert len({line.get_marker() for line in ax.lines}) == 3
    assert len(ax.collections) == 3


def test_layers_are_in_the_order_of_their_numbers():
    curves = history(replicas(optimizers=("gd",), activations=("tanh",), num_seeds=2))
    curves = curves.assign(**{f"layer{layer}/grad_norm": 1.0 for layer in (10, 9)})

    assert legend(plots.gradient_flow(curves, axes()))[-2:] == ["layer 9", "layer 10"]


def test_idle_units_are_shares_in_per_cent():
    curves = history(replicas(optimizers=("gd",), activations=("relu",), num_seeds=5))
    curves["layer3/saturation"] = np.nan

    ax = plots.idle_units(curves, axes())

    assert legend(ax) == ["layer 1, dead", "layer 2, dead"]
    np.testing.assert_allclose([line.get_ydata()[0] for line in ax.lines], [12, 22])
    assert ax.get_ylabel().startswith("dead units (%)")


def test_what_was_not_recorded_is_not_drawn():
    curves = history(replicas(optimizers=("gd",)))
    with pytest.raises(ValueError, match="2 cells"):
        plots.gradient_flow(curves, axes())
    bare = curves[curves["cell"] == "gd relu"].drop(columns=[name for name in curves if name.startswith("layer")])
    with pytest.raises(ValueError, match="diagnostics=basic"):
        plots.gradient_flow(bare, axes())
    with pytest.raises(ValueError, match="diagnostics=basic"):
        plots.idle_units(bare, axes())


@pytest.mark.parametrize(("num_layers", "reason"), [(1, "there is no hidden layer"), (3, "its activation has none")])
def test_why_no_unit_is_idle_is_said_truly(num_layers, reason):
    curves = history(replicas(optimizers=("gd",), activations=("identity",)))
    kept = [f"layer{layer}/grad_norm" for layer in range(1, num_layers + 1)]
    curves = curves.drop(columns=[name for name in curves if name.startswith("layer") and name not in kept])

    with pytest.raises(ValueError, match=f"^no layer has dead or saturated units: {reason}$"):
        plots.idle_units(curves, axes())


def test_a_cell_with_too_few_samples_is_named_without_a_sign():
    table = bins(replicas(optimizers=("adam", "gd"), activations=("relu",), num_seeds=4))
    table.loc[table["cell"] == "gd relu", "count"] = (table["count"] > 0).astype(int)

    ax = plots.reliability(table, axes())

    text = legend(ax)[-1].replace("\n", " ")
    assert text.startswith("gd relu: ")
    assert text.endswith("too few samples to draw")
    (handle,) = ax.get_legend().legend_handles[-1:]
    assert (handle.get_linestyle(), handle.get_marker()) == ("None", "None")
    assert set(plots.reliability_points(table)["cell"]) == {"adam relu"}


def test_no_bar_of_a_reliability_curve_leaves_what_an_accuracy_can_be():
    row = {"cell": "a", "optimizer": "adam", "activation": "relu", "bin_low": 0.9, "confidence": 0.95, "count": 50}
    table = pd.DataFrame([{**row, "seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate((1, 1, 0.7))])

    ax = plots.reliability(table, axes())

    (bar,) = ax.collections[0].get_segments()
    assert bar[:, 1].max() == pytest.approx(100)
    assert ax.get_ylim()[0] < bar[:, 1].min()
    assert ax.get_ylim()[1] > 100


def test_a_curve_of_seeds_at_the_target_has_a_marker_at_more_than_its_end():
    table = replicas(optimizers=("adam", "gd"), activations=("relu",))

    ax = plots.time_to_target(table, axes())

    assert {len(line.get_markevery()) for line in ax.lines} == {6}
    assert all(0 not in line.get_markevery() for line in ax.lines)


def test_a_profile_over_a_small_factor_has_more_than_two_numbers():
    shares = pd.DataFrame({"optimizer": "adam", "factor": [1.0, 1.7, 2.4], "share": [0.2, 0.5, 1.0]})

    ax = plots.profile(shares.assign(low=shares["share"], high=shares["share"]), axes())

    low, high = ax.get_xlim()
    assert sum(low <= tick <= high for tick in ax.get_xticks()) >= 4


def test_curves_of_several_figures_have_one_scale():
    slow, fast = (history(replicas(optimizers=(name,), activations=("relu",))) for name in ("gd", "adam"))
    fast = fast.assign(**{"train/loss": 0.001 ** fast["epoch"]})
    panels = [plots.learning_curves(table, axes(), metric="train/loss") for table in (slow, fast)]
    assert [ax.get_yscale() for ax in panels] == ["linear", "log"]

    plots.on_one_scale(panels, metric="train/loss")

    assert [ax.get_yscale() for ax in panels] == ["log", "log"]
    assert panels[0].get_ylim() == panels[1].get_ylim()


def test_accuracy_of_diverged_seeds_says_that_they_end_early():
    curves = history(replicas(optimizers=("gd",), activations=("relu",)))
    curves.loc[curves["seed"] < 3, "status"] = "diverged"

    ax = plots.learning_curves(curves, axes(), metric="val/accuracy")

    assert legend(ax) == ["gd relu (3 of 10 seeds end early)"]


def test_a_cell_without_a_curve_is_named_without_a_sign():
    curves = history(replicas(optimizers=("adam", "gd"), activations=("relu",)))
    curves.loc[curves["optimizer"] == "gd", "train/loss"] = np.nan

    ax = plots.learning_curves(curves, axes(), metric="train/loss")

    assert legend(ax)[1].replace("\n", " ") == "gd relu (no curve: 10 of 10 seeds end early)"
    assert ax.get_legend().legend_handles[1].get_marker() == "None"
    assert plots.has_curve(curves, metric="train/loss")
    assert not plots.has_curve(curves[curves["optimizer"] == "gd"], metric="train/loss")


def test_an_arrow_at_the_edge_of_the_differences_lies_inside_the_frame():
    scores = {"adam relu": 0.97, "gd relu": 0.965, "rmsprop relu": 0.962, "momentum relu": 0.1}
    rows = [
        {"cell": cell, "optimizer": cell.split()[0], "activation": "relu", "seed": seed, "test/accuracy": mean + luck}
        for cell, mean in scores.items()
        for seed, luck in enumerate(np.random.default_rng(len(cell)).normal(0, 0.001, size=8))
    ]
    table = pd.DataFrame(rows)

    ax = plots.paired_differences(table, compare(table), axes(), cell="adam relu")

    (arrow,) = (line for line in ax.lines if line.get_marker() == ">")
    left, right = ax.get_xlim()
    assert right - arrow.get_xdata()[0] > 0.02 * (right - left)


def test_small_multiples_have_a_panel_for_each_optimizer_and_one_legend():
    curves = history(replicas())
    grid = axes(2, 3, sharex=True, sharey=True)

    plots.small_multiples(curves, grid, plots.learning_curves)

    panels = grid.ravel()
    assert [ax.get_title() for ax in panels[:4]] == list(OPTIMIZERS)
    assert [len(ax.lines) for ax in panels] == [2, 2, 2, 2, 0, 0]
    assert [ax.get_legend() is None for ax in panels] == [True] * 5 + [False]
    assert legend(panels[-1]) == list(ACTIVATIONS)
    assert not panels[4].axison
    together = plots.learning_curves(curves, axes())
    for ax, line in zip(panels[:4], together.lines[::2], strict=True):
        assert same_color(ax.lines[0].get_color(), line.get_color())
        assert ax.lines[0]._dash_pattern == line._dash_pattern
        np.testing.assert_allclose(ax.lines[0].get_ydata(), line.get_ydata())


def test_small_multiples_keep_the_colours_of_optimizers_that_nnbench_does_not_know():
    curves = history(replicas(optimizers=("mine", "yours")))
    grid = axes(1, 2)

    plots.small_multiples(curves, grid, plots.learning_curves)

    colours = plots.colour_by_optimizer(["mine", "yours"])
    assert same_color(grid[0].lines[0].get_color(), colours["mine"])
    assert same_color(grid[1].lines[0].get_color(), colours["yours"])


def test_small_multiples_by_activation_have_optimizers_in_their_legend():
    grid = axes(1, 2, sharex=True, sharey=True)

    plots.small_multiples(
        history(replicas()), grid, partial(plots.learning_curves, metric="train/loss"), by="activation"
    )

    assert [ax.get_title() for ax in grid] == list(ACTIVATIONS)
    assert legend(grid[-1]) == list(OPTIMIZERS)


def test_small_multiples_keep_labels_that_differ_from_panel_to_panel():
    grid = axes(2, 2, sharex=True, sharey=True)

    plots.small_multiples(replicas(), grid, plots.time_to_target)

    assert legend(grid[0, 0]) == ["relu: 10 of 10", "tanh: 10 of 10"]
    assert legend(grid[1, 1]) == ["relu: 7 of 10", "tanh: 7 of 10"]
    assert grid[0, 0].get_xlim() == grid[1, 1].get_xlim()
    assert grid[0, 0].get_xlim()[1] > replicas()["val/target_epoch"].replace(np.inf, 0).max()


def test_small_multiples_of_learning_rates_explain_their_signs_once():
    grid = axes(2, 3, sharex=True, sharey=True)

    plots.small_multiples(tuning(replicas()), grid, plots.learning_rates)

    assert legend(grid[1, 2]) == [*ACTIVATIONS, "chosen", "diverged seed"]


def test_too_few_axes_are_refused():
    with pytest.raises(ValueError, match="2 axes for 4 panels"):
        plots.small_multiples(history(replicas()), axes(1, 2), plots.learning_curves)


def test_baselines_stand_beside_networks_in_order_of_their_means():
    table = replicas(optimizers=("adam", "gd"), activations=("relu",))

    ax = plots.baselines(table, baselines(), axes(), cells=["gd relu", "adam relu"])

    of_adam, of_gd = (table.loc[table["optimizer"] == name, "test/accuracy"] for name in ("adam", "gd"))
    means = {"adam relu": of_adam.mean(), "gd relu": of_gd.mean(), "svm": 0.945, "random_forest": 0.9045, "dummy": 0.1}
    names = sorted(means, key=lambda name: -means[name])
    assert [text.get_text() for text in ax.get_yticklabels()] == names
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    for name, mark in list(zip(names, marks, strict=True))[:-1]:
        assert mark.get_xdata()[0] == pytest.approx(100 * means[name])
        network = name.endswith("relu")
        assert (mark.get_markerfacecolor() == "white") != network
        if network:
            assert same_color(mark.get_color(), plots.colour_by_optimizer(["adam", "gd"])[name.split()[0]])
    assert (marks[-1].get_marker(), ax.texts[-1].get_text()) == ("<", "10.0")  # far below the others
    assert marks[0].get_marker() != marks[2].get_marker()
    assert legend(ax) == ["network", "baseline"]


def test_seeds_are_drawn_where_they_matter_and_nowhere_else():
    table = replicas(optimizers=("adam",), activations=("relu",))
    table.loc[table["seed"] == 3, "test/accuracy"] = 0.2

    ax = plots.baselines(table, baselines(), axes(), cells=["adam relu"])

    intervals = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    wanted = [
        bootstrap_interval(100 * scores.to_numpy())
        for scores in (baselines().query("cell == 'random_forest'")["test/accuracy"], table["test/accuracy"])
    ]
    np.testing.assert_allclose(sorted(intervals), sorted(wanted))
    assert sum(len(part.get_offsets()) for part in ax.collections) == 20  # ten each, the failed one at the edge
    shown = np.concatenate([part.get_offsets()[:, 0] for part in ax.collections])
    assert min(shown) > 70


def test_interquartile_means_are_points_with_their_intervals():
    table = interquartile_means(replicas())

    ax = plots.interquartile_means(table, axes())

    assert [text.get_text() for text in ax.get_yticklabels()] == list(table["optimizer"])
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    intervals = [line for line in ax.lines if len(line.get_xdata()) == 2]
    colours = plots.colour_by_optimizer(OPTIMIZERS)
    for row, mark, interval in zip(table.itertuples(), marks, intervals, strict=True):
        assert mark.get_xdata()[0] == pytest.approx(100 * row.interquartile_mean)
        assert tuple(interval.get_xdata()) == pytest.approx((100 * row.low, 100 * row.high))
        assert same_color(mark.get_color(), colours[row.optimizer])
    low, high = ax.get_xlim()
    assert low < 100 * table["low"].min() < 100 * table["high"].max() < high


def test_an_optimizer_far_below_stands_at_the_edge_with_its_number():
    table = replicas()
    table.loc[table["optimizer"] == "gd", "test/accuracy"] = 0.1

    ax = plots.interquartile_means(interquartile_means(table), axes())

    assert [text.get_text() for text in ax.texts] == ["10.0"]
    assert ax.get_xlim()[0] > 80


def test_interquartile_means_of_activations_are_black():
    table = interquartile_means(replicas(), by="activation", over="optimizer")

    ax = plots.interquartile_means(table, axes())

    assert {line.get_color() for line in ax.lines} == {"black"}


def test_shares_of_variance_are_the_pieces_of_a_bar():
    table = variance_shares(replicas())

    ax = plots.variance_shares(table, axes())

    pieces = list(ax.patches)
    np.testing.assert_allclose([piece.get_width() for piece in pieces], 100 * table["share"])
    np.testing.assert_allclose([piece.get_x() for piece in pieces], [0, *100 * np.cumsum(table["share"])[:-1]])
    assert len({piece.get_hatch() for piece in pieces}) == len({piece.get_facecolor() for piece in pieces}) == 5
    large = table[table["share"] >= 0.04]
    assert [text.get_text() for text in ax.texts] == [
        f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %" for share in large["share"]
    ]
    assert [text.split(":")[0] for text in legend(ax)] == list(table["source"])


def test_several_bars_have_the_same_pieces():
    table = replicas()
    final = variance_shares(table).assign(of="final")
    trials = variance_shares(tuning(table), within="trial", metric="val/selected_accuracy").assign(of="tuning")

    ax = plots.variance_shares(pd.concat([final, trials]), axes())

    assert [text.get_text() for text in ax.get_yticklabels()] == ["final", "tuning"]
    assert len(ax.patches) == 5 + 6
    assert legend(ax)[-3:] == ["trial within cell", "seed", "residual"]
    hatches = [piece.get_hatch() for piece in ax.patches]
    assert hatches[:3] == hatches[5:8]
    assert hatches[3:5] == hatches[9:11]


def test_what_has_no_shares_is_not_drawn():
    with pytest.raises(ValueError, match="no shares of variance"):
        plots.variance_shares(variance_shares(replicas().iloc[1:]), axes())


def test_of_very_many_cells_the_ones_on_the_leaderboard_are_drawn():
    many = pd.concat(
        [replicas(num_seeds=3).assign(cell=lambda part, place=place: part["cell"] + f" {place}") for place in range(30)]
    )
    failed = many["cell"] == "adam relu 7"
    many.loc[failed, "test/accuracy"] -= 0.9
    many = many.reset_index(drop=True)
    board = leaderboard(many)
    best, top = board["cell"][0], board.head(10)

    points = plots.accuracy_points(many, top, axes())
    leads = plots.paired_differences(many, compare_with(many, best).head(10), axes(), cell=best)
    grid = plots.heatmap(many, board, compare_with(many, best), axes())
    price = plots.price_of_tuning(many, many[many["cell"].isin(top["cell"])], axes())

    assert [len(ax.get_yticklabels()) for ax in (points, leads, price, grid)] == [10, 10, 10, 4]
    assert sum(len(part.get_offsets()) for part in points.collections) == 30
    assert points.get_xlim()[0] > 80  # what failed is not on it
    for ax in (points, leads, grid, price):
        ax.figure.draw_without_rendering()


def draw_all(table):
    """Draw every plot of cells."""
    board, pairs, curves = leaderboard(table), compare(table), history(table)
    cell = board["cell"][0]
    scores = table.pivot_table(index=["activation", "seed"], columns="optimizer", values="test/accuracy")
    yield plots.accuracy_points(table, board, axes())
    yield plots.heatmap(table, board, pairs, axes())
    yield plots.paired_differences(table, pairs, axes(), cell=cell)
    yield plots.learning_curves(curves, axes())
    yield plots.time_to_target(table, axes())
    yield plots.learning_rates(tuning(table), axes())
    yield plots.price_of_tuning(table, table.assign(**{"test/accuracy": table["test/accuracy"] - 0.01}), axes())
    yield plots.critical_differences(rank(scores), axes())
    yield plots.profile(performance_profile(table), axes())
    yield plots.profile(score_profile(table, by="activation", over="optimizer"), axes())
    yield plots.gradient_flow(curves[curves["cell"] == cell], axes())
    yield plots.idle_units(curves[curves["cell"] == cell], axes())
    yield plots.reliability(bins(table[table["seed"] < 2]), axes())
    yield plots.baselines(table, baselines(list(table["optimizer"].unique())[-3:]), axes(), cells=[cell])
    yield plots.interquartile_means(interquartile_means(table), axes())
    yield plots.interquartile_means(interquartile_means(table, by="activation", over="optimizer"), axes())
    shares = variance_shares(table)
    yield plots.variance_shares(shares.assign(source=[*table["optimizer"].unique()[:4], "rest"]), axes())
    yield plots.variance_shares(pd.concat([shares.assign(of=name) for name in table["activation"].unique()]), axes())
    yield plots.small_multiples(curves, axes(2, 2), plots.learning_curves)[0, 0]
    yield plots.small_multiples(table, axes(2, 2), plots.time_to_target)[0, 0]


@pytest.mark.parametrize("names", [("$x$", "_y", "<b>", "$\\frac{"), ("a $", "{x}", "100 %", "long " * 60)])
def test_names_are_shown_as_they_are_in_every_plot(names):
    table = replicas(num_seeds=6, optimizers=names, activations=("$\\alpha", "_hidden"))

    for ax in draw_all(table):
        ax.figure.draw_without_rendering()
        texts = [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), ax.title]
        texts += ax.get_legend().get_texts() if ax.get_legend() else []
        assert not any(
            "$" in text.get_text().replace(r"\$", "") for text in texts if "mathdefault" not in text.get_text()
        )
    labels = legend(plots.learning_curves(history(table), axes()))
    assert len(labels) == 8  # none is hidden for its underscore


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_few_seeds_are_drawn_without_a_warning(num_seeds):
    table = replicas(num_seeds=num_seeds, optimizers=("adam", "gd"))
    board, pairs, curves = leaderboard(table), compare(table), history(table)

    for ax in (
        plots.accuracy_points(table, board, axes()),
        plots.heatmap(table, board, pairs, axes()),
        plots.paired_differences(table, pairs, axes(), cell="adam relu"),
        plots.learning_curves(curves, axes()),
        plots.learning_rates(tuning(table), axes()),
        plots.price_of_tuning(table, table, axes()),
        plots.profile(performance_profile(table), axes()),
        plots.baselines(table, baselines(num_seeds=num_seeds), axes(), cells=["adam relu"]),
        plots.interquartile_means(interquartile_means(table), axes()),
        plots.gradient_flow(curves[curves["cell"] == "gd relu"], axes()),
        plots.reliability(bins(table), axes()),
    ):
        ax.figure.draw_without_rendering()


def test_a_single_cell_and_one_that_is_nothing_but_diverged_are_drawn_without_a_warning():
    table = replicas(optimizers=("adam",), activations=("relu",))
    gone = table.assign(**{"status": "diverged", "test/accuracy": 0.1, "val/target_epoch": np.inf})
    curves = history(gone)
    numbers = [name for name in curves if "/" in name]
    curves[numbers] = np.nan

    for part in (table, gone):
        board, pairs = leaderboard(part), compare(part)
        plots.accuracy_points(part, board, axes()).figure.draw_without_rendering()
        plots.heatmap(part, board, pairs, axes()).figure.draw_without_rendering()
        plots.paired_differences(part, pairs, axes(), cell="adam relu").figure.draw_without_rendering()
        plots.time_to_target(part, axes()).figure.draw_without_rendering()
        plots.price_of_tuning(part, part, axes()).figure.draw_without_rendering()
        plots.profile(performance_profile(part), axes()).figure.draw_without_rendering()
        plots.profile(score_profile(part), axes()).figure.draw_without_rendering()
        plots.baselines(part, baselines(), axes(), cells=["adam relu"]).figure.draw_without_rendering()
        plots.interquartile_means(interquartile_means(part), axes()).figure.draw_without_rendering()
    plots.learning_curves(curves, axes()).figure.draw_without_rendering()
    plots.learning_curves(curves, axes(), metric="train/loss").figure.draw_without_rendering()
    plots.gradient_flow(curves, axes()).figure.draw_without_rendering()


def test_an_optimizer_has_the_same_colour_in_every_plot():
    table = replicas(optimizers=("adam", "rmsprop", "gd", "mine"))
    colours = plots.colour_by_optimizer(["adam", "rmsprop", "gd", "mine"])

    for ax in draw_all(table):
        drawn = [line.get_color() for line in ax.lines] + [line.get_markerfacecolor() for line in ax.lines]
        chromatic = {color for color in map(tuple_of, drawn) if len({round(part, 3) for part in color}) > 1}
        known = {tuple_of(colour) for colour in colours.values()}
        if ax.get_ylabel().startswith(("gradient norm", "dead units")):  # layers are shades of it
            assert chromatic & known
        else:
            assert chromatic <= known


def tuple_of(colour):
    from matplotlib.colors import to_rgb

    return tuple(round(part, 3) for part in to_rgb(colour if str(colour) != "none" else "white"))
