"""What a report of a large store takes: under 60 s and under 1.5 GB for 10,000 runs, 10 s for 1,000.

A small sweep is trained by the real command; its cells are then copied, rows of the database and artifacts alike, each
copy with another learning rate and scores moved by a little, until the store has as many runs as asked for. Reading
alone and the whole report are measured in processes of their own. Run it with nothing else running:

    python benchmarks/report_at_scale.py [RUNS] [FOLDER]

FOLDER keeps the store and is used again as it is, if it has one; by default a temporary folder is removed at the end.
"""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import yaml

SWEEP = (
    *("optimizer=gd,adam,rmsprop", "activation=relu,tanh,sigmoid", "dataset=digits", "hidden=[16]"),
    *("seeds=10", "num_epochs=20", "baselines=[dummy,knn]", "progress=false"),
)
SMALL, SMALL_SECONDS = 1_000, 10.0  # so many runs, and the time that they may take
MOST_SECONDS, MOST_BYTES = 60.0, 1.5e9
OF_A_RUN = ("runs", "tags", "params", "metrics", "latest_metrics")  # tables with a row's run in `run_uuid`
READING = """
import sys, tempfile
from pathlib import Path
from nnbench.tracking import coverage, read
with tempfile.TemporaryDirectory() as folder:
    covered = coverage.of_study(sys.argv[1], "nnbench")
    found, damaged = read.fetch_newest(sys.argv[1], "nnbench", Path(folder))
    rows = sum(len(record.replicas()) + len(record.history()) for record in found.values())
print(f"{len(covered.cells)} cells, {len(found)} records of {rows} rows, {len(damaged)} damaged")
"""


def plant(folder: Path, num_runs: int) -> None:
    """Fill a folder with a store of about that many runs, cells and replicas together."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nnbench", "-m", *SWEEP]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        cells = [run for (run,) in database.execute("SELECT run_uuid FROM tags WHERE key = 'nnbench.kind' "
                                                    "AND value = 'cell' ORDER BY run_uuid")]  # fmt: skip
        trees = [_tree(database, cell) for cell in cells]
        ((num_there,),) = database.execute("SELECT count(*) FROM runs").fetchall()
        copies: list[dict[str, Any]] = []
        while num_there < num_runs:
            tree = trees[len(copies) % len(trees)]
            copies.append(_copy(database, tree, number=len(copies)))
            num_there += len(tree)
        _extend_plan(database, copies)


def _tree(database: sqlite3.Connection, cell: str) -> list[str]:
    """Return the runs of a cell, its own first."""
    nested = "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = ?"
    return [cell, *(run for (run,) in database.execute(nested, (cell,)))]


def _copy(database: sqlite3.Connection, tree: list[str], *, number: int) -> dict[str, Any]:
    """Copy a cell with its replicas and artifacts; return what a sweep's plan says of the copy."""
    new_by_old = {run: uuid.uuid4().hex for run in tree}
    old, new = tree[0], new_by_old[tree[0]]
    learning_rate = 1e-4 * 1.01**number
    ((label,),) = database.execute("SELECT name FROM runs WHERE run_uuid = ?", (old,)).fetchall()
    ((mark,),) = database.execute(
        "SELECT value FROM tags WHERE run_uuid = ? AND key = 'nnbench.fingerprint'", (old,)
    ).fetchall()
    changed = {
        "nnbench.fingerprint": hashlib.sha256(f"{mark} {number}".encode()).hexdigest(),
        "nnbench.record": f"copy/{number}",
        "optimizer.learning_rate": str(learning_rate),
        "mlflow.parentRunId": new,
    }
    label = f"{label} learning_rate={learning_rate:.4g}"
    for run in tree:
        for table in OF_A_RUN:
            columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
            rows = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run,)).fetchall()
            copies = []
            for row in rows:
                copy = dict(zip(columns, row, strict=True))
                if copy.get("key") in changed:
                    copy["value"] = changed[copy["key"]]
                if table == "runs":
                    copy["name"] = label if run == old else copy["name"]
                    copy["artifact_uri"] = copy["artifact_uri"].replace(run, new_by_old[run])
                    copy["start_time"] += number + 1
                copies.append(tuple((copy | {"run_uuid": new_by_old[run]}).values()))
            places = ", ".join("?" * len(columns))
            database.executemany(f"INSERT INTO {table} VALUES ({places})", copies)
    identity = {"label": label, "fingerprint": changed["nnbench.fingerprint"], "sweep": "copy", "job": number}
    _copy_artifacts(_artifacts(database, old), _artifacts(database, new), identity, learning_rate)
    choices = {"optimizer": label.split()[0], "activation": label.split()[1], "model": "mlp"}
    return {**identity, "choices": choices}


def _artifacts(database: sqlite3.Connection, run: str) -> Path:
    ((uri,),) = database.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (run,)).fetchall()
    return Path(unquote(uri.removeprefix("file://")))


def _copy_artifacts(source: Path, target: Path, identity: Mapping[str, Any], learning_rate: float) -> None:
    """Copy a record with other settings and scores, so that it is whole again."""
    shutil.copytree(source, target)
    cell = json.loads((target / "cell.json").read_text(encoding="utf-8"))
    cell["identity"] |= identity
    (target / "cell.json").write_text(json.dumps(cell), encoding="utf-8")
    config = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    config["optimizer"]["learning_rate"] = learning_rate
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    replicas = pd.read_csv(target / "replicas.csv", na_filter=False)
    moves = np.random.default_rng(identity["job"]).integers(-9, 9, len(replicas), endpoint=True)
    replicas["test/accuracy"] = (replicas["test/accuracy"] + moves / cell["dataset"]["test"]).clip(0, 1)
    replicas.to_csv(target / "replicas.csv", index=False)
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    for path in target.iterdir():
        if path.name in manifest:
            content = path.read_bytes()
            manifest[path.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _extend_plan(database: sqlite3.Connection, copies: list[dict[str, Any]]) -> None:
    """Let the sweep have planned the copies, too."""
    ((run,),) = database.execute("SELECT run_uuid FROM tags WHERE key = 'nnbench.kind' AND value = 'sweep'").fetchall()
    path = _artifacts(database, run) / "sweep.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan["labels"] += [copy["label"] for copy in copies]
    plan["choices"] += [copy["choices"] for copy in copies]
    plan["fingerprints"] += [copy["fingerprint"] for copy in copies]
    path.write_text(json.dumps(plan), encoding="utf-8")


def measure(*arguments: str, folder: Path) -> tuple[float, float, str]:
    """Run Python with these arguments; return seconds, the most bytes of its largest process, and its last line."""
    code = (
        "import json, resource, subprocess, sys; done = subprocess.run([sys.executable, *sys.argv[1:]], "
        "capture_output=True, text=True); peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
        "print(json.dumps([done.returncode, peak, (done.stdout + done.stderr).strip()]))"
    )
    started = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    seconds = perf_counter() - started
    status, peak, output = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {status}:\n{output}")
    return seconds, peak * (1 if sys.platform == "darwin" else 1024), output.splitlines()[-1]


def main(num_runs: int, folder: Path) -> int:
    """Print a line for each measurement; return 1 if one is over its limit."""
    if not (folder / "mlflow.db").exists():
        started = perf_counter()
        plant(folder, num_runs)
        print(f"planted in {perf_counter() - started:.0f} s")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        ((num_there,),) = database.execute("SELECT count(*) FROM runs").fetchall()
    most_seconds = SMALL_SECONDS if num_there <= 1.1 * SMALL else MOST_SECONDS
    print(f"{num_there:,} runs; limits {most_seconds:.0f} s, {MOST_BYTES / 1e9:.1f} GB")
    kept = True
    for name, arguments in {
        "reading": ("-c", READING, f"sqlite:///{folder.absolute()}/mlflow.db"),
        "report": ("-m", "nnbench", "report", "--output", str(folder.absolute() / "report")),
    }.items():
        seconds, peak, last = measure(*arguments, folder=folder)
        kept &= seconds <= most_seconds and peak <= MOST_BYTES
        print(f"{name:10}{seconds:8.1f} s{peak / 1e6:10.0f} MB   {last}", flush=True)
    print("limits kept" if kept else "limits missed")
    return 0 if kept else 1


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    if len(sys.argv) > 2:
        sys.exit(main(asked, Path(sys.argv[2])))
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(asked, Path(temporary)))
