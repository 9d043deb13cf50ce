"""The grid of a command line: which cells it stands for, and every problem with them before the first one starts.

A bad value anywhere in a large grid is found in seconds, together with all others.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any
from unicodedata import normalize

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nnbench.arguments import closed, own_files, refused
from nnbench.components import ConfigError, nearest
from nnbench.composition import Composer, chosen, parse, plain
from nnbench.places import CONF, EXPERIMENTS
from nnbench.protocol.fingerprint import OUTPUT_OPTIONS, is_baseline
from nnbench.protocol.naming import SETTING, flat_settings, labels
from nnbench.tracking.store import without_credentials

MOST_CELLS = 10_000  # of a sweep; they are all planned before the first is trained
SURROGATE = re.compile("[\ud800-\udfff]")  # how Python keeps bytes of a command line that are no UTF-8
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


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
        """The study's name, or nnbench; equal for names that look the same, however their accents are written."""
        return normalize("NFC", self.choices.get("study") or "nnbench")

    @property
    def experiment(self) -> str:
        """The name of the experiment in MLflow."""
        return normalize("NFC", self.config["tracking"].get("experiment") or self.study)

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
    num_swept: int  # the jobs of the command line; behind them stand the baselines that go beside them
    launcher: str = "basic"  # the choice of hydra/launcher

    def folder_of(self, number: int) -> Path:
        """Return the folder of a job."""
        return self.folder / str(number) if self.multirun else self.folder


def activation_choices(folders: Iterable[Path | str]) -> dict[str, Any]:
    """Return the configuration of every activation by its name; a folder hides those behind it."""
    files = _files("activation", folders)
    try:
        return {name: plain(_read(path)) for name, path in files.items()}
    except OmegaConfBaseException as error:
        line = f"an activation can be chosen for a layer, so its file must do without the other keys: {error}"
        raise ConfigError([" ".join(line.split())]) from error


def _read(path: Path) -> DictConfig:
    """Return what a file of a choice says; raise ConfigError where it cannot be read."""
    try:
        config = OmegaConf.load(path)
    except (OSError, YAMLError, UnicodeError, OmegaConfBaseException) as error:
        raise ConfigError([f"{path} cannot be read: {' '.join(str(error).split())}"]) from error
    if not isinstance(config, DictConfig):
        raise ConfigError([f"{path} cannot be read: it must map options to values"])
    return config


def _files(group: str, folders: Iterable[Path | str]) -> dict[str, Path]:
    """Return the file of every choice of a group by its name; a folder hides those behind it."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob(f"{group}/*.yaml")) if str(folder) else []:
            files.setdefault(path.stem, path)
    return files


def baseline_job(job: Job, name: str, file: Path) -> Job:
    """Return the job of a baseline on the data, the seeds and the other settings of a job."""
    config = OmegaConf.create({**job.config, "model": _read(file)})
    return Job(plain(config), {**job.choices, "model": name})


def extended(grid: Grid, jobs: Sequence[Job]) -> Grid:
    """Return a grid with further jobs behind those that Hydra runs; labels tell all of them apart."""
    together = [*grid.jobs, *jobs]
    names = labels([flat_settings(job.config, job.choices) for job in together])
    return replace(grid, jobs=tuple(replace(job, label=name) for job, name in zip(together, names, strict=True)))


def job_of(config: DictConfig, hydra_config: Any) -> Job:
    """Return the job that Hydra composed, resolved."""
    return Job(plain(config), chosen(hydra_config))


def expand(arguments: argparse.Namespace) -> Grid:
    """Return the cells of Hydra's parsed command line, and every problem with its keys and choices."""
    here = str(Path.cwd())
    if "${" in here:  # Hydra keeps it in its configuration, where it would stand for something else
        raise ConfigError(
            [f"the current folder is {here}, whose ${{ has a meaning in settings; work in another folder"]
        )
    if SURROGATE.search(here):
        raise ConfigError([f"the current folder is {here!a}, which is no text in UTF-8; work in another folder"])
    if problems := own_files(arguments):
        raise ConfigError(problems)
    own = [Path(arguments.config_dir).absolute()] if arguments.config_dir is not None else []
    folders = [CONF, *own, EXPERIMENTS]  # in the order in which Hydra looks
    problems = refused(arguments)
    texts = [text for text in arguments.overrides if not closed(text)]

    with initialize_config_dir(str(CONF), job_name="nnbench", version_base="1.3"):
        composer = Composer(folders, texts)
        overrides, more = parse(texts)
        problems += more
        # A study may itself ask for a multirun and name the keys to sweep; the command line narrows them.
        settled = [override for override in overrides if not override.is_sweep_override()]
        hydra_config = composer.compose(
            [text for text in map(_text, settled) if composer.is_group(text) and not composer.unknown_choice(text)]
        ).hydra
        multirun = arguments.multirun or hydra_config.mode == RunMode.MULTIRUN
        if multirun and hydra_config.sweeper.params:
            params = [f"{key}={value}" for key, value in hydra_config.sweeper.params.items()]
            of_study, more = parse([text for text in params if not closed(text)])
            overrides, problems = of_study + overrides, [*problems, *filter(None, map(closed, params)), *more]
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

        endless = [
            f"{override.input_line} is an interval, which has no end of values; name those to train, such as "
            f"{override.get_key_element()}=0.1,0.01"
            for override in overrides
            if override.is_interval_sweep()
        ]
        if endless:
            raise ConfigError([*problems, *endless])
        problems += [
            f"{override.input_line} has another order each time it is read; leave out shuffle"
            for override in overrides
            if "shuffle(" in QUOTED.sub("", str(override.input_line))
        ]
        try:
            if prod(map(_num_values, overrides)) > MOST_CELLS:
                problems.append(f"the sweep has more than {MOST_CELLS} cells; sweep fewer values")
                raise ConfigError(problems)
            (combinations,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        except (HydraException, ValueError, ArithmeticError) as error:  # such as a range with a step of 0
            raise ConfigError([*problems, " ".join(str(error).split())]) from error
        jobs: list[Job] = []
        for combination in combinations:
            unknown = {text: line for text in combination if (line := composer.unknown_choice(text))}
            problems += unknown.values()
            config, choices, more = composer.cell([text for text in combination if text not in unknown])
            jobs.append(Job(config, choices))
            problems += more
        if not jobs:
            problems.append("the sweep has no cell; one of its keys has an empty range of values")
    problems += _unknown_settings(jobs)
    problems += [line for job in jobs for line in _no_names(job)]
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
        launcher=str(hydra_config.runtime.choices["hydra/launcher"]),
    )
    return extended(grid, [])


def _no_names(job: Job) -> Iterator[str]:
    """Yield a line for each name of a file that would spoil what is printed, and for text that no file can hold."""
    for group, choice in job.choices.items():
        if not str(choice).isprintable():
            yield f"{group} is {choice!a}, which has characters that cannot be printed; rename its file"
    for key, text in _texts(job.config):
        if SURROGATE.search(text):
            yield f"{key} is {text!a}, which is no Unicode; write it, and what it names, in UTF-8"


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted place of every text inside a plain value, and the text; the keys of mappings are text, too."""
    if isinstance(value, str):
        yield place, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield place, str(key)
        yield from _texts(inner, f"{place}.{key}" if place else str(key))


def _unknown_baselines(names: Any, model_files: Mapping[str, Path]) -> list[str]:
    """Return a line for each entry of the key `baselines` that is no baseline."""
    if not isinstance(names, list):  # auto, or refused for what it is
        return []
    known = [name for name, file in model_files.items() if "_target_" in _read(file)]
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


def _num_values(override: Override) -> int:
    """Return how many values an override sweeps, counted no further than matters."""
    if not override.is_discrete_sweep():
        return 1
    return sum(1 for _ in islice(override.sweep_string_iterator(), MOST_CELLS + 1))


def _text(override: Override) -> str:
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"
