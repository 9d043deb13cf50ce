"""The tables of a report: right in every number, whole in `rows`, rounded and escaped where they are shown."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_cases import planted, results_of

from nnbench.analysis.calibration import calibration_error, reliability
from nnbench.report import figures, tables
from nnbench.report.display import Paragraph, Table, count, per_cent, points, text
from nnbench.tracking.record import Predictions

HOSTILE = "<td><script>alert('cell')</script></td> $x$"


@pytest.mark.parametrize(
    ("write", "value", "wanted"),
    [
        (per_cent, 0.97532, "97.53"),
        (per_cent, math.nan, "-"),
        (points, 0.0061, "+0.61"),
        (points, -0.00001, "+0.00"),
        (count, 7.0, "7"),
        (text, None, ""),
        (text, math.nan, ""),
    ],
)
def test_numbers_are_written_for_people(write, value, wanted):
    assert write(value) == wanted


def test_table_shows_forty_rows_and_says_where_the_others_are():
    shown = Table("numbers", pd.DataFrame({"n": range(100)}), {"n": ("number", count)})
    assert len(shown.shown()) == 40
    assert "and 60 more, see tables/numbers.csv" in shown._repr_html_()
    assert len(shown.rows) == 100


def test_text_in_a_table_is_data_and_stands_at_the_left():
    shown = Table("x", pd.DataFrame({"cell": [HOSTILE], "n": [1.0]}), {"cell": ("cell", text), "n": ("n", count)})
    page = shown._repr_html_()
    assert "<script>" not in page
    assert "mathjax_ignore" in page
    assert page.count("<td") == 2
    assert page.count('<td class="words" style="text-align: left">') == 1


def test_leaderboard_keeps_all_digits_and_shows_two():
    found = results_of(planted({"adam relu": [0.912345, 0.923456], "gd relu": [0.5, 0.6]}))
    board = tables.leaderboard(found)
    assert list(board.rows["cell"]) == ["adam relu", "gd relu"]
    assert board.rows["test_accuracy"].iloc[0] == pytest.approx(0.9179005, abs=1e-12)
    assert board.shown()["test accuracy (%)"].tolist() == ["91.79", "55.00"]
    assert "data set" not in board.shown()


def test_several_data_sets_are_named():
    both = [planted({f"adam relu {name}": [0.9, 0.8]}, dataset=name) for name in ("iris", "wine")]
    assert tables.leaderboard(results_of(pd.concat(both))).shown()["data set"].tolist() == ["iris", "wine"]


def test_comparisons_are_those_of_the_leader_or_of_the_cell_that_is_asked_for():
    found = results_of(planted({f"{name} relu": [0.9 - lack] * 6 for name, lack in (("a", 0), ("b", 0.1), ("c", 0.2))}))
    assert {*tables.comparisons(found).rows["first"]} == {"a relu"}
    of_last = tables.comparisons(found, "c relu").rows
    assert {*of_last["first"]} == {"a relu", "b relu"}
    assert {*of_last["second"]} == {"c relu"}
    assert len(tables.everything(found)["pairs"]) == 3


def test_of_many_cells_the_leader_alone_is_compared_and_the_best_are_drawn():
    found = results_of(planted({f"adam relu {place}": [0.9 - 0.001 * place] * 2 for place in range(70)}))
    pairs = found.pairs("digits")
    assert len(pairs) == 69
    assert {*pairs["first"]} == {"adam relu 0"}
    assert str(figures.accuracies(found)) == "Drawn are the best 24 networks, of 70 on digits."
    assert isinstance(tables.detectable_differences(found), Paragraph)


def test_time_to_target_counts_a_miss_as_infinite():
    replicas = planted({"adam relu": [0.9] * 4, "gd relu": [0.5] * 4})
    replicas["val/target_epoch"] = [3, 5, 4, math.inf, 9, math.inf, math.inf, math.inf]
    rows = tables.time_to_target(results_of(replicas))
    assert rows.rows[["met", "seeds", "hit_rate", "epochs"]].to_numpy().tolist() == [
        [3, 4, 0.75, 4],
        [1, 4, 0.25, math.inf],
    ]
    assert rows.shown()["median epochs"].tolist() == ["4", "missed"]


def test_sections_without_data_say_so_in_a_line():
    found = results_of(planted({"adam relu": [0.9] * 3}))
    for show in (
        tables.baselines, tables.against_baselines, tables.comparisons, tables.optimizers, tables.activations,
        tables.variance_shares, tables.detectable_differences, tables.time_to_target, tables.price_of_tuning,
        tables.missed, tables.calibration, tables.findings, tables.coverage, tables.data_sets, figures.heatmap,
    ):  # fmt: skip
        said = show(found)
        assert isinstance(said, Paragraph), show
        assert str(said).endswith("."), show


def test_figures_without_data_draw_nothing():
    import matplotlib.pyplot as plt

    plt.close("all")
    found = results_of(planted({"adam relu": [0.9] * 3}))
    for draw in (
        figures.differences, figures.missed_images, figures.calibration, figures.baselines, figures.profile,
        figures.time_to_target, figures.ranks, figures.interquartile_means, figures.variance_shares,
        figures.learning_rates, figures.price_of_tuning, figures.data_sets,
    ):  # fmt: skip
        assert draw(found) is None
    assert not plt.get_fignums()


def test_calibration_error_is_the_mean_over_seeds_of_the_paper():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=200)
    bins = [
        reliability(rng.dirichlet([1, 1, 1], size=200), labels).assign(
            cell="adam relu", optimizer="adam", activation="relu", dataset="digits", seed=seed
        )
        for seed in range(3)
    ]
    found = results_of(planted({"adam relu": [0.9] * 3}), calibration=pd.concat(bins, ignore_index=True))
    row = tables.calibration(found).rows.iloc[0]
    errors = [calibration_error(part) for part in bins]
    assert row["calibration_error"] == pytest.approx(np.mean(errors))
    assert row["deviation"] == pytest.approx(np.std(errors, ddof=1))
    assert row["seeds"] == 3
    assert row["accuracy"] == pytest.approx(
        np.mean([np.nansum(part["accuracy"] * part["count"]) / 200 for part in bins])
    )


def said_of(predicted: list[list[int]], samples: list[int]) -> Predictions:
    return Predictions(
        labels=np.array([0, 1, 1, 0]),
        predicted=np.array(predicted),
        seeds=np.arange(len(predicted)),
        samples=np.array(samples),
        images=np.arange(len(samples) * 4, dtype=np.uint8).reshape(-1, 2, 2),
    )


@pytest.fixture
def with_mistakes():
    """Two cells of two seeds each; one training of the second has diverged."""
    predictions = {
        "adam relu": said_of([[0, 0, 1, 0], [0, 0, 1, 1]], [1, 3]),
        "gd relu": said_of([[1, 0, 1, 0], [-1, -1, -1, -1]], [0, 1]),
    }
    confusion = {
        cell: pd.DataFrame([[1, 0], [0, 1]], index=["no", "yes"], columns=["no", "yes"]) for cell in predictions
    }
    replicas = planted({"adam relu": [0.9] * 2, "gd relu": [0.5] * 2})
    return results_of(replicas, predictions=predictions, confusion=confusion)


def test_missed_samples_are_counted_over_all_trainings_that_did_not_diverge(with_mistakes):
    columns = ["sample", "true", "predicted", "missed", "trainings"]
    assert tables.missed(with_mistakes).rows[columns].to_numpy().tolist() == [
        [1, "yes", "no", 3, 3],
        [0, "no", "yes", 1, 3],
        [3, "no", "yes", 1, 3],
    ]
    assert tables.missed(with_mistakes, "adam relu").rows[["sample", "missed"]].to_numpy().tolist() == [[1, 2], [3, 1]]


def test_missed_images_are_drawn_of_the_best_cell_and_of_all(with_mistakes):
    import matplotlib.pyplot as plt

    plt.close("all")
    assert figures.missed_images(with_mistakes) is None
    titles = [[ax.get_title() for ax in plt.figure(number).axes if ax.get_title()] for number in plt.get_fignums()]
    plt.close("all")
    assert titles == [
        ["yes → no\n2 of 2", "no → yes\n1 of 2"],
        ["yes → no\n3 of 3", "no → yes\n1 of 3", "no → yes\n1 of 3"],
    ]


def test_findings_are_those_of_sick_networks_worst_shown_in_the_layers():
    cells = pd.DataFrame(
        {
            "cell": ["adam relu", "gd relu", "rmsprop relu", "svm"],
            "finding": ["healthy", "dead units", "too slow", ""],
            "evidence": "e",
            "override": "o",
        }
    )
    replicas = planted({"adam relu": [0.9] * 3, "gd relu": [0.1] * 3, "rmsprop relu": [0.5] * 3})
    found = results_of(replicas, cells=cells)
    assert tables.findings(found).rows["cell"].tolist() == ["gd relu", "rmsprop relu"]
    assert found.sickest("digits") == "gd relu"
    all_diverged = replicas.assign(
        status=["diverged" if cell == "gd relu" else "finished" for cell in replicas["cell"]]
    )
    assert results_of(all_diverged, cells=cells).sickest("digits") == "rmsprop relu"


def test_a_reader_sees_the_update_rule_as_text_and_never_as_markup():
    history = planted({"adam relu": [0.9] * 2}).assign(epoch=1, **{"train/loss": 0.5, "val/accuracy": 0.9})
    found = results_of(
        planted({"adam relu": [0.9] * 2}), history=history, update_rules={"adam": "theta <- <script>alert(1)</script>"}
    )
    page = figures.update_rules(found)._repr_html_()
    assert "theta &lt;- &lt;script&gt;" in page
    assert "<script>" not in page
    assert page.count("data:image/svg+xml;base64,") == 1


def test_without_a_network_nothing_is_said_of_what_networks_missed():
    found = results_of(planted({"adam relu": [0.9, 0.8]}))
    alone = replace(found, replicas=found.replicas.iloc[:0], baselines=found.replicas)
    assert str(tables.missed(alone)) == "There is no network."
    assert str(tables.missed(found)).startswith("No sample of the test split was missed, or ")
