"""The grid of a command line: which cells it stands for, and every problem with them before the first one starts.

Hydra composes a configuration for each combination of group choices, once; the other overrides are then set in it. So a
bad value anywhere in a large grid is found in a second, together with all others.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nnbench.components import ConfigError, nearest
from nnbench.places import COMMANDS, CONF, EXPERIMENTS
from nnbench.protocol.fingerprint import OUTPUT_OPTIONS, is_baseline
from nnbench.protocol.naming import SETTING, flat_settings, labels
from nnbench.tracking.store import without_credentials

PLACES = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.chdir")


@dataclass(frozen=True)
class Job:
    """One cell of the grid, not yet checked: its resolved configuration and the choice made in each group."""

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    label: str = ""

    @property
    def tracked(self) -> bool:
        """Whether MLflow gets to know of it."""
        return self.choices["tracking"] != "none"

    @property
    def is_baseline(self) -> bool:
        """Whether it is of a model of scikit-learn's, not of our networks."""
        return is_baseline(self.config)

    @property
    def study(self) -> str:
        """The study's name, or nnbench."""
        return self.choices.get("study") or "nnbench"

    @property
    def experiment(self) -> str:
        """The name of the experiment in MLflow."""
        return self.config["tracking"].get("experiment") or self.study

    @property
    def tracking_uri(self) -> str | None:
        """The tracking URI, where one is configured."""
        return self.config["tracking"].get("uri")


@dataclass(frozen=True)
class Grid:
    """What a command line stands for."""

    jobs: tuple[Job, ...]
    problems: tuple[str, ...]  # with keys and choices; a job whose choice is unknown has the default in its place
    multirun: bool
    folder: Path  # of the whole sweep, absolute
    sweep: str
    command: str
    activation_choices: Mapping[str, Mapping[str, Any]]
    model_files: Mapping[str, Path]  # the file of each choice of model
    num_swept: int  # the jobs that Hydra runs; behind them stand the baselines that go beside them

    def folder_of(self, number: int) -> Path:
        """Return the folder of a job."""
        return self.folder / str(number) if self.multirun else self.folder


def activation_choices(folders: Iterable[Path | str]) -> dict[str, Any]:
    """Return the configuration of every activation by its name; a folder hides those behind it."""
    files = _files("activation", folders)
    return {name: OmegaConf.to_container(OmegaConf.load(path), resolve=True) for name, path in files.items()}


def _files(group: str, folders: Iterable[Path | str]) -> dict[str, Path]:
    """Return the file of every choice of a group by its name; a folder hides those behind it."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob(f"{group}/*.yaml")) if str(folder) else []:
            files.setdefault(path.stem, path)
    return files


def baseline_job(job: Job, name: str, file: Path) -> Job:
    """Return the job of a baseline on the data, the seeds and the other settings of a job."""
    config = OmegaConf.create({**job.config, "model": OmegaConf.load(file)})
    return Job(_plain(config), {**job.choices, "model": name})


def extended(grid: Grid, jobs: Sequence[Job]) -> Grid:
    """Return a grid with further jobs behind those that Hydra runs; labels tell all of them apart."""
    together = [*grid.jobs, *jobs]
    names = labels([flat_settings(job.config, job.choices) for job in together])
    return replace(grid, jobs=tuple(replace(job, label=name) for job, name in zip(together, names, strict=True)))


def job_of(config: DictConfig, hydra_config: Any) -> Job:
    """Return the job that Hydra composed, resolved."""
    return Job(_plain(config), _choices(hydra_config))


def expand(arguments: argparse.Namespace) -> Grid:
    """Return the cells of Hydra's parsed command line, and every problem with its keys and choices."""
    folders = [CONF, EXPERIMENTS]
    if arguments.config_dir is not None:
        folders.append(_extra_folder(arguments.config_dir))

    with initialize_config_dir(str(CONF), job_name="nnbench", version_base="1.3"):
        composer = _Composer(arguments.config_name or "config", folders)
        overrides, problems = _parse(arguments.overrides)
        # A study may itself ask for a multirun and name the keys to sweep; the command line narrows them.
        settled = [override for override in overrides if not override.is_sweep_override()]
        hydra_config = composer.compose(
            [text for text in map(_text, settled) if composer.is_group(text) and not composer.unknown_choice(text)]
        ).hydra
        multirun = arguments.multirun or hydra_config.mode == RunMode.MULTIRUN
        if multirun and hydra_config.sweeper.params:
            of_study, more = _parse([f"{key}={value}" for key, value in hydra_config.sweeper.params.items()])
            overrides, problems = of_study + overrides, problems + more
        swept = list(
            dict.fromkeys(override.get_key_element() for override in overrides if override.is_sweep_override())
        )
        if not multirun:
            problems += [
                f"{key} has several values, which is a sweep; add -m: python -m nnbench -m ..." for key in swept
            ]
        problems += [
            f"{key} has several values; the cells of a sweep have it in common, so give it one"
            for key in swept
            if key.lstrip("+").partition(".")[0] in OUTPUT_OPTIONS
        ]
        problems += [
            f"{override.key_or_group} is fixed, because records are found by it; change to another folder instead"
            for override in overrides
            if override.key_or_group in PLACES
        ]

        try:
            (combinations,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        except HydraException as error:
            raise ConfigError([*problems, " ".join(str(error).split())]) from error
        jobs: list[Job] = []
        for combination in combinations:
            unknown = {text: line for text in combination if (line := composer.unknown_choice(text))}
            problems += unknown.values()
            job, more = composer.job([text for text in combination if text not in unknown])
            jobs.append(job)
            problems += more
        if not jobs:
            problems.append("the sweep has no cell; one of its keys has an empty range of values")
    problems += _unknown_settings(jobs)
    model_files = _files("model", folders)
    problems += _unknown_baselines(jobs[0].config.get("baselines"), model_files) if jobs else []
    grid = Grid(
        jobs=tuple(jobs),
        problems=tuple(dict.fromkeys(problems)),
        multirun=multirun,
        folder=Path(hydra_config.sweep.dir if multirun else hydra_config.run.dir).absolute(),
        sweep=os.environ["NNBENCH_SWEEP"],
        command=without_credentials(shlex.join(["python", "-m", "nnbench", *sys.argv[1:]])),
        activation_choices=activation_choices(folders),
        model_files=model_files,
        num_swept=len(jobs),
    )
    return extended(grid, [])


def _unknown_baselines(names: Any, model_files: Mapping[str, Path]) -> list[str]:
    """Return a line for each entry of the key `baselines` that is no baseline."""
    if not isinstance(names, list):  # auto, or refused for what it is
        return []
    known = [name for name, file in model_files.items() if "_target_" in OmegaConf.load(file)]
    return [
        f"baselines has {name}, which is not a baseline{nearest(str(name), known)}"
        for name in names
        if name not in known
    ]


def _unknown_settings(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each setting by which `to_reach` chooses cells and which none of the cells has."""
    known = dict.fromkeys(name for job in jobs for name in flat_settings(job.config, job.choices))
    bands = jobs[0].config.get("to_reach") if jobs else None
    named = [
        name
        for band in (bands if isinstance(bands, list) else [])
        if isinstance(band, Mapping) and isinstance(band.get("cells"), Mapping)
        for name in band["cells"]
    ]
    # Of another optimizer's option this grid may know nothing, nor of settings where none is chosen.
    heads = {SETTING, *(name.partition(".")[0] for name in known)}
    return [
        f"to_reach chooses cells by {name}, which is no setting{nearest(name, known)}"
        for name in named
        if str(name).partition(".")[0] not in heads
    ]


def _extra_folder(name: str) -> Path:
    """Return the folder of --config-dir; raise ConfigError where it would not do what it seems to."""
    folder = Path(name).absolute()
    if not folder.is_dir():
        raise ConfigError([f"--config-dir is {name}; it must be a folder, and {folder} is none"])
    hidden = [path for path in sorted(folder.glob("*/*.yaml")) if (CONF / path.relative_to(folder)).exists()]
    if hidden:
        raise ConfigError(
            [f"{path} has the name of a choice of nnbench, which would be taken; rename it" for path in hidden]
        )
    return folder


class _Composer:
    """Composes configurations, one for each combination of group choices."""

    def __init__(self, config_name: str, folders: list[Path]):
        self.config_name = config_name
        self.folders = folders
        # Quoted, because a path may hold whatever Hydra's grammar gives a meaning.
        places = [str(folder).replace('"', r"\"") for folder in folders[1:]]
        self.search = "hydra.searchpath=[" + ",".join(f'"file://{place}"' for place in places) + "]"
        self.loader = GlobalHydra.instance().config_loader()
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.compose([])  # puts the search path in force

    def compose(self, overrides: list[str]) -> DictConfig:
        """Return the configuration for these group choices, Hydra's own part included."""
        key = tuple(overrides)
        if key not in self.composed:
            try:
                self.composed[key] = compose(
                    self.config_name, overrides=[self.search, *overrides], return_hydra_config=True
                )
            except (HydraException, OmegaConfBaseException, YAMLError, UnicodeError) as error:
                raise ConfigError([" ".join(f"{error} {error.__cause__ or ''}".split())]) from error
            except RecursionError as error:
                line = f"{' '.join(overrides)} begins with itself; mend the defaults of its file"
                raise ConfigError([line]) from error
        return self.composed[key]

    def options(self, group: str) -> list[str]:
        """Return the choices of a group; none where there is no such group."""
        if not group:  # from an override without a key, such as =1
            return []
        places = [(folder / group, folder.glob(f"{group}/**/*.yaml")) for folder in self.folders]
        files = {path.relative_to(top).with_suffix("").as_posix() for top, paths in places for path in paths}
        return sorted(files | set(self.loader.get_group_options(group, ObjectType.CONFIG)))

    def is_group(self, override: str) -> bool:
        """Whether an override chooses a file, or belongs to Hydra itself."""
        key = override.partition("=")[0].lstrip("+~")
        return key.startswith("hydra") or bool(self.options(key.partition("@")[0]))

    def unknown_choice(self, override: str) -> str:
        """Return a line if an override chooses what its group does not have, else nothing."""
        group, _, choice = override.partition("=")
        group = group.lstrip("+")
        options = self.options(group)
        choice = choice.strip("'\"")
        if not options or choice in options:
            return ""
        way_out = "; joblib comes with pip install hydra-joblib-launcher" if group == "hydra/launcher" else ""
        return f"{group} is {choice}, which is not one of its choices{nearest(choice, options)}{way_out}"

    def job(self, combination: list[str]) -> tuple[Job, list[str]]:
        """Return the cell of one combination of overrides, and a line for each that cannot be set."""
        config = self.compose([text for text in combination if self.is_group(text)])
        choices = _choices(config.hydra)
        cell = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.set_struct(cell, False)
        overrides, problems = _parse([text for text in combination if not self.is_group(text)])
        for override in overrides:
            key = override.key_or_group
            parent = OmegaConf.select(cell, key.rpartition(".")[0]) if "." in key else cell
            name = key.rpartition(".")[2]
            if override.is_delete():
                problems.append(f"~{key} deletes a key; set it to another value instead")
            elif not isinstance(parent, DictConfig):
                known = nearest(key.partition(".")[0], [str(known) for known in cell])
                problems.append(f"{key} is not a key of the configuration{known}")
            elif name not in set(parent.keys()) and not (override.is_add() or override.is_force_add()):
                group = key.rpartition(".")[0]
                whose = f"an option of {group}={choices.get(group, group)}" if group else "a key of the configuration"
                options = [str(option) for option in parent if option != "_target_"]
                elsewhere = (
                    [] if group else [f"{group}.{option}" for group in choices for option in cell.get(group) or ()]
                )
                problems.append(f"{key} is not {whose}{nearest(name, options, elsewhere=elsewhere)}")
            elif override.is_add() and name in set(parent.keys()):
                problems.append(f"+{key} adds a key that is there already; write {key}=VALUE")
            else:
                try:
                    OmegaConf.update(cell, key, override.value(), force_add=True)
                except OmegaConfBaseException as error:
                    problems.append(f"{key} cannot be set: {' '.join(str(error).split())}")
        try:
            return Job(_plain(cell), choices), problems
        except OmegaConfBaseException as error:
            raise ConfigError([*problems, " ".join(str(error).split())]) from error


def _plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as dictionaries and lists, every interpolation resolved."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain


def _choices(hydra_config: Any) -> dict[str, str]:
    """Return the choice made in each of our own groups."""
    choices = hydra_config.runtime.choices
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}


def _parse(texts: list[str]) -> tuple[list[Override], list[str]]:
    """Parse overrides; return them, and a line for each that cannot be read."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides, problems = [], []
    for text in texts:
        try:
            override = parser.parse_override(text)
            override.config_loader = parser.config_loader  # glob() looks at the choices
            overrides.append(override)
        except HydraException as error:
            if "=" not in text:
                problems.append(f"{text} is neither a command nor KEY=VALUE{nearest(text, COMMANDS)}")
                continue
            problems.append(
                f"{text} cannot be read: {' '.join(str(error).split())}; write KEY=VALUE, lists as KEY=[A,B], "
                "and text with special characters as 'KEY=\"TEXT\"'"
            )
    return overrides, problems


def _text(override: Override) -> str:
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"
