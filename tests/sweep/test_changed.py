"""What is not believed, and what is not taken back."""

from sweep_cases import OWN, TINY, Place

from nnbench.sweep.attempt import Attempt
from nnbench.tracking import record


def test_data_that_change_while_a_sweep_runs_fail_the_cell_and_are_not_believed(tmp_path):
    place = Place(tmp_path)
    rows = "".join(f"{number},{number % 7},{'ab'[number % 2]}\n" for number in range(60))
    (tmp_path / "table.csv").write_text("x,y,kind\n" + rows)
    # An optimizer that changes the table at its first step, as somebody else may.
    (tmp_path / "rules.py").write_text(
        "from pathlib import Path\n"
        "from nnbench.data import loading\n"
        "from nnbench.nn import GD\n\n\n"
        "class Editing(GD):\n"
        "    def step(self, grads, factor=1.0):\n"
        "        super().step(grads, factor)\n"
        "        path = Path('table.csv')\n"
        "        if self.num_steps == 10:\n"
        "            path.write_text(path.read_text() + '1,1,a\\n')\n"
        "            loading.load.cache_clear()\n"
    )
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "optimizer" / "editing.yaml").write_text("_target_: rules.Editing\nlearning_rate: 0.1\n")
    table = ("dataset=csv", "dataset.path=table.csv", "dataset.target=kind", "hidden=[4]", "seeds=1", "num_epochs=20")

    ended = place.give("-m", "--config-dir=own", "plugins=[rules]", *table, "report=false", "optimizer=editing,gd")

    assert ended.status == 1
    assert "gd relu  failed: ChangedError: the settings or the data are not those with which the sweep was" in ended.err
    assert place.runs("gd relu")[0][0] == "FAILED"
    assert place.runs("editing relu") == [("FINISHED", None)]


def test_trouble_behind_a_result_takes_it_not_back(tmp_path, monkeypatch):
    place, publish = Place.with_rules(tmp_path), Attempt._publish

    def publish_and_fail(self):
        publish(self)
        raise BrokenPipeError("nobody reads what is said")

    monkeypatch.setattr(Attempt, "_publish", publish_and_fail)

    ended = place.give("-m", *OWN, *TINY, "num_epochs=3", "seeds=1", "optimizer=gd,adam")

    assert ended.status == 0, ended.err
    assert ended.err.count("what came behind its result failed: BrokenPipeError: nobody reads what is said") == 2
    assert [record.read(folder).status for folder in record.find(tmp_path)] == ["finished", "finished"]
    assert [status for name in ("gd relu", "adam relu") for status, _ in place.runs(name)] == ["FINISHED"] * 2
