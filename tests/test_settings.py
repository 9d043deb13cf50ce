"""A setting that cannot work is refused, with what was got, what is allowed and what was probably meant."""

import math
import sys
from collections.abc import Mapping
from copy import deepcopy
from functools import cache, reduce
from operator import getitem

import pytest
import yaml
from command_line import SIGN, grid_of, problems_of
from hydra.core.override_parser.overrides_parser import OverridesParser

import nnbench.nn
from nnbench.components import ConfigError, component, nearest
from nnbench.grid import Job
from nnbench.places import CONF
from nnbench.settings import parse

# Every line is the whole message, so that its wording cannot rot unseen.
BAD_VALUES = {
    "batch_size=0": "batch_size is 0; it must be an integer, at least 1, or full",
    "batch_size=half": 'batch_size is "half"; it must be an integer, at least 1, or full',
    "num_epochs=0": "num_epochs is 0; it must be an integer, at least 1",
    "num_epochs=1000000000": "num_epochs is 1000000000; it must be at most 1000000",
    "batch_size=10000000000": "batch_size is 10000000000; it must be at most 1000000000",
    "hidden=[10000000000]": "hidden is [10000000000]; it must be at most 1000000000",
    "num_epochs=abc": 'num_epochs is "abc"; it must be an integer, at least 1',
    "num_epochs=1.5": "num_epochs is 1.5; it must be an integer, at least 1",
    "num_epochs=true": "num_epochs is true; it must be an integer, at least 1",
    "num_epochs='3'": 'num_epochs is "3"; it must be an integer, at least 1',
    "weight_decay=-1": "weight_decay is -1; it must be a finite number, at least 0",
    "weight_decay=inf": "weight_decay is Infinity; it must be a finite number, at least 0",
    "clip_norm=0": "clip_norm is 0; it must be a number above 0, or null",
    "clip_norm=nan": "clip_norm is NaN; it must be a number above 0, or null",
    "target_accuracy=95": "target_accuracy is 95; it must be above 0 and at most 1, or null",
    "selection=first": 'selection is "first"; it must be best or last',
    "dtype=float16": 'dtype is "float16"; it must be float32 or float64',
    "diagnostics=all": 'diagnostics is "all"; it must be none, basic or full',
    "plugins=mine": 'plugins is "mine"; it must be a list of names of Python modules',
    "resume=maybe": 'resume is "maybe"; it must be true or false',
    "dry_run=1": "dry_run is 1; it must be true or false",
    "model.bias=0": "model.bias is 0; it must be true or false",
    "seeds=[1,1]": "seeds is [1, 1]; it must not name a seed twice",
    "optimizer.learning_rate=-1": "optimizer.learning_rate is -1.0; it must be a finite number above 0",
    "optimizer.learning_rate=0": "optimizer.learning_rate is 0.0; it must be a finite number above 0",
    "optimizer.learning_rate=nan": "optimizer.learning_rate is nan; it must be a finite number above 0",
    "optimizer.learning_rate=inf": "optimizer.learning_rate is inf; it must be a finite number above 0",
    "optimizer.learning_rate=1e400": "optimizer.learning_rate is inf; it must be a finite number above 0",
    "optimizer.learning_rate=1e-400": "optimizer.learning_rate is 0.0; it must be a finite number above 0",
    "optimizer.learning_rate=fast": 'optimizer.learning_rate is "fast"; it must be a number',
    "optimizer.learning_rate=null": "optimizer.learning_rate is null; it must be a number",
    "to_reach=[{low:abc}]": 'to_reach.0.low is "abc"; it must be a number or null',
    "to_reach=[{metric:3,low:0}]": "to_reach.0.metric is 3; it must be text, in quotes: 'to_reach.0.metric=\"3\"'",
    "to_reach=[{}]": "to_reach.0.low, high and finding are null; give a low or high end of the band, or a finding",
    "plugins=[os]": "plugins has os, which comes with Python; list modules of your own",
    "dataset.scaling=max": 'dataset.scaling is "max"; it must be none or standard or minmax or global_minmax',
    "dataset.feature_range=[1]": "dataset.feature_range is [1]; it must be a list of 2 values, each a number",
    "dataset.test_fraction=1": "dataset.test_fraction is 1.0; it must be between 0 and 1",
    "dataset.num_samples=-1": "dataset.num_samples is -1; it must be at least 1",
    "layer_activations=[tanh,relu]": "layer_activations has 2 names for 1 hidden layers; give one for each",
    "layer_activations=[relo]": (
        "layer_activations has 'relo', which is not an activation; "
        "known are identity, leaky_relu, relu, sigmoid, tanh; did you mean relu?"
    ),
    "plugins=[no_such_module]": (
        "plugins has no_such_module, which cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"
    ),
}
SEEDS = "it must be a number of seeds, 1 to 10000, or a list of different seeds, each at least 0"
SIZES = "it must be a list of layer sizes, each an integer, at least 1, such as [32] or [128,64]; [] is a linear model"
FOREIGN = "it must be a class of {home}, or of a module listed in plugins=[MODULE]"
GROUPS = ("optimizer", "dataset", "activation", "loss", "initializer", "schedule")


@cache
def default_job() -> tuple[Job, Mapping]:
    grid = grid_of()
    return grid.jobs[0], grid.activation_choices


def refusal_of(*overrides):
    """Put values, written as on the command line, into the default configuration; return what is said against them."""
    job, activation_choices = default_job()
    config = deepcopy(dict(job.config))
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        *groups, key = override.key_or_group.split(".")
        reduce(getitem, groups, config)[key] = override.value()
    try:
        parse(config, job.choices, activation_choices)
    except ConfigError as error:
        return error.problems
    return []


def test_the_defaults_are_fine():
    assert refusal_of() == []


@pytest.mark.parametrize("override", BAD_VALUES)
def test_a_bad_value_is_refused_in_one_line(override):
    assert refusal_of(override) == [BAD_VALUES[override]]


@pytest.mark.parametrize("seeds", ["0", "-1", "10001", "[]", "[-1]", "[1,a]", "null", "true", "1.0", "many"])
def test_seeds_are_a_count_or_a_list_of_different_ones(seeds):
    (line,) = refusal_of(f"seeds={seeds}")

    assert line.startswith("seeds is ")
    assert line.endswith(SEEDS)


@pytest.mark.parametrize("hidden", ["32", "[0]", "[-1]", "[3.5]", "[true]", "[a]", "null", "[[8]]"])
def test_hidden_is_a_list_of_sizes(hidden):
    (line,) = refusal_of(f"hidden={hidden}")

    assert line.startswith("hidden is ")
    assert line.endswith(SIZES)


@pytest.mark.parametrize("names", ["[1]", "3", "[[relu]]", "relu", "[null]"])
def test_layer_activations_of_a_wrong_type_are_refused_too(names):
    assert refusal_of(f"layer_activations={names}")[0].startswith("layer_activations is ")


@pytest.mark.parametrize("group", GROUPS)
def test_no_class_from_elsewhere_is_looked_up(group):
    sys.modules.pop("this", None)

    home = "nnbench.data" if group == "dataset" else "nnbench.nn"
    assert refusal_of(f"{group}._target_=this.d") == [f"{group}._target_ is 'this.d'; {FOREIGN.format(home=home)}"]
    assert "this" not in sys.modules  # not even imported


@pytest.mark.parametrize(
    "target",
    [
        "optimizer=nnbench.app.run",
        "optimizer=nnbench.nn.Optimizer",
        "optimizer=nnbench.nn.MLP",
        "optimizer=nnbench.nn.spawn_rngs",
        "optimizer=nnbench.nn.Nowhere",
        "optimizer=Adam",
        "optimizer=",
        "optimizer=null",
        "optimizer=[nnbench.nn.Adam]",
        "dataset=nnbench.data.Source",
        "dataset=nnbench.data.Split",
        "dataset=nnbench.nn.Adam",
    ],
)
def test_a_class_of_a_wrong_kind_is_refused(target):
    group, _, name = target.partition("=")

    (line,) = refusal_of(f"{group}._target_={name}")

    assert line.startswith(f"{group}")
    assert "_target_" in line


def test_an_optimizer_is_no_activation():
    assert refusal_of("activation._target_=nnbench.nn.Adam") == [
        "activation._target_ is 'nnbench.nn.Adam'; it must be a class with __call__"
    ]


def test_a_listed_module_does_not_lend_its_functions():
    (line,) = refusal_of("plugins=[yaml]", "optimizer._target_=yaml.unsafe_load")

    assert line == "optimizer._target_ is 'yaml.unsafe_load'; it must be a class derived from Optimizer"


def test_a_plugin_that_breaks_on_import_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("class Mine(:\n")
    monkeypatch.syspath_prepend(tmp_path)

    (line,) = refusal_of("plugins=[half_written]", "optimizer._target_=half_written.Mine")

    assert line.startswith("plugins has half_written, which cannot be imported: SyntaxError: ")


def test_a_plugin_that_ends_the_program_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert refusal_of("plugins=[script]") == ["plugins has script, which cannot be imported: SystemExit: 0"]


def test_a_column_with_a_number_for_its_name_is_to_be_quoted():
    (line,) = problems_of("dataset=csv", "dataset.path=x.csv", "dataset.target=1")

    assert line == "dataset.target is 1; it must be text, in quotes: 'dataset.target=\"1\"'"


@pytest.mark.parametrize("key", ["seeds", "hidden"])
def test_a_list_that_is_absurdly_long_is_refused_in_a_line_that_is_not(key):
    job, activation_choices = default_job()

    with pytest.raises(ConfigError) as refused:
        parse({**job.config, key: list(range(1, 100_000))}, job.choices, activation_choices)

    (line,) = refused.value.problems
    assert len(line) < 500
    assert line.endswith(f"; it must have at most {'10000' if key == 'seeds' else '1000'} entries")


NUMBERS = [
    (group, path.stem, option)
    for group in (*GROUPS, "tuning", "model")
    for path in sorted((CONF / group).glob("*.yaml"))
    for option, value in (yaml.safe_load(path.read_text()) or {}).items()
    if isinstance(value, int | float) and not isinstance(value, bool)
]


@pytest.mark.parametrize(("group", "choice", "option"), NUMBERS)
def test_no_option_takes_what_is_no_number_or_not_finite(group, choice, option):
    content = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())
    options = {key: "x" if value == "???" else value for key, value in content.items() if "$" not in str(value)}
    options.pop("space", None)

    for bad in (math.nan, math.inf, -math.inf, "abc", {}, True):
        with pytest.raises(ConfigError) as refused:
            component(group, {**options, option: bad}, [])
        assert any(option in line for line in refused.value.problems)


def test_a_plugin_needs_no_annotations(tmp_path, monkeypatch):
    (tmp_path / "plain_words.py").write_text(SIGN)
    monkeypatch.syspath_prepend(tmp_path)

    new = component("optimizer", {"_target_": "plain_words.Sign", "learning_rate": 1}, ["plain_words"])

    assert new.keywords == {"learning_rate": 1}


def test_a_bad_range_is_named_option_by_option():
    config = {"_target_": "nnbench.nn.Adam", "learning_rate": -1.0, "beta1": 2.0, "beta2": 0.999, "epsilon": 1e-8}

    with pytest.raises(ConfigError) as refused:
        component("optimizer", config, [])

    assert [line.split()[0] for line in refused.value.problems] == ["optimizer.learning_rate", "optimizer.beta1"]


def test_a_component_is_its_class_with_every_option_bound():
    new = component("loss", {"_target_": "nnbench.nn.MeanSquaredError", "output": "identity", "low": -1}, [])

    assert new() == nnbench.nn.MeanSquaredError(output="identity", low=-1.0)


def test_nearest_says_what_is_known_and_what_was_meant():
    assert nearest("adma", ["rmsprop", "adam"]) == "; known are adam, rmsprop; did you mean adam?"
    assert nearest("xyz", ["adam"]) == "; known are adam"
    assert nearest("xyz", []) == "; it has none"
