"""How long the whole story takes: a study from the shell to the finished report, beside a loop over scikit-learn.

The commands take turns, round after round, each in a folder of its own: `study=activations_x_optimizers` with 10 seeds
and as it is shipped, in an empty folder and where a store is, and without report with and without tracking. What each
phase took is seen from outside: the first `begun.json`, the times in the records, those of the files, and the moment at
which the command says that it builds the report. The loop trains a sample of the same networks on the same data by
MLPClassifier and joblib, on all cores; its time is scaled to the trainings that were counted in the records.

    python benchmarks/whole_study.py [--rounds 3]   about five minutes a round
    python benchmarks/whole_study.py --quick        two cells on iris, without reports

Run it with nothing else running. The folders lie below $TMPDIR. Writes a table beside this file.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
from peers import machine, markdown

from nnbench.data import Digits, Iris, Split
from nnbench.tracking import record
from nnbench.tracking.record import Record

FOLDER = Path(__file__).resolve().parent
POLL_SECONDS = 0.01  # between looks for the first cell
READ_SECONDS = 10.0  # for the last words of a command that has ended
LIMIT = 1800  # seconds that no command takes
LAST_PHASE = "building the report"  # what the command says as it begins it
SAMPLES = 2  # trainings by scikit-learn of each optimizer and activation, at least


@dataclass(frozen=True)
class Variant:
    """One way to give the command."""

    name: str
    arguments: tuple[str, ...] = ()
    has_store: bool = False  # a store without results is in the folder


@dataclass(frozen=True)
class Study:
    """What is measured: the command and its variants, and which of them a goal speaks of."""

    arguments: tuple[str, ...]
    experiment: str
    source: type[Digits] | type[Iris]  # the data, which the loop is given as well
    variants: tuple[Variant, ...]
    story: Variant  # with the report, where there is one
    tracked: Variant
    untracked: Variant
    resumes: bool  # whether the tracked command is given a second time
    planned_trainings: int  # of a cell: those of the grid and the final seeds of `story`, without extensions

    @property
    def command(self) -> str:
        """The command as it is typed."""
        return shlex.join(["python", "-m", "nnbench", *self.arguments])


TEN_SEEDS = Variant("seeds=10, empty folder", ("seeds=10",))
SHIPPED = Variant("as shipped, empty folder")
ON_A_STORE = Variant("as shipped, on a store", has_store=True)
TRACKED = Variant("report=false, on a store", ("report=false",), has_store=True)
UNTRACKED = Variant("report=false tracking=none", ("report=false", "tracking=none"))
STUDY = Study(
    arguments=("study=activations_x_optimizers",),
    experiment="activations_x_optimizers",
    source=Digits,
    variants=(TEN_SEEDS, SHIPPED, ON_A_STORE, TRACKED, UNTRACKED),
    story=TEN_SEEDS,
    tracked=TRACKED,
    untracked=UNTRACKED,
    resumes=True,
    planned_trainings=7 * 3 + 10,
)
IN_AN_EMPTY_FOLDER = Variant("report=false, empty folder", ("report=false",))
QUICK = Study(
    arguments=(
        *("-m", "dataset=iris", "hidden=[8]", "num_epochs=20", "seeds=3", "optimizer=gd,adam"),
        *("tuning=learning_rate", "tuning.num_trials=3", "tuning.seeds=2", "tuning.max_extensions=0"),
    ),
    experiment="nnbench",
    source=Iris,
    variants=(IN_AN_EMPTY_FOLDER, UNTRACKED),
    story=IN_AN_EMPTY_FOLDER,
    tracked=IN_AN_EMPTY_FOLDER,
    untracked=UNTRACKED,
    resumes=False,
    planned_trainings=3 * 2 + 3,
)

# How scikit-learn is told of our optimizers and activations, and at which learning rate the loop trains.
SCIKIT_OPTIMIZERS = {
    "gd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
    "momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False, "learning_rate_init": 0.01},
    "nesterov": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True, "learning_rate_init": 0.01},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}
STANDS_IN = "adam"  # for what scikit-learn lacks
SCIKIT_ACTIVATIONS = {"sigmoid": "logistic", "relu": "relu", "leaky_relu": "relu", "tanh": "tanh"}


@dataclass(frozen=True)
class Counts:
    """What a command has trained."""

    tuning: int
    final: int
    untuned: int
    baseline_fits: int
    cells_by_optimizer: Counter[str]
    trainings_by_optimizer: Counter[str]

    @property
    def trainings(self) -> int:
        """All trainings of networks."""
        return self.tuning + self.final + self.untuned


@dataclass(frozen=True)
class Run:
    """What was seen of one command: seconds by the name of the phase, which add up, and of the work in the cells."""

    phases: dict[str, float]
    work: dict[str, float]
    counts: Counts
    records: list[Record]

    @property
    def total(self) -> float:
        """Seconds from the command to its end."""
        return sum(self.phases.values())


@dataclass(frozen=True)
class Sample:
    """Trainings of one optimizer by scikit-learn, side by side on all cores; losses and scores one for each."""

    seconds: float  # of all together
    first_losses: tuple[float, ...]
    last_losses: tuple[float, ...]
    accuracies: tuple[float, ...]  # on validation

    @property
    def seconds_per_training(self) -> float:
        """Seconds on the clock, with all cores at work."""
        return self.seconds / len(self.accuracies)


@dataclass
class Measured:
    """All that was measured, round by round."""

    study: Study
    runs: dict[Variant, list[Run]] = field(default_factory=dict)
    help_seconds: list[float] = field(default_factory=list)
    resume_seconds: list[float] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)  # by our name of the optimizer
    failures: list[str] = field(default_factory=list)

    def loop_seconds(self, trainings_by_optimizer: Counter[str]) -> float:
        """Return what the loop over scikit-learn would take for that many trainings of each optimizer."""
        return sum(
            number * float(np.median([one.seconds_per_training for one in self.samples[measured_as(optimizer)]]))
            for optimizer, number in trainings_by_optimizer.items()
        )


@dataclass(frozen=True)
class Goal:
    """Something to reach, in the unit that `wanted` names."""

    what: str
    wanted: str
    value: float
    shown: str
    is_reached: bool


class CommandError(Exception):
    """A command has not ended as it should."""


def measured_as(optimizer: str) -> str:
    """Return the optimizer whose time in scikit-learn counts for one of ours."""
    return optimizer if optimizer in SCIKIT_OPTIMIZERS else STANDS_IN


class Command:
    """A command that has ended, with the moments of what was seen of it, in seconds since 1970."""

    def __init__(self, arguments: Sequence[str], folder: Path):
        self.lines: list[tuple[float, str]] = []  # of standard error, each with its moment
        self.first_begun: float | None = None
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}
        search_path = os.pathsep.join([str(FOLDER.parent), *(path for path in sys.path if path)])
        environment |= {"PYTHONPATH": search_path, "PYTHONUTF8": "1", "COLUMNS": "200"}
        self.started = time.time()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # so that all of it can be ended
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                if self.first_begun is None and any(folder.glob("multirun/*/*/begun.json")):
                    self.first_begun = time.time()
                if time.time() > self.started + LIMIT:
                    raise CommandError(f"{shlex.join(arguments)} has not ended after {LIMIT} s")
                time.sleep(POLL_SECONDS)
            self.ended = time.time()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            reader.join(READ_SECONDS)
        if process.returncode:
            said = "\n".join(line for _, line in self.lines[-20:])
            raise CommandError(f"{shlex.join(arguments)} ended with exit status {process.returncode}:\n{said}")

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.ended - self.started

    def moment_of(self, words: str) -> float | None:
        """Return when it has said so; None if it never did."""
        return next((moment for moment, line in self.lines if line.strip() == words), None)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.lines.append((time.time(), line.rstrip()))


def nnbench(*arguments: str) -> list[str]:
    """Return what Python is given to run nnbench."""
    return ["-m", "nnbench", *arguments]


def prepare_store(folder: Path, experiment: str) -> None:
    """Create a store that knows the experiment and has no result."""
    code = "from nnbench.tracking import store; import sys; store.prepare(None, sys.argv[1])"
    Command(["-c", code, experiment], folder)


def run(study: Study, variant: Variant, folder: Path) -> Run:
    """Run one variant in an empty folder; raises CommandError."""
    if variant.has_store:
        prepare_store(folder, study.experiment)
    command = Command(nnbench(*study.arguments, *variant.arguments), folder)
    jobs = sorted(path.parent for path in folder.glob(f"multirun/*/*/{record.FOLDER}"))
    records = [record.read(job / record.FOLDER) for job in jobs]
    written = [(job / record.FOLDER / record.MANIFEST).stat().st_mtime for job in jobs]
    published = [path.stat().st_mtime if (path := job / record.PUBLISHED).exists() else None for job in jobs]
    # A cell that is over within a poll was not seen to begin.
    first = command.first_begun or min(cell.cell["started"] for cell in records)
    report = command.moment_of(LAST_PHASE) or command.ended
    phases = {
        "start-up, to the first cell": first - command.started,
        "cells: training, evaluation, records": max(written) - first,
        "rest of tracking, leaderboard": report - max(written),
        "report": command.ended - report,
    }
    work = {
        **work_of(records),
        "records": sum(moment - cell.cell["ended"] for moment, cell in zip(written, records, strict=True)),
        "tracking": publishing_seconds([(w, p) for w, p in zip(written, published, strict=True) if p is not None]),
    }
    return Run(phases, work, count(records), records)


def publishing_seconds(moments: Sequence[tuple[float, float]]) -> float:
    """Return the seconds that a publisher was busy, from when each record was written and when it was published.

    It takes one record after the other, so one that is written meanwhile waits.
    """
    seconds, free = 0.0, -np.inf
    for written, published in sorted(moments, key=lambda both: both[1]):
        seconds += max(0.0, published - max(written, free))
        free = published
    return seconds


def is_untuned_apart(cell: Record) -> bool:
    """Whether the configured hyperparameters were trained beside the tuned ones, which are others."""
    chosen = (cell.cell["tuning"] or {"chosen": {}})["chosen"]
    return any(cell.config["optimizer"][name] != value for name, value in chosen.items())


def work_of(records: Sequence[Record]) -> dict[str, float]:
    """Return the seconds of work in the cells, one after the other; cells run side by side, so the wall has less.

    A record has no clock of the untuned replicas: they count as much as the final ones, which take as many steps.
    """
    networks = [cell for cell in records if not cell.is_baseline]
    training, evaluation = 0.0, 0.0
    for cell in networks:
        facts = cell.cell
        stages = facts["train_seconds"] * (2 if is_untuned_apart(cell) else 1)
        stages += facts["tuning"]["train_seconds"] if facts["tuning"] else 0.0
        training += stages
        evaluation += facts["ended"] - facts["started"] - stages
    return {
        "training": training,
        "evaluation, diagnostics, tests": evaluation,
        "baselines": sum(cell.cell["ended"] - cell.cell["started"] for cell in records if cell.is_baseline),
    }


def count(records: Sequence[Record]) -> Counts:
    """Count what was trained."""
    networks = [cell for cell in records if not cell.is_baseline]
    tuning = [cell.cell["tuning"]["num_trainings"] if cell.cell["tuning"] else 0 for cell in networks]
    final = [len(cell.replicas()) for cell in networks]
    untuned = [number if is_untuned_apart(cell) else 0 for cell, number in zip(networks, final, strict=True)]
    trainings: Counter[str] = Counter()
    for cell, *numbers in zip(networks, tuning, final, untuned, strict=True):
        trainings[cell.choices["optimizer"]] += sum(numbers)
    return Counts(
        tuning=sum(tuning),
        final=sum(final),
        untuned=sum(untuned),
        baseline_fits=sum(cell.cell["num_fits"] for cell in records if cell.is_baseline),
        cells_by_optimizer=Counter(cell.choices["optimizer"] for cell in networks),
        trainings_by_optimizer=trainings,
    )


def fit(
    train: Split, validation: Split, cell: Record, optimizer: str, activation: str, seed: int, num_epochs: int
) -> tuple[float, float, float]:
    """Train by scikit-learn what `cell` trained; return first and last loss, and the accuracy on validation."""
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(
        tuple(cell.config["hidden"]),
        activation=SCIKIT_ACTIVATIONS[activation],
        alpha=0.0,
        batch_size=cell.cell["batch_size"],
        max_iter=num_epochs,
        tol=0.0,
        n_iter_no_change=num_epochs + 1,  # never
        random_state=seed,
        **SCIKIT_OPTIMIZERS[optimizer],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        classifier.fit(train.inputs, train.labels)
    losses = classifier.loss_curve_
    return losses[0], losses[-1], float(classifier.score(validation.inputs, validation.labels))


def sample_loop(study: Study, records: Sequence[Record]) -> dict[str, Sample]:
    """Train a sample of the networks of `records` in a loop over scikit-learn; return it by optimizer.

    Every core has work to the end: the sample is a multiple of their number. The workers are warmed up before.
    """
    cells = [cell for cell in records if not cell.is_baseline]
    dataset = study.source().load(cells[0].config["dtype"])
    if any(cell.cell["dataset"]["digest"] != dataset.digest for cell in cells):
        raise CommandError(f"the study has other data than {dataset.name} as it is by default")
    activations = sorted({cell.choices["activation"] for cell in cells})
    optimizers = dict.fromkeys(measured_as(cell.choices["optimizer"]) for cell in cells)
    num_cores = joblib.cpu_count()
    num_trainings = -(-SAMPLES * len(activations) // num_cores) * num_cores
    samples = {}
    with joblib.Parallel(n_jobs=num_cores) as parallel:

        def loop(optimizer: str, number: int, num_epochs: int) -> list[tuple[float, float, float]]:
            return parallel(
                joblib.delayed(fit)(
                    dataset.train,
                    dataset.validation,
                    cells[0],
                    optimizer,
                    activations[place % len(activations)],
                    place,
                    num_epochs,
                )
                for place in range(number)
            )

        loop(STANDS_IN, 2 * num_cores, 1)
        for optimizer in optimizers:
            started = time.perf_counter()
            outcomes = loop(optimizer, num_trainings, cells[0].config["num_epochs"])
            samples[optimizer] = Sample(time.perf_counter() - started, *zip(*outcomes, strict=True))
    return samples


def measure(study: Study, *, num_rounds: int) -> Measured:
    """Let commands and loop take turns; what fails is named in the end, and the rest goes on."""
    measured = Measured(study)

    def attempt(what: str, action: Callable[[], None]) -> None:
        print(what, flush=True)
        try:
            action()
        except (CommandError, record.DamagedError, ValueError, OSError) as error:
            measured.failures.append(f"{what}: {error}")

    for number in range(1, num_rounds + 1):
        for variant in study.variants:
            attempt(f"round {number}: {variant.name}", lambda variant=variant: measure_variant(measured, variant))
        attempt(f"round {number}: --help", lambda: measure_help(measured))
        if runs := measured.runs.get(study.story):
            records = runs[0].records
            attempt(f"round {number}: scikit-learn", lambda records=records: measure_loop(measured, records))
    return measured


def measure_variant(measured: Measured, variant: Variant) -> None:
    """Measure one variant once, and what it takes to give the tracked one again."""
    study = measured.study
    with tempfile.TemporaryDirectory() as name:
        one = run(study, variant, Path(name))
        measured.runs.setdefault(variant, []).append(one)
        if study.resumes and variant == study.tracked:
            again = Command(nnbench(*study.arguments, *variant.arguments), Path(name))
            measured.resume_seconds.append(again.seconds)


def measure_help(measured: Measured) -> None:
    """Measure `--help` once."""
    with tempfile.TemporaryDirectory() as name:
        measured.help_seconds.append(Command(nnbench("--help"), Path(name)).seconds)


def measure_loop(measured: Measured, records: Sequence[Record]) -> None:
    """Measure the sample once."""
    for optimizer, sample in sample_loop(measured.study, records).items():
        measured.samples.setdefault(optimizer, []).append(sample)


def tracking_share(measured: Measured) -> float | None:
    """Return what tracking adds to the wall time, as a part of the time without; None where one is missing."""
    tracked, untracked = (measured.runs.get(v, []) for v in (measured.study.tracked, measured.study.untracked))
    if not tracked or len(tracked) != len(untracked):
        return None
    ratios = [one.total / other.total for one, other in zip(tracked, untracked, strict=True)]
    return float(np.median(ratios)) - 1


def goals(measured: Measured) -> list[Goal]:
    """Return each goal that could be measured, with what became of it."""
    found = []

    def at_most(what: str, seconds: Sequence[float], limit: float) -> None:
        if seconds:
            value = float(np.median(seconds))
            found.append(Goal(what, f"under {limit:g} s", value, f"{value:.2f} s", value < limit))

    study = measured.study
    for variant, runs in measured.runs.items():
        if "report=false" not in variant.arguments:
            at_most(f"the study, {variant.name}", [one.total for one in runs], 60)
    if measured.samples:
        for variant, runs in measured.runs.items():
            if "report=false" not in variant.arguments or variant == study.story:
                seconds = float(np.median([one.total for one in runs]))
                ratio = measured.loop_seconds(runs[0].counts.trainings_by_optimizer) / seconds
                what = f"the loop's time for the same trainings over that of: {variant.name}"
                found.append(Goal(what, "at least 10", ratio, f"{ratio:.2f}", ratio >= 10))
        if runs := measured.runs.get(study.story):
            planned = planned_trainings(study, runs[0].counts)
            ratio = measured.loop_seconds(planned) / float(np.median([one.total for one in runs]))
            what = f"the loop's time for {planned.total()} trainings alone over that of: {study.story.name}"
            found.append(Goal(what, "at least 10", ratio, f"{ratio:.2f}", ratio >= 10))
    if (share := tracking_share(measured)) is not None:
        what = f"tracking adds: {study.tracked.name}, over {study.untracked.name}"
        found.append(Goal(what, "under 20 %", share, f"{share:.1%}", share < 0.2))
    for variant, runs in measured.runs.items():
        if variant.has_store:
            at_most(f"to the first cell: {variant.name}", [next(iter(one.phases.values())) for one in runs], 2)
    at_most("--help", measured.help_seconds, 1)
    return found


def planned_trainings(study: Study, counts: Counts) -> Counter[str]:
    """Return the trainings without extensions of grids and without untuned ones, by optimizer."""
    return Counter({name: number * study.planned_trainings for name, number in counts.cells_by_optimizer.items()})


def spread(values: Sequence[float]) -> str:
    """Return median and range."""
    return f"{np.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]" if values else ""


def seconds_table(measured: Measured) -> list[str]:
    """Return the phases of each variant on the wall, and the work in its cells."""
    runs = list(measured.runs.values())

    def rows(kind: str, entries: Callable[[Run], dict[str, float]]) -> list[list[str]]:
        return [
            [f"{kind}: {name}", *(spread([entries(run)[name] for run in of]) for of in runs)]
            for name in entries(runs[0][0])
        ]

    total = ["**wall: total**", *(spread([run.total for run in of]) for of in runs)]
    header = ["seconds, median [least, most]", *(variant.name for variant in measured.runs)]
    return markdown(header, [*rows("wall", lambda run: run.phases), total, *rows("work", lambda run: run.work)])


def count_table(measured: Measured) -> list[str]:
    """Return what each variant has trained."""
    header = ["trainings", "cells", "tuning", "final", "untuned", "together", "planned", "fits of baselines"]
    rows = []
    for variant, runs in measured.runs.items():
        one = runs[0].counts
        is_story = variant == measured.study.story
        planned = str(planned_trainings(measured.study, one).total()) if is_story else ""
        cells = one.cells_by_optimizer.total()
        numbers = (cells, one.tuning, one.final, one.untuned, one.trainings)
        rows.append([variant.name, *map(str, numbers), planned, str(one.baseline_fits)])
    return markdown(header, rows)


def loop_table(measured: Measured) -> list[str]:
    """Return the sample of scikit-learn, and its time scaled to the trainings of the story."""
    if not measured.samples or not (runs := measured.runs.get(measured.study.story)):
        return []
    header = [
        *("scikit-learn", "sample", "seconds per training, all cores", "training loss, first to last epoch"),
        *("validation accuracy", "trainings", "scaled to seconds"),
    ]
    rows = []
    for optimizer, number in runs[0].counts.trainings_by_optimizer.items():
        of = measured.samples[measured_as(optimizer)]
        name = optimizer if optimizer in SCIKIT_OPTIMIZERS else f"{optimizer}, which it lacks: time of {STANDS_IN}"
        first, last = (float(np.mean(losses)) for losses in (of[0].first_losses, of[0].last_losses))
        rows.append(
            [
                *(name, f"{len(of)} x {len(of[0].accuracies)}", spread([one.seconds_per_training for one in of])),
                *(f"{first:.3f} to {last:.3f}", f"{np.mean(of[0].accuracies):.1%}", str(number)),
                f"{measured.loop_seconds(Counter({optimizer: number})):.1f}",
            ]
        )
    counts = runs[0].counts
    scaled = f"{measured.loop_seconds(counts.trainings_by_optimizer):.1f}"
    return markdown(header, [*rows, ["together", "", "", "", "", str(counts.trainings), scaled]])


def describe(measured: Measured) -> str:
    """Return the whole table as Markdown."""
    num_rounds = max(map(len, measured.runs.values()))
    times = [("--help", measured.help_seconds), ("the tracked study again, when done", measured.resume_seconds)]
    lines = [
        "# The whole study",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}. {machine(cores_used='all of them used')}.",
        f"`{measured.study.command}`, rounds in turns: {num_rounds}.",
        "",
        *seconds_table(measured),
        "",
        "wall: one phase after the other, by the clock. work: added up over cells, which may run side by side, so that",
        "it may be more than the wall. training has the untuned replicas at the time of the final ones; evaluation is",
        "all else in a cell; tracking is the time that the publisher was busy, beside the training or not.",
        "",
        *count_table(measured),
        "",
        "planned: without extensions of grids and without untuned trainings.",
        "",
        *loop_table(measured),
        "",
        *markdown(["seconds", ""], [[name, spread(values)] for name, values in times if values]),
        "",
        *markdown(
            ["to reach", "wanted", "measured", ""],
            [[one.what, one.wanted, one.shown, "reached" if one.is_reached else "missed"] for one in goals(measured)],
        ),
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 if something failed to run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two cells on iris; writes only with --output")
    parser.add_argument("--output", type=Path, help="the folder of the table; by default this file's")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1:
        parser.error(f"--rounds is {chosen.rounds}; it must be at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and no command is left behind
    measured = measure(QUICK if chosen.quick else STUDY, num_rounds=chosen.rounds)
    if measured.runs:
        text = describe(measured)
        print(text)
        if chosen.output is not None or not chosen.quick:
            folder = chosen.output or FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "whole_study.md").write_text(text, encoding="utf-8")
    for failure in measured.failures:
        print(failure, file=sys.stderr)
    return 1 if measured.failures or not measured.runs else 0


if __name__ == "__main__":
    sys.exit(main())
