"""Configurations of a grid over several groups are those that Hydra composes for each cell, in fewer compositions."""

import json

import pytest
from command_line import grid_of

from nnbench.composition import Composer

OF_PRODUCT = ("-m", "--config-dir=own", "optimizer=gd,own,rmsprop", "activation=relu,own", "loss=own,special")
# Files of a folder of one's own by which one choice has to do with another.
RELATED = {
    "nothing": {},
    "a file that changes another group": {
        "optimizer/own.yaml": "# @package _global_\noptimizer:\n  learning_rate: 0.5\nactivation:\n  slope: 0.3\n"
    },
    "a file that changes what all have": {
        "activation/own.yaml": "# @package _global_\nbatch_size: 7\nactivation: {slope: 1}\n",
        "optimizer/own.yaml": "# @package _global_\nbatch_size: 8\noptimizer: {learning_rate: 1}\n",
    },
    "a file that chooses another one": {"activation/own.yaml": "defaults:\n  - relu\n  - _self_\nslope: 2\n"},
    "a choice that depends on two others": {
        "setting/pair.yaml": (
            "# @package _global_\ndefaults:\n  - /one: a\n  - /two: a\n"
            "  - optional /extra@about: ${one}_${two}\n  - _self_\n"
        )
    },
    "the same, in one line": {
        "setting/pair.yaml": (
            "# @package _global_\ndefaults: [/one: a, /two: a,\n  optional /extra@about: '${one}_${two}', _self_]\n"
        )
    },
    "the same, not at the beginning of a line": {
        "setting/pair.yaml": (
            "# @package _global_\n{seeds: 2, defaults: [/one: a, /two: a, "
            "optional /extra@about: '${one}_${two}', _self_]}\n"
        )
    },
    "the same, by another name": {
        "setting/pair.yaml": (
            "# @package _global_\nto_reach: &list\n  - /one: a\n  - /two: a\n"
            "  - optional /extra@about: ${one}_${two}\n  - _self_\ndefaults: *list\n"
        )
    },
    "a group inside of another": {
        "setting/pair.yaml": "# @package _global_\ndefaults: [/one: a, /one/two: a, _self_]\n",
        "one/a.yaml": "two: {x: 1}\n",
        "one/b.yaml": "two: {x: 5}\n",
        "one/two/a.yaml": "y: 0\n",
        "one/two/b.yaml": "x: 1\n",
    },
    "values that depend on another group": {"optimizer/own.yaml": "learning_rate: ${num_epochs}\nslope: ${seeds}\n"},
    "a whole group that depends on another": {
        "loss/special.yaml": "_target_: ${activation._target_}\n",
    },
}
OWN = {
    "loss/own.yaml": "scale: 1\n",
    "loss/special.yaml": "scale: 2\n",
    "optimizer/own.yaml": "learning_rate: 0.1\n",
    **{f"{group}/{choice}.yaml": f"is: {choice}\n" for group in ("one", "two") for choice in "ab"},
    "extra/b_b.yaml": "question: of this pair alone\n",
    "activation/own.yaml": "_target_: a.b\nslope: 3\n",
}


def jobs(words):
    return [(json.dumps(job.config), job.choices, job.label) for job in grid_of(*words).jobs]


@pytest.fixture
def num_compositions(monkeypatch):
    """How often Hydra has composed a configuration, in a list of one number."""
    number, by_hydra = [0], Composer._by_hydra

    def counting(self, overrides):
        number[0] += 1
        return by_hydra(self, overrides)

    monkeypatch.setattr(Composer, "_by_hydra", counting)
    return number


@pytest.mark.parametrize("kind", RELATED)
def test_cells_are_those_that_hydra_composes_one_by_one(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    files = {**OWN, **RELATED[kind]}
    for name, content in files.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    words = [*OF_PRODUCT, "optimizer.learning_rate=1,2"]
    if of_pair := "setting/pair.yaml" in files:
        inner = "one/two" if "one/two/a.yaml" in files else "two"
        words = ["-m", "--config-dir=own", "setting=pair", "one=a,b", f"{inner}=a,b"]

    together = jobs(words)
    monkeypatch.setattr(Composer, "_changes", lambda *_: [])
    one_by_one = jobs(words)

    assert together == one_by_one
    assert len(together) == (4 if of_pair else 24)
    assert sum("of this pair alone" in config for config, *_ in together) == (1 if of_pair and inner == "two" else 0)


def test_folder_behind_a_link_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {**OWN, **RELATED["a choice that depends on two others"]}
    for name, content in files.items():
        group, _, file = name.partition("/")
        (tmp_path / "elsewhere" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / group / file).write_text(content)
        if not (tmp_path / "own" / group).exists():
            (tmp_path / "own" / group).symlink_to(tmp_path / "elsewhere" / group)
    words = ["-m", "--config-dir=own", "setting=pair", "one=a,b", "two=a,b"]
    assert sum("of this pair alone" in config for config, *_ in jobs(words)) == 1


def test_a_product_takes_a_composition_for_each_choice_and_not_for_each_cell(num_compositions):
    words = ("-m", "optimizer=gd,momentum,adam,rmsprop", "activation=relu,tanh,sigmoid", "initializer=he,glorot,lecun")
    assert len(jobs(words)) == 36
    assert num_compositions[0] == 2 + 1 + 3 + 2 + 2  # what all have, Hydra's own part, the first cell, other choices
