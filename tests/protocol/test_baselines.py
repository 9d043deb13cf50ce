"""Baselines are scikit-learn's classifiers, fitted as rarely as is honest and scored as networks are."""

from dataclasses import fields, replace

import numpy as np
import pytest
import yaml
from protocol_cases import CONF, MOONS

from nnbench import protocol
from nnbench.data import Digits, Moons, Split
from nnbench.protocol import baselines
from nnbench.protocol.baselines import BaselineCell
from nnbench.protocol.fingerprint import fingerprint

DIGITS = Digits().load()
NAMES = sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem != "mlp")
KINDS = (
    protocol.Dummy, protocol.LogisticRegression, protocol.KNN, protocol.SVM, protocol.RandomForest,
    protocol.GradientBoosting, protocol.MLPClassifier,
)  # fmt: skip


def small(kind):
    """Return a baseline of a kind that is fitted in a moment."""
    options = {protocol.RandomForest: {"n_estimators": 5}, protocol.GradientBoosting: {"max_iter": 5}}
    return kind(**options.get(kind, {}))


def run(model, dataset=MOONS, seeds=(0, 1, 2)):
    cell = BaselineCell(choices={"model": "x"}, source=Moons(), model=model, seeds=seeds, dtype="float32")
    return baselines.run(cell, dataset)


def test_every_shipped_baseline_has_a_file_and_every_file_is_shipped():
    assert sorted(baselines.SHIPPED) == NAMES
    assert set(baselines.ON_LARGE_DATA) < set(baselines.SHIPPED)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_states_the_options_of_its_class_with_their_defaults(name):
    options = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    kind = getattr(protocol, options.pop("_target_").rpartition(".")[2])

    defaults = {field.name: field.default for field in fields(kind)}
    assert {*options} <= {*defaults}
    stated = {key: value for key, value in options.items() if not str(value).startswith("${")}
    assert stated == {key: defaults[key] for key in stated}
    assert {*defaults} - {*options} == set()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_classifier_fitted_by_hand(kind):
    model = small(kind)
    result = run(model, seeds=(3, 4))

    for place, seed in enumerate((3, 4)):
        classifier = model.build(seed, len(MOONS.train)).fit(MOONS.train.inputs, MOONS.train.labels)
        predicted = classifier.predict(MOONS.test.inputs)
        np.testing.assert_array_equal(result.test.predictions[place], predicted)
        assert result.summary["test/accuracy"][place] == (predicted == MOONS.test.labels).mean()
        on_validation = classifier.predict(MOONS.validation.inputs) == MOONS.validation.labels
        assert result.summary["val/selected_accuracy"][place] == on_validation.mean()
    assert result.status == "finished"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_draws_exactly_if_it_says_so(kind):
    model = small(kind)
    outputs = []
    for seed in (0, 1):
        classifier = model.build(seed, len(DIGITS.train)).fit(DIGITS.train.inputs, DIGITS.train.labels)
        certain = classifier.predict_proba if hasattr(classifier, "predict_proba") else classifier.decision_function
        outputs.append(certain(DIGITS.test.inputs))

    assert np.array_equal(*outputs) == (not model.draws)


@pytest.mark.parametrize("kind", KINDS)
def test_one_fit_stands_for_all_seeds_of_what_draws_nothing(kind):
    result = run(small(kind))

    assert result.num_fits == (3 if kind.draws else 1)
    assert len(result.summary["test/accuracy"]) == len(result.seeds) == 3
    if not kind.draws:
        assert all(len(np.unique(values[np.isfinite(values)])) <= 1 for values in result.summary.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_scores_again_and_beside_others(kind):
    alone, together = run(small(kind), seeds=(2,)), run(small(kind), seeds=(0, 2))

    for name, values in together.summary.items():
        if not name.startswith("time/"):
            np.testing.assert_array_equal(values[1], alone.summary[name][0], err_msg=name)


def test_the_dummy_is_as_often_right_as_the_most_frequent_class_is_there():
    share = np.bincount(DIGITS.test.labels)[np.bincount(DIGITS.train.labels).argmax()] / len(DIGITS.test)

    assert run(protocol.Dummy(), DIGITS).summary["test/accuracy"][0] == share


def test_test_loss_is_scikit_learns_log_loss():
    from sklearn.metrics import log_loss

    result = run(protocol.LogisticRegression(), DIGITS)

    wanted = log_loss(DIGITS.test.labels, result.test.probabilities[0].astype(np.float32))
    assert result.summary["test/loss"][0] == pytest.approx(wanted, rel=1e-6)


def test_what_gives_no_probabilities_has_no_loss():
    result = run(protocol.SVM())

    assert result.test.probabilities is None
    assert np.isnan(result.summary["test/loss"]).all()
    assert np.isnan(result.summary["val/selected_loss"]).all()


def test_a_class_that_training_lacks_has_probability_zero_and_a_finite_loss():
    kept = DIGITS.train.labels != 4
    without = replace(DIGITS, train=Split(DIGITS.train.inputs[kept], DIGITS.train.labels[kept]))
    result = run(protocol.LogisticRegression(), without)

    assert (result.test.probabilities[..., 4] == 0).all()
    assert np.isfinite(result.summary["test/loss"]).all()
    assert (result.test.predictions != 4).all()


def test_there_are_never_more_neighbours_than_samples():
    few = replace(MOONS, train=Split(MOONS.train.inputs[:3], MOONS.train.labels[:3]))

    assert run(protocol.KNN(), few).status == "finished"


def test_the_penalty_of_the_classifier_is_the_weight_decay_of_our_networks():
    # Its loss is the mean over the batch plus alpha / (2 batch size) |weights|^2.
    assert protocol.MLPClassifier(weight_decay=0.01, batch_size=50).build(0, 1000).alpha == pytest.approx(0.5)
    assert protocol.MLPClassifier(weight_decay=0.01, batch_size="full").build(0, 1000).alpha == pytest.approx(10)


def test_the_classifier_trains_every_epoch_it_is_given():
    classifier = protocol.MLPClassifier(num_epochs=25, hidden=(4,)).build(0, len(MOONS.train))
    with pytest.warns(Warning, match=baselines.END_OF_EPOCHS):
        classifier.fit(MOONS.train.inputs, MOONS.train.labels)

    assert classifier.n_iter_ == 25


def test_what_scikit_learn_warns_of_is_kept_but_for_the_planned_end_of_training():
    assert run(protocol.MLPClassifier(num_epochs=1)).warnings == ()
    assert "converge" in run(protocol.LogisticRegression(max_iter=1), DIGITS).warnings[0]


def test_large_data_get_those_that_stay_quick():
    assert baselines.beside(DIGITS) == baselines.SHIPPED
    large = np.broadcast_to(np.float32(0), (50_000, 784))

    assert baselines.beside(replace(DIGITS, train=Split(large, np.zeros(50_000, int)))) == baselines.ON_LARGE_DATA


CONFIG = {
    "model": {"_target_": "nnbench.protocol.SVM", "C": 1.0},
    "dataset": {"_target_": "nnbench.data.Digits", "split_seed": 0},
    "seeds": 3, "dtype": "float32", "optimizer": {"_target_": "nnbench.nn.Adam"}, "num_epochs": 3, "plugins": [],
    "layer_activations": None, "tuning": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"optimizer": {"_target_": "nnbench.nn.GD"}}, {"num_epochs": 4}, {"seeds": [0, 1, 2]}, {"hidden": [9]}]
)
def test_what_concerns_networks_alone_is_no_part_of_a_baselines_fingerprint(change):
    assert fingerprint(CONFIG | change, "digest", {}) == fingerprint(CONFIG, "digest", {})


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"_target_": "nnbench.protocol.SVM", "C": 2.0}},
        {"dataset": {"_target_": "nnbench.data.Digits", "split_seed": 1}},
        {"seeds": 4},
        {"dtype": "float64"},
    ],
)
def test_what_determines_a_baseline_is_part_of_its_fingerprint(change):
    assert fingerprint(CONFIG | change, "digest", {}) != fingerprint(CONFIG, "digest", {})
    assert fingerprint(CONFIG, "other", {}) != fingerprint(CONFIG, "digest", {})
