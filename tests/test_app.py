"""Whole commands, in a folder of their own, as a user types them."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import (
    PYTHON_M,
    SCRIPT,
    SIGN,
    assert_same,
    cells_and_data,
    histories,
    newest_sweep,
    records,
    results,
    run,
)

from nnbench.data import Digits
from nnbench.nn import MLP
from nnbench.protocol.fingerprint import fingerprint
from nnbench.protocol.result import run as run_cell

COMPARISON = ("-m", "optimizer=adam,rmsprop", "activation=relu,sigmoid", "report=false")
LABELS = ["adam relu", "adam sigmoid", "rmsprop relu", "rmsprop sigmoid"]

# Beside the rule that works, one that raises, and a learning rate at which everything overflows.
FAULTY = f"""{SIGN}

class Broken(Sign):
    def step(self, grads, factor=1.0):
        raise RuntimeError("the update rule is wrong")
"""

# Sends the command a signal in the middle of a cell: `stop` holds the signal and how many cells may pass before.
# Curves reach the store after every epoch, not every ten seconds, so that a short cell is as visible as a long one.
STOPPING = """
import os
import time
from pathlib import Path

import nnbench.sweep.attempt
from nnbench.nn import Adam

nnbench.sweep.attempt.FLUSH_EVERY = 0.0


class Stopping(Adam):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        order = Path("stop")
        if self.num_steps == 100 and order.exists():
            number, cells = map(int, order.read_text().split())
            order.write_text(f"{number} {cells - 1}")
            if cells == 0:
                order.unlink()
                os.kill(os.getppid(), number)
                time.sleep(60)  # nobody who was told to stop takes so long
"""
STOPPED = ("-m", "--config-dir", "mine", "plugins=[stopping]", "optimizer=stopping", "activation=relu,tanh,sigmoid")
STOPPED += ("workers=1", "seeds=2", "num_epochs=4", "report=false")  # one after the other, in the order given


def runs(folder, **tags):
    """Return name and status of the runs of a store with these tags, read without MLflow."""
    tags = {f"nnbench.{tag}": value for tag, value in tags.items()}
    database = sqlite3.connect(folder / "mlflow.db")
    try:
        found = database.execute("SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
        tags_by_run = {}
        for key, value, run_id in database.execute("SELECT key, value, run_uuid FROM tags"):
            tags_by_run.setdefault(run_id, {})[key] = value
    finally:
        database.close()
    return sorted((name, status) for run_id, name, status in found if tags.items() <= tags_by_run[run_id].items())


def outcome(folder):
    """Return what there is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def python(folder, code):
    """Run a few lines of Python in a folder; return what they print."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, encoding="utf-8", check=True
    ).stdout


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Return the folder of the first command that a user types, how it ended, and the folder of its sweep."""
    folder = tmp_path_factory.mktemp("Erster Versuch, (ü)")
    ended = run(folder, *COMPARISON)
    return folder, ended, newest_sweep(folder)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, empty_database):
    """Return the folder of a sweep with a cell that fails and one that diverges, and how it ended."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copy(empty_database, folder)
    write(folder / "mine.py", FAULTY)
    write(folder / "own" / "optimizer" / "sign.yaml", "_target_: mine.Sign\nlearning_rate: 0.001\n")
    write(folder / "own" / "optimizer" / "broken.yaml", "_target_: mine.Broken\nlearning_rate: 0.001\n")
    write(folder / "own" / "optimizer" / "wild.yaml", "_target_: nnbench.nn.GD\nlearning_rate: 1.0e+30\n")
    arguments = ["--config-dir", "own", "plugins=[mine]", "optimizer=broken,wild,sign,adam"]
    return folder, run(folder, "-m", *arguments, "seeds=2", "num_epochs=3", "report=false", program=SCRIPT)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, empty_database):
    """Return a folder in which one command was stopped three times and then left alone, and each ending."""
    folder = tmp_path_factory.mktemp("stopped")
    shutil.copy(empty_database, folder)
    write(folder / "stopping.py", STOPPING)
    yaml = "_target_: stopping.Stopping\nlearning_rate: 0.001\nbeta1: 0.9\nbeta2: 0.999\nepsilon: 1.0e-8\n"
    write(folder / "mine" / "optimizer" / "stopping.yaml", yaml)
    endings = []
    for number, cells in ((signal.SIGINT, 1), (signal.SIGKILL, 1), (signal.SIGTERM, 0), (0, 99)):
        write(folder / "stop", f"{int(number)} {cells}")
        ended = run(folder, *STOPPED)
        endings.append((ended, newest_sweep(folder)))
    return folder, endings


def test_the_first_command_reaches_more_than_95_percent(comparison):
    _, ended, sweep = comparison

    assert ended.status == 0, ended.err
    accuracy = {label: table["test/accuracy"].mean() for label, table in results(sweep).items()}
    assert sorted(accuracy) == LABELS
    assert max(accuracy.values()) > 0.95


def test_the_first_command_shows_every_cell_best_first(comparison):
    _, ended, sweep = comparison
    accuracy = {label: table["test/accuracy"].mean() for label, table in results(sweep).items()}

    rows = [line.split("│")[1:3] for line in ended.out.splitlines() if line.startswith("│")]

    in_order = sorted(accuracy, key=accuracy.get, reverse=True)
    assert [(label.strip(), mean.strip()) for label, mean in rows] == [
        (label, f"{100 * accuracy[label]:.2f}") for label in in_order
    ]
    for number, label in enumerate(LABELS, start=1):
        assert f"cell {number}/4  {label}  test accuracy " in ended.err


def test_the_first_command_tracks_every_cell_and_replica(comparison):
    folder, _, sweep = comparison

    assert runs(folder, kind="cell", sweep=sweep.name) == [(label, "FINISHED") for label in LABELS]
    assert len(runs(folder, kind="replica", sweep=sweep.name)) == 4 * 10


def test_outputs_stay_below_the_current_folder(comparison):
    assert {*outcome(comparison[0])} <= {"mlflow.db", "mlflow.db.lock", "mlartifacts", "multirun", ".nnbench"}


def test_the_recorded_accuracy_is_that_of_the_recorded_network(comparison):
    entry = records(comparison[2])["adam relu"]
    network = MLP.load(entry.folder / "model" / "network.npz")
    test = Digits().load().test

    predicted = network.loss.predict(network.logits(test.inputs))[0]

    best = entry.replicas().set_index("seed").loc[entry.cell["best_seed"]]
    assert (predicted == test.labels).mean() == best["test/accuracy"]
    assert best["val/selected_accuracy"] == entry.replicas()["val/selected_accuracy"].max()


def test_the_command_line_trains_what_the_library_trains(comparison):
    ((cell, dataset),) = cells_and_data("optimizer=rmsprop", "activation=sigmoid")
    summary = run_cell(cell, dataset).final.summary

    recorded = results(comparison[2])["rmsprop sigmoid"]

    for name in ("test/accuracy", "test/loss", "val/selected_epoch", "train/selected_loss"):
        np.testing.assert_array_equal(recorded[name], summary[name])


def test_the_same_command_again_trains_nothing_and_says_so(comparison):
    folder, first, sweep = comparison
    runs_before = [runs(folder, kind=kind) for kind in ("cell", "replica")]

    again = run(folder, *COMPARISON)

    assert again.status == 0
    for number, label in enumerate(LABELS, start=1):
        assert f"cell {number}/4  {label}  is finished already; resume=false trains it again" in again.err
    assert again.out == first.out
    assert [runs(folder, kind=kind) for kind in ("cell", "replica")] == runs_before
    assert newest_sweep(folder) != sweep
    assert_same(results(newest_sweep(folder)), results(sweep))


def test_without_resume_a_cell_is_trained_again_with_the_same_result_and_equal_settings_once(comparison):
    folder, _, before = comparison
    equal = ["hidden=[32],[32]", "optimizer.learning_rate=0.001,1e-3,0.0010"]

    ended = run(folder, "-m", "optimizer=adam", "activation=relu", *equal, "resume=false", "report=false")

    assert ended.status == 0
    assert ended.err.count("test accuracy") == 1
    for number in range(2, 7):
        assert f"cell {number}/6  adam relu  is the same setting as cell 1; trained once" in ended.err
    assert_same(results(newest_sweep(folder)), {"adam relu": results(before)["adam relu"]})
    assert_same(histories(newest_sweep(folder)), {"adam relu": histories(before)["adam relu"]})
    assert len(runs(folder, kind="cell", sweep=newest_sweep(folder).name)) == 1


@pytest.mark.parametrize("num_workers", [2, 4])
def test_cells_in_parallel_and_in_another_order_give_the_same_results(
    comparison, tmp_path, empty_database, num_workers
):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    shutil.copy(empty_database, tmp_path)
    other_order = ["optimizer=rmsprop,adam", "activation=sigmoid,relu"]
    parallel = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={num_workers}"]

    ended = run(tmp_path, "-m", *other_order, *parallel, "report=false")

    assert ended.status == 0, ended.err
    one_by_one, at_once = comparison[2], newest_sweep(tmp_path)
    for table in (results, histories):
        assert_same(table(at_once), table(one_by_one))
    assert runs(tmp_path, kind="cell") == [(label, "FINISHED") for label in LABELS]
    assert len(runs(tmp_path, kind="replica")) == 4 * 10


def test_one_failure_costs_one_cell(faulty):
    folder, ended = faulty

    assert ended.status == 1
    assert sorted(results(newest_sweep(folder))) == ["adam relu", "broken relu", "sign relu", "wild relu"]
    assert [line.split("│")[1].strip() for line in ended.out.splitlines() if line.startswith("│")][-1] == "wild relu"
    assert "cell 1/4  broken relu  failed: RuntimeError: the update rule is wrong" in ended.err


def test_a_table_of_failures_names_the_cell_its_error_and_its_traceback(faulty):
    folder, ended = faulty

    ((label, error, log),) = [line.split("│")[1:4] for line in ended.err.splitlines() if line.startswith("│")]

    assert (label.strip(), error.strip()) == ("broken relu", "RuntimeError: the update rule is wrong")
    traceback = (folder / log.strip()).read_text()
    assert traceback.startswith("Traceback")
    assert 'raise RuntimeError("the update rule is wrong")' in traceback
    assert "1 cell failed" in ended.err


def test_every_cell_is_in_the_store_with_what_became_of_it(faulty):
    folder, _ = faulty

    assert runs(folder, status="failed") == [("broken relu", "FAILED")]
    assert runs(folder, status="diverged", kind="cell") == [("wild relu", "FINISHED")]
    assert runs(folder, status="finished", kind="cell") == [("adam relu", "FINISHED"), ("sign relu", "FINISHED")]
    assert len(runs(folder, kind="replica")) == 3 * 2


def test_an_optimizer_of_ones_own_is_one_class_and_one_yaml(faulty):
    table = results(newest_sweep(faulty[0]))["sign relu"]

    assert list(table["status"]) == ["finished"] * 2
    assert (table["test/accuracy"] > 0.5).all()


def test_a_cell_that_diverged_is_named_and_scored_at_chance_level(faulty):
    folder, ended = faulty
    entry = records(newest_sweep(folder))["wild relu"]

    assert entry.status == "diverged"
    assert list(entry.replicas()["test/accuracy"]) == [0.1, 0.1]
    row = next(line.split("│") for line in ended.out.splitlines() if "wild relu" in line)
    assert [text.strip() for text in (row[2], row[6])] == ["10.00", "2"]
    assert not (entry.folder / "model").exists()


def test_only_what_failed_is_trained_again_once_it_is_mended(faulty):
    folder, _ = faulty
    # A better rule in the same file changes what both classes of it stand for, and nothing else.
    write(folder / "mine.py", FAULTY.replace('raise RuntimeError("the update rule is wrong")', "super().step(grads)"))
    arguments = ["--config-dir", "own", "plugins=[mine]", "optimizer=broken,wild,sign,adam"]

    ended = run(folder, "-m", *arguments, "seeds=2", "num_epochs=3", "report=false")

    assert ended.status == 0
    finished = {line.split()[2] for line in ended.err.splitlines() if "is finished already" in line}
    assert finished == {"wild", "adam"}
    trained = results(newest_sweep(folder))
    np.testing.assert_array_equal(trained["broken relu"]["test/loss"], trained["sign relu"]["test/loss"])


@pytest.mark.parametrize(("place", "status", "done"), [(0, 130, 1), (2, 143, 2)], ids=["SIGINT", "SIGTERM"])
def test_a_stopped_sweep_says_what_is_done_and_how_to_go_on(stopped, place, status, done):
    ended, sweep = stopped[1][place]

    assert ended.status == status
    assert f"stopped: {done} of 3 cells done" in ended.err
    assert "continue with  python -m nnbench -m --config-dir mine 'plugins=[stopping]' optimizer=stopping " in ended.err
    assert sum(not table.empty for table in results(sweep).values()) == done  # what was stopped has a record, too


def test_a_signal_during_the_report_of_a_sweep_ends_it_in_order(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path)
    words = ("-m", "dataset=iris", "hidden=[4]", "seeds=2", "num_epochs=2", "optimizer=gd,adam", "baselines=[]")
    command = [*PYTHON_M, *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    errors = ""
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            errors += line
            if "building the report" in line:
                while not list(tmp_path.glob("reports/nnbench/.unfinished*/parameters.json")):
                    time.sleep(0.05)
                running.send_signal(signal.SIGTERM)

    assert running.returncode == 143
    assert "the report was stopped; all results are safe; build it with  python -m nnbench report nnbench " in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("reports/nnbench/.unfinished*"))


def test_a_stopped_cell_leaves_its_curves_and_no_open_run(stopped):
    folder, endings = stopped

    for ended, sweep in (endings[0], endings[2]):
        assert runs(folder, sweep=sweep.name, status="interrupted")[-1][1] == "KILLED"
        assert not [name for name, status in runs(folder, sweep=sweep.name) if status == "RUNNING"], ended.err


def test_a_killed_sweep_resumes_where_it_stopped(stopped):
    trained = [
        [line.split("  ")[1] for line in ended.err.splitlines() if "test accuracy" in line]
        for ended, _ in stopped[1]
    ]  # fmt: skip

    assert [ended.status for ended, _ in stopped[1]] == [130, -signal.SIGKILL, 143, 0]
    assert trained == [["stopping relu"], ["stopping tanh"], [], ["stopping sigmoid"]]


def test_a_sweep_that_was_stopped_ends_with_the_results_of_one_that_was_not(stopped):
    # The rule is Adam's, so the library's own Adam is the undisturbed training.
    recorded = results(stopped[1][-1][1])
    for cell, dataset in cells_and_data("-m", "activation=relu,tanh,sigmoid", *STOPPED[-3:]):
        summary = run_cell(cell, dataset).final.summary
        np.testing.assert_array_equal(
            recorded[f"stopping {cell.choices['activation']}"]["test/loss"], summary["test/loss"]
        )


def test_live_curves_have_every_point_once(stopped):
    folder, endings = stopped
    database = sqlite3.connect(folder / "mlflow.db")
    steps = database.execute(
        "SELECT step FROM metrics JOIN runs USING (run_uuid) JOIN tags USING (run_uuid)"
        " WHERE metrics.key = 'val/loss' AND runs.name = 'stopping sigmoid' AND tags.key = 'nnbench.sweep'"
        " AND tags.value = ? ORDER BY step",
        [endings[-1][1].name],
    ).fetchall()
    database.close()

    assert steps == [(1,), (2,), (3,), (4,)]


def test_an_interrupt_before_the_first_training_leaves_nothing(tmp_path):
    write(tmp_path / "impatient.py", "import os, signal\n\nos.kill(os.getpid(), signal.SIGINT)\n")

    ended = run(tmp_path, "plugins=[impatient]", PYTHONDONTWRITEBYTECODE="1")

    assert (ended.status, ended.err) == (130, "stopped\n")
    assert outcome(tmp_path) == ["impatient.py"]


@pytest.mark.parametrize("program", [PYTHON_M, SCRIPT], ids=["python -m nnbench", "nnbench"])
def test_mistakes_are_refused_before_anything_is_created(tmp_path, program):
    mistakes = ["batch_size=0", "optimiser=adam", "hidden=[32", "optimizer._target_=os.system", "activation=relo"]

    ended = run(tmp_path, *mistakes, program=program)

    assert ended.status == 2
    assert [line.split()[0] for line in sorted(ended.errors)] == sorted(
        ["batch_size", "optimiser", "hidden=[32", "optimizer._target_", "activation"]
    )
    assert "5 problems; nothing was started" in ended.err
    assert ended.out == ""
    assert outcome(tmp_path) == []


def test_one_bad_value_among_fifty_starts_nothing(tmp_path):
    ended = run(tmp_path, "-m", "optimizer=adam,gd", "num_epochs=1,2,3,4,0", "hidden=[8],[16],[32],[64],[8,8]")

    assert ended.status == 2
    assert ended.errors == ["num_epochs is 0; it must be an integer, at least 1"]
    assert outcome(tmp_path) == []


def test_a_flag_between_settings_is_refused_in_a_line(tmp_path):
    ended = run(tmp_path, "dataset=iris", "-m", "seeds=1,2")

    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "seeds=1,2 is out of place: flags such as -m stand before all settings" in ended.errors[0]
    assert outcome(tmp_path) == []


def test_a_sweep_without_its_flag_is_refused(tmp_path):
    ended = run(tmp_path, "optimizer=adam,gd")

    assert ended.status == 2
    assert ended.errors == ["optimizer has several values, which is a sweep; add -m: python -m nnbench -m ..."]
    assert outcome(tmp_path) == []


def test_a_table_that_cannot_be_used_starts_nothing(tmp_path):
    (tmp_path / "table.csv").write_text("length,species\n1,a\nx,b\n")

    ended = run(tmp_path, "dataset=csv", "dataset.path=table.csv", "dataset.target=species")

    assert ended.status == 2
    assert len(ended.errors) == 1
    assert outcome(tmp_path) == ["table.csv"]


def test_a_dry_run_prints_the_cells_and_creates_nothing(tmp_path):
    ended = run(tmp_path, "-m", "study=xor", "optimizer=gd,adam", "num_epochs=1,2", "baselines=[knn]", "dry_run=true")

    assert ended.status == 0
    assert [line.split(maxsplit=1)[1] for line in ended.out.splitlines()] == [
        "gd leaky_relu num_epochs=1",
        "gd leaky_relu num_epochs=2",
        "adam leaky_relu num_epochs=1",
        "adam leaky_relu num_epochs=2",
        "knn",
    ]
    assert outcome(tmp_path) == []


def test_inspect_counts_the_samples_and_creates_nothing_but_a_picture(tmp_path):
    ended = run(tmp_path, "inspect=true")

    counts = np.array([line.split("│")[2:5] for line in ended.out.splitlines() if line.startswith("│")], dtype=int)
    assert counts.shape == (10, 3)
    assert list(counts.sum(axis=0)) == [1437, 180, 180]
    assert outcome(tmp_path) == ["outputs"]
    assert "picture  outputs/inspect/digits.png" in ended.err
    (picture,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert picture == tmp_path / "outputs/inspect/digits.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_study_sweeps_by_itself_without_mlflow(tmp_path):
    names = "['nnbench', 'study=xor', 'optimizer=nesterov,gd', 'num_epochs=2,1', 'seeds=2', 'tracking=none']"
    code = f"import sys; sys.argv = {names}; from nnbench.__main__ import in_this_process; status = in_this_process()"

    printed = python(tmp_path, f"{code}; print(status, *sorted({{'mlflow', 'sqlalchemy'}} & {{*sys.modules}}))")

    assert printed.splitlines()[-1] == "0"
    found = records(newest_sweep(tmp_path))
    assert sorted(found) == [
        f"{optimizer} leaky_relu num_epochs={epochs}" for optimizer in ("gd", "nesterov") for epochs in (1, 2)
    ]
    for label, entry in found.items():
        assert label == f"{entry.choices['optimizer']} leaky_relu num_epochs={entry.history()['epoch'].max()}"
        assert entry.identity.fingerprint == fingerprint(entry.config, entry.cell["dataset"]["digest"], {})
    assert outcome(tmp_path) == [".nnbench", "multirun"]


@pytest.mark.parametrize(
    ("flags", "shown"),
    [(["--help"], "num_epochs=30"), (["--cfg", "job"], "learning_rate: 0.001"), (["--info", "searchpath"], "main")],
)
def test_questions_are_answered_without_heavy_imports(tmp_path, flags, shown):
    heavy = {"mlflow", "pandas", "seaborn", "sklearn", "scipy", "matplotlib", "pydantic", "rich"}
    code = f"""
import sys
sys.argv = {["nnbench", *flags]}
from nnbench.__main__ import in_this_process
try:
    status = in_this_process()
except SystemExit as ended:
    status = ended.code
print("imported", *sorted({heavy} & {{*sys.modules}}))
print("status", status or 0)
"""

    printed = python(tmp_path, code)

    assert shown in printed
    assert printed.splitlines()[-2:] == ["imported", "status 0"]
    assert outcome(tmp_path) == []


@pytest.mark.mnist
def test_mnist_is_learned_by_one_hidden_layer(tmp_path):
    if not (Path(os.environ.get("NNBENCH_DATA", "")) / "mnist").is_dir() or "NNBENCH_DATA" not in os.environ:
        pytest.skip("the genuine MNIST files are not here; NNBENCH_DATA names the folder above mnist/")
    settings = ["hidden=[128]", "activation=relu", "optimizer=adam", "num_epochs=10", "seeds=3", "tracking=none"]

    ended = run(tmp_path, "-m", "dataset=mnist", *settings, NNBENCH_DATA=os.environ["NNBENCH_DATA"])

    assert ended.status == 0, ended.err
    assert results(newest_sweep(tmp_path))["adam relu"]["test/accuracy"].mean() >= 0.975


def test_results_of_earlier_sweeps_are_labelled_by_the_sweep_that_shows_them(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path)
    short = ("seeds=2", "num_epochs=2", "report=false")
    for rate in ("0.1", "0.0001"):
        assert run(tmp_path, f"optimizer.learning_rate={rate}", *short).status == 0
    ended = run(tmp_path, "-m", "optimizer.learning_rate=0.1,0.0001", *short)

    assert ended.err.count("is finished already") == 2
    rows = [line for line in ended.out.splitlines() if line.startswith("│ adam relu")]
    assert len(rows) == 2
    assert "learning_rate=0.1 " in rows[0] + rows[1]
    assert "learning_rate=0.0001 " in rows[0] + rows[1]
    assert all(re.search(r"│ +2 │$", row) for row in rows)


def test_a_server_that_is_down_costs_no_result(tmp_path):
    ended = run(tmp_path, "tracking.uri=http://127.0.0.1:9", "seeds=2", "num_epochs=1")

    assert ended.status == 0
    assert "python -m nnbench sync publishes it" in ended.err
    assert len(list(tmp_path.glob("outputs/*/record/replicas.csv"))) == 1
    assert not (tmp_path / "mlflow.db").exists()
