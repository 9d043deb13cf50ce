"""The README keeps its word: what it prints can be typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_example_runs_as_printed(tmp_path):
    (example,) = [block for block in blocks("python") if "MLP.load" in block]
    run([sys.executable, "-W", "error", "-c", example], tmp_path)
    assert (tmp_path / "half.npz").exists()
    assert (tmp_path / "model.npz").exists()


@pytest.fixture
def own_optimizer(tmp_path):
    """The optimizer of the README in files of the names that its first lines say."""
    for block in blocks("python") + blocks("yaml"):
        name = re.match(r"# (\S+\.(?:py|yaml))\n", block)
        if name:
            (tmp_path / name[1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    return tmp_path


def test_an_optimizer_is_one_class_and_one_file(own_optimizer):
    (command,) = [line for block in blocks("bash") for line in block.splitlines() if "plugins" in line]
    words = [word.strip("'") for word in command.split()]
    out = run([sys.executable, *words[1:], "seeds=2", "num_epochs=2", "tracking=none"], own_optimizer)
    assert re.search(r"sign relu +│", out)
    assert re.search(r"adam relu +│", out)


def test_the_example_of_mistakes_prints_what_the_readme_says(tmp_path):
    (block,) = [block for block in blocks("console") if "problems; nothing was started" in block]
    command, *promised = block.splitlines()
    words = command.removeprefix("$ python ").split()
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []
    for line in promised:
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        assert re.search(pattern, done.stderr), (line, done.stderr)
