"""The record keeps what the test split says: predictions, calibration, pictures of what was missed."""

from dataclasses import replace

import numpy as np
import pytest

from nnbench.analysis.calibration import calibration_error, reliability
from nnbench.data import Digits
from nnbench.tracking import contents, record


@pytest.fixture(scope="module")
def read(digits, tmp_path_factory):
    return record.read(digits.write(tmp_path_factory.mktemp("digits")))


def test_predictions_are_those_of_the_selected_networks(read, digits):
    kept, model = read.predictions(), digits.result.model

    np.testing.assert_array_equal(kept.labels, digits.dataset.test.labels)
    np.testing.assert_array_equal(
        kept.predicted, model.loss.predict(model.logits(digits.dataset.test.inputs)), strict=False
    )
    assert tuple(kept.seeds) == digits.cell.seeds
    counts = read.confusion().to_numpy()
    assert counts[3, 3] == np.count_nonzero((kept.labels == 3) & (kept.predicted == 3))


def test_pictures_are_the_missed_samples_most_often_missed_first(read, digits):
    kept = read.predictions()
    missed = (kept.predicted != kept.labels).sum(axis=0)

    assert set(kept.samples) == set(np.flatnonzero(missed))
    assert (np.diff(missed[kept.samples]) <= 0).all()
    raw = digits.dataset.scaler.inverse(digits.dataset.test.inputs)
    shades = 255 * (raw - raw.min()) / (raw.max() - raw.min())
    np.testing.assert_allclose(kept.images.reshape(len(kept.samples), -1), shades[kept.samples], atol=0.5)
    assert kept.images.dtype == np.uint8
    assert kept.images.shape[1:] == (8, 8)


@pytest.mark.parametrize("scaling", ["none", "standard", "minmax", "global_minmax"])
def test_pictures_are_the_raw_images_whatever_the_scaling(scaling):
    plain, scaled = Digits(scaling="none").load(), Digits(scaling=scaling).load()
    samples = np.arange(20)

    # A pixel that is constant in training has no contrast left.
    varies = np.ptp(plain.train.inputs, axis=0).reshape(8, 8) > 0
    pictures = contents._pictures(scaled, samples)[:, varies]
    wanted = np.rint(255 * plain.test.inputs[samples] / 16).reshape(-1, 8, 8)[:, varies]
    np.testing.assert_allclose(pictures, wanted, atol=1)


def test_tables_have_no_pictures(iris, tmp_path):
    kept = record.read(iris.write(tmp_path)).predictions()

    assert kept.images.shape == (0, 0, 0)
    assert kept.samples.shape == (0,)
    assert kept.predicted.shape == (2, len(kept.labels))


def test_calibration_is_that_of_each_replica(iris, tmp_path):
    bins = record.read(iris.write(tmp_path)).calibration()
    model, test = iris.result.model, iris.dataset.test
    probabilities = model.loss.probabilities(model.logits(test.inputs))

    assert list(bins["seed"].unique()) == [3, 5]
    for place, seed in enumerate((3, 5)):
        of_seed = bins[bins["seed"] == seed]
        assert of_seed["count"].sum() == len(test)
        wanted = calibration_error(reliability(probabilities[place], test.labels))
        assert calibration_error(of_seed) == pytest.approx(wanted, rel=1e-12)


def test_a_diverged_replica_predicts_nothing_and_has_no_calibration(mixed, diverged, tmp_path):
    read = record.read(mixed.write(tmp_path / "mixed"))
    assert (read.predictions().predicted[1] == -1).all()
    assert (read.predictions().predicted[[0, 2]] >= 0).all()
    assert set(read.calibration()["seed"]) == {0, 2}

    alone = record.read(diverged.write(tmp_path / "diverged"))
    assert alone.calibration().empty
    assert (alone.predictions().predicted == -1).all()


def test_no_more_pictures_are_kept_than_the_limit(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MOST_IMAGES", 3)
    kept = record.read(digits.write(tmp_path)).predictions()
    missed = (kept.predicted != kept.labels).sum(axis=0)

    assert len(kept.samples) == len(kept.images) == 3
    assert sorted(missed[kept.samples], reverse=True) == sorted(missed, reverse=True)[:3]


def test_the_update_rule_is_kept_as_text(read, digits):
    assert read.cell["update_rule"].startswith("Momentum, with each parameter's step scaled")
    assert "theta <- theta - eta mhat" in read.cell["update_rule"]

    silent = type("Silent", (), {"__doc__": None})
    trained = replace(digits.result.final.trained, optimizer=silent)
    result = replace(digits.result, final=replace(digits.result.final, trained=trained))
    assert contents.facts_of_network(result)["update_rule"] == ""
