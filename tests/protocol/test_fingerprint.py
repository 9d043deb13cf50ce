"""Fingerprints are equal where results are equal, and differ where they may differ."""

import pytest

from nnbench.protocol.fingerprint import fingerprint, seed_list

CONFIG = {
    "optimizer": {
        "_target_": "nnbench.nn.Adam",
        "learning_rate": 0.1,
        "space": {"learning_rate": {"low": 0.01, "high": 1.0, "scale": "log"}},
    },
    "activation": {"_target_": "nnbench.nn.LeakyReLU", "negative_slope": 0.01},
    "dataset": {"_target_": "nnbench.data.CSV", "path": "a.csv", "test_path": None, "target": "y", "split_seed": 0},
    "tracking": {"uri": None, "experiment": None},
    "tuning": {},
    "study": None,
    "layer_activations": None,
    "seeds": 3,
    "vary": "all",
    "patience": None,
    "diagnostics": "basic",
    "stack_size": None,
    "num_epochs": 30,
    "batch_size": 32,
    "hidden": [32],
    "weight_decay": 0.0,
    "plugins": [],
    "progress": True,
    "report": True,
    "resume": True,
    "dry_run": False,
    "inspect": False,
}
CHOICES = {"relu": {"_target_": "nnbench.nn.ReLU"}, "steep": {"_target_": "nnbench.nn.LeakyReLU", "negative_slope": 1}}


def mark(changes=None, *, digest="content", choices=CHOICES, **groups):
    """Return the fingerprint of the configuration with some keys changed, and some options of groups."""
    config = CONFIG | (changes or {})
    for group, options in groups.items():
        config[group] = config[group] | options
    return fingerprint(config, digest, choices)


def test_it_is_the_hexadecimal_text_of_a_sha_256():
    assert len(mark()) == 64
    assert int(mark(), 16)


@pytest.mark.parametrize(
    "changes",
    [
        {"tracking": {"uri": "http://localhost", "experiment": "mine"}},
        {"tracking": {}},
        {"study": "xor"},
        {"progress": False},
        {"report": False},
        {"resume": False},
        {"plugins": ["mine"]},
        {"stack_size": 1},
        {"seeds": [0, 1, 2]},
        {"weight_decay": 0},
        {"num_epochs": 30.0},
        {"layer_activations": []},
        dict(reversed(CONFIG.items())),
    ],
)
def test_what_cannot_change_a_result_does_not_change_it(changes):
    assert mark(changes) == mark()


def test_the_place_of_the_data_does_not_change_it():
    assert mark(dataset={"path": "elsewhere/b.csv"}) == mark()


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 4},
        {"seeds": [2, 1, 0]},
        {"num_epochs": 31},
        {"batch_size": "full"},
        {"hidden": [32, 32]},
        {"hidden": []},
        {"weight_decay": 1e-9},
        {"layer_activations": ["relu"]},
        {"vary": "init"},
        {"vary": "order"},
        {"patience": 3},
        {"diagnostics": "none"},  # what is measured is part of the result
        {"tuning": {"_target_": "nnbench.protocol.RandomSearch", "num_trials": 20}},
    ],
)
def test_a_setting_changes_it(changes):
    assert mark(changes) != mark()


@pytest.mark.parametrize(
    ("group", "options"),
    [
        ("optimizer", {"learning_rate": 0.1000000001}),
        ("optimizer", {"_target_": "nnbench.nn.GD"}),
        ("activation", {"negative_slope": 0.02}),
        ("dataset", {"target": "x"}),
        ("dataset", {"split_seed": 1}),
    ],
)
def test_an_option_changes_it(group, options):
    assert mark(**{group: options}) != mark()


GRID = {"_target_": "nnbench.protocol.LearningRateGrid", "num_trials": 7, "seeds": 3}
WIDER = {"learning_rate": {"low": 0.001, "high": 1.0, "scale": "log"}}


def test_the_space_does_not_change_it_where_nothing_is_tuned():
    assert mark(optimizer={"space": WIDER}) == mark(optimizer={"space": {}}) == mark()


def test_the_space_and_every_option_of_tuning_change_it_where_something_is_tuned():
    tuned = mark({"tuning": GRID})
    assert mark({"tuning": GRID}, optimizer={"space": WIDER}) != tuned
    assert mark({"tuning": GRID | {"num_trials": 9}}) != tuned
    assert mark({"tuning": GRID | {"seeds": [1, 2, 3]}}) != tuned


def test_the_content_of_the_data_changes_it():
    assert mark(digest="other content") != mark()


def test_large_whole_numbers_are_told_apart():
    assert mark({"seeds": [2**53]}) != mark({"seeds": [2**53 + 1]})


def test_true_is_not_one():
    assert mark({"model": {"bias": True}}) != mark({"model": {"bias": 1}})


def test_text_is_not_a_number():
    assert mark({"batch_size": "32"}) != mark()


def test_what_a_layer_activation_stands_for_changes_it():
    steeper = CHOICES | {"steep": CHOICES["steep"] | {"negative_slope": 2}}
    by_layer = {"layer_activations": ["steep"]}

    assert mark(by_layer, choices=steeper) != mark(by_layer)
    assert mark({"layer_activations": ["relu"]}, choices=steeper) == mark({"layer_activations": ["relu"]})


def test_the_code_of_a_plugin_changes_it_where_it_is_used(tmp_path, monkeypatch):
    plugin = tmp_path / "my_rule.py"
    plugin.write_text("rate = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def marks():
        listed = {"plugins": ["my_rule"]}
        return mark(listed, optimizer={"_target_": "my_rule.Mine"}), mark(listed)

    used, unused = marks()
    plugin.write_text("rate = 2\n")

    assert marks()[0] != used
    assert marks()[1] == unused == mark()


def test_a_count_of_seeds_stands_for_those_from_zero():
    assert seed_list(3) == [0, 1, 2]
    assert seed_list([5, 1]) == [5, 1]
