"""What came of a sweep: leaderboard, failures, how to go on. Read from the record folders alone."""

import shlex
import signal
from pathlib import Path

from nnbench import terminal
from nnbench.grid import Grid
from nnbench.sweep.sweep_file import SweepFile
from nnbench.tracking import record


def show(plan: Grid, *, stopped_by: signal.Signals | None = None) -> int:
    """Print the outcome of a sweep; return the exit status: 1 if a cell failed, 128 + signal if it was stopped."""
    folders = [plan.folder_of(number) for number in range(len(plan.jobs))]
    found: list[tuple[str, record.Record]] = []
    failures = []
    for job, folder in zip(plan.jobs, folders, strict=True):
        if not (folder / record.FOLDER).is_dir():
            continue
        # Labelled by this sweep: a result that an earlier one left has the label of its own neighbours.
        cell = record.read(folder / record.FOLDER)
        if cell.status == "failed":
            log = (folder / record.FOLDER / record.ERROR_LOG).relative_to(Path.cwd())
            failures.append((job.label, cell.cell["error"], log))
        elif cell.status != "interrupted":
            found.append((job.label, cell))

    if found:
        import pandas as pd

        from nnbench.analysis.tables import leaderboard

        names = record.data_names([cell for _, cell in found])
        tables = [
            cell.replicas().assign(cell=label, dataset=name) for (label, cell), name in zip(found, names, strict=True)
        ]
        facts = [{"cell": label, **record.facts(cell)} for label, cell in found]
        # Accuracies on different data say nothing about each other, so each data set has its own ranking.
        by_dataset = dict(iter(pd.concat(tables, ignore_index=True).groupby("dataset", sort=False)))
        for dataset, replicas in by_dataset.items():
            board = leaderboard(replicas).merge(pd.DataFrame(facts), on="cell")
            terminal.print_leaderboard(board, dataset=str(dataset) if len(by_dataset) > 1 else None)
        terminal.print_findings(facts)
    if failures:
        terminal.print_failures(failures)
    if stopped_by is not None:
        first = plan.jobs[0]
        command = plan.command if first.tracked else None
        terminal.print_stop(len(found), len(plan.jobs), command, resumes=first.config["resume"])
        return 128 + stopped_by
    if found and plan.jobs[0].tracked:
        command = f"python -m nnbench report {shlex.quote(plan.jobs[0].experiment)} --sweep {plan.sweep}"
        terminal.print_next({"browse": "python -m nnbench ui", "report": _report(plan, command) or command})
    return 1 if failures else 0


def _report(plan: Grid, command: str) -> str:
    """Build the report of a multirun that asks for one; return where it is, or nothing. `command` builds it later.

    Whatever keeps it from being built, the results are safe and the command can be given again, so this is a line and
    no failure; only Ctrl-C and SIGTERM are obeyed.
    """
    first = plan.jobs[0]
    if not (plan.multirun and first.config["report"]):
        return ""
    from nnbench.report.build import build
    from nnbench.tracking import store

    terminal.say("building the report")
    try:
        folder = Path("reports", store.file_name(first.experiment)).absolute()
        fingerprints = SweepFile.read(plan.folder).fingerprints
        uri = store.resolve(first.tracking_uri)
        report = build(uri, first.experiment, folder, fingerprints=fingerprints, sweep=plan.sweep)
    except Exception as error:
        reason = store.without_credentials(" ".join(f"{type(error).__name__}: {error}".split()))
        terminal.print_problems([f"the report was not built: {reason}"])
        return ""
    except (KeyboardInterrupt, SystemExit):
        terminal.say(f"the report was stopped; all results are safe; build it with  {command}")
        raise
    if report.not_logged:
        terminal.print_problems([f"the store has no copy of the report: {report.not_logged}"])
    terminal.print_bands(report.tables)
    return str(report.page.relative_to(Path.cwd()))
