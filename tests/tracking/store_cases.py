"""A store with a cell of every fate, each of another setting, and what a person would count in it."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tracking_cases import Trained, artifacts, job_of, write_failure, write_interruption

from nnbench.data.loading import load
from nnbench.protocol import baselines
from nnbench.settings import parse
from nnbench.tracking import contents, process, record, store, sweeps
from nnbench.tracking.publish import Publisher, publish
from nnbench.tracking.record import Identity

STUDY = "../a 'study' <b>"
COMMAND = "python -m nnbench -m optimizer=adam,gd"
OF_ANOTHER_PROCESS = f"{process.socket.gethostname()} 99999999 1"  # which has ended


def write_baseline(job_folder: Path, name: str, *, number: int = 0, fingerprint: str) -> Path:
    """Write the record of a baseline with two seeds on iris."""
    job, activations = job_of("dataset=iris", "seeds=2", f"model={name}")
    cell = parse(job.config, job.choices, activations)
    assert isinstance(cell, baselines.BaselineCell)
    dataset = load(cell.source, cell.dtype)
    identity = Identity(
        sweep="planned", job=number, study=STUDY, label=job.label, command=COMMAND, fingerprint=fingerprint
    )
    result = baselines.run(cell, dataset)
    return record.write(job_folder, identity, job.config, job.choices, dataset, result, started=1000.0 + number)


@dataclass
class Planted:
    """A store, and the runs in it by what has become of them."""

    database: Path
    folder: Path
    run_ids: dict[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    def add(self, name: str, folder: Path) -> None:
        """Publish a record."""
        self.run_ids[name] = publish(folder, self.uri, STUDY)

    def train(self, name: str, trained: Trained, **identity: Any) -> None:
        """Publish another record of a trained cell, of a setting called like that."""
        self.number += 1
        known: dict[str, Any] = {"fingerprint": name, "sweep": "planned", "study": STUDY}
        written = trained.write(
            self.folder / str(self.number), number=self.number, started=1000 + self.number, **known | identity
        )
        self.add(name, written)

    def begin(self, name: str, trained: Trained) -> None:
        """Begin a cell and do not end it."""
        self.number += 1
        identity = trained.identity(self.number, fingerprint=name, sweep="planned", study=STUDY)
        live = Publisher(self.uri, STUDY, identity)
        live.flush(trained.job.config, trained.job.choices, trained.history(), 1000 + self.number)
        self.run_ids[name] = next(iter(live.run_by_place.values())).info.run_id

    def artifacts(self, name: str) -> Path:
        return artifacts(self.database, self.run_ids[name])


def plant(database: Path, folder: Path, *, whole: Trained, partly: Trained, diverged: Trained) -> Planted:
    """Fill a store; `whole` has two seeds, of the three of `partly` one has diverged, and the one of `diverged`."""
    planted = Planted(database, folder)
    for _ in range(3):
        planted.train("three times", whole)
    planted.train("partly", partly)
    planted.train("diverged", diverged)
    planted.train("damaged", whole)
    planted.train("gone", whole)
    planted.train("deleted", whole)
    planted.train("failed later", whole)
    planted.train("of another sweep", whole, sweep="another")
    planted.begin("running", whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "mark", lambda: OF_ANOTHER_PROCESS)
        planted.begin("killed", whole)
    for name in ("stopped", "failed", "failed later"):
        if name == "stopped":
            path = write_interruption(folder / name, whole)
        else:
            path = write_failure(folder / name, number=len(name))
        _rename(path, fingerprint=name, sweep=name)
        planted.add(f"{name}: attempt", path)
    planted.add("knn", write_baseline(folder / "knn", "knn", number=90, fingerprint="knn"))
    planted.add("dummy", write_baseline(folder / "dummy", "dummy", number=91, fingerprint="dummy"))

    (planted.artifacts("damaged") / "replicas.csv").write_text("seed,status\n0,finished\n")
    shutil.rmtree(planted.artifacts("gone"))
    store.client(planted.uri).delete_run(planted.run_ids["deleted"])
    _plan(planted)
    return planted


def _rename(folder: Path, **identity: Any) -> None:
    """Let a record be of another setting, so that it is whole again."""
    content = json.loads((folder / record.CELL).read_text(encoding="utf-8"))
    content["identity"] |= identity
    job_folder = folder.parent
    with record.new_folder(job_folder) as changed:
        for path in folder.iterdir():
            if path.name != record.MANIFEST:
                shutil.copyfile(path, changed / path.name)
        contents.write_json(changed / record.CELL, content)


NETWORKS = (
    *("three times", "partly", "diverged", "damaged", "gone", "deleted", "failed later"),
    *("running", "killed", "stopped", "failed", "missing"),
)
BASELINES = ("knn", "svm")


def _plan(planted: Planted) -> None:
    """Announce a sweep of all these cells, of which one setting stands there twice."""
    names = [*NETWORKS, "three times"]
    network = {"model": "mlp", "optimizer": "adam", "activation": "relu"}
    plan = {
        "sweep": "planned",
        "study": STUDY,
        "command": COMMAND,
        "labels": [*names, *BASELINES],
        "choices": [*[network] * len(names), *({"model": name} for name in BASELINES)],
        "fingerprints": [*names, *BASELINES],
        "finished": {},
    }
    sweeps.announce(planted.uri, STUDY, plan)
