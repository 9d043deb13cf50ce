"""Studies that real command lines made, in this process, and the reports that were built of them."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nnbench.__main__ import main
from nnbench.tracking import record

# What MLflow itself does with its libraries, which is not ours to mend.
WARNINGS_OF_MLFLOW = ("ignore:The ``noload`` loader strategy is deprecated",)
SMALL = ("hidden=[4]", "num_epochs=3", "progress=false", "report=false")
BROKEN = '''
from nnbench.nn.optimizers import Optimizer

class Broken(Optimizer):
    """Gives up at its first step."""

    def step(self, grads, learning_rate_factor=1.0):
        raise RuntimeError("<script>alert('broken')</script>")
'''

# Every text that comes from a user, as an attacker would write it.
EXPERIMENT = "<script>alert('experiment')</script> $x$ _y =1+1 \"; open('P', 'w'); a=\"\nsecond line"
CLASSES = ("<script>alert('class')</script>", r"$\frac{$ <b>", "=1+1", "_hidden", "\"quotes'", "new\nline")
TARGETS = (r"$\frac{$ <img src=x onerror=alert('column')>", "_under\"'</style><script>alert('target')</script>")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for warning in WARNINGS_OF_MLFLOW:
                item.add_marker(pytest.mark.filterwarnings(warning))


@dataclass(frozen=True)
class Workplace:
    """A folder in which someone gives nnbench's commands."""

    folder: Path

    def run(self, *arguments: str) -> int:
        """Give a command line; return the exit status."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.syspath_prepend(self.folder)
            patch.setattr(sys, "argv", ["nnbench", *arguments])
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            try:
                return main()
            except SystemExit as stop:
                return int(stop.code or 0)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def replicas(self) -> dict[str, pd.DataFrame]:
        """Return the scores in the record folders by the label of their cell."""
        records = [record.read(folder) for folder in record.find(self.folder)]
        return {cell.identity.label: cell.replicas() for cell in records}

    def write(self, name: str, content: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(content, encoding="utf-8")


@dataclass(frozen=True)
class Study:
    """A study with its report, and the scores that its record folders had."""

    place: Workplace
    replicas: dict[str, pd.DataFrame]
    output: Path


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """Three finished cells, one with fewer seeds, one diverged and one failed; the record folders are gone."""
    place = Workplace(tmp_path_factory.mktemp("study"))
    place.write("broken.py", BROKEN)
    place.write("mine/optimizer/broken.yaml", "_target_: broken.Broken\nlearning_rate: 0.1\n")
    iris = ("dataset=iris", *SMALL)
    assert place.run("-m", "optimizer=adam,rmsprop", "optimizer.learning_rate=0.03", "seeds=4", *iris) == 0
    assert place.run("optimizer=momentum", "seeds=3", *iris) == 0
    assert place.run("optimizer=gd", "optimizer.learning_rate=1e30", "seeds=4", *iris) == 0
    assert place.run("--config-dir", "mine", "optimizer=broken", "plugins=[broken]", "seeds=4", *iris) == 1
    replicas = place.replicas()
    for name in ("multirun", "outputs"):
        shutil.rmtree(place.folder / name)
    assert place.run("report") == 0
    return Study(place, replicas, place.folder / "reports" / "nnbench")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Study:
    """Two cells in which every text that a user gives is an attack."""
    place = Workplace(tmp_path_factory.mktemp("hostile"))
    place.write("mine/optimizer/_adam.yaml", "_target_: nnbench.nn.Adam\nlearning_rate: 0.01\n")
    for number, target in enumerate(TARGETS):
        rows = {"x <b>": range(120), "y": [value % 7 for value in range(120)], target: CLASSES * 20}
        pd.DataFrame(rows).to_csv(place.folder / f"{number}.csv", index=False)
        settings = {
            "defaults": [{"override /optimizer": "_adam"}, {"override /dataset": "csv"}],
            "dataset": {"path": f"{number}.csv", "target": target},
            "tracking": {"experiment": EXPERIMENT},
        }
        place.write(f"mine/study/attack{number}.yaml", f"# @package _global_\n{yaml.safe_dump(settings)}")
        assert place.run("--config-dir", "mine", f"study=attack{number}", "seeds=2", *SMALL) == 0
    replicas = place.replicas()
    assert place.run("report", EXPERIMENT) == 0
    (output,) = (place.folder / "reports").iterdir()
    return Study(place, replicas, output)
