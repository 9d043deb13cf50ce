"""The files of conf/dataset: each mirrors its class, each loads."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import nnbench.data
from nnbench.data import Dataset, Source

CONF = Path(__file__).parents[2] / "conf" / "dataset"
FILES = sorted(CONF.glob("*.yaml"))
NEEDS_FILE_OR_NETWORK = {"mnist", "fashion_mnist", "kmnist", "openml", "csv", "parquet", "npz"}
MANDATORY = "???"  # what Hydra asks the user to give


def read(path):
    """Return the class and the keywords that a file names."""
    keywords = yaml.safe_load(path.read_text())
    assert next(iter(keywords)) == "_target_"
    module, name = keywords.pop("_target_").rsplit(".", 1)
    assert module == "nnbench.data"
    return getattr(nnbench.data, name), keywords


def as_tuples(value):
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_lists_every_keyword_with_the_default_of_the_class(path):
    source, keywords = read(path)

    defaults = {
        field.name: MANDATORY if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(source)
    }

    assert {key: as_tuples(value) for key, value in keywords.items()} == defaults


def test_every_source_has_a_file():
    named = {read(path)[0] for path in FILES}

    assert named == {
        value
        for value in vars(nnbench.data).values()
        if inspect.isclass(value) and issubclass(value, Source) and value is not Source
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_source_is_a_frozen_dataclass_with_real_types(path):
    source, _ = read(path)

    assert source.__dataclass_params__.frozen
    assert source.__bases__ == (Source,)
    parameters = inspect.signature(source).parameters.values()
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    assert not any(isinstance(parameter.annotation, str) for parameter in parameters)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem not in NEEDS_FILE_OR_NETWORK], ids=lambda path: path.stem
)
def test_choice_loads(path):
    source, keywords = read(path)

    dataset = source(**keywords).load()

    assert isinstance(dataset, Dataset)
    assert dataset.name == path.stem
    assert dataset.warnings == ()
    assert dataset.num_classes == len(dataset.class_names) >= 2
    assert dataset.num_features == dataset.train.inputs.shape[-1]
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.inputs.shape == (len(split), dataset.num_features)
        assert split.inputs.dtype == np.float32
        assert set(split.labels) == set(range(dataset.num_classes))
    if dataset.image_shape:
        assert np.prod(dataset.image_shape) == dataset.num_features
    assert len(dataset.digest) == 64


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_source_made_from_yaml_is_hashable_and_equals_the_default(path):
    source, keywords = read(path)
    if path.stem == "openml":
        keywords["data_id"] = 61
    given = {key: value for key, value in keywords.items() if value == MANDATORY or key == "data_id"}

    assert hash(source(**keywords)) == hash(source(**given))
    assert source(**keywords) == source(**given)


def test_import_is_light():
    code = "import nnbench.data, sys; print({'sklearn', 'pandas', 'pooch', 'requests', 'scipy'} & set(sys.modules))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "set()"
