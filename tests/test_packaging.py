"""What pyproject.toml says about the package is true."""

import re
import tomllib
from pathlib import Path

import pytest

import nnbench

PYPROJECT = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
DEPENDENCIES = PROJECT["dependencies"] + [line for extra in PROJECT["optional-dependencies"].values() for line in extra]


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == nnbench.__version__


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_a_dependency_states_its_purpose_and_a_floor(dependency):
    assert re.search(rf'^  "{re.escape(dependency)}", +# \w.+$', PYPROJECT, re.MULTILINE)
    assert ">=" in dependency
