"""Building a report: the template executed from the store, saved as a notebook, a page and tables.

All of it is made in a folder of its own inside the output folder and moved to its place when it is whole, so a build
that fails leaves the last good report as it was. Two builds from the same store give the same bytes.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from errno import EEXIST
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnbench.report.export import without_credentials
from nnbench.report.page import printable, render

if TYPE_CHECKING:
    from nbclient import NotebookClient

TEMPLATE = Path(__file__).with_name("template.py")
TIMEOUT = 600  # seconds for a cell of the notebook
NOTEBOOK = "report.ipynb"
PAGE = "report.html"
TABLES = "tables"
PARAMETERS = "parameters.json"
OPTIONS = {"tracking_uri", "experiment", "sweep", "fingerprints"}  # the keys of that file
FAILED = "report.failed.ipynb"  # as far as it came
SVG = "image/svg+xml"
UNFINISHED = ".unfinished_report_"  # how the folder of a build begins
OWNER = "process"  # the file in it that names the process
# The last cell, which the saved notebook does without: what it writes lies beside it.
WRITE_TABLES = f"""

# %%
from nnbench.report.export import write_tables
from nnbench.report.tables import everything

write_tables(everything(results), "{TABLES}")"""
# Nobody's own looks, and the same bytes each time: marks inside an SVG are random without a salt.
MATPLOTLIBRC = "svg.hashsalt: nnbench\n"


class ReportError(Exception):
    """A report could not be built; says in a line why, and where the notebook is as far as it came."""


@dataclass(frozen=True)
class Report:
    """Where a report lies: its files, the folder of its tables, and the run of the store that has copies of them.

    `run_id` is None if the store could not be written; `not_logged` says why.
    """

    notebook: Path
    page: Path
    tables: Path
    run_id: str | None = None
    not_logged: str = ""


def build(
    uri: str, experiment: str, folder: Path, *, fingerprints: Collection[str] | None = None, sweep: str | None = None
) -> Report:
    """Execute the template from the store at a resolved URI and log what came of it as a run of the sweep.

    `fingerprints` are the cells to report, by default all of the study. Parameters reach the notebook as a file, never
    as source. Raises `NothingToReportError` if no cell is finished, `ReportError` if the notebook fails, OSError if the
    folder cannot be written; then what was in the folder is still there.
    """
    import jupytext

    with _unfinished(folder) as unfinished:
        chosen = None if fingerprints is None else sorted(fingerprints)
        options = {"tracking_uri": uri, "experiment": experiment, "sweep": sweep, "fingerprints": chosen}
        (unfinished / PARAMETERS).write_text(json.dumps(options), encoding="utf-8")
        notebook = _read_template()
        _execute(notebook, unfinished, folder)
        jupytext.write(notebook, unfinished / NOTEBOOK)
        (unfinished / PAGE).write_text(render(notebook, experiment), encoding="utf-8")
        # Whoever opens the notebook gives credentials of their own, see MLFLOW_TRACKING_USERNAME.
        options["tracking_uri"] = without_credentials(uri)
        (unfinished / PARAMETERS).write_text(json.dumps(options), encoding="utf-8")
        _publish(unfinished, folder)
    return _log(Report(folder / NOTEBOOK, folder / PAGE, folder / TABLES), uri, experiment, sweep)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Make a folder of a build inside the output folder; afterwards no trace of it is left, nor of an empty output."""
    from nnbench.tracking import process

    if (folder / PARAMETERS).exists():
        if not _is_ours(folder / PARAMETERS):
            raise FileExistsError(EEXIST, f"its {PARAMETERS} is not a report's, so give another", str(folder))
    elif (folder / TABLES).exists():
        raise FileExistsError(EEXIST, "its folder of tables is not a report's, so give another", str(folder))
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another build has removed it
            if process.is_gone((leftover / OWNER).read_text(encoding="utf-8")):
                shutil.rmtree(leftover)
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    try:
        (unfinished / OWNER).write_text(process.mark(), encoding="utf-8")
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # it has got a content
                parent.rmdir()


def _is_ours(parameters: Path) -> bool:
    """Whether a file has the parameters of a report."""
    try:
        options = json.loads(parameters.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(options, dict) and options.keys() == OPTIONS


def _read_template() -> Any:
    """Return the template and its last cell as a notebook that is the same each time."""
    import jupytext

    notebook = jupytext.reads(TEMPLATE.read_text(encoding="utf-8") + WRITE_TABLES, "py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def _execute(notebook: Any, unfinished: Path, folder: Path) -> None:
    """Execute a notebook in a kernel of its own and drop the cell that wrote the tables; errors as `build` says."""
    import jupytext
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

    from nnbench.report.results import NothingToReportError

    with tempfile.TemporaryDirectory() as private:
        matplotlibrc = Path(private, "matplotlibrc")
        matplotlibrc.write_text(MATPLOTLIBRC, encoding="utf-8")
        # Nobody's IPython profile is read or written, and the debugger keeps its warnings to itself.
        own = {
            "IPYTHONDIR": f"{private}/ipython",
            "MATPLOTLIBRC": str(matplotlibrc),
            "SOURCE_DATE_EPOCH": "0",  # an SVG has the time of its making
            "PYTHONWARNINGS": "ignore",  # they are for developers, and name folders of this machine
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        client = NotebookClient(
            notebook, timeout=TIMEOUT, record_timing=False, resources={"metadata": {"path": str(unfinished)}}
        )
        # Sockets in a folder of our own: TCP would be open to every user of the machine.
        kernel = client.create_kernel_manager()
        kernel.transport, kernel.ip = "ipc", f"{private}/kernel"
        try:
            _run(client, {**os.environ, **own})
        except (CellExecutionError, CellControlSignal, DeadKernelError) as error:
            name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
            if name == NothingToReportError.__name__:
                raise NothingToReportError(without_credentials(" ".join(value.split()))) from None
            reason = without_credentials(value.strip().partition("\n")[0])
            jupytext.write(_clean(notebook), unfinished / FAILED)
            (unfinished / FAILED).replace(folder / FAILED)
            raise ReportError(
                f"a cell of the report failed, see {folder / FAILED}: {name}{f': {reason}' if reason else ''}"
            ) from error
    notebook.cells.pop()
    _clean(notebook)


def _run(client: "NotebookClient", environment: dict[str, str]) -> None:
    """Execute a client's notebook in a thread of its own.

    In the main thread nbclient takes Ctrl-C and SIGTERM for itself, and then says that the kernel died. From here both
    are what they are elsewhere, and the kernel is gone before they go on.
    """
    loop = asyncio.new_event_loop()
    try:
        with ThreadPoolExecutor(1) as thread:
            task = loop.create_task(client.async_execute(env=environment))
            done = thread.submit(loop.run_until_complete, task)
            try:
                done.result()
            except BaseException:
                client.shutdown_kernel = "immediate"
                loop.call_soon_threadsafe(task.cancel)
                raise
    finally:
        # nbclient leaves tasks behind when it is stopped.
        if left := asyncio.all_tasks(loop):
            for unfinished in left:
                unfinished.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def _clean(value: Any) -> Any:
    """Return the JSON of a notebook with no credentials in its addresses, and with pictures that are well-formed."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        if SVG in value:
            value[SVG] = printable(value[SVG])
        for name, item in value.items():
            value[name] = _clean(item)
    return value


def _publish(unfinished: Path, folder: Path) -> None:
    """Move the parts of a report to their place, the page last."""
    if (folder / TABLES).exists():
        (folder / TABLES).replace(unfinished / "tables_before")
    for name in (TABLES, PARAMETERS, NOTEBOOK, PAGE):
        (unfinished / name).replace(folder / name)
    (folder / FAILED).unlink(missing_ok=True)


def _log(report: Report, uri: str, experiment: str, sweep: str | None) -> Report:
    """Log a report's files to the store; return it with the run, or with the reason why there is none."""
    from nnbench.tracking import reports

    # The notebook reads its parameters from the file beside it.
    files = [report.notebook, report.page, report.tables, report.notebook.with_name(PARAMETERS)]
    try:
        run_id = reports.log(uri, experiment, sweep, files)
    except Exception as error:  # whatever MLflow or the disk says; the report itself is whole
        reason = without_credentials(" ".join(f"{type(error).__name__}: {error}".split()))
        return replace(report, not_logged=reason)
    return replace(report, run_id=run_id)
