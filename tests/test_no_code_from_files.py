"""Nothing that is read can run: no reader unpickles, evaluates or executes what a file holds, whatever it is called."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nnbench.tracking import record

PACKAGE = Path(__file__).resolve().parents[1] / "nnbench"
WATCHED_READING = Path(__file__).with_name("watched_reading.py")
FILES = sorted(PACKAGE.rglob("*.py"))
# What they read can run.
UNSAFE_MODULES = {"cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "runpy", "shelve"}
UNSAFE_NAMES = {"eval", "exec", "compile", "__import__"}
UNSAFE_METHODS = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"}


def test_no_reader_runs_what_a_file_holds(tmp_path):
    """Each file of each kind is replaced by pickles, code, yaml and more; Python's own audit tells what happens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}

    ended = subprocess.run(
        [sys.executable, WATCHED_READING], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )

    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert {"pickle.find_class", "os.system", "exec", "marshal.loads"} <= set(result["noted"])
    assert result["done"] == []
    assert not result["ran"]
    assert result["wrong"] == []
    assert all(counts["sound"] == 1 and counts["refused"] >= 10 for counts in result["found"].values())
    assert {name for name, counts in result["found"].items() if counts.get("taken")} <= {"record"}  # its text files


def unsafe(path: Path) -> Iterator[str]:
    """Yield each place of a module that could run what it reads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            modules = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {str(node.module).split(".")[0]}
        else:
            modules = set()
        yield from (f"{place} imports {name}" for name in modules & UNSAFE_MODULES)
        if isinstance(node, ast.Call) and (problem := unsafe_call(node)):
            yield f"{place} {problem}"


def unsafe_call(call: ast.Call) -> str | None:
    """Return what is wrong with a call."""
    name, keywords = ast.unparse(call.func), {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    last = name.rpartition(".")[2]
    if name in UNSAFE_NAMES or last in UNSAFE_METHODS:
        return f"calls {name}"
    if name in ("np.load", "numpy.load", "np.memmap") and keywords.get("allow_pickle") != "False":
        return f"calls {name} without allow_pickle=False"
    if keywords.get("allow_pickle", "False") != "False":
        return f"calls {name} with allow_pickle"
    if name in ("yaml.load", "yaml.load_all") and keywords.get("Loader") not in ("YAML", "yaml.SafeLoader"):
        return f"calls {name} without a safe loader"
    return None


@pytest.mark.parametrize("room", sorted({path.relative_to(PACKAGE).parts[0] for path in FILES}))
def test_no_module_can_run_what_it_reads(room):
    assert not [line for path in FILES if path.relative_to(PACKAGE).parts[0] == room for line in unsafe(path)]


def test_records_are_read_by_a_loader_that_makes_no_objects():
    assert issubclass(record.YAML, yaml.SafeLoader | getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.getcwd []", Loader=record.YAML)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "open_memmap(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "pd.read_pickle(path)",
        "eval(text)",
    ],
)
def test_gate_sees_what_it_should(tmp_path, code, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "nnbench")
    (tmp_path / "a.py").write_text(code)
    assert list(unsafe(tmp_path / "a.py"))
