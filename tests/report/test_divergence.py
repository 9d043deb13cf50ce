"""Whatever diverges is counted, scored at chance level and ranked last, and the sweep goes on."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from report_cases import Workplace

from nnbench.places import CONF
from nnbench.tracking import record

OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
HUGE = 1e200
SURE = {"gd", "momentum", "nesterov"}  # whose steps grow with the gradient, so that everything overflows at once


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the records of every optimizer at an absurd rate on a table of huge numbers, and what was printed."""
    place = Workplace(tmp_path_factory.mktemp("diverged"))
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    inputs = rng.normal(size=(120, 2)) + labels[:, None]
    rows = [f"{a * HUGE!r},{b * HUGE!r},{label}" for (a, b), label in zip(inputs.tolist(), labels, strict=True)]
    place.write("huge.csv", "\n".join(["a,b,kind", *rows]))
    table = ("dataset=csv", "dataset.path=huge.csv", "dataset.target=kind", "dataset.scaling=none")
    options = ("optimizer.learning_rate=1e10", "dtype=float64", "hidden=[4]", "seeds=3", "num_epochs=2")
    words = ("-m", *table, f"optimizer={','.join(OPTIMIZERS)}", *options, "tracking=none", "baselines=[]")
    printed = StringIO()
    with redirect_stdout(printed):
        assert place.run(*words) == 0
    return [record.read(folder) for folder in record.find(place.folder)], printed.getvalue()


def test_every_cell_of_the_sweep_has_a_record_and_what_overflows_is_diverged(swept):
    cells, _ = swept

    assert {cell.choices["optimizer"] for cell in cells} == {*OPTIMIZERS}
    assert {cell.status for cell in cells} == {"finished", "diverged"}
    assert {cell.status for cell in cells if cell.choices["optimizer"] in SURE} == {"diverged"}


def test_a_diverged_seed_has_chance_level_and_no_score_is_not_a_number(swept):
    for cell in swept[0]:
        replicas = cell.replicas()
        assert np.isfinite(replicas["test/accuracy"]).all()
        diverged = replicas["status"] == "diverged"
        assert (replicas.loc[diverged, "test/accuracy"] == cell.chance).all()
        assert replicas.loc[diverged, "test/loss"].isna().all()


def test_what_diverged_is_ranked_last(swept):
    cells, printed = swept
    diverged = {cell.identity.label for cell in cells if cell.status == "diverged"}

    ranked = [row.split("│")[1].strip() for row in printed.splitlines() if row.startswith("│")]

    states = [label in diverged for label in ranked]
    assert len(states) == len(OPTIMIZERS)
    assert states == sorted(states)
