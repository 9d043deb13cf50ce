"""Splits: stratified, disjoint, and fixed by `split_seed` alone."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from nnbench.data import DataError, Digits, Iris, Moons
from nnbench.data.splitting import draw_stratified


def numbered(num_samples, num_classes=3):
    """Inputs that are the row number, so that a sample can be recognised in any split."""
    return np.arange(num_samples, dtype=np.float64)[:, np.newaxis], np.arange(num_samples) % num_classes


def rows_of(split):
    return set(split.inputs[:, 0].astype(int))


def test_digits_have_the_agreed_sizes():
    dataset = Digits().load()

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1437, 180, 180)


def test_splits_are_disjoint_and_complete(arrays):
    inputs, labels = numbered(200)

    dataset = arrays(inputs=inputs, labels=labels).load()

    rows = [rows_of(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert set.union(*rows) == set(range(200))
    assert sum(map(len, rows)) == 200


def test_labels_stay_with_their_inputs(arrays):
    inputs, labels = numbered(200)

    dataset = arrays(inputs=inputs, labels=labels).load()

    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.labels, labels[split.inputs[:, 0].astype(int)])


def test_official_test_rows_are_the_test_split_and_nothing_else(arrays):
    inputs, labels = numbered(100)
    test = (1000 + inputs[:30], labels[:30])

    dataset = arrays(inputs=inputs, labels=labels, test=test).load()

    np.testing.assert_array_equal(dataset.test.inputs, test[0])
    assert rows_of(dataset.train) | rows_of(dataset.validation) == set(range(100))
    assert len(dataset.validation) == 10


def test_classes_keep_their_proportions():
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    rng = np.random.default_rng(0)

    drawn, rest = draw_stratified(np.arange(1000), labels, 100, rng)

    np.testing.assert_array_equal(np.bincount(labels[drawn]), [70, 20, 10])
    np.testing.assert_array_equal(np.bincount(labels[rest]), [630, 180, 90])


@pytest.mark.parametrize("count", [7, 50, 123, 333])
def test_proportions_agree_with_scikit_learn(count):
    rng = np.random.default_rng(count)
    labels = rng.choice(4, size=500, p=[0.4, 0.3, 0.2, 0.1])

    drawn, _ = draw_stratified(np.arange(500), labels, count, rng)

    theirs, _ = train_test_split(labels, train_size=count, stratify=labels, random_state=0)
    assert len(drawn) == count
    assert np.abs(np.bincount(labels[drawn]) - np.bincount(theirs)).max() <= 1


def test_split_seed_alone_decides_the_splits(arrays):
    inputs, labels = numbered(100)
    first = arrays(inputs=inputs, labels=labels).load()
    np.random.default_rng(5).random(100)

    again = arrays(inputs=inputs, labels=labels, scaling="standard").load(np.float64)
    other = arrays(inputs=inputs, labels=labels, split_seed=1).load()

    # Scaled otherwise and in another dtype, but the same rows in the same order.
    np.testing.assert_array_equal(first.train.labels, again.train.labels)
    np.testing.assert_array_equal(np.argsort(first.train.inputs[:, 0]), np.argsort(again.train.inputs[:, 0]))
    assert rows_of(first.test) != rows_of(other.test)
    assert rows_of(first.train) != rows_of(other.train)


def test_global_random_state_is_neither_read_nor_written():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = Moons().load()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002

    second = Moons().load()

    np.testing.assert_array_equal(first.train.inputs, second.train.inputs)


def test_draws_are_the_same_on_every_machine():
    _, rest = draw_stratified(np.arange(12), np.repeat([0, 1], 6), 4, np.random.default_rng(0))

    # Measured once with NumPy 2.4: a generator that draws otherwise gives other splits, and so other results.
    assert rest.tolist() == [0, 1, 4, 5, 6, 7, 8, 9]


def test_subset_is_stratified_and_leaves_the_test_split_alone():
    whole = Digits(scaling="none").load()

    part = Digits(scaling="none", num_samples=200).load()

    np.testing.assert_array_equal(whole.test.inputs, part.test.inputs)
    assert (len(part.train), len(part.validation)) == (178, 22)
    counts = np.bincount(np.concatenate([part.train.labels, part.validation.labels]))
    assert counts.min() >= 19
    assert counts.max() <= 21


def test_subset_may_be_the_whole_pool():
    assert len(Iris(num_samples=135).load().train) == 120


def test_subset_larger_than_the_pool_is_refused():
    with pytest.raises(DataError, match=r"num_samples is 136 but .* iris has 135 samples; lower it"):
        Iris(num_samples=136).load()


def test_rare_class_is_split_with_a_warning(arrays):
    labels = np.repeat([0, 1, 2], [60, 38, 2])

    dataset = arrays(inputs=np.arange(100.0)[:, np.newaxis], labels=labels).load()

    assert dataset.warnings == (
        "class 'class 2' has no sample in the validation split",
        "class 'class 2' has no sample in the test split",
    )


def test_class_without_a_sample_is_a_warning(arrays):
    inputs, labels = numbered(100)

    dataset = arrays(inputs=inputs, labels=labels, class_names=("a", "b", "c", "d")).load()

    assert dataset.num_classes == 4
    assert "class 'd' has no sample in the training split" in dataset.warnings


@pytest.mark.parametrize("num_samples", [1, 2, 3, 4])
def test_too_few_samples_for_three_splits_are_refused(arrays, num_samples):
    inputs, labels = numbered(num_samples, num_classes=2)

    with pytest.raises(DataError, match="arrays"):
        arrays(inputs=inputs, labels=labels).load()


def test_five_samples_are_refused_with_the_sizes(arrays):
    inputs, labels = numbered(5, num_classes=2)

    with pytest.raises(DataError, match=r"too small to be split: .* would have 5, 0 and 0 samples; add samples"):
        arrays(inputs=inputs, labels=labels, validation_fraction=0.09, test_fraction=0.09).load()


def test_one_class_is_refused(arrays):
    inputs, _ = numbered(50)

    with pytest.raises(DataError, match="only the class 'class 0'; classification needs at least 2 classes"):
        arrays(inputs=inputs, labels=np.zeros(50, dtype=int)).load()


def test_measured_numbers_as_target_are_refused(arrays):
    inputs, _ = numbered(50)

    with pytest.raises(DataError, match="50 classes but only 50 samples, fewer than 2 for each"):
        arrays(inputs=inputs, labels=np.arange(50)).load()


@pytest.mark.parametrize("label", [-1, 3])
def test_label_out_of_range_is_refused(arrays, label):
    inputs, labels = numbered(50)
    labels[7] = label

    with pytest.raises(DataError, match=f"label {label} of row 8 is not between 0 and 2"):
        arrays(inputs=inputs, labels=labels, class_names=("a", "b", "c")).load()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["pool", "test"])
def test_feature_that_is_not_finite_is_refused(arrays, value, part):
    inputs, labels = numbered(50)
    test = (inputs.copy(), labels)
    (inputs if part == "pool" else test[0])[4, 0] = value

    with pytest.raises(DataError, match=f"'feature 0', row 5 is {value}"):
        arrays(inputs=inputs, labels=labels, test=test).load()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"validation_fraction": 1.5}, "validation_fraction is 1.5; it must be between 0 and 1"),
        ({"validation_fraction": 0.0}, "validation_fraction is 0.0; it must be between 0 and 1"),
        ({"test_fraction": -0.1}, "test_fraction is -0.1; it must be between 0 and 1"),
        ({"test_fraction": float("nan")}, "test_fraction is nan; it must be between 0 and 1"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "validation_fraction + test_fraction is 1.0; it must be"),
        ({"num_samples": 0}, "num_samples is 0; it must be at least 1"),
        ({"split_seed": -1}, "split_seed is -1; it must be at least 0"),
        ({"scaling": "log"}, "scaling is log; it must be one of none, standard, minmax, global_minmax"),
        ({"feature_range": (1.0, 1.0)}, "feature_range is (1.0, 1.0); it must be finite, with the smaller number"),
        ({"feature_range": (0.0, float("inf"))}, "feature_range is (0.0, inf)"),
    ],
)
def test_setting_out_of_range_is_a_value_error(fields, message):
    with pytest.raises(ValueError) as error:
        Iris(**fields)

    assert message in str(error.value)
