"""The report: built from the store alone, self-contained, and right in every number and count."""

import json
import math
import re
import shutil

import nbformat
import pandas as pd
import pytest
from report_cases import SMALL, Page

from nnbench.data import loading
from nnbench.report import results
from nnbench.report.build import TEMPLATE


@pytest.fixture(scope="module")
def page(study) -> Page:
    return Page(study.output / "report.html")


@pytest.fixture(scope="module")
def loaded(study):
    return results.load(study.output / "parameters.json")


def test_report_is_a_notebook_and_a_page_in_a_folder_of_its_study(study):
    assert sorted(path.name for path in study.output.iterdir()) == ["parameters.json", "report.html", "report.ipynb"]


def test_notebook_was_executed_from_top_to_bottom_without_an_error(study):
    notebook = nbformat.read(study.output / "report.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}  # no error, no stream
    assert sum("image/svg+xml" in output.data for output in outputs) == 7


def test_page_needs_nothing_beside_itself(page):
    for _, name, value in page.attributes:
        if name in ("src", "href", "srcset", "poster", "data", "action"):
            assert value == "" or value.startswith(("#", "data:")), value[:80]
    assert len(page.figures()) == 7


def test_leaderboard_is_the_mean_of_each_cell_best_first(study, loaded, page):
    finished = {cell: table for cell, table in study.replicas.items() if len(table)}
    assert len(finished) == 4
    board = loaded.leaderboard()
    # The labels tell the cells of the whole study apart; the optimizer is their first word.
    means = {cell.split()[0]: 100 * table["test/accuracy"].mean() for cell, table in finished.items()}
    assert [cell.split()[0] for cell in board["cell"]][:-1] == sorted(
        means.keys() - {"gd"}, key=lambda name: -means[name]
    )
    for row in board.to_dict("records"):
        name = row["cell"].split()[0]
        table = next(table for cell, table in finished.items() if cell.split()[0] == name)
        assert row["test accuracy (%)"] == round(means[name], 2)
        validation = round(100 * table["val/selected_accuracy"].mean(), 2)
        assert row["validation (%)"] == pytest.approx(validation, abs=0, nan_ok=True)
        assert row["95 % from"] <= row["test accuracy (%)"] <= row["to"]
        assert (row["seeds"], row["diverged"]) == (len(table), (table["status"] == "diverged").sum())
        words = f"{row['cell']} {row['test accuracy (%)']:.2f} {row['95 % from']:.2f} {row['to']:.2f} {row['seeds']}"
        assert words in page.text()


def test_verdict_is_what_the_numbers_say(study, loaded, page):
    board = loaded.leaderboard()
    best, second = board.iloc[0], board.iloc[1]
    verdict = str(loaded.verdict())
    assert verdict in page.text()
    assert verdict.startswith(
        f"On {loaded.datasets[0]}, {best['cell']} has the highest mean test accuracy: "
        f"{best['test accuracy (%)']:.2f}% (95 % interval "
        f"{best['95 % from']:.2f}% to {best['to']:.2f}% over {best['seeds']} seeds)."
    )
    first, other = (
        next(table for cell, table in study.replicas.items() if cell.split()[0] == row["cell"].split()[0])
        for row in (best, second)
    )
    pairs = first.merge(other, on="seed", suffixes=("_first", "_other"))
    lead = 100 * (pairs["test/accuracy_first"] - pairs["test/accuracy_other"]).mean()
    told = rf"{re.escape(second['cell'])} \({re.escape(f'{lead:+.2f}')} points[^()]*on {len(pairs)} equal seeds"
    assert re.search(told, verdict)
    assert "Too few seeds to tell which is better: with 4 cells it takes at least 8 equal seeds." in verdict


def test_diverged_failed_and_unequal_are_said_with_their_names(loaded):
    verdict = str(loaded.verdict())
    assert "4 of 15 trainings diverged" in verdict
    assert re.search(r"\(gd [^:]*: 4 of 4\)", verdict)
    assert re.search(r"training failed \(1 of 5\): broken ", verdict)
    assert "unequal numbers of seeds" in verdict
    assert list(loaded.cells["status"]).count("failed") == 1


def test_origin_says_how_to_repeat_it(study, loaded, page):
    origin = loaded.origin()["value"]
    assert "python -m nnbench -m optimizer=adam,rmsprop" in origin["command"]
    assert "optimizer=broken" in origin["command"]
    assert len(origin["runs"].split(", ")) == 5
    assert origin["seeds"] == "0, 1, 2, 3"
    assert json.loads(origin["packages"])["numpy"]
    assert origin["runs"] in page.text()


def test_study_with_a_single_seed_says_that_it_cannot_tell(tmp_path_factory, study):
    only = results.study(study.place.uri, "nnbench")
    one = only.replicas[only.replicas["seed"] == 0]
    alone = results.Results("x", one, only.history, only.cells, only.confusion, only.environment)
    assert "from a single seed" in str(alone.verdict())
    assert "Too few seeds to tell" in str(alone.verdict())


def planted(scores: dict[str, list[float]], *, dataset: str = "digits") -> pd.DataFrame:
    """Replicas with given test accuracies, one list for each cell."""
    rows = [
        {"cell": cell, "optimizer": cell.split()[0], "activation": "relu", "dataset": dataset, "seed": seed}
        | {"status": "finished", "test/accuracy": value, "val/selected_accuracy": value}
        for cell, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def results_of(replicas: pd.DataFrame) -> results.Results:
    facts = {"status": "finished", "tuned": "", "untuned": math.nan, "finding": "healthy"}
    cells = pd.DataFrame({"cell": replicas["cell"].unique(), **facts})
    return results.Results("x", replicas, pd.DataFrame(), cells, {}, {})


@pytest.mark.parametrize(
    ("num_seeds", "lead", "spread", "wanted"),
    [
        (2, 0.2, 0.001, "cannot tell whether it is better than adam relu (+20.00 points"),
        (5, 0.2, 0.001, "Too few seeds to tell which is better: with 2 cells it takes at least 6 equal seeds."),
        (6, 0.2, 0.001, "It is better than adam relu (+20.00 points, 95 % interval +19.9"),
        (6, 0.2, 0.001, "on 6 equal seeds, p = 0.0312 after Holm)."),
        (10, 0.006, 0.02, "cannot tell whether it is better than adam relu (+0.60 points"),
        (10, 0.0005, 0.001, "It is equivalent, within 0.5 points, to adam relu (+0.05 points"),
    ],
)
def test_a_lead_is_believed_only_with_enough_seeds_and_a_clear_difference(num_seeds, lead, spread, wanted):
    base = [0.5 + 0.01 * (seed % 3) for seed in range(num_seeds)]
    other = [value + lead + spread * (-1) ** seed for seed, value in enumerate(base)]
    assert wanted in str(results_of(planted({"adam relu": base, "gd relu": other})).verdict())


def test_leader_is_compared_with_every_cell_and_corrected_for_all_pairs():
    base = [0.9 + 0.001 * seed for seed in range(10)]
    gaps = {"adam relu": 0, "gd relu": 0.1, "adagrad relu": 0.2}
    verdict = str(results_of(planted({cell: [value - gap for value in base] for cell, gap in gaps.items()})).verdict())
    p = "on 10 equal seeds, p = 0.00586 after Holm"  # 2 / 2^10, times three pairs
    assert (
        f"It is better than gd relu (+10.00 points, 95 % interval +10.00 to +10.00, {p}); "
        f"adagrad relu (+20.00 points, 95 % interval +20.00 to +20.00, {p})." in verdict
    )


def test_leader_by_seeds_of_its_own_is_told_apart():
    verdict = str(results_of(planted({"adam relu": [0.5] * 6 + [1.0] * 6, "gd relu": [0.6] * 6})).verdict())
    assert "On equal seeds it is worse than gd relu (-10.00 points, 95 % interval -10.00 to -10.00, on 6" in verdict
    assert "unequal numbers of seeds" in verdict


def test_cells_without_an_equal_seed_are_said_to_have_none():
    replicas = planted({"adam relu": [0.9] * 6, "gd relu": [0.5] * 6})
    replicas.loc[replicas["cell"] == "gd relu", "seed"] += 6
    assert "cannot tell whether it is better than gd relu (no equal seeds)." in str(results_of(replicas).verdict())


def test_equal_cells_have_no_minus_zero():
    verdict = str(results_of(planted({"gd relu": [0.9] * 6, "adam relu": [0.9] * 6})).verdict())
    assert "to adam relu (+0.00 points, 95 % interval +0.00 to +0.00, on 6 equal seeds, p = 1 after Holm)." in verdict


def test_names_of_cells_are_no_markup_in_the_verdict():
    name = "<script>alert('cell')</script> {x} %s"
    shown = results_of(planted({"adam relu": [0.9] * 6, name: [0.5] * 6})).verdict()
    assert name in str(shown)
    assert "<script>" not in shown._repr_html_()


def test_data_sets_are_not_ranked_against_each_other():
    both = [
        planted({"adam relu iris": [0.9] * 6}, dataset="iris"),
        planted({"adam relu wine": [0.5] * 6}, dataset="wine"),
    ]
    verdict = str(results_of(pd.concat(both)).verdict())
    assert "On iris, adam relu iris has the highest" in verdict
    assert "On wine, adam relu wine has the highest" in verdict
    assert "better" not in verdict
    assert "equal seeds" not in verdict


def test_chosen_cells_alone_are_reported(study, loaded):
    finished = results.read.finished_cells(study.place.uri, "nnbench")
    for fingerprint, run_id in finished.items():
        chosen = results.study(study.place.uri, "nnbench", fingerprints=[fingerprint])
        assert list(chosen.cells["run_id"]) == [run_id]
        assert len(chosen.leaderboard()) == 1


def test_report_of_one_sweep_has_the_cells_of_that_sweep(study, tmp_path):
    runs = results.read.cell_runs(study.place.uri, "nnbench")
    sweeps = {run.data.tags["nnbench.sweep"] for run in runs}
    sizes = sorted(len(results.read.fingerprints_of(study.place.uri, "nnbench", sweep)) for sweep in sweeps)
    assert sizes == [1, 1, 1, 2]
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
    assert "record is damaged (1 of 5): rmsprop relu." in str(whole.verdict())


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
