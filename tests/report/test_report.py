"""The report: built from the store alone, self-contained, and right in every number and count."""

import re
import shutil

import nbformat
import pandas as pd
import pytest
from report_cases import SMALL, Page

from nnbench.data import loading
from nnbench.report import results, tables
from nnbench.report.build import TEMPLATE
from nnbench.report.verdict import verdict
from nnbench.tracking import store

BASELINES = ("svm", "random_forest")


@pytest.fixture(scope="module")
def page(study) -> Page:
    return Page(study.output / "report.html")


@pytest.fixture(scope="module")
def loaded(study):
    return results.load(study.output / "parameters.json")


def test_report_is_a_notebook_and_a_page_in_a_folder_of_its_study(study):
    names = sorted(path.name for path in study.output.iterdir())
    assert names == ["parameters.json", "report.html", "report.ipynb", "tables"]


def test_notebook_was_executed_from_top_to_bottom_without_an_error(study):
    notebook = nbformat.read(study.output / "report.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}  # no error, no stream
    assert sum("image/svg+xml" in output.data for output in outputs) == 11


def test_page_needs_nothing_beside_itself(page):
    for _, name, value in page.attributes:
        if name in ("src", "href", "srcset", "poster", "data", "action"):
            assert value == "" or value.startswith(("#", "data:")), value[:80]
    assert len(page.figures()) == 11 + 3  # and one for each update rule but that of gd, which diverged


def test_leaderboard_is_the_mean_of_each_network_best_first(study, loaded, page):
    networks = {cell: table for cell, table in study.replicas.items() if len(table) and cell not in BASELINES}
    assert len(networks) == 4
    board = loaded.leaderboard()
    # The labels tell the cells of the whole study apart; the optimizer is their first word.
    means = {cell.split()[0]: table["test/accuracy"].mean() for cell, table in networks.items()}
    assert [cell.split()[0] for cell in board["cell"]][:-1] == sorted(
        means.keys() - {"gd"}, key=lambda name: -means[name]
    )
    shown = tables.leaderboard(loaded).shown()
    for row, words in zip(board.to_dict("records"), shown.to_dict("records"), strict=True):
        name = row["cell"].split()[0]
        table = next(table for cell, table in networks.items() if cell.split()[0] == name)
        assert row["test_accuracy"] == pytest.approx(means[name], abs=1e-15)
        validation = table["val/selected_accuracy"].mean()
        assert row["validation_accuracy"] == pytest.approx(validation, abs=1e-15, nan_ok=True)
        assert row["low"] <= row["test_accuracy"] <= row["high"]
        assert (row["seeds"], row["diverged"]) == (len(table), (table["status"] == "diverged").sum())
        assert words["test accuracy (%)"] == f"{100 * means[name]:.2f}"
        in_page = f"{row['cell']} {words['test accuracy (%)']} {words['95 % from']} {words['to']} {row['seeds']}"
        assert in_page in page.text()


def test_baselines_have_a_table_of_their_own_with_what_they_cost(study, loaded, page):
    board = tables.baselines(loaded)
    assert set(board.rows["cell"]) == set(BASELINES)
    assert list(board.rows["test_accuracy"]) == sorted(board.rows["test_accuracy"], reverse=True)
    for row in board.rows.itertuples():
        replicas = study.replicas[row.cell]
        assert row.test_accuracy == pytest.approx(replicas["test/accuracy"].mean(), abs=1e-15)
        assert row.fit_seconds == pytest.approx(replicas["time/fit_seconds"].mean())
    draws = dict(zip(board.rows["cell"], board.shown()["seeds"], strict=True))
    assert draws == {"svm": "draws nothing, one fit", "random_forest": "4"}
    assert not set(BASELINES) & set(loaded.leaderboard()["cell"])
    assert "draws nothing, one fit" in page.text()


def test_verdict_is_what_the_numbers_say(study, loaded, page):
    board = loaded.leaderboard()
    best, second = board.iloc[0], board.iloc[1]
    sentences = str(verdict(loaded))
    for paragraph in sentences.split("\n\n"):
        assert " ".join(paragraph.split()) in page.text()
    assert (
        f"On {loaded.datasets[0]}, these seeds cannot tell which network is best. {best['cell']} has the highest mean "
        f"test accuracy: {best['test_accuracy']:.2%} (95 % interval {best['low']:.2%} to {best['high']:.2%} over "
        f"{best['seeds']} seeds)." in sentences
    )
    first, other = (
        next(table for cell, table in study.replicas.items() if cell.split()[0] == row["cell"].split()[0])
        for row in (best, second)
    )
    pairs = first.merge(other, on="seed", suffixes=("_first", "_other"))
    lead = 100 * (pairs["test/accuracy_first"] - pairs["test/accuracy_other"]).mean()
    told = rf"{re.escape(second['cell'])} \({re.escape(f'{lead:+.2f}')} points[^()]*on {len(pairs)} equal seeds"
    assert re.search(told, sentences)
    assert "Too few seeds to tell which is better: with 4 cells it takes at least 8 equal seeds" in sentences


def test_incomplete_study_says_so_first_and_names_what_diverged_failed_or_has_fewer_seeds(loaded):
    sentences = str(verdict(loaded))
    assert sentences.startswith("This report is incomplete: 6 of 7 cells have a result. Failed (1): broken ")
    assert "<script>alert('broken')</script>" in sentences
    assert "4 of 15 trainings diverged" in sentences
    assert re.search(r"\(gd [^:]*: 4 of 4\)", sentences)
    assert re.search(r"unequal numbers of seeds[^(]*\(momentum [^:]*: 3; the others: 4\)", sentences)
    assert list(tables.coverage(loaded).rows["state"]) == ["failed"]


@pytest.mark.parametrize("kind", ["cell", "replica"])
def test_no_query_for_the_best_run_returns_one_that_diverged_or_failed(study, kind):
    client = store.client(study.place.uri)
    (experiment,) = client.search_experiments(filter_string="name = 'nnbench'")
    queries = {"accuracy": "DESC", "loss": "ASC"}
    scores = ("train/{}", "val/{}", "test/{}", "val/selected_{}", "train/selected_{}")

    for metric, order in [(score.format(name), order) for name, order in queries.items() for score in scores]:
        (best,) = client.search_runs(
            [experiment.experiment_id],
            f"tags.`nnbench.kind` = '{kind}'",
            order_by=[f"metrics.`{metric}` {order}"],
            max_results=1,
        )
        assert best.data.tags["nnbench.status"] == "finished", metric


def test_how_to_repeat_it_is_said(study, loaded, page):
    facts = dict(zip(*tables.environment(loaded).rows[["fact", "value"]].to_numpy().T, strict=True))
    assert "python -m nnbench -m optimizer=adam,rmsprop" in facts["command"]
    assert "optimizer=broken" in facts["command"]
    assert facts["seeds"] == "0, 1, 2, 3"
    assert re.search(r"numpy \d+\.\d+", facts["packages"])
    runs = tables.runs(loaded).rows
    assert len(runs) == 7
    assert set(runs["run_id"]) <= set(page.text().split())


def test_every_table_has_rows_plain_names_and_all_digits(loaded):
    everything = tables.everything(loaded)
    assert {
        "leaderboard", "comparisons", "pairs", "baselines", "against_baselines", "replicas", "baseline_replicas",
        "calibration", "calibration_bins", "confusion", "coverage", "environment", "runs",
    } <= everything.keys()  # fmt: skip
    for name, table in everything.items():
        assert len(table), name
        assert re.fullmatch("[a-z_]+", name)
        assert table.columns.is_unique, name
    assert len(everything["replicas"]) == 15
    pd.testing.assert_frame_equal(everything["leaderboard"], loaded.leaderboard())


def test_update_rule_of_each_optimizer_is_shown_as_its_class_has_it(page):
    assert "theta <- theta - eta mhat / (sqrt(vhat) + eps)" in page.text()


def test_page_shows_no_table_with_the_numbers_of_its_rows(page):
    assert "Unnamed" not in page.text()
    assert not [name for tag, name, value in page.attributes if tag == "th" and value == "row"]


def test_chosen_cells_alone_are_reported(study, loaded):
    finished = results.read.finished_cells(study.place.uri, "nnbench")
    for fingerprint, run_id in finished.items():
        chosen = results.study(study.place.uri, "nnbench", fingerprints=[fingerprint])
        assert list(chosen.cells["run_id"]) == [run_id]
        assert len(chosen.leaderboard()) + len(set(chosen.baselines["cell"])) == 1


def test_report_of_one_sweep_has_the_cells_of_that_sweep(study, tmp_path):
    runs = results.read.cell_runs(study.place.uri, "nnbench")
    sweeps = {run.data.tags["nnbench.sweep"] for run in runs}
    sizes = sorted(len(results.read.fingerprints_of(study.place.uri, "nnbench", sweep)) for sweep in sweeps)
    assert sizes == [1, 1, 1, 2, 2]
    for sweep in sweeps:
        fingerprints = set(results.read.fingerprints_of(study.place.uri, "nnbench", sweep))
        try:
            only = results.study(study.place.uri, "nnbench", sweep=sweep)
        except results.NothingToReportError:  # the sweep of the one cell that failed
            continue
        assert set(only.cells["fingerprint"]) == set(only.coverage.cells["fingerprint"]) == fingerprints
        assert "incomplete" not in str(verdict(only))
    assert study.place.run("report", "--sweep", "no such sweep", "--output", str(tmp_path / "none")) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def copy(study, tmp_path):
    """The study's store in another folder, where it may be damaged."""
    place = type(study.place)(tmp_path / "copy")
    place.folder.mkdir()
    shutil.copy(study.place.folder / "mlflow.db", place.folder)
    return place


def test_cell_with_a_damaged_record_is_named_and_left_out(study, copy):
    run_id = next(
        run.info.run_id for run in results.read.cell_runs(copy.uri, "nnbench") if run.info.run_name == "rmsprop relu"
    )
    (damaged,) = study.place.folder.glob(f"mlartifacts/*/{run_id}/artifacts/replicas.csv")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-30])
    try:
        whole = results.study(copy.uri, "nnbench")
    finally:
        damaged.write_bytes(content)
    assert not [cell for cell in whole.leaderboard()["cell"] if cell.startswith("rmsprop")]
    assert "With a damaged record in the store (1): rmsprop relu" in str(verdict(whole))


@pytest.mark.parametrize("words", [("unknown",), ("unknown", "--sweep", "x"), ("<script>",)])
def test_study_without_a_result_is_one_line_and_status_3(copy, capsys, words):
    assert copy.run("report", *words) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert f"{words[0]} has no finished cell" in output.err
    assert [path.name for path in copy.folder.iterdir()] == ["mlflow.db"]


def test_study_of_failures_says_how_many(study):
    (failed,) = (
        run.data.tags["nnbench.fingerprint"]
        for run in results.read.cell_runs(study.place.uri, "nnbench")
        if run.info.status == "FAILED"
    )
    with pytest.raises(results.NothingToReportError, match=r"no finished cell .* 1 failed"):
        results.study(study.place.uri, "nnbench", fingerprints=[failed])


def test_without_a_store_there_is_one_line_and_no_folder(tmp_path, study, capsys):
    place = type(study.place)(tmp_path)
    assert place.run("report") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_data_that_changed_behind_their_path_make_another_cell(copy):
    for sign in (1, -1):
        rows = {"x": [sign * (value + value % 2 * 50) for value in range(60)], "target": ["a", "b"] * 30}
        pd.DataFrame(rows).to_csv(copy.folder / "mine.csv", index=False)
        loading.load.cache_clear()  # each command is a process of its own, and this is one
        words = ("dataset=csv", "dataset.path=mine.csv", "dataset.target=target", "seeds=2", "tracking.experiment=mine")
        assert copy.run(*words, *SMALL) == 0
    both = results.study(copy.uri, "mine")
    assert list(both.leaderboard()["seeds"]) == [2, 2]
    assert len(both.confusion) == both.leaderboard()["cell"].nunique() == 2


def test_template_says_nothing_of_this_study(study):
    notebook = nbformat.read(study.output / "report.ipynb", as_version=4)
    template = TEMPLATE.read_text(encoding="utf-8")
    for cell in notebook.cells:
        for line in cell.source.splitlines():
            assert line.strip() in template
