"""Every file of conf/ composes and trains, and the configuration and its checks know the same keys."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from command_line import cells_and_data, cells_of, grid_of

from nnbench.places import CONF, EXPERIMENTS
from nnbench.protocol.fingerprint import OUTPUT_OPTIONS, fingerprint
from nnbench.protocol.naming import flat_settings
from nnbench.protocol.result import run as run_cell
from nnbench.protocol.study import Band
from nnbench.settings import ModelSettings, Settings, TrackingSettings

SMALL = ["tracking=none", "seeds=2", "num_epochs=1", "hidden=[4]"]
TRAINED = ("optimizer", "activation", "loss", "initializer", "schedule")
DOWNLOADED = {"mnist", "fashion_mnist", "kmnist", "openml"}
USERS_OWN = {"csv", "parquet", "npz"}
STUDIES = sorted(path.stem for path in (EXPERIMENTS / "study").glob("*.yaml"))
ROOT = yaml.safe_load((CONF / "config.yaml").read_text())


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def options(group, name):
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text())


def settings_of(study):
    """Return the settings that a study sweeps."""
    content = yaml.safe_load((EXPERIMENTS / "study" / f"{study}.yaml").read_text())
    params = content.get("hydra", {}).get("sweeper", {}).get("params", {})
    return params["setting"].split(",") if "setting" in params else []


def train(*overrides):
    ((cell, dataset),) = cells_and_data(*SMALL, *overrides)
    return run_cell(cell, dataset).final


def assert_trained(result):
    assert result.statuses == ("finished", "finished")
    assert np.isfinite(result.trained.history["train/loss"]).all()
    assert result.trained.history["train/loss"].shape == (1, 2)
    assert (result.summary["test/accuracy"] > 0).all()


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in TRAINED for name in choices(group)])
def test_every_choice_trains(group, name):
    assert_trained(train("dataset=moons", f"{group}={name}"))


@pytest.mark.parametrize("name", sorted({*choices("dataset")} - DOWNLOADED - USERS_OWN))
def test_every_data_set_that_is_at_hand_trains(name):
    assert_trained(train(f"dataset={name}"))


@pytest.mark.parametrize("name", sorted(USERS_OWN))
def test_every_format_of_a_users_own_table_trains(name, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"length": rng.normal(size=60), "width": rng.normal(size=60), "species": ["a", "b"] * 30})
    path = tmp_path / f"table.{name}"
    if name == "npz":
        np.savez(path, inputs=table[["length", "width"]].to_numpy(), labels=table["species"].to_numpy(dtype="U1"))
    else:
        getattr(table, f"to_{name}")(path, index=False)
    target = [] if name == "npz" else ["dataset.target=species"]

    assert_trained(train(f"dataset={name}", f"dataset.path={path}", *target))


@pytest.mark.parametrize("name", sorted(DOWNLOADED - {"openml"}))
def test_every_data_set_to_download_composes(name):
    (cell,) = cells_of(f"dataset={name}")

    assert cell.source.root is None


def test_openml_composes_with_a_name():
    (cell,) = cells_of("dataset=openml", "dataset.openml_name=iris")

    assert cell.source.openml_name == "iris"


@pytest.mark.parametrize("name", choices("tracking"))
def test_every_tracking_composes(name):
    assert grid_of(f"tracking={name}").jobs[0].tracked == (name != "none")


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in ("model", "tuning") for name in choices(group)])
def test_every_other_choice_composes(group, name):
    assert cells_of(f"{group}={name}")[0].choices[group] == name


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_a_sweep_of_checked_cells_that_says_what_it_asks(name):
    grid = grid_of(f"study={name}")

    assert grid.multirun
    assert len(cells_of(f"study={name}")) == len(grid.jobs)
    assert {"question", "source"} <= {*grid.jobs[0].config["about"]}


@pytest.mark.parametrize("name", STUDIES)
def test_every_band_of_a_study_is_about_some_of_its_cells(name):
    jobs = grid_of(f"study={name}").jobs
    settings = [flat_settings(job.config, job.choices) for job in jobs]

    for band in jobs[0].config["to_reach"]:
        assert any(map(Band(**band).chooses, settings)), band


def test_every_setting_belongs_to_a_study():
    swept = {setting for name in STUDIES for setting in settings_of(name)}

    files = EXPERIMENTS.glob("setting/**/*.yaml")
    assert swept == {path.relative_to(EXPERIMENTS / "setting").with_suffix("").as_posix() for path in files}


def test_the_configuration_and_its_checks_know_the_same_keys():
    groups = {next(iter(entry)) for entry in ROOT["defaults"] if isinstance(entry, dict)}
    groups = {group for group in groups if not group.startswith("override ")} - {"study", "setting"}

    assert groups == {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"}
    assert {*ROOT} - {"defaults", "hydra"} | groups == {*Settings.model_fields}


def test_groups_with_checks_of_their_own_know_the_same_keys():
    assert {*options("model", "mlp")} == {*ModelSettings.model_fields}
    assert {*options("tracking", "mlflow")} == {*TrackingSettings.model_fields}
    assert options("tracking", "none") == options("tuning", "none") == {}


def test_the_help_names_every_key_with_its_default():
    lines = [line.split()[0] for line in options("hydra/help", "nnbench")["footer"].splitlines() if "=" in line]
    explained = {key: yaml.safe_load(value) for key, _, value in (line.partition("=") for line in lines)}

    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    defaults = {key: value for key, value in ROOT.items() if key not in ("defaults", *groups)}
    assert explained == {**defaults, "hydra/launcher": "joblib"}


def test_every_key_determines_the_result_or_is_an_output_option():
    (job,) = grid_of().jobs
    marks = {}
    for key in job.config:
        changed = {"seeds": 3, "layer_activations": ["x"]}.get(key, {"changed": 1})
        marks[key] = fingerprint({**job.config, key: changed}, "digest", {"x": {}})

    unchanged = {key for key, mark in marks.items() if mark == fingerprint(job.config, "digest", {})}
    assert unchanged == OUTPUT_OPTIONS - {"study", "choices"}
    assert len(set(marks.values())) == len(marks) - len(unchanged) + 1


def test_defaults_are_those_that_the_first_command_promises():
    (cell,) = cells_of()

    assert (cell.hidden, cell.batch_size, cell.num_epochs, cell.seeds) == ((32,), 32, 30, tuple(range(10)))
    assert {group: cell.choices[group] for group in ("dataset", "optimizer", "activation", "tuning")} == {
        "dataset": "digits",
        "optimizer": "adam",
        "activation": "relu",
        "tuning": "none",
    }


def test_a_resolved_configuration_is_plain():
    (job,) = grid_of().jobs

    assert json.loads(json.dumps(job.config)) == job.config
    assert Path(grid_of().folder).is_absolute()
