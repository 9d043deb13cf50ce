"""Baselines beside the networks of a sweep: once for each data set, tracked, reused and verified as cells are."""

import json
import sqlite3
from contextlib import closing

import pytest
from command_line import grid_of, newest_sweep, problems_of, records, run

from nnbench import app
from nnbench.protocol.baselines import ON_LARGE_DATA, SHIPPED

SMALL = ("dataset=iris", "hidden=[4]", "num_epochs=2", "seeds=3")


def planned(*arguments):
    """Return the labels of a command's cells with the baselines that go beside them."""
    plan = grid_of(*arguments)
    cells = app._cells(plan)
    plan, cells, datasets = app._with_baselines(plan, cells, app._datasets(cells))
    assert len(plan.jobs) == len(cells) == len(datasets)
    return [job.label for job in plan.jobs]


def test_a_sweep_gets_every_baseline_behind_its_networks():
    assert planned("-m", *SMALL, "optimizer=gd,adam") == ["gd relu", "adam relu", *SHIPPED]


@pytest.mark.parametrize(
    "arguments",
    [("optimizer=gd",), ("-m", "optimizer=gd,adam", "report=false"), ("-m", "optimizer=gd,adam", "tracking=none")],
)
def test_without_a_report_there_are_none(arguments):
    assert not set(planned(*arguments, *SMALL)) & set(SHIPPED)


@pytest.mark.parametrize(("chosen", "wanted"), [("[]", []), ("[svm,dummy]", ["svm", "dummy"])])
def test_a_sweep_gets_the_baselines_that_it_names(chosen, wanted):
    assert planned("-m", *SMALL, "optimizer=gd", f"baselines={chosen}") == ["gd relu", *wanted]


def test_a_sweep_with_baselines_of_its_own_gets_no_others():
    labels = planned("-m", *SMALL, "model=mlp,svm", "optimizer=gd,adam")

    assert labels == ["gd relu", "adam relu", "svm", "svm"]


def test_each_data_set_has_its_own():
    labels = planned("-m", "hidden=[4]", "dataset=iris,wine", "optimizer=gd,adam", "baselines=[dummy]")

    assert labels[:4] == ["gd relu iris", "adam relu iris", "gd relu wine", "adam relu wine"]
    assert labels[4:] == ["dummy iris", "dummy wine"]


def test_each_list_of_seeds_has_its_own():
    assert len(planned("-m", *SMALL[:3], "seeds=2,3", "baselines=[dummy]")) == 4


def test_large_data_get_the_quick_ones():
    assert planned("-m", "dataset=spirals", "dataset.num_points=900000", "seeds=1")[1:] == list(ON_LARGE_DATA)


def test_an_unknown_baseline_is_refused_with_the_nearest():
    (line,) = problems_of("-m", *SMALL, "optimizer=gd", "baselines=[svn]")
    assert line.startswith("baselines has svn, which is not a baseline; known are dummy, gradient_boosting, ")
    assert line.endswith("; did you mean svm?")

    assert "mlp" in problems_of("-m", *SMALL, "optimizer=gd", "baselines=[mlp]")[0]
    assert problems_of("-m", *SMALL, "baselines=all")[0].startswith("baselines is")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.C=0", "model.C is 0.0; it must be above 0"),
        ("model.kernel=rbff", 'model.kernel is "rbff"; it must be linear or poly or rbf or sigmoid'),
        ("+model.bias=true", "model.bias is not an option of SVM; known are C, gamma, kernel"),
    ],
)
def test_an_option_of_a_baseline_is_checked_before_anything_starts(override, line):
    assert problems_of(*SMALL, "model=svm", override)[0].startswith(line)


def test_a_model_of_networks_keeps_its_own_check():
    assert problems_of(*SMALL, "model.bias=1") == ["model.bias is 1; it must be true or false"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The issue's command, twice in the same folder; the second time with another optimizer."""
    folder = tmp_path_factory.mktemp("swept")
    command = ("-m", *SMALL, "report=false")
    first = run(folder, *command, "model=mlp,logistic_regression,random_forest")
    found = records(newest_sweep(folder))
    second = run(folder, *command, "model=mlp,logistic_regression,random_forest", "optimizer=gd", "num_epochs=3")
    return folder, first, found, second


def test_networks_and_baselines_are_one_sweep(swept):
    _, first, found, _ = swept

    assert first.status == 0
    assert set(found) == {"adam relu", "logistic_regression", "random_forest"}
    for name in found:
        assert name in first.out
    assert "1 cell, 3 trainings; beside them logistic_regression, random_forest" in first.err
    assert found["logistic_regression"].cell["num_fits"] == 1
    assert found["random_forest"].cell["num_fits"] == 3
    splits = {json.dumps([entry.cell["dataset"][name] for name in ("digest", "test")]) for entry in found.values()}
    assert len(splits) == 1


def test_a_baseline_is_trained_once_for_each_data_set_whatever_the_networks_are(swept):
    _, _, _, second = swept

    assert second.status == 0
    assert "2 cells done already, 1 to train" in second.err
    for name in ("logistic_regression", "random_forest"):
        assert f"{name}  is finished already" in second.err


def test_baselines_are_tracked_as_networks_are(swept):
    folder = swept[0]
    with closing(sqlite3.connect(f"{(folder / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as connection:

        def ask(query, *values):
            return connection.execute(query, values).fetchall()

        runs = dict(
            ask("SELECT r.name, r.run_uuid FROM runs r JOIN tags t USING (run_uuid) WHERE t.value = 'baseline'")
        )
        assert set(runs) == {"logistic_regression", "random_forest"}
        forest = runs["random_forest"]
        metrics = dict(ask("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", forest))
        params = dict(ask("SELECT key, value FROM params WHERE run_uuid = ?", forest))
        nested = ask("SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = ?", forest)
        alone = ask("SELECT run_uuid FROM tags WHERE value = ?", runs["logistic_regression"])
        data = ask("SELECT source_id FROM inputs WHERE destination_id = ?", forest)

    assert {"test/accuracy", "val/selected_accuracy", "time/fit_seconds", "time/predict_seconds", "test/openings"} <= {
        *metrics
    }
    assert metrics["test/openings"] == metrics["seeds"] == 3
    assert params["model"] == "random_forest"
    assert params["model.n_estimators"] == "100"
    assert not {"optimizer", "activation", "num_epochs", "hidden"} & set(params)
    assert len(nested) == 3
    assert alone == []  # one fit needs no runs of its own for each seed
    assert len(data) == 1


def test_a_baseline_is_verified_as_a_network_is(swept):
    folder = swept[0]
    with closing(sqlite3.connect(f"{(folder / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT r.run_uuid FROM runs r WHERE r.name IN ('random_forest', 'random_forest seed 1')"
        ).fetchall()

    assert len(found) == 2
    for (run_id,) in found:
        ended = run(folder, "verify", run_id)
        assert ended.status == 0, ended.err
        assert ended.out.startswith("identical: ")


def test_a_baseline_alone_is_a_cell(tmp_path):
    ended = run(tmp_path, *SMALL, "model=knn", "tracking=none")

    assert ended.status == 0
    assert "knn" in ended.out
    assert "draws nothing" in ended.out


def test_scikit_learns_network_has_each_shape_of_ours():
    labels = planned("-m", "dataset=iris", "seeds=2", "hidden=[4],[8]", "baselines=[knn,mlp_classifier]")

    assert labels[2:] == ["knn", "mlp_classifier hidden=[4]", "mlp_classifier hidden=[8]"]


PLUGIN = """
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Own:
    draws = False

    def build(self, seed, num_samples):
        return self

    def fit(self, inputs, labels):
        return self

    def predict(self, inputs):
        return 99 + inputs[:, 0].astype(int)


class Leaving(Own):
    def fit(self, inputs, labels):
        sys.exit(3)


class Silent:
    pass
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "own.py").write_text(PLUGIN)
    for name in ("own", "leaving", "silent"):
        path = tmp_path / "mine" / "model" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"_target_: own.{name.title()}\n")
    return (tmp_path, "-m", "--config-dir", "mine", "plugins=[own]", *SMALL, "tracking=none")


def test_a_class_that_is_no_baseline_is_refused_before_anything_starts(plugin):
    ended = run(*plugin, "model=silent,knn")

    assert ended.status == 2
    assert "own.Silent" in ended.errors[0]
    assert "draws" in ended.errors[0]


def test_a_baseline_that_fails_or_leaves_costs_itself_alone(plugin):
    ended = run(*plugin, "model=own,leaving,knn")

    assert ended.status == 1
    assert "own  failed: ValueError: Own predicts an array of shape (15,) with values such as [" in ended.err
    assert "leaving  failed: SystemExit: 3" in ended.err
    assert "knn" in ended.out
    assert "SIGTERM" not in ended.err
