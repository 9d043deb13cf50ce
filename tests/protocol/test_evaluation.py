"""Scores on the test split are those of their definitions."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis.strategies import data, integers, lists
from protocol_cases import MOONS, cell, train, with_test
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from nnbench.data import Digits, Iris, Split
from nnbench.protocol.evaluation import count, score

DIGITS = Digits().load()


def trained_on_digits():
    return train(cell(source=Digits(), hidden=(16,), num_epochs=8, seeds=(0, 1)), DIGITS).selected_model()


def test_scores_agree_with_their_definitions_written_out():
    model = trained_on_digits()
    scores = score(model, DIGITS, np.array([True, True]))

    for replica in range(2):
        predicted, true = scores.predictions[replica], DIGITS.test.labels
        counts = np.zeros((10, 10), dtype=int)
        for row, column in zip(true, predicted, strict=True):
            counts[row, column] += 1
        hits = np.diag(counts)
        precision, recall = hits / counts.sum(axis=0), hits / counts.sum(axis=1)
        f1 = 2 * precision * recall / (precision + recall)

        np.testing.assert_array_equal(scores.confusion[replica], counts)
        assert scores.summary["test/accuracy"][replica] == hits.sum() / len(true)
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            np.testing.assert_allclose(scores.by_class[name][replica], values)
            np.testing.assert_allclose(scores.summary[f"test/{name}_macro"][replica], values.mean())


def test_test_loss_is_the_mean_negative_log_probability_of_the_true_class():
    model = trained_on_digits()
    logits = model.logits(DIGITS.test.inputs).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    wanted = -np.log(probabilities[:, np.arange(180), DIGITS.test.labels]).mean(axis=-1)

    np.testing.assert_allclose(score(model, DIGITS, np.array([True, True])).summary["test/loss"], wanted, rtol=1e-5)


def test_an_unusable_replica_changes_no_score_of_the_others():
    model = trained_on_digits()
    model.params[0] = np.nan

    both, one = (score(model, DIGITS, np.array(usable)) for usable in ([False, True], [True, True]))

    for name, values in both.summary.items():
        assert values[1] == one.summary[name][1]
    assert both.summary["test/accuracy"][0] == 1 / 10
    assert np.isnan(both.by_class["f1"][0]).all()


def test_without_a_usable_replica_all_are_at_chance_level():
    model = train(cell()).selected_model()

    scores = score(model, MOONS, np.zeros(3, dtype=bool))

    np.testing.assert_array_equal(scores.summary["test/accuracy"], [0.5] * 3)
    assert scores.confusion.sum() == 0


def test_macro_scores_leave_out_a_class_that_is_neither_there_nor_predicted():
    iris = Iris().load()
    kept = iris.test.labels != 2
    without = replace(iris, test=Split(iris.test.inputs[kept], iris.test.labels[kept]))
    model = train(cell(num_epochs=20), iris).selected_model()

    scores = score(model, without, np.ones(3, dtype=bool))

    for replica in range(3):
        wanted = f1_score(without.test.labels, scores.predictions[replica], average="macro", zero_division=0)
        assert scores.summary["test/f1_macro"][replica] == wanted
    assert (scores.by_class["f1"][:, 2] == 0).all()


def test_a_class_without_samples_has_recall_zero_and_not_nothing():
    only_ones = with_test(MOONS.test.inputs, np.ones_like(MOONS.test.labels))
    model = train(cell(num_epochs=1)).selected_model()

    scores = score(model, only_ones, np.ones(3, dtype=bool))

    np.testing.assert_array_equal(scores.by_class["recall"][:, 0], 0)
    np.testing.assert_allclose(scores.by_class["recall"][:, 1], scores.summary["test/accuracy"])


@given(data())
def test_counted_scores_are_those_of_scikit_learn_to_the_last_bit(drawn):
    num_classes = drawn.draw(integers(2, 5))
    labels, predicted = (
        np.array(drawn.draw(lists(integers(0, num_classes - 1), min_size=9, max_size=9)), dtype=np.int64) for _ in "tp"
    )
    dataset = replace(
        MOONS,
        class_names=tuple("abcde"[:num_classes]),
        test=Split(np.zeros((9, MOONS.num_features), MOONS.test.inputs.dtype), labels),
    )

    scores = count(predicted[np.newaxis], dataset, loss=np.zeros(1), probabilities=None)

    every = np.arange(num_classes)
    np.testing.assert_array_equal(scores.confusion[0], confusion_matrix(labels, predicted, labels=every))
    by_class = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    macro = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    for place, name in enumerate(("precision", "recall", "f1")):
        np.testing.assert_array_equal(scores.by_class[name][0], by_class[place])
        assert scores.summary[f"test/{name}_macro"][0] == macro[place]
