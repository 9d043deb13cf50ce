"""The Hydra application: checks a whole sweep, prepares data and store once, trains each cell, then sums up.

`run` is the parent's part; `train_cell` is one job, in this process or in a launcher's worker. Parent and jobs speak
through files in the sweep's folder alone (`sweep.json` one way, record folders the other), so it makes no difference
where a job runs.
"""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nnbench.places import CONF, EXPERIMENTS

if TYPE_CHECKING:
    from nnbench.data import Dataset
    from nnbench.grid import Grid
    from nnbench.protocol.baselines import BaselineCell
    from nnbench.protocol.cell import Cell

SWEEP = "NNBENCH_SWEEP"  # the variable that holds a sweep's id; it reaches the workers of every launcher


def _place(name: str) -> str:
    """Return what `${nnbench:NAME}` stands for in a configuration."""
    return {"experiments": str(EXPERIMENTS), "sweep": os.environ.get(SWEEP, "unnamed")}[name]


OmegaConf.register_new_resolver("nnbench", _place, replace=True)


def run() -> int:
    """Run this process's command line, which is Hydra's; return the exit status."""
    arguments = get_args_parser().parse_args()
    asks_only = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion
    if asks_only or arguments.experimental_rerun:
        train_cell()
        return 0

    from nnbench import grid, terminal
    from nnbench.components import ConfigError

    # Unique even for sweeps that start in the same second.
    os.environ[SWEEP] = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"
    try:
        plan = grid.expand(arguments)
        cells = _cells(plan)
        datasets = _datasets(cells)
        plan, cells, datasets = _with_baselines(plan, cells, datasets)
    except ConfigError as error:
        terminal.print_problems(error.problems)
        return 2

    terminal.print_size(*_distinct(plan, cells, datasets))
    if plan.jobs[0].config["inspect"]:
        from nnbench.sweep import inspection

        return inspection.show({id(dataset): dataset for dataset in datasets}.values())
    return _sweep(plan, cells, datasets)


def _cells(plan: "Grid") -> "list[Cell | BaselineCell]":
    """Turn every job into a cell; raise ConfigError with the problems of all of them."""
    from nnbench.components import ConfigError
    from nnbench.settings import parse

    cells, problems = [], list(plan.problems)
    for job in plan.jobs:
        try:
            cells.append(parse(job.config, job.choices, plan.activation_choices))
        except ConfigError as error:
            problems += error.problems
        except Exception as error:  # of a plugin's code; our own would be a defect, but one line serves better
            problems.append(
                f"{job.label} cannot be checked: {type(error).__name__}: {error}; see its plugins and files"
            )
    if problems:
        raise ConfigError(problems)
    return cells


def _with_baselines(
    plan: "Grid", cells: "list[Cell | BaselineCell]", datasets: "list[Dataset]"
) -> "tuple[Grid, list[Cell | BaselineCell], list[Dataset]]":
    """Return grid, cells and data with the baselines that belong to them behind."""
    from nnbench import grid
    from nnbench.sweep import baselines

    jobs = baselines.beside(plan, datasets)
    plan = grid.extended(plan, jobs)
    added = _cells(replace(plan, jobs=plan.jobs[plan.num_swept :]))
    return plan, cells + added, datasets + _datasets(added)


def _datasets(cells: "list[Cell | BaselineCell]") -> "list[Dataset]":
    """Load the data of every cell, downloading what is missing; raise ConfigError with all that does not fit."""
    from nnbench.components import ConfigError
    from nnbench.data import DataError
    from nnbench.data.loading import load
    from nnbench.settings import check_against_data
    from nnbench.sweep.plan import only_networks, too_large

    datasets, problems = [], []
    for cell in cells:
        try:
            datasets.append(load(cell.source, cell.dtype))
        except DataError as error:
            problems.append(str(error))
        else:
            problems += check_against_data(cell, datasets[-1])
    problems = problems or too_large(*only_networks(cells, datasets))
    if problems:
        raise ConfigError(problems)
    return datasets


def _distinct(
    plan: "Grid", cells: "list[Cell | BaselineCell]", datasets: "list[Dataset]"
) -> "tuple[list[Cell | BaselineCell], list[Dataset]]":
    """Return the cells and their data less those that are the same setting as an earlier one."""
    from nnbench.sweep import job

    marks = job.fingerprints(plan, datasets)
    first = [number for number, mark in enumerate(marks) if mark not in marks[:number]]
    return [cells[number] for number in first], [datasets[number] for number in first]


def _sweep(grid: "Grid", cells: "list[Cell | BaselineCell]", datasets: "list[Dataset]") -> int:
    """Plan, let Hydra run every job unless the plan is all that is asked for, and show what came of them.

    The baselines beside them are trained behind them, in this process.

    Returns the exit status.
    """
    from nnbench import terminal
    from nnbench.sweep import job, outcome, plan

    with _signals_as_exceptions():
        try:
            sweep = job.prepare(grid, datasets)
            left = sweep.missing()
            networks = plan.only_networks([cells[number] for number in left], [datasets[number] for number in left])
            num_fits = sum(cells[number].num_trainings() for number in left if grid.jobs[number].is_baseline)
            terminal.print_plan(plan.make(*networks), num_fits=num_fits, num_done=len(set(sweep.finished)))
            if grid.jobs[0].config["dry_run"]:
                terminal.print_cells(sweep)
                return 0
            train_cell()
            for number in range(grid.num_swept, len(grid.jobs)):
                job.run(
                    grid.jobs[number],
                    number=number,
                    folder=grid.folder / str(number),
                    sweep_folder=grid.folder,
                    activation_choices=grid.activation_choices,
                )
        except KeyboardInterrupt:
            return outcome.show(grid, stopped_by=signal.SIGINT)
        except SystemExit as stop:  # Hydra's way to say that a job raised, or ours to say SIGTERM
            if stop.code == 128 + signal.SIGTERM:
                return outcome.show(grid, stopped_by=signal.SIGTERM)
            return outcome.show(grid) or 1
        except Exception as error:  # of prepare: whatever MLflow or the disk says; nothing has been trained yet
            way_out = "mend it, give another tracking.uri, or train with tracking=none"
            terminal.print_problems([f"the sweep cannot start: {type(error).__name__}: {error}; {way_out}"])
            return 1
        return outcome.show(grid)


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM end the process like an exit, so that open runs are closed."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def train_cell(config: DictConfig) -> None:
    """Train one cell: Hydra's job."""
    from nnbench import grid
    from nnbench.sweep import job

    settings = HydraConfig.get()
    multirun = settings.mode == RunMode.MULTIRUN
    job.run(
        grid.job_of(config, settings),
        number=int(settings.job.num) if multirun else 0,
        folder=Path(settings.runtime.output_dir),
        sweep_folder=Path(settings.runtime.cwd, settings.sweep.dir if multirun else settings.run.dir),
        activation_choices=grid.activation_choices([source.path for source in settings.runtime.config_sources]),
    )
