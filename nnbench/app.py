"""The Hydra application: checks a whole sweep, prepares data once, trains each cell, then sums up.

`run` is the parent's part. A job is run in a worker, see `nnbench.sweep.workers`, or in the parent itself where there
is but one; or, as `train_cell`, by a launcher of Hydra's other than the basic one. Parent and jobs speak through files
in the sweep's folder (`sweep.json` one way, record folders the other), so it makes no difference where a job runs.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nnbench.arguments import misplaced, refused
from nnbench.places import CONF, EXPERIMENTS
from nnbench.sweep.supervision import WORK, name_of_this_process, stopped_by, tell, worker_of

if TYPE_CHECKING:
    from nnbench.data import Dataset
    from nnbench.grid import Grid
    from nnbench.protocol.baselines import BaselineCell
    from nnbench.protocol.cell import Cell
    from nnbench.sweep.plan import AtOnce

# Variables that reach the workers of every launcher.
SWEEP = "NNBENCH_SWEEP"  # a sweep's id
PROCESS = "NNBENCH_PROCESS"  # the process that runs it
FULL_ERROR = "HYDRA_FULL_ERROR"  # lets Hydra raise what its launcher raises, and not print it
SHARED_FATE = "hydra_plugins.hydra_joblib_launcher."  # where one killed worker takes the others along
BASIC = "basic"  # Hydra's own launcher, in whose place we train
WAIT = 1.0  # seconds between looks at what other commands train


def _place(name: str) -> str:
    """Return what `${nnbench:NAME}` stands for in a configuration."""
    return {"experiments": str(EXPERIMENTS), "sweep": os.environ.get(SWEEP, "unnamed")}[name]


OmegaConf.register_new_resolver("nnbench", _place, replace=True)


def run(sweep: str, *, forks: bool = False) -> int:
    """Run this process's command line, which is Hydra's, as a sweep of that id; return the exit status.

    Cells are trained side by side only if this process `forks`.
    """
    arguments, unknown = get_args_parser().parse_known_args()
    if unknown:
        from nnbench import terminal

        terminal.print_problems(misplaced(unknown))
        return 2
    asks_only = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion
    if asks_only:
        if problems := refused(arguments):
            from nnbench import terminal

            terminal.print_problems(problems)
            return 2
        if arguments.help or arguments.hydra_help:  # of which files are chosen these tell nothing, but Hydra reads them
            sys.argv[1:] = [text for text in sys.argv[1:] if text not in arguments.overrides]
        train_cell()
        return 0

    from nnbench import grid, terminal
    from nnbench.components import ConfigError
    from nnbench.settings import clipped
    from nnbench.sweep import preparation

    os.environ[SWEEP], os.environ[PROCESS] = sweep, name_of_this_process()
    try:
        plan = grid.expand(arguments)
        cells = _cells(plan)
        datasets = _datasets(cells)
        plan, cells, datasets = _with_baselines(plan, cells, datasets)
    except ConfigError as error:
        terminal.print_problems(error.problems)
        return 2

    if not preparation.is_begun(plan):
        terminal.print_size(*_distinct(plan, cells, datasets))
        for line in clipped(cells, datasets):
            terminal.say(f"warning: {line}")
    if plan.jobs[0].config["inspect"]:
        from nnbench.sweep import inspection

        return inspection.show({id(dataset): dataset for dataset in datasets}.values())
    return _sweep(plan, cells, datasets, forks=forks)


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
    from nnbench.sweep.plan import only_networks, too_large

    datasets, problems = [], []
    for cell in cells:
        try:
            datasets.append(load(cell.source, cell.dtype))
        except DataError as error:
            problems.append(str(error))
    problems = problems or too_large(*only_networks(cells, datasets))
    if problems:
        raise ConfigError(problems)
    return datasets


def _distinct(
    plan: "Grid", cells: "list[Cell | BaselineCell]", datasets: "list[Dataset]"
) -> "tuple[list[Cell | BaselineCell], list[Dataset]]":
    """Return the cells and their data less those that are the same setting as an earlier one."""
    from nnbench.sweep.preparation import fingerprints

    marks = fingerprints(plan, datasets)
    first = [number for number, mark in enumerate(marks) if mark not in marks[:number]]
    return [cells[number] for number in first], [datasets[number] for number in first]


def _sweep(grid: "Grid", cells: "list[Cell | BaselineCell]", datasets: "list[Dataset]", *, forks: bool) -> int:
    """Plan, train every cell unless the plan is all that is asked for, and show what came of them.

    Returns the exit status.
    """
    from nnbench import terminal
    from nnbench.sweep import outbox, outcome, plan, preparation, workers
    from nnbench.sweep.attempt import NoRoomError
    from nnbench.sweep.plan import ALONE

    asks_only = grid.jobs[0].config["dry_run"]
    has_begun = False
    try:
        is_new = not preparation.is_begun(grid)
        sweep = preparation.prepare(grid, datasets)
        at_once = ALONE
        if forks and grid.launcher == BASIC:
            at_once = plan.at_once(*plan.only_networks(cells, datasets), len(grid.jobs), grid.jobs[0].config["workers"])
        if not asks_only and at_once.cells == 1:
            preparation.open_store_first(grid)
        if is_new:  # or it was killed, perhaps by a cell's first steps, which are timed here
            tell(WORK)
            left = sweep.missing()
            networks = plan.only_networks([cells[number] for number in left], [datasets[number] for number in left])
            num_fits = sum(cells[number].num_trainings() for number in left if grid.jobs[number].is_baseline)
            made = plan.make(*networks)
            terminal.print_plan(made, num_fits=num_fits, num_done=len(sweep.done), at_once=at_once.cells)
        if not asks_only:
            has_begun = True
            _train(grid, at_once)
            outbox.publish_rest(grid)
    except BaseException as error:
        stop = stopped_by() or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else None)
        if stop is not None:
            preparation.close_abandoned(grid)
            return outcome.show(grid, stopped_by=stop)
        if isinstance(error, NoRoomError | LauncherError | workers.WorkersError):
            terminal.print_problems([str(error)])
            return outcome.show(grid) or 1
        if not isinstance(error, Exception):
            raise
        # Whatever MLflow or the disk says: of `prepare`, or of the store that is opened beside the first cells.
        terminal.print_problems([f"the sweep cannot {'go on' if has_begun else 'start'}: {preparation.why_not(error)}"])
        return (outcome.show(grid) if has_begun else 0) or 1
    if asks_only:
        terminal.print_cells(sweep)
        return 0
    return outcome.show(grid)


class LauncherError(Exception):
    """Hydra's launcher cannot run the jobs of a sweep."""


def _train(grid: "Grid", at_once: "AtOnce") -> None:
    """Train every cell: in workers, if there is more than one at once, or by the launcher that Hydra is told to use.

    What is left then is trained in this process: what other commands have in hand, what was killed again in the company
    of other cells, and behind a launcher the baselines.
    """
    from nnbench import terminal
    from nnbench.sweep import job, workers

    if grid.launcher != BASIC:
        _launch_all(grid)
    elif at_once.cells > 1:
        workers.train(grid, at_once)

    is_first = grid.launcher == BASIC and at_once.cells == 1
    is_told = False
    while left := job.left(grid):
        for number in left if not is_first else range(len(grid.jobs)):
            task = job.task(grid, number)
            if not task.settled():
                task.run(grid.activation_choices, patient=not is_first, at_once=replace(at_once, cells=1))
        if job.left(grid) == left:
            if not is_told:
                terminal.say("waiting for cells that another command trains; Ctrl-C ends the waiting")
            is_told = True
            time.sleep(WAIT)
        is_first = False


def _launch_all(grid: "Grid") -> None:
    """Let Hydra's launcher run its jobs, again where workers were killed."""
    from nnbench import terminal
    from nnbench.sweep import job, preparation

    trouble = _launch()
    while trouble:
        preparation.close_abandoned(grid)
        left, begun = job.left(grid), job.num_begun(grid)
        terminal.say(f"the launcher lost its workers ({trouble}); what they had in hand is trained again")
        trouble = _launch()
        if trouble and (job.left(grid), job.num_begun(grid)) == (left, begun):
            raise LauncherError(f"the launcher cannot go on: {trouble}")


def _launch() -> str:
    """Let Hydra run its jobs; return what became of its launcher, or nothing if all is well."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        train_cell()
    except Exception as error:
        if stopped_by() is not None:
            raise
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    finally:
        os.environ.pop(FULL_ERROR)
        if before is not None:
            os.environ[FULL_ERROR] = before
    return ""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def train_cell(config: DictConfig) -> None:
    """Train one cell: Hydra's job."""
    from nnbench import grid
    from nnbench.sweep import job

    settings = HydraConfig.get()
    multirun = settings.mode == RunMode.MULTIRUN
    with worker_of(os.environ.get(PROCESS, "")):
        task = job.Task(
            grid.job_of(config, settings),
            number=int(settings.job.num) if multirun else 0,
            folder=Path(settings.runtime.output_dir),
            sweep_folder=Path(settings.runtime.cwd, settings.sweep.dir if multirun else settings.run.dir),
        )
        if not task.settled():
            task.run(
                grid.activation_choices([source.path for source in settings.runtime.config_sources]),
                alone=not (multirun and settings.launcher._target_.startswith(SHARED_FATE)),
            )
