"""What MLflow lacks: records below the current folder that wait for the store, and a sweep that it has not heard of."""

import json
from dataclasses import asdict
from pathlib import Path

from nnbench.grid import Grid, Job
from nnbench.sweep.sweep_file import SweepFile
from nnbench.terminal import say
from nnbench.tracking import record, sweeps
from nnbench.tracking.credentials import without_credentials
from nnbench.tracking.trouble import StoreError, bounded, wake

MOST_SECONDS = 60.0  # of publishing what waits, before a sweep and after it


def announce(first: Job, sweep: SweepFile) -> None:
    """Tell the store what a sweep is to train, see `nnbench.tracking.sweeps`; `first` is its first job."""
    of_this_machine = ("waiting", "results_before")  # folders
    plan = {name: value for name, value in asdict(sweep).items() if name not in of_this_machine}
    sweeps.announce(first.tracking_uri, first.experiment, plan)


def results(first: Job, sweep: SweepFile, *, store_is_out: bool) -> dict[str, str]:
    """Return the record folder of each fingerprint of a sweep whose result the store lacks, of several the newest.

    If the store cannot be asked, it may be one that it has: all the same a result.
    """
    from nnbench.tracking import store

    wanted = set(sweep.fingerprints) - set(sweep.finished)
    found: dict[str, str] = {}
    for folder in record.find(Path.cwd()) if store_is_out else record.unpublished(Path.cwd()):
        try:
            told = json.loads((folder / record.CELL).read_text(encoding="utf-8"))
            if told["identity"]["fingerprint"] not in wanted or told["status"] not in record.WITH_RESULT:
                continue  # most of them, so the rest is not read
            cell = record.read(folder)
            uri = store.resolve(cell.config["tracking"].get("uri"))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # damaged, as `sync` will say
            continue
        if cell.experiment == first.experiment and uri == store.resolve(first.tracking_uri):
            found[cell.identity.fingerprint] = str(folder)
    return found


def publish(when: str) -> int:
    """Publish what waits, for a minute at most; return how many records still wait, and say why.

    Damaged ones are not counted: they wait for ever, and `sync` names them.
    """
    from nnbench.tracking import publish

    outcomes = publish.publish_all(record.unpublished(Path.cwd()), seconds=MOST_SECONDS)
    left = [error for _, error in outcomes if error is not None and not isinstance(error, record.DamagedError)]
    if done := sum(error is None for _, error in outcomes):
        say(f"{done} {'record' if done == 1 else 'records'} published {when} that had waited for the store")
    if left:
        reasons = dict.fromkeys(without_credentials(" ".join(str(error).split())) for error in left)
        say(f"warning: {len(left)} {'record waits' if len(left) == 1 else 'records wait'} for the store "
            f"({'; '.join(reasons)}); python -m nnbench sync publishes them")  # fmt: skip
    return len(left)


def publish_rest(plan: Grid) -> int:
    """Ask the store of a sweep that has ended once more, even in the middle of its rest; return as `publish` does.

    A sweep of which the store could not be told when it began is announced now.
    """
    from nnbench.tracking import store

    first = plan.jobs[0]
    if not first.tracked:
        return 0
    uri = store.resolve(first.tracking_uri)
    wake(uri)
    try:
        with bounded(uri, MOST_SECONDS):
            if plan.multirun and plan.sweep not in sweeps.known(uri, first.experiment):
                announce(first, SweepFile.read(plan.folder))
    except (StoreError, OSError, ValueError):
        pass  # the records below meet the same
    return publish("after the training")
