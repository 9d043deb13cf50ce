"""The conf folder and the constructors say the same."""

import inspect

import pytest
from nn_cases import CONF, family

from nnbench import nn

GROUPS = ("activation", "initializer", "loss", "optimizer", "schedule")
ENTRIES = [pytest.param(group, name, id=f"{group}-{name}") for group in GROUPS for name in family(group)]


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_yaml_lists_every_keyword_with_its_default(group, name):
    entry = family(group)[name]
    parameters = inspect.signature(entry.target).parameters.values()
    defaults = {
        parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty
    }
    assert entry.options == defaults


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_yaml_gives_numbers_of_the_type_of_the_default(group, name):
    entry = family(group)[name]
    defaults = {key: parameter.default for key, parameter in inspect.signature(entry.target).parameters.items()}
    assert {key: type(value) for key, value in entry.options.items()} == {
        key: type(defaults[key]) for key in entry.options
    }


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_target_stands_first(group, name):
    assert (CONF / group / f"{name}.yaml").read_text().startswith("_target_: ")


def test_every_public_part_has_a_yaml():
    in_conf = {family(group)[name].target for group in GROUPS for name in family(group)}
    whole = {nn.MLP, nn.Training, nn.evaluate, nn.spawn_rngs}
    whole |= {nn.hessian_vector_product, nn.largest_eigenvalue, nn.gradient_signal_to_noise}
    assert {getattr(nn, name) for name in nn.__all__} - whole == in_conf
