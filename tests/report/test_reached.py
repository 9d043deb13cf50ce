"""The bands of a study: each is checked on the cells that it is about, against numbers worked by hand."""

import math

import pandas as pd
import pytest
from report_cases import planted, results_of

from nnbench.analysis.statistics import bootstrap_interval
from nnbench.report.reached import check
from nnbench.report.tables import to_reach
from nnbench.report.verdict import verdict
from nnbench.tracking.coverage import Coverage

ADAM = [0.90, 0.92, 0.94]
ABOUT = {"question": "Is it <b>so</b> on `digits`?", "source": "a book", "differences": "the weather"}


def reached_by(*bands, about=None, finding="healthy"):
    """Return what the report knows of Adam, three seeds, and plain gradient descent, which a band may be about."""
    replicas = planted({"adam relu": ADAM, "gd relu": [0.5, 0.6, 0.7]})
    replicas["val/target_epoch"] = [1.0, 2.0, 3.0, 4.0, math.inf, 5.0]
    history = replicas[["cell", "seed"]].assign(epoch=1).rename(columns={})
    history = pd.concat([history.assign(epoch=epoch, **{"train/loss": 1 / epoch}) for epoch in (1, 2)])
    cells = results_of(replicas).cells.assign(
        settings=[{"optimizer": "adam", "hidden": [8]}, {"optimizer": "gd", "hidden": []}],
        finding=finding,
        evidence="half of its units",
    )
    planned = pd.DataFrame({"cell": cells["cell"], "state": "done", "reason": "", "duplicates": 0})
    coverage = Coverage("x", None, "", planned, about=about, to_reach=bands)
    return results_of(replicas, cells=cells, history=history, coverage=coverage)


def only_row(*bands, **others):
    (row,) = check(reached_by(*bands, **others)).to_dict("records")
    return row


@pytest.mark.parametrize(
    ("band", "verdict_of_it", "note"),
    [
        ({"low": 0.91, "high": 0.93}, "met", "the interval reaches below and above the band"),
        ({"low": 0.8, "high": 1.0}, "met", ""),
        ({"low": 0.92}, "met", "the interval reaches below the band"),
        ({"low": 0.93}, "missed", "below the band, its interval reaches into it"),
        ({"low": 0.99}, "missed", "below the band"),
        ({"high": 0.91}, "missed", "above the band, its interval reaches into it"),
        ({"high": 0.5}, "missed", "above the band"),
    ],
)
def test_a_mean_is_checked_with_its_interval_over_seeds(band, verdict_of_it, note):
    row = only_row({"cells": {"optimizer": "adam"}, **band})

    assert row["found"] == pytest.approx(0.92)
    assert (row["low"], row["high"]) == bootstrap_interval(ADAM)
    assert (row["verdict"], row["note"], row["seeds"]) == (verdict_of_it, note, 3)


@pytest.mark.parametrize(("over_seeds", "found"), [("smallest", 0.90), ("largest", 0.94), ("range", 0.04)])
def test_the_worst_the_best_and_their_distance_have_no_interval(over_seeds, found):
    row = only_row({"cells": {"hidden": [8]}, "over_seeds": over_seeds, "low": 0.01})

    assert row["found"] == pytest.approx(found)
    assert math.isnan(row["low"])
    assert row["what"] == f"test/accuracy, {over_seeds} over seeds"


def test_a_number_of_an_epoch_is_that_of_the_history():
    row = only_row({"cells": {"optimizer": "adam"}, "metric": "train/loss", "epoch": 2, "low": 0.4, "high": 0.6})

    assert (row["found"], row["verdict"], row["found_in_words"]) == (0.5, "met", "0.5 (0.5 to 0.5)")


def test_a_seed_that_never_met_its_target_misses_every_bound_on_it():
    bands = [
        {"cells": {"optimizer": name}, "metric": "val/target_epoch", "over_seeds": "largest", "high": 5}
        for name in ("adam", "gd")
    ]

    assert list(check(reached_by(*bands))["verdict"]) == ["met", "missed"]


@pytest.mark.parametrize(("finding", "verdict_of_it"), [("dead units", "met"), ("healthy", "missed")])
def test_what_the_doctor_was_to_find_is_met_if_it_finds_just_that(finding, verdict_of_it):
    row = only_row({"cells": {"optimizer": "gd"}, "finding": "dead units"}, finding=finding)

    assert (row["verdict"], row["found_in_words"], row["note"]) == (verdict_of_it, finding, "half of its units")
    assert row["seeds"] == 3


def test_a_band_without_cells_is_about_every_network():
    assert list(check(reached_by({"low": 0.7}))["verdict"]) == ["met", "missed"]


@pytest.mark.parametrize(
    "band",
    [{"cells": {"optimizer": "rprop"}, "low": 0.1}, {"cells": {"hidden": [8]}, "metric": "val/beauty", "low": 0.1}],
)
def test_what_was_not_trained_or_not_measured_is_not_met(band):
    assert only_row(band)["verdict"] == "not trained"


@pytest.mark.parametrize("epoch", [2, 3])  # of the third there are no rows, as after all seeds have diverged
def test_a_loss_that_is_no_number_because_seeds_diverged_misses_its_band(epoch):
    results = reached_by({"cells": {"optimizer": "gd"}, "metric": "train/loss", "epoch": epoch, "high": 0.6})
    for table, column, value in ((results.history, "train/loss", math.nan), (results.replicas, "status", "diverged")):
        table.loc[(table["cell"] == "gd relu") & (table["seed"] == 1), column] = value

    (row,) = check(results).to_dict("records")
    assert (row["verdict"], row["found_in_words"]) == ("missed", "")
    assert row["note"] == "no number, as 1 of 3 seeds diverged"


def test_the_verdict_states_question_source_and_every_band_and_escapes_them():
    results = reached_by({"cells": {"optimizer": "adam"}, "published": 0.95, "low": 0.93}, {"low": 0.1}, about=ABOUT)

    shown = verdict(results)._repr_html_()
    assert "<b>so</b>" not in shown
    assert "Is it &lt;b&gt;so&lt;/b&gt; on digits?" in shown
    assert "Of the 3 bands of the study, 2 are met." in shown
    assert "92.00 % (90.00 % to 94.00 %)" in shown
    assert "95.00 %" in shown
    assert "at least 93.00 %" in shown


def test_a_sweep_without_a_study_says_nothing_of_bands():
    results = reached_by()

    assert "band" not in str(verdict(results))
    assert str(to_reach(results)) == "The study names no number to reach."
