"""Before a sweep: what there is to train, and the store made ready.

`prepare` comes before everything and is quick; what MLflow itself is needed for is left to `open_store`, which may be
called while the first cells train.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.grid import Grid, Job
from nnbench.protocol.fingerprint import OF_BASELINES, fingerprint
from nnbench.sweep import claims, outbox
from nnbench.sweep.attempt import TOLD, is_local
from nnbench.sweep.claims import Claim
from nnbench.sweep.sweep_file import NAME, SweepFile
from nnbench.terminal import say
from nnbench.tracking import record
from nnbench.tracking.trouble import StoreError, bounded, wake

if TYPE_CHECKING:
    from nnbench.data import Dataset

MOST_NAMED = 5  # damaged results that have a line
IN_A_FILE = (
    "a file of the configuration has a tracking.uri with a password, which would be written into every sweep's folder; "
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI, or give it on the command line"
)


def fingerprints(plan: Grid, datasets: "Sequence[Dataset]") -> list[str]:
    """Return the fingerprint of each job; jobs with the same one are one cell."""
    return [
        fingerprint(job.config, dataset.digest, plan.activation_choices)
        for job, dataset in zip(plan.jobs, datasets, strict=True)
    ]


def is_begun(plan: Grid) -> bool:
    """Whether a process before this one has begun the sweep, and was killed."""
    return (plan.folder / NAME).exists()


def prepare(plan: Grid, datasets: "Sequence[Dataset]") -> SweepFile:
    """Find what there is to train, and write it down unless that alone is asked for.

    Raises StoreError for a store on this machine that cannot be used; any other may be out for a while, which costs a
    sweep nothing but what the store knows.
    """
    first = plan.jobs[0]
    if is_begun(plan):
        return SweepFile.read(plan.folder)
    marks = fingerprints(plan, datasets)
    sweep = SweepFile(
        sweep=plan.sweep,
        study=first.study,
        command=plan.command,
        labels=[job.label for job in plan.jobs],
        choices=[_choices(job) for job in plan.jobs],
        fingerprints=marks,
        results_before=_results_before(marks),
        resume=first.config["resume"],
        about=first.config["about"],
        to_reach=first.config["to_reach"],
    )
    asked_only = first.config["dry_run"]
    if first.tracked:
        from nnbench.tracking import store

        if first.tracking_uri and store.without_credentials(first.tracking_uri) != first.tracking_uri:
            raise StoreError(IN_A_FILE, "refusal")
        store.check_place(store.resolve(first.tracking_uri))
        if not asked_only:
            _check_soon(store.resolve(first.tracking_uri))
    if not asked_only:
        record.sweep_up(Path.cwd())
        if first.config["resume"]:
            claims.prepare(Path.cwd())
    if first.tracked and (first.config["resume"] or asked_only):
        sweep = _ask(first, sweep, asked_only=asked_only)
    if not asked_only:
        sweep.write(plan.folder)
    return sweep


def _check_soon(uri: str) -> None:
    """Raise what will not mend itself of a store, before anything is trained; say an outage."""
    from nnbench.tracking import store

    try:
        with bounded(uri):
            store.check_soon(uri)
    except StoreError as error:
        tell_or_raise(error, uri)


def _ask(first: Job, sweep: SweepFile, *, asked_only: bool) -> SweepFile:
    """Return the sweep with what the store has already, and what is on its way there."""
    from nnbench.tracking import store

    uri = store.resolve(first.tracking_uri)
    try:
        with bounded(uri, _most_seconds(uri)):
            if asked_only and store.exists(uri):
                store.check(uri)
            if not first.config["resume"]:
                return sweep
            if store.exists(uri):
                sweep = replace(sweep, finished=_finished(first, sweep.fingerprints))
            waiting = outbox.results(first, sweep, store_is_out=False)
    except StoreError as error:
        tell_or_raise(error, uri)
        waiting = outbox.results(first, sweep, store_is_out=True) if first.config["resume"] else {}
    else:
        if not asked_only:
            outbox.wait_again(map(Path, waiting.values()))
    return replace(sweep, waiting=waiting)


def tell_or_raise(error: StoreError, uri: str) -> None:
    """Raise an error that will not mend itself, as a local file that cannot be used; say any other one, once."""
    from nnbench.tracking import store

    if error.kind != "outage" and store.is_local(uri):
        raise error
    if str(error) not in TOLD:
        TOLD.add(str(error))
        say(f"warning: {error}; training goes on, python -m nnbench sync publishes it")


def open_store(plan: Grid, tell: Callable[[str], None] = say) -> None:
    """Create store and experiment where they are missing, close what was left open, and announce the sweep.

    Then publish what earlier commands could not. Nothing is done twice if it is called again. Raises StoreError, and
    ValueError or OSError where no store can be made.
    """
    from nnbench.tracking import publish, store

    first = plan.jobs[0]
    uri = store.resolve(first.tracking_uri)
    with bounded(uri, _most_seconds(uri)):
        if not store.exists(uri):
            tell("creating the store, once")
            if warning := store.warning_of_disk(uri):
                tell(f"warning: {warning}")
        store.prepare(uri, first.experiment)
        publish.close_abandoned(uri, first.experiment)
        outbox.announce(plan)
    outbox.publish("before the training", besides=plan.folder, tell=tell)
    wake(uri)  # though that may have taken too long


def open_store_first(plan: Grid) -> None:
    """Do that before the training; an outage costs it nothing. Raises as `open_store` does."""
    from nnbench.tracking import store

    first = plan.jobs[0]
    if not first.tracked:
        return
    uri = store.resolve(first.tracking_uri)
    try:
        open_store(plan)
    except StoreError as error:
        tell_or_raise(error, uri)


def why_not(error: Exception) -> str:
    """Return why a sweep cannot start, and what can be done: whatever MLflow or the disk says, in a line."""
    reason = str(error).partition("\n")[0]
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {reason}; work in a folder that you may write"
    if isinstance(error, StoreError):  # which says itself what to do
        return reason
    return f"{type(error).__name__}: {reason}; mend it, give another tracking.uri, or use tracking=none"


def _most_seconds(uri: str) -> float | None:
    """Return how long a store may take: a large file is read for as long as it takes."""
    from nnbench.tracking import store

    return None if store.is_local(uri) else outbox.MOST_SECONDS


def close_abandoned(plan: Grid) -> None:
    """Close the runs in a local store that workers which were killed have left open."""
    from nnbench.tracking import publish

    first = plan.jobs[0]
    if first.tracked and is_local(first):
        with suppress(Exception):  # or the next command does it
            publish.close_abandoned(first.tracking_uri, first.experiment)


def _results_before(marks: Sequence[str]) -> dict[str, str]:
    """Return where each cell that has been trained below the current folder has its newest result, by fingerprint."""
    found = {mark: Claim(Path.cwd(), mark).result() for mark in marks}
    return {mark: place for mark, place in found.items() if place is not None}


def _choices(job: Job) -> dict[str, str]:
    """Return the names chosen in each group that matters to a job; to a baseline no optimizer does."""
    return {group: name for group, name in job.choices.items() if not job.is_baseline or group in OF_BASELINES}


def _finished(first: Job, fingerprints: Sequence[str]) -> dict[str, str]:
    """Return the run of each fingerprint that has a whole result in the store, and name the damaged ones."""
    from nnbench.tracking import read

    finished, damaged = read.finished_and_damaged(first.tracking_uri, first.experiment, fingerprints)
    for lost in list(damaged.values())[:MOST_NAMED]:
        instead = "an older result of the cell counts" if lost.fingerprint in finished else "the cell is trained again"
        say(f"warning: the result of {lost.name} in the store is damaged ({lost.reason}); {instead}")
    if len(damaged) > MOST_NAMED:
        say(f"warning: {len(damaged) - MOST_NAMED} more results are damaged; python -m nnbench status names them")
    return finished
