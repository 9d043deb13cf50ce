"""The digest: the same everywhere for the same content, another for any other content."""

import numpy as np
import pytest

from nnbench.data import XOR, BreastCancer, Circles, Digits, Iris, Moons, Spirals, Wine

# Measured with NumPy 2.4 and scikit-learn 1.9 on Linux.
DIGEST_BY_SOURCE = {
    Digits: "9fb9fb2d350f4d7f406122978221da1b9b3340e74a39212e4d3428c2a1a6d37a",
    Iris: "6faaa7f2df9daf4dd7f12468b2fbff36766a4544a5dd971b58e3ac7095d4c581",
    Wine: "f4d24519a8d719c7f20fa06b9ddc881339c6d15f758ba03d5a8fadb8710b537f",
    BreastCancer: "64263536322eb1bb4a4337782d77d61695f128e8bf6cb44f7fe81a2d53843093",
    XOR: "81fac39ddcec937917015118c3a24bc7150c2a5e642c86a82884535c5d7c5e7c",
    Moons: "d1cfcf2d927fe875b2000da05a6abf56a48d5a91789b042f3b7f3a55aad95399",
    Circles: "dff2af8b6868f09249a4f0b81603187d262217f00f61e849eec49650e005880a",
    Spirals: "a5ef0fc629e26fc7a8c81e74fb2ccad0fb856b7fa5a27ba4c6e3a16b528f9e9c",
}


@pytest.mark.parametrize("source", DIGEST_BY_SOURCE, ids=lambda source: source.__name__)
def test_content_of_the_bundled_and_generated_sets_is_as_recorded(source):
    assert source().load().digest == DIGEST_BY_SOURCE[source]


def content():
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(60, 2)), np.arange(60) % 3
    return {"inputs": inputs, "labels": labels, "test": (inputs[:9] + 1, labels[:9])}


def test_digest_ignores_how_the_data_is_split_scaled_and_stored(arrays):
    digest = arrays(**content()).load().digest
    columns_first = content() | {"inputs": np.asfortranarray(content()["inputs"])}
    big_endian = content() | {
        "inputs": content()["inputs"].astype(">f8"),
        "labels": content()["labels"].astype(np.int8),
    }

    assert arrays(**content(), split_seed=3, scaling="minmax", num_samples=30).load(np.float64).digest == digest
    assert arrays(**columns_first).load().digest == digest
    assert arrays(**big_endian).load().digest == digest


def other_input(fields):
    fields["inputs"][5, 1] = np.nextafter(fields["inputs"][5, 1], 9)


def other_label(fields):
    fields["labels"][5] = (fields["labels"][5] + 1) % 3


def other_order(fields):
    fields["inputs"] = fields["inputs"][::-1]


def other_class_name(fields):
    fields["class_names"] = ("a", "b", "c")


def other_test_input(fields):
    fields["test"][0][0, 0] += 1


def other_test_label(fields):
    fields["test"] = (fields["test"][0], (fields["test"][1] + 1) % 3)


def no_test_part(fields):
    fields["test"] = None


def moved_column(fields):
    fields["inputs"] = fields["inputs"].reshape(-1, 1)
    fields["labels"] = np.resize(fields["labels"], 120)
    fields["test"] = None


@pytest.mark.parametrize(
    "change",
    [
        other_input,
        other_label,
        other_order,
        other_class_name,
        other_test_input,
        other_test_label,
        no_test_part,
        moved_column,
    ],
)
def test_digest_sees_every_change_of_content(arrays, change):
    changed = content()
    change(changed)

    assert arrays(**changed).load().digest != arrays(**content()).load().digest
