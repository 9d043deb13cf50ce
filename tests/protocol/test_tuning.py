"""Tuning chooses by validation on seeds of its own, says what it cost, and its scores are not the result."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from protocol_cases import MOONS, WatchedSplit, assert_same_bits, bits, cell, entries, part, space, trained, with_test

from nnbench.nn import GD, Adam, Momentum
from nnbench.nn.optimizers import Optimizer
from nnbench.protocol.result import run
from nnbench.protocol.search import LearningRateGrid, RandomSearch, Range
from nnbench.protocol.tuning import tune

RATES = {"learning_rate": Range(low=1e-3, high=1.0)}
GRID = LearningRateGrid(num_trials=4, seeds=2)  # 0.001, 0.01, 0.1, 1
STEPS = 10  # of an epoch: 320 samples, 32 at a time


def tuned(search=GRID, **changes):
    """Return a cell whose learning rate is tuned."""
    defaults = {"tuning": search, "space": RATES, "untuned": {"learning_rate": 0.001}, "num_epochs": 4}
    return cell(**defaults | changes)


def best_by_hand(table, hyperparameters):
    """Return the best trial of a table: highest mean accuracy, then lowest mean loss, then the first."""
    frame = pd.DataFrame({name: list(values) for name, values in table.items()})
    diverged = frame["status"] == "diverged"
    frame.loc[diverged, "val/selected_loss"] = np.inf
    assert (frame.loc[diverged, "val/selected_accuracy"] == 0.5).all()
    means = frame.groupby("trial")[["val/selected_accuracy", "val/selected_loss"]].mean().round(12)
    ranked = means.sort_values(["val/selected_accuracy", "val/selected_loss"], ascending=[False, True], kind="stable")
    rows = frame[frame["trial"] == ranked.index[0]]
    return {name: rows[name].iloc[0] for name in hyperparameters}


# A linear model has the same accuracy however long its weights are, and a lower loss the nearer they are to a solution.
LINEAR = {"hidden": (), "activations": (), "num_epochs": 1}
ABLE = partial(Adam, learning_rate=0.1)
SOLUTION = 0.5 * trained(cell(**LINEAR | {"num_epochs": 30, "seeds": (0,), "new_optimizer": ABLE})).model.params


class Peaked(Optimizer):
    """Goes to a solution in one step, the nearer the closer the learning rate is to `peak`; diverges above `limit`."""

    def __init__(self, params, *, learning_rate=0.001, peak=0.1, limit=np.inf):
        super().__init__(params, learning_rate=learning_rate)
        part_of_the_way = 1 / (1 + np.abs(np.log10(self.learning_rate / peak)))
        self.part_of_the_way = np.where(self.learning_rate > limit, np.inf, part_of_the_way)  # (replicas, 1)

    def step(self, grads, factor=1.0):
        self.params[:] = self.cast(self.part_of_the_way) * SOLUTION


def tuning_of(peak, search=GRID, limit=np.inf, **changes):
    return tune(tuned(search, new_optimizer=partial(Peaked, peak=peak, limit=limit), **LINEAR | changes), MOONS, search)


# The choice.


@pytest.mark.parametrize("search", [GRID, RandomSearch(num_trials=6, seeds=2)], ids=["grid", "random"])
@pytest.mark.parametrize("optimizer", entries("optimizer"))
def test_choice_is_the_best_row_of_the_table_for_every_optimizer(optimizer, search):
    entry = entries("optimizer")[optimizer]
    ends = space(entry) if isinstance(search, RandomSearch) else {"learning_rate": space(entry)["learning_rate"]}
    found = tune(tuned(search, new_optimizer=part(entry), space=ends, num_epochs=2), MOONS, search)
    assert found.chosen == best_by_hand(found.table, ends)
    assert found.chosen.keys() == ends.keys()


def test_choice_is_that_of_trainings_one_by_one():
    tested = tuned(num_epochs=3)
    found = tune(tested, MOONS, GRID)
    frame = pd.DataFrame({name: list(values) for name, values in found.table.items()})
    assert len(frame) == 4 * 2
    for row in frame.to_dict("records"):
        alone = cell(
            num_epochs=3, seeds=(row["seed"],), new_optimizer=partial(Adam, learning_rate=row["learning_rate"])
        )
        history = trained(alone).history
        place = np.lexsort((history["val/loss"][:, 0], -history["val/accuracy"][:, 0]))[0]
        assert row["val/selected_epoch"] == place + 1
        assert row["val/selected_accuracy"] == history["val/accuracy"][place, 0]
        assert row["val/selected_loss"] == history["val/loss"][place, 0]
        assert row["gradient_evaluations"] == 3 * STEPS
        assert row["status"] == "finished"
    assert frame["learning_rate"].tolist() == [0.001, 0.001, 0.01, 0.01, 0.1, 0.1, 1.0, 1.0]
    assert frame["seed"].tolist() == list(GRID.tuning_seeds) * 4


@pytest.mark.parametrize("plant", range(60))
def test_choice_among_ties_and_diverged_trials_is_the_same_by_hand(monkeypatch, plant):
    rng = np.random.default_rng(plant)

    def planted_training(cell, dataset, seeds, hyperparameters, **options):
        return SimpleNamespace(
            seeds=seeds,
            diverged=rng.random(len(seeds)) < 0.3,
            gradient_evaluations=np.full(len(seeds), 40),
            train_seconds=1.0,
        )

    def planted_scores(trained, num_classes):
        accuracy, loss = rng.integers(1, 4, size=(2, len(trained.seeds))) / 10 + 0.4
        return {
            "val/selected_accuracy": np.where(trained.diverged, 0.5, accuracy),
            "val/selected_loss": np.where(trained.diverged, np.nan, loss),
            "val/selected_epoch": np.where(trained.diverged, np.nan, 1),
        }

    monkeypatch.setattr("nnbench.protocol.tuning.train", planted_training)
    monkeypatch.setattr("nnbench.protocol.tuning.selected_scores", planted_scores)
    search = LearningRateGrid(num_trials=7, seeds=3)
    found = tune(tuned(search), MOONS, search)
    assert found.chosen == best_by_hand(found.table, RATES)


def test_trial_that_diverges_on_every_seed_is_never_chosen():
    found = tuning_of(peak=1.0, limit=0.5)
    statuses = dict(zip(found.table["learning_rate"], found.table["status"], strict=True))
    assert statuses == {0.001: "finished", 0.01: "finished", 0.1: "finished", 1.0: "diverged"}
    assert found.chosen == {"learning_rate": 0.1}
    assert (found.num_extensions, found.at_edge) == (0, False)


def test_trial_that_diverges_counts_as_chance_level_not_as_nothing():
    found = tuning_of(peak=1.0, limit=0.5)
    rows = found.table["status"] == "diverged"
    assert rows.sum() == 2
    assert (found.table["val/selected_accuracy"][rows] == 0.5).all()
    assert np.isnan(found.table["val/selected_loss"][rows]).all()
    assert (found.table["gradient_evaluations"][rows] == 1).all()
    assert found.gradient_evaluations == 6 * STEPS + 2


# The edge.


@pytest.mark.parametrize(
    ("peak", "chosen", "num_extensions", "at_edge"),
    [
        (0.1, 0.1, 0, False),
        (10.0, 10.0, 1, False),
        (1e2, 1e2, 2, False),  # on the edge of the first extension, inside the second
        (1e3, 1e3, 2, False),
        (1e4, 1e4, 2, True),
        (1e9, 1e4, 2, True),
        (1e-4, 1e-4, 1, False),
        (1e-9, 1e-7, 2, True),
    ],
)
def test_grid_is_extended_while_its_best_is_on_the_edge_but_twice_at_most(peak, chosen, num_extensions, at_edge):
    found = tuning_of(peak)
    assert found.chosen == {"learning_rate": chosen}
    assert (found.num_extensions, found.at_edge) == (num_extensions, at_edge)
    assert found.num_trials == 4 + 2 * num_extensions
    assert len(found.table["trial"]) == found.num_trials * 2
    np.testing.assert_array_equal(found.table["trial"], np.repeat(np.arange(found.num_trials), 2))
    np.testing.assert_array_equal(found.table["extension"], np.repeat([0, 0, 0, 0, 1, 1, 2, 2][: found.num_trials], 2))
    assert found.gradient_evaluations == found.num_trials * 2 * STEPS


@pytest.mark.parametrize(("max_extensions", "chosen"), [(0, 1.0), (1, 1e2), (3, 1e6)])
def test_grid_is_extended_as_often_as_allowed_and_then_says_that_it_ended_at_the_edge(max_extensions, chosen):
    found = tuning_of(1e9, LearningRateGrid(num_trials=4, seeds=2, max_extensions=max_extensions))
    assert found.num_extensions == max_extensions
    assert found.chosen == {"learning_rate": chosen}
    assert found.at_edge


def test_random_search_is_never_extended():
    found = tuning_of(1e9, RandomSearch(num_trials=5, seeds=2))
    assert (found.num_trials, found.num_extensions, found.at_edge) == (5, 0, False)
    assert found.chosen["learning_rate"] == max(found.table["learning_rate"])


def test_price_counts_every_training():
    found = tune(tuned(num_epochs=3), MOONS, GRID)
    assert found.gradient_evaluations == found.table["gradient_evaluations"].sum() == found.num_trials * 2 * 3 * STEPS
    assert found.train_seconds > 0
    assert tuned().num_trainings() == 4 * 2 + 2 * 3
    assert tuned(tuning=None).num_trainings() == 3


def test_every_optimizer_is_tuned_at_the_same_price():
    search = LearningRateGrid(num_trials=3, seeds=2, max_extensions=0)
    prices = set()
    for optimizer in (Adam, GD, Momentum):
        found = tune(tuned(search, new_optimizer=optimizer), MOONS, search)
        assert "diverged" not in found.table["status"]
        prices.add(found.gradient_evaluations)
    assert len(prices) == 1


# The winner is trained again; the default is kept.


def test_winner_is_trained_again_on_fresh_seeds_and_its_tuning_scores_are_not_the_result():
    result = run(tuned(), MOONS)
    final = result.final
    assert final.trained.seeds == (0, 1, 2)
    assert not set(final.trained.seeds) & set(result.tuning.table["seed"])
    chosen = result.tuning.chosen["learning_rate"]
    assert chosen != 0.001

    again = run(cell(num_epochs=4, new_optimizer=partial(Adam, learning_rate=chosen)), MOONS)
    assert_same_bits(bits(final), bits(again.final))
    rows = result.tuning.table["learning_rate"] == chosen
    assert not np.isin(final.summary["val/selected_loss"], result.tuning.table["val/selected_loss"][rows]).any()


def test_untuned_default_is_kept_beside_the_winner_with_the_bits_of_a_cell_without_tuning():
    result, untuned = run(tuned(), MOONS), run(cell(num_epochs=4), MOONS)
    assert untuned.tuning is None
    assert untuned.untuned is None
    assert_same_bits(bits(result.untuned), bits(untuned.final))
    assert not np.array_equal(result.final.trained.model.params, untuned.model.params)


def stages_of(tested):
    stages = []
    result = run(tested, MOONS, on_epoch=lambda stage, training: stages.append((stage, training.model.num_replicas)))
    return result, stages


def test_default_that_wins_is_not_trained_twice():
    oracle = partial(Peaked, peak=0.1, learning_rate=0.1)
    result, stages = stages_of(tuned(new_optimizer=oracle, untuned={"learning_rate": 0.1}, **LINEAR))
    assert result.tuning.chosen == {"learning_rate": 0.1}
    assert stages == [("tuning", 8), ("final", 3)]
    assert result.untuned is result.final
    assert result.test_openings == 3
    without = run(cell(new_optimizer=oracle, **LINEAR), MOONS)
    assert_same_bits(bits(result.final), bits(without.final))


def test_default_that_loses_is_trained_after_the_winner():
    oracle = partial(Peaked, peak=0.1)
    result, stages = stages_of(tuned(new_optimizer=oracle, **LINEAR))
    assert stages == [("tuning", 8), ("final", 3), ("untuned", 3)]
    assert result.untuned is not result.final
    assert result.test_openings == 6


def test_default_wins_only_if_every_hyperparameter_of_the_trial_is_the_configured_one():
    ends = {"learning_rate": Range(low=0.05, high=0.2), "momentum": Range(low=0.1, high=0.8, scale="linear")}
    search = RandomSearch(num_trials=1, seeds=1)
    trial = search.trials(ends)[0]
    tested = tuned(search, new_optimizer=Momentum, space=ends, untuned=trial | {"momentum": 0.9})
    result = run(tested, MOONS)
    assert result.untuned is not result.final


# The test split.


def test_tuning_never_reads_the_test_split():
    for search in (GRID, RandomSearch(num_trials=4, seeds=2)):
        watched = WatchedSplit(MOONS.test)
        tune(tuned(search), replace(MOONS, test=watched), search)
        assert watched.num_reads == {"inputs": 0, "labels": 0}


def test_test_split_is_read_once_for_the_winner_and_once_for_the_default():
    watched = WatchedSplit(MOONS.test)
    reads_by_stage = {}

    def note(stage, training):
        reads_by_stage[stage] = watched.num_reads["inputs"]

    result = run(tuned(), replace(MOONS, test=watched), on_epoch=note)
    assert reads_by_stage == {"tuning": 0, "final": 0, "untuned": 1}
    assert watched.num_reads["inputs"] == 2
    assert result.test_openings == 2 * 3


def test_openings_leave_out_diverged_replicas():
    # The configured rate diverges, the best of the grid does not.
    oracle = partial(Peaked, learning_rate=1e5, limit=1e4)
    result = run(tuned(new_optimizer=oracle, untuned={"learning_rate": 1e5}, **LINEAR), MOONS)
    assert result.untuned.trained.diverged.all()
    assert result.untuned.statuses == ("diverged",) * 3
    assert result.status == "finished"
    assert result.test_openings == 3
    assert result.untuned.summary["test/openings"].tolist() == [0, 0, 0]
    assert result.final.summary["test/openings"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("search", [None, GRID, RandomSearch(num_trials=4, seeds=2)], ids=["none", "grid", "random"])
def test_gap_between_validation_and_test_changes_nothing_but_the_test_scores(search):
    tested = tuned(search, patience=2, num_epochs=8, target_accuracy=0.9)
    permuted = np.random.default_rng(0).permutation(MOONS.test.labels)
    results = [
        run(tested, with_test(MOONS.test.inputs, labels))
        for labels in (MOONS.test.labels, 1 - MOONS.test.labels, permuted)
    ]
    accuracies = [result.final.summary["test/accuracy"] for result in results]
    np.testing.assert_allclose(accuracies[0] + accuracies[1], 1)
    assert not np.array_equal(accuracies[0], accuracies[2])

    for result in results[1:]:
        pairs = [(result.final, results[0].final)]
        if search is not None:
            assert result.tuning.chosen == results[0].tuning.chosen
            assert_same_bits(dict(result.tuning.table), dict(results[0].tuning.table))
            pairs.append((result.untuned, results[0].untuned))
        for actual, wanted in pairs:
            assert_same_bits(without_test(actual), without_test(wanted))
            assert actual.best_replica == wanted.best_replica


def without_test(scores):
    return {name: values for name, values in bits(scores).items() if not name.startswith("summary/test/")}


def test_stopped_trials_are_charged_for_what_they_trained():
    search = LearningRateGrid(num_trials=3, seeds=3, max_extensions=0)
    tested = tuned(search, patience=1, num_epochs=30)
    found = tune(tested, MOONS, search)
    evaluations = found.table["gradient_evaluations"]
    assert len(set(evaluations)) > 1
    assert evaluations.max() < 30 * STEPS
    assert (evaluations % STEPS == 0).all()
    assert found.gradient_evaluations == evaluations.sum()


def test_tuning_twice_finds_the_same():
    one, two = (tune(tuned(), MOONS, GRID) for _ in range(2))
    assert one.chosen == two.chosen
    assert_same_bits(dict(one.table), dict(two.table))
