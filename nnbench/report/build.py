"""Building a report: the template executed in its output folder, saved as a notebook and as a page."""

import json
import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

TEMPLATE = Path(__file__).with_name("template.py")
TIMEOUT = 600  # seconds for a cell of the notebook
# Figures shrink with a narrow window, wide tables scroll.
STYLE = "<style>.jp-RenderedSVG img {max-width: 100%; height: auto} .jp-OutputArea-output {overflow-x: auto}</style>"


@dataclass(frozen=True)
class Report:
    """Where a report lies."""

    notebook: Path
    page: Path


def build(uri: str, experiment: str, folder: Path, *, fingerprints: Collection[str] | None = None) -> Report:
    """Execute the template from the store at a resolved URI; parameters reach it as a file, never as source.

    `fingerprints` are the cells to report, by default all of the study. Raises `NothingToReportError` if none is
    finished.
    """
    import jupytext
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbconvert import HTMLExporter

    from nnbench.report import results

    results.study(uri, experiment, fingerprints=fingerprints)  # says in one line, not in a notebook, that it is empty
    folder.mkdir(parents=True, exist_ok=True)
    chosen = None if fingerprints is None else sorted(fingerprints)
    options = {"tracking_uri": uri, "experiment": experiment, "fingerprints": chosen}
    (folder / "parameters.json").write_text(json.dumps(options), encoding="utf-8")

    notebook = jupytext.read(TEMPLATE)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    report = Report(folder / "report.ipynb", folder / "report.html")
    with tempfile.TemporaryDirectory() as private:
        # Sockets in a folder of our own: TCP would be open to every user of the machine.
        client = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(folder)}})
        kernel = client.create_kernel_manager()
        kernel.transport, kernel.ip = "ipc", f"{private}/kernel"
        # Nobody's IPython profile is read or written, and the debugger keeps its warnings to itself.
        own = {"IPYTHONDIR": f"{private}/ipython", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        try:
            client.execute(env={**os.environ, **own})
        except CellExecutionError as error:
            jupytext.write(notebook, report.notebook)
            raise RuntimeError(f"a cell of the report failed; see {report.notebook}: {error}") from error
    jupytext.write(notebook, report.notebook)
    # No parts from the network: no MathJax, no require.js.
    exporter = HTMLExporter(template_name="lab", embed_images=True, mathjax_url="", require_js_url="")
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": experiment}})
    report.page.write_text(page.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
    return report
