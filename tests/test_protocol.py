"""The protocol as a whole: planted optimizers, planted gaps, the whole study, and what may change no result."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from command_line import cells_and_data, newest_sweep, records, run

from nnbench.analysis.comparison import compare
from nnbench.data import Split
from nnbench.protocol.result import run as run_cell

# Adam under another name, and one that is worse by a known amount: it never predicts the last class, because the last
# parameter of a network is the bias of that class.
PLANTED = """
from nnbench.nn import Adam


class Alias(Adam):
    pass


class Blind(Adam):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        self.params[:, -1] = -1e6
"""
YAML = """
_target_: {target}
learning_rate: 0.001
space:
  learning_rate: {{low: 0.0001, high: 0.1}}
  beta1: {{low: 0.5, high: 0.99, scale: log_complement}}
"""
OPTIMIZERS = {"genuine": "nnbench.nn.Adam", "alias": "planted.Alias", "blind": "planted.Blind"}
TUNINGS = {
    "none": (),
    "learning_rate": ("tuning=learning_rate", "tuning.num_trials=3", "tuning.seeds=2"),
    "random": ("tuning=random", "tuning.num_trials=3", "tuning.seeds=2"),
}
FAST = ("num_epochs=8", "tracking=none", "progress=false")

# Everything that a sweep can meet: tuning with an extended grid, seeds that diverge, seeds that stop.
EVENTFUL = (
    "-m",
    "activation=relu,tanh",
    "dataset=iris",
    "hidden=[6]",
    "num_epochs=12",
    "patience=3",
    "tuning=learning_rate",
    "tuning.num_trials=3",
    "tuning.seeds=2",
    "optimizer.space.learning_rate={low:0.1,high:1e6,scale:log}",
    "optimizer.learning_rate=300",
    "seeds=5",
    "tracking=none",
    "progress=false",
)


@pytest.fixture(scope="module", params=TUNINGS)
def planted(request, tmp_path_factory):
    """The records of genuine Adam, its alias and the blind one, ten seeds each."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "planted.py").write_text(PLANTED)
    (folder / "mine" / "optimizer").mkdir(parents=True)
    for name, target in OPTIMIZERS.items():
        (folder / "mine" / "optimizer" / f"{name}.yaml").write_text(YAML.format(target=target))
    names = ",".join(OPTIMIZERS)
    plugin = ("--config-dir", "mine", "plugins=[planted]", f"optimizer={names}")
    ended = run(folder, "-m", *plugin, *TUNINGS[request.param], *FAST)
    assert ended.status == 0, ended.err
    return {label.split()[0]: cell for label, cell in records(newest_sweep(folder)).items()}


def verdicts(planted):
    replicas = [cell.replicas().assign(cell=name, optimizer=name, activation="relu") for name, cell in planted.items()]
    return compare(pd.concat(replicas, ignore_index=True))


def without_times(table):
    return table.drop(columns=[name for name in table if name.startswith("time/")])


def tables_of(cell):
    """Return all that a record says but for its times."""
    tables = {name: getattr(cell, name)() for name in ("replicas", "untuned", "tuning", "history", "confusion")}
    return {name: without_times(table) for name, table in tables.items()}


def assert_same_records(actual, wanted):
    for name, table in tables_of(wanted).items():
        pd.testing.assert_frame_equal(tables_of(actual)[name], table, check_exact=True, obj=name)
    facts = [dict(cell.cell["tuning"] or {}) for cell in (actual, wanted)]
    for entry in facts:
        entry.pop("train_seconds", None)
    assert facts[0] == facts[1]
    assert actual.cell["finding"] == wanted.cell["finding"]
    assert actual.cell["test_openings"] == wanted.cell["test_openings"]


def test_adam_under_another_name_has_the_results_of_adam(planted):
    assert_same_records(planted["alias"], planted["genuine"])


def test_adam_under_another_name_is_never_declared_better(planted):
    pairs = verdicts(planted)
    same = pairs[~(pairs["first"].eq("blind") | pairs["second"].eq("blind"))]
    assert list(same["verdict"]) == ["equivalent"]


def test_adam_on_other_seeds_is_declared_better_no_oftener_than_by_chance():
    ((cell, dataset),) = cells_and_data("dataset=moons", "hidden=[8]", "num_epochs=3", "seeds=800", "tracking=none")
    accuracy = run_cell(cell, dataset).final.summary["test/accuracy"].reshape(40, 2, 10)  # 40 comparisons of 10 seeds
    told_apart = 0
    for scores in accuracy:
        tables = [
            pd.DataFrame({"cell": name, "seed": range(10), "status": "finished", "test/accuracy": values})
            for name, values in zip("ab", scores, strict=True)
        ]
        told_apart += (compare(pd.concat(tables, ignore_index=True))["verdict"] == "better").sum()
    assert told_apart <= 5  # two are expected; more than five are left to chance once in seventy


def test_an_optimizer_that_is_worse_by_a_known_amount_is_found(planted):
    pairs = verdicts(planted)
    worse = pairs[pairs["second"] == "blind"]
    assert set(worse["first"]) == {"genuine", "alias"}
    assert set(worse["verdict"]) == {"better"}

    assert planted["blind"].confusion().iloc[:, -1].sum() == 0  # it never says 9
    counts = planted["genuine"].confusion()
    known = counts.iloc[-1, -1] / counts.to_numpy().sum()  # the nines that Adam gets right: a tenth of the samples
    assert 0.07 < known < 0.11
    # Its loss on the nines drags at the rest of the network, too, the more the higher the rate that it is tuned to.
    assert worse["difference"].between(known - 0.015, known + 0.05).all()


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    """The sweep in its plain form, and what happened in it."""
    folder = tmp_path_factory.mktemp("eventful")
    ended = run(folder, *EVENTFUL, "optimizer=gd,momentum")
    assert ended.status == 0, ended.err
    return records(newest_sweep(folder))


def test_the_eventful_sweep_has_all_events(eventful):
    assert len(eventful) == 4
    assert any(cell.cell["tuning"]["num_extensions"] for cell in eventful.values())
    tables = [table for cell in eventful.values() for table in (cell.tuning(), cell.untuned(), cell.replicas())]
    assert any((table["status"] == "diverged").any() for table in tables)
    stops = [cell.replicas()["train/stopped_epoch"] for cell in eventful.values()]
    assert any(stop.notna().any() for stop in stops)
    assert any(0 < (table["status"] == "diverged").mean() < 1 for table in tables)


@pytest.mark.parametrize(
    "changes",
    [
        ("optimizer=momentum,gd", "activation=tanh,relu"),
        ("optimizer=gd,momentum", "stack_size=1"),
        ("optimizer=gd,momentum", "stack_size=4"),
        ("optimizer=gd,momentum", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("optimizer=gd", "activation=tanh"),
    ],
    ids=["another order", "alone in the stack", "stacks of four", "in parallel", "a cell alone"],
)
def test_order_stack_and_launcher_change_no_result(eventful, tmp_path, changes):
    if "hydra/launcher=joblib" in changes:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    ended = run(tmp_path, *EVENTFUL, *changes)
    assert ended.status == 0, ended.err
    found = records(newest_sweep(tmp_path))
    by_choices = {(cell.choices["optimizer"], cell.choices["activation"]): cell for cell in eventful.values()}
    assert len(found) == (1 if len(changes) == 2 and changes[1] == "activation=tanh" else 4)
    for cell in found.values():
        assert_same_records(cell, by_choices[cell.choices["optimizer"], cell.choices["activation"]])


def test_the_study_runs_from_one_command_and_a_second_start_trains_nothing(tmp_path):
    study = ("study=activations_x_optimizers", "report=false")
    first = run(tmp_path, *study)
    assert first.status == 0, first.err
    cells = records(newest_sweep(tmp_path))
    assert len(cells) == 20
    # Seven learning rates and three tuning seeds, then thirteen fresh ones, which the untuned default shares.
    trainings = 0
    for cell in cells.values():
        trials = cell.tuning()
        trainings += (trials["extension"] == 0).sum() + len(cell.replicas())
        assert trials[trials["extension"] == 0].groupby("seed").size().to_dict() == dict.fromkeys(
            range(10**6, 10**6 + 3), 7
        )
        assert set(cell.replicas()["seed"]) == set(range(13)) == set(cell.untuned()["seed"])
        assert cell.replicas()["test/accuracy"].mean() > 0.94
        assert cell.cell["test_openings"] in (13, 26)
    assert trainings == 680

    started = first.err.count("test accuracy")
    assert started == 20
    second = run(tmp_path, *study)
    assert second.status == 0, second.err
    assert "test accuracy" not in second.err
    assert "20 cells done already, 0 to train" in second.err
    assert len(re.findall("is finished already", second.err)) == 20
    assert second.out == first.out  # the same table
    status = run(tmp_path, "status", "activations_x_optimizers")
    assert status.status == 0
    assert "20 cells, 20 done" in status.out


def test_a_planted_gap_between_validation_and_test_changes_no_choice():
    arguments = ("dataset=moons", "hidden=[8]", "num_epochs=8", "seeds=4", "tracking=none", "patience=4")
    tuned = (*arguments, "tuning=learning_rate", "tuning.num_trials=4", "tuning.seeds=2")
    for changes in ((), ("selection=last",)):
        ((cell, dataset),) = cells_and_data(*tuned, *changes)
        contrary = Split(dataset.test.inputs, 1 - dataset.test.labels)  # what is best there is worst
        genuine, gap = (run_cell(cell, data) for data in (dataset, replace(dataset, test=contrary)))
        assert gap.tuning.chosen == genuine.tuning.chosen
        for scores, wanted in ((gap.final, genuine.final), (gap.untuned, genuine.untuned)):
            np.testing.assert_array_equal(scores.trained.model.params, wanted.trained.model.params)
            np.testing.assert_array_equal(scores.trained.selected_epoch, wanted.trained.selected_epoch)
            assert scores.best_replica == wanted.best_replica
            np.testing.assert_allclose(scores.summary["test/accuracy"], 1 - wanted.summary["test/accuracy"])
        assert gap.finding == genuine.finding
