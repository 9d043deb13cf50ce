"""Building a report: the same bytes each time, and nothing lost when it fails or is stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from report_cases import SMALL, Workplace

from nnbench.report import build
from nnbench.report.results import NothingToReportError
from nnbench.tracking import process

NO_TABLES = """
from nnbench.report import tables

tables.everything = lambda results: {}
results = None
"""
FAILING = "print('as far as this')\n\n# %%\nraise ValueError('cannot go on\\nsecond line')\n"
NETWORKS = ("-m", "optimizer=adam,gd", "dataset=iris", "seeds=2", "hidden=[4]", "num_epochs=3", "progress=false",
            "baselines=[knn]")  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def template(tmp_path, monkeypatch):
    """Write another template in place of the report's."""

    def write(text: str) -> None:
        path = tmp_path / "template.py"
        path.write_text(f"# %% [markdown]\n# # Title\n\n# %%\n{text}", encoding="utf-8")
        monkeypatch.setattr(build, "TEMPLATE", path)

    return write


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Workplace:
    """Two cells, trained with the report at the end."""
    place = Workplace(tmp_path_factory.mktemp("reported"))
    assert place.run(*NETWORKS, "report=true") == 0
    return place


def test_store_alone_gives_the_same_bytes_as_the_sweep_itself(reported):
    (sweep,) = (path.name for path in (reported.folder / "multirun").iterdir())
    output = reported.folder / "reports" / "nnbench"
    before = content(output)
    assert {"parameters.json", "report.html", "report.ipynb"} < before.keys()
    assert any(name.startswith("tables/") for name in before)
    shutil.rmtree(reported.folder / "multirun")
    shutil.rmtree(reported.folder / "reports")
    assert reported.run("report", "--sweep", sweep) == 0
    assert content(output) == before


def test_report_says_where_its_parts_lie_and_is_kept_in_the_store(reported, tmp_path, capsys):
    output = tmp_path / "new" / "folder"
    assert reported.run("report", "--output", str(output)) == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert {name: Path(path) for name, path in lines.items()} == {
        "report": output / "report.html",
        "notebook": output / "report.ipynb",
        "tables": output / "tables",
    }
    kept = [path.read_bytes() for path in reported.folder.glob("mlartifacts/*/*/artifacts/report.html")]
    assert (output / "report.html").read_bytes() in kept


def test_unknown_sweep_is_one_line_with_the_known_ones(reported, tmp_path, capsys):
    assert reported.run("report", "--sweep", "x", "--output", str(tmp_path / "none")) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "no finished cell of a sweep x; its sweeps are 20" in line
    assert reported.run("report", "unknown", "--sweep", "x", "--output", str(tmp_path / "none")) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_no_folder_is_one_line_and_stays(reported, tmp_path, capsys):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert reported.run("report", "--output", str(output)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"the report cannot be written into {output}: " in line
    assert content(tmp_path) == {"file": b"mine"}


def test_tables_of_somebody_else_are_not_replaced(reported, tmp_path, capsys):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("mine", encoding="utf-8")
    assert reported.run("report", "--output", str(tmp_path)) == 1
    assert "its folder of tables is not a report's" in capsys.readouterr().err
    assert content(tmp_path) == {"tables/mine.csv": b"mine"}


@pytest.mark.parametrize("parameters", ['{"learning_rate": 0.1}', "[]", "no JSON"])
def test_folder_with_parameters_of_somebody_else_is_refused(reported, tmp_path, capsys, parameters):
    (tmp_path / "parameters.json").write_text(parameters, encoding="utf-8")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("mine", encoding="utf-8")
    before = content(tmp_path)
    assert reported.run("report", "--output", str(tmp_path)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "its parameters.json is not a report's, so give another" in line
    assert content(tmp_path) == before


def test_store_has_what_its_notebook_reads(reported):
    for page in reported.folder.glob("mlartifacts/*/*/artifacts/report.html"):
        options = json.loads(page.with_name("parameters.json").read_text(encoding="utf-8"))
        assert options.keys() == build.OPTIONS


def test_report_that_fails_leaves_the_last_good_one_and_its_own_beginning(reported, tmp_path, template, capsys):
    output = tmp_path / "report"
    assert reported.run("report", "--output", str(output)) == 0
    good = content(output)
    capsys.readouterr()
    template(FAILING)
    assert reported.run("report", "--output", str(output)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"see {output / 'report.failed.ipynb'}: ValueError: cannot go on")
    now = content(output)
    notebook = nbformat.reads(now.pop("report.failed.ipynb").decode(), as_version=4)
    assert now == good
    outputs = [cell.outputs[0] for cell in notebook.cells if cell.get("outputs")]
    assert [found.output_type for found in outputs] == ["stream", "error"]


def test_next_good_report_takes_the_failed_one_away(tmp_path, template):
    uri, output = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "report"
    template(FAILING)
    with pytest.raises(build.ReportError):
        build.build(uri, "x", output)
    assert content(output).keys() == {"report.failed.ipynb"}
    template(NO_TABLES)
    build.build(uri, "x", output)
    assert content(output).keys() == {"parameters.json", "report.html", "report.ipynb"}


def test_nothing_to_report_leaves_no_folder(tmp_path, template):
    template("from nnbench.report.results import NothingToReportError\n\nraise NothingToReportError('x has none')\n")
    output = tmp_path / "new" / "folder"
    with pytest.raises(NothingToReportError, match=r"^x has none$"):
        build.build("sqlite:///none", "x", output)
    assert not (tmp_path / "new").exists()


def test_kernel_that_dies_is_a_failed_report(tmp_path, template):
    template("import os\n\nos._exit(3)\n")
    with pytest.raises(build.ReportError, match=r"report\.failed\.ipynb: DeadKernelError"):
        build.build("sqlite:///none", "x", tmp_path / "report")


def test_credentials_of_a_server_are_in_no_file_and_no_line(tmp_path, template):
    address = "http://me:secret@127.0.0.1:9"
    template(f"{NO_TABLES}print(open('parameters.json').read())\n")
    report = build.build(address, "x", tmp_path / "report")
    assert report.run_id is None
    assert report.not_logged
    template(f"{NO_TABLES}raise ValueError(open('parameters.json').read())\n")
    with pytest.raises(build.ReportError) as failure:
        build.build(address, "x", tmp_path / "report")
    texts = [text.decode() for text in content(tmp_path / "report").values()]
    assert len(texts) == 4
    assert not [text for text in (*texts, report.not_logged, str(failure.value)) if "secret" in text]
    assert json.loads(report.notebook.with_name("parameters.json").read_text())["tracking_uri"] == "http://127.0.0.1:9"
    assert "http://127.0.0.1:9" in report.page.read_text(encoding="utf-8")


def test_page_and_notebook_name_no_folder_of_this_machine(reported, tmp_path):
    assert reported.run("report", "--output", str(tmp_path / "report")) == 0
    for name in ("report.html", "report.ipynb"):
        text = (tmp_path / "report" / name).read_text(encoding="utf-8")
        for folder in (tmp_path, reported.folder, Path.home(), Path(build.__file__).parent):
            assert f"{folder}/" not in text


def test_leftovers_of_builds_that_were_killed_are_swept_up_and_no_others(tmp_path, template):
    template(NO_TABLES)
    output = tmp_path / "report"
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = process.mark().rpartition(" ")[0].rpartition(" ")[0]
    started = Path(f"/proc/{gone.pid}/stat").read_text().rpartition(")")[2].split()[19]
    marks = {"gone": f"{mark} {gone.pid} {started}", "alive": process.mark()}
    gone.communicate()
    for name, owner in marks.items():
        (output / f"{build.UNFINISHED}{name}").mkdir(parents=True)
        (output / f"{build.UNFINISHED}{name}" / build.OWNER).write_text(owner, encoding="utf-8")
    build.build(f"sqlite:///{tmp_path}/mlflow.db", "x", output)
    assert [path.name for path in output.glob(f"{build.UNFINISHED}*")] == [f"{build.UNFINISHED}alive"]


def kernels_of(parent: int) -> list[int]:
    """Return the processes that a process has started and that run a kernel."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            words = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and b"ipykernel" in words:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_report_ends_its_kernel_and_leaves_the_last_good_one(reported, tmp_path, stop, status):
    output = tmp_path / "report"
    output.mkdir()
    (output / "report.html").write_text("good", encoding="utf-8")
    command = [sys.executable, "-m", "nnbench", "report", "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(Path(build.__file__).parents[2])}
    with subprocess.Popen(
        command, cwd=reported.folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        while not (kernels := kernels_of(running.pid)):
            assert running.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)  # into the first cell, which takes seconds
        os.killpg(running.pid, stop)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == status
    assert "Traceback" not in errors
    assert "Task was destroyed" not in errors
    assert not [kernel for kernel in kernels if Path(f"/proc/{kernel}").exists()]
    assert content(output) == {"report.html": b"good"}
    assert [path.name for path in output.iterdir()] == ["report.html"]


def test_sweep_whose_report_cannot_be_built_ends_well_all_the_same(tmp_path, capsys):
    place = Workplace(tmp_path)
    place.write("reports", "a file where the folder would be")
    assert place.run(*NETWORKS, "report=true") == 0
    output = capsys.readouterr()
    assert "the report was not built: " in output.err
    assert "Traceback" not in output.err
    assert "python -m nnbench report nnbench --sweep" in output.err


def test_sweep_with_a_failed_cell_has_a_report_and_the_status_of_the_failure(tmp_path, capsys):
    place = Workplace(tmp_path)
    place.write("failing.py", "from nnbench.nn import Adam\n\n\nclass Failing(Adam):\n    step = None\n")
    place.write("mine/optimizer/failing.yaml", "_target_: failing.Failing\nlearning_rate: 0.1\n")
    words = ("--config-dir", "mine", "-m", "optimizer=adam,failing", "plugins=[failing]", "dataset=iris", "seeds=2")
    words = (*words, "baselines=[]")
    assert place.run(*words, *SMALL[:-1], "report=true") == 1
    assert str(Path("reports", "nnbench", "report.html")) in capsys.readouterr().err
    page = (tmp_path / "reports" / "nnbench" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"failed \(1[^)]*\): failing relu", page, re.IGNORECASE)
