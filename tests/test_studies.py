"""Studies: a small one from its file to the page of all studies, and those that ship, in sizes that a test can bear."""

import os
import re

import pytest
from command_line import cells_and_data, problems_of, run

from nnbench.places import EXPERIMENTS
from nnbench.protocol.result import run as run_cell
from nnbench.report.studies import StudiesError, of_folders, render

STUDIES = sorted(path.stem for path in (EXPERIMENTS / "study").glob("*.yaml"))
ON_MNIST = [name for name in STUDIES if name.startswith("mnist") or name.endswith("_mnist")]
MINE = """# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      setting: mine/slow,mine/fast
seeds: 3
num_epochs: 4
baselines: []
about:
  question: Is `fast` faster | or not?
  source: a book
to_reach:
  - {cells: {setting: mine/fast}, published: 0.95, low: 0.5}
  - {cells: {setting: mine/slow}, low: 0.99}
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The end of a study of a user's own that was run, and its folder."""
    folder = tmp_path_factory.mktemp("mine")
    for name, content in {
        "study/mine.yaml": MINE,
        "setting/mine/slow.yaml": "# @package _global_\noptimizer:\n  learning_rate: 0.0001\n",
        "setting/mine/fast.yaml": "# @package _global_\nbatch_size: 16\noptimizer:\n  learning_rate: 0.01\n",
    }.items():
        (folder / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf" / name).write_text(content, encoding="utf-8")
    return run(folder, "--config-dir", "conf", "study=mine"), folder


def test_a_study_of_ones_own_lists_settings_and_is_checked_at_its_end(mine):
    ended, folder = mine

    assert ended.status == 0
    number = r"\d\d\.\d\d %"
    start = "test/accuracy, mean over seeds"
    found = rf"{number} \({number} to {number}\)"
    fast = rf"met     adam relu fast: {start}: {found}, wanted at least 50\.00 %, source 95\.00 %"
    assert re.search(fast, ended.out)
    assert re.search(rf"missed  adam relu slow: {start}: {number} .* wanted at least 99\.00 %\n", ended.out)
    assert "Of the 2 bands of the study, 1 is met." in (folder / "reports/mine/report.html").read_text()
    assert '"missed"' in (folder / "reports/mine/tables/to_reach.csv").read_text()


def test_the_report_command_prints_the_bands_again(mine):
    _, folder = mine
    ended = run(folder, "report", "mine", "--output", "again")

    assert "missed  adam relu slow: test/accuracy" in ended.out


def test_the_page_of_studies_has_words_from_files_and_numbers_from_the_store(mine):
    _, folder = mine
    page = run(folder, "studies", "--config-dir", "conf").out

    assert r"| [mine](#mine) | Is `fast` faster \| or not? | 1 of 2 met |" in page
    assert "| [mnist_glorot](#mnist_glorot) |" in page
    assert "| not run here |  |" in page
    assert "python -m nnbench --config-dir conf study=mine" in page
    assert re.search(r"\| adam relu fast \| test/accuracy, mean over seeds \| 95.00 % \| at least 50.00 % \| \d", page)
    assert re.search(r"\| adam relu slow .*\| missed, below the band", page)


def test_a_wrong_word_in_a_band_is_an_error_before_anything_is_trained(mine):
    _, folder = mine
    wrong = MINE.replace("low: 0.99", "lowest: 0.99").replace("setting: mine/fast}", "sitting: 1}")
    (folder / "conf/study/wrong.yaml").write_text(wrong, encoding="utf-8")
    ended = run(folder, "--config-dir", "conf", "study=wrong")

    assert ended.status == 2
    assert any(line.startswith("to_reach chooses cells by sitting, which is no setting") for line in ended.errors)
    assert any(line.startswith("to_reach.1.lowest is not an option of Band") for line in ended.errors)


def test_a_setting_that_does_not_exist_is_one_error(mine):
    _, folder = mine
    (line,) = run(folder, "--config-dir", "conf", "study=mine", "setting=mine/fats").errors

    assert line.endswith("did you mean mine/fast?")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"about: [", r"bad\.yaml cannot be read: while parsing"),
        (b"\xff\xfe", r"bad\.yaml cannot be read: 'utf-8'"),
        (b"- 1\n", r"bad\.yaml holds no keys with values"),
        (b"about: 5\n", r"bad\.yaml: about is no mapping"),
        (b"about: {question: 5, source: x}\n", r"bad\.yaml: about is no mapping .* to text"),
        (b"defaults: [bad]\n", "the study bad begins with itself, by bad"),
    ],
)
def test_a_study_file_that_cannot_be_shown_is_a_line_that_names_it(tmp_path, content, message):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/bad.yaml").write_bytes(content)
    with pytest.raises(StudiesError, match=message) as refused:
        of_folders(EXPERIMENTS, tmp_path)
    assert "\n" not in str(refused.value)


def test_a_store_that_cannot_be_read_is_a_line_and_not_a_page_without_results(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(StudiesError, match=r"cannot be read: .*; give the store with --tracking-uri"):
        render({"mine": {}}, f"sqlite:///{tmp_path}/mlflow.db")


def test_words_of_a_study_that_no_file_can_hold_are_left_out(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/[odd](x).yaml").write_text('about: {question: "\\ud800\\e[1mWhy?", source: x}')
    page = render(of_folders(tmp_path), None)
    assert "**[1mWhy?**" in page
    assert r"| [\[odd\](x)](#%5Bodd%5D%28x%29) |" in page
    assert "python -m nnbench 'study=[odd](x)'" in page


def test_a_band_whose_settings_are_no_words_is_an_error_of_one_line():
    problems = problems_of("to_reach=[{cells:{1:2},low:0.5}]")
    assert any(problem.startswith("to_reach chooses cells by 1, which is no setting") for problem in problems)


@pytest.mark.parametrize(("content", "message"), [(b"\xff", "utf-8"), (b"defaults: [bad]\n", "begins with itself")])
def test_a_setting_that_cannot_be_composed_is_an_error_of_one_line(tmp_path, content, message):
    (tmp_path / "setting").mkdir()
    (tmp_path / "setting/bad.yaml").write_bytes(content)
    (problem,) = problems_of("--config-dir", str(tmp_path), "setting=bad")
    assert message in problem


def test_the_page_in_experiments_is_about_every_study_that_ships():
    about, page = of_folders(EXPERIMENTS), (EXPERIMENTS / "README.md").read_text(encoding="utf-8")

    assert sorted(about) == STUDIES
    for name, words in about.items():
        assert f"\n## {name}\n\n**{' '.join(words['question'].split())}**" in page


def test_a_study_says_what_the_one_that_it_begins_with_says():
    about = of_folders(EXPERIMENTS)

    assert about["mnist_nielsen_100"]["differences"] == about["mnist_nielsen"]["differences"]
    assert about["mnist_nielsen_100"]["source"] != about["mnist_nielsen"]["source"]


def final_of(*overrides):
    """Train the cells of a command line; return what came of each with its learning curves."""
    return [run_cell(cell, dataset).final for cell, dataset in cells_and_data("tracking=none", *overrides)]


def test_digits_train_as_scikit_learn_trains_them():
    sgd, momentum, nesterov, adam = (
        {name: scores.trained.history[f"train/{name}"][-1].mean() for name in ("accuracy", "loss")}
        for scores in final_of("study=digits_sklearn", "seeds=5")
    )
    # plot_mlp_training_curves of scikit-learn 1.8, one seed each
    assert sgd["loss"] == pytest.approx(0.244, abs=0.03)
    assert sgd["accuracy"] == pytest.approx(0.956, abs=0.01)
    for ours, accuracy, loss in ((momentum, 0.993, 0.041), (nesterov, 0.994, 0.043), (adam, 0.992, 0.046)):
        assert ours["accuracy"] == pytest.approx(accuracy, abs=0.01)
        assert ours["loss"] == pytest.approx(loss, abs=0.02)


def test_xor_is_learned_to_the_last_pair_by_every_seed():
    (nesterov,) = final_of("study=xor", "optimizer=nesterov")

    assert (nesterov.summary["test/accuracy"] == 1).all()
    assert (nesterov.summary["val/target_epoch"] <= 20).all()


def with_mnist(test):
    """Run a test where the genuine files are."""
    reason = "NNBENCH_DATA does not name a folder with mnist/"
    return pytest.mark.mnist(pytest.mark.skipif("NNBENCH_DATA" not in os.environ, reason=reason)(test))


def on_5000_images(*overrides):
    return final_of("dataset.num_samples=6000", "diagnostics=none", *overrides)


@with_mnist
@pytest.mark.parametrize("name", ON_MNIST)
def test_every_study_of_mnist_trains_on_5000_images(name):
    small = ["dataset.num_samples=6000", "seeds=1", "num_epochs=1", "tuning=none", "diagnostics=none", "patience=null"]
    (cell, dataset), *_ = cells_and_data("tracking=none", f"study={name}", *small)
    assert len(dataset.train) == 5000
    assert run_cell(cell, dataset).final.statuses == ("finished",)


@with_mnist
def test_inputs_scaled_alone_never_leave_the_plateau_and_with_initial_weights_of_he_they_do():
    settings = "setting=mnist_two_hidden/inputs_scaled,mnist_two_hidden/both_mended"
    scaled, mended = on_5000_images("study=mnist_two_hidden", settings, "num_epochs=60", "seeds=3")

    assert (scaled.summary["test/accuracy"] < 0.13).all()
    assert (mended.summary["test/accuracy"] > 0.7).all()


@with_mnist
def test_the_regularised_network_of_an_origin_learns_from_5000_images():
    (scores,) = on_5000_images("study=mnist_regularised", "setting=mnist_regularised/10000", "seeds=3")

    assert (scores.summary["test/accuracy"] > 0.8).all()  # 0.895 on 10,000
