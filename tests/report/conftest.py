"""Studies that real command lines made, in this process, and the reports that were built of them."""

import shutil

import pandas as pd
import pytest
import yaml
from report_cases import CLASSES, EXPERIMENT, SMALL, TARGETS, Study, Workplace

BROKEN = '''
from nnbench.nn.optimizers import Optimizer

class Broken(Optimizer):
    """Gives up at its first step."""

    def step(self, grads, learning_rate_factor=1.0):
        raise RuntimeError("<script>alert('broken')</script>")
'''


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """Three finished cells, one with fewer seeds, one diverged, one failed, two baselines; no record folders."""
    place = Workplace(tmp_path_factory.mktemp("study"))
    place.write("broken.py", BROKEN)
    place.write("mine/optimizer/broken.yaml", "_target_: broken.Broken\nlearning_rate: 0.1\n")
    iris = ("dataset=iris", *SMALL)
    assert place.run("-m", "optimizer=adam,rmsprop", "optimizer.learning_rate=0.03", "seeds=4", *iris) == 0
    assert place.run("optimizer=momentum", "seeds=3", *iris) == 0
    assert place.run("optimizer=gd", "optimizer.learning_rate=1e30", "seeds=4", *iris) == 0
    assert place.run("-m", "model=svm,random_forest", "seeds=4", *iris) == 0
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
