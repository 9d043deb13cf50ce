"""What MLflow lacks: records below the current folder that wait for the store, and a sweep that it has not heard of."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from nnbench.grid import Grid, Job
from nnbench.sweep.sweep_file import SweepFile
from nnbench.terminal import say
from nnbench.tracking import record, sweeps
from nnbench.tracking.credentials import without_credentials
from nnbench.tracking.trouble import StoreError, bounded, wake

MOST_SECONDS = 60.0  # of publishing what waits, before a sweep and after it


def announce(plan: Grid) -> None:
    """Tell the store what a sweep is to train, unless it knows that, see `nnbench.tracking.sweeps`."""
    first = plan.jobs[0]
    if not plan.multirun or plan.sweep in sweeps.known(first.tracking_uri, first.experiment):
        return
    sweep = SweepFile.read(plan.folder)
    of_this_machine = ("waiting", "results_before")  # folders
    told = {name: value for name, value in asdict(sweep).items() if name not in of_this_machine}
    sweeps.announce(first.tracking_uri, first.experiment, told)


def results(first: Job, sweep: SweepFile, *, store_is_out: bool) -> dict[str, str]:
    """Return the record folder of each fingerprint of a sweep whose result the store lacks, of several the newest.

    It may lack what it was told, too, see `lost`. If it cannot be asked, each may be one that it has: all the same a
    result. Raises StoreError.
    """
    from nnbench.tracking import store

    wanted = set(sweep.fingerprints) - set(sweep.finished)
    uri = store.resolve(first.tracking_uri)
    folders = []
    for folder in record.find(Path.cwd()) if wanted else []:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # damaged, as `sync` will say
            told = json.loads((folder / record.CELL).read_text(encoding="utf-8"))
            if told["identity"]["fingerprint"] in wanted and told["status"] in record.WITH_RESULT:
                folders.append(folder)  # few of them, so the rest is not read
    if not store_is_out:
        gone = lost(folders, uri)
        folders = [folder for folder in folders if folder in gone or record.publication(folder) is None]
    found: dict[str, str] = {}
    for folder in folders:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            cell = record.read(folder)
            if cell.experiment == first.experiment and store.resolve(cell.config["tracking"].get("uri")) == uri:
                found[cell.identity.fingerprint] = str(folder)
    return found


def lost(folders: Iterable[Path], uri: str) -> set[Path]:
    """Return those of some record folders that were published to the store at a resolved URI, which lacks their runs.

    So that store was deleted or moved away, and this is another one. A run that somebody has deleted in it is not
    lost: the store has it still, and whoever deleted it wants its cell trained again. Raises StoreError.
    """
    from nnbench.tracking import read

    notes = {folder: record.publication(folder) for folder in folders}
    runs = {folder: note[0] for folder, note in notes.items() if note is not None and note[1] == uri}
    known = read.known_runs(uri, set(runs.values()))
    return {folder for folder, run_id in runs.items() if run_id not in known}


def wait_again(folders: Iterable[Path]) -> None:
    """Let those of some records be published once more that were published and `lost`; say how many."""
    notes = [note for folder in folders if (note := folder.parent / record.PUBLISHED).exists()]
    for note in notes:
        note.unlink(missing_ok=True)
    if notes:
        say(f"{len(notes)} {'record' if len(notes) == 1 else 'records'} had been published to a store that is gone; "
            "the new one gets them, too")  # fmt: skip


def publish(when: str, *, besides: Path | None = None, tell: Callable[[str], None] = say) -> int:
    """Publish what waits, for a minute at most; return how many records still wait, and say why.

    Damaged ones are not counted: they wait for ever, and `sync` names them. Those in the folder `besides` are left out.
    """
    from nnbench.tracking import publish

    folders = [folder for folder in record.unpublished(Path.cwd()) if besides not in folder.parents]
    outcomes = publish.publish_all(folders, seconds=MOST_SECONDS)
    left = [error for _, error in outcomes if error is not None and not isinstance(error, record.DamagedError)]
    if done := sum(error is None for _, error in outcomes):
        tell(f"{done} {'record' if done == 1 else 'records'} published {when} that had waited for the store")
    if left:
        reasons = dict.fromkeys(without_credentials(" ".join(str(error).split())) for error in left)
        tell(f"warning: {len(left)} {'record waits' if len(left) == 1 else 'records wait'} for the store "
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
            store.prepare(uri, first.experiment)
            announce(plan)
    except (StoreError, OSError, ValueError):
        pass  # the records below meet the same
    _mark_copies(plan)
    return publish("after the training")


def _mark_copies(plan: Grid) -> None:
    """Take a result that this sweep has copied for published where the record that it came from is by now."""
    for mark, source in (sweep := SweepFile.read(plan.folder)).waiting.items():
        note = Path(source).parent / record.PUBLISHED
        copy = plan.folder_of(sweep.fingerprints.index(mark)) / record.PUBLISHED
        if note.exists() and copy.parent.is_dir() and not copy.exists():
            copy.write_bytes(note.read_bytes())
