"""What a user gets from `pip install nnbench`: the wheel, in a new environment, run from an empty folder."""

import os
import site
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pytest

from nnbench import __version__

ROOT = Path(__file__).resolve().parents[1]


def output_of(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files_below(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix() for path in paths}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the source distribution, which is thereby tested, too."""
    folder = tmp_path_factory.mktemp("dist")
    output_of(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


@dataclass(frozen=True)
class User:
    """Someone with the wheel in a new environment, an empty folder to work in and an empty home."""

    environment: Path
    cwd: Path
    home: Path

    def run(self, program: str, *arguments: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW", "XDG"))}
        # Matplotlib's list of fonts takes long to make; it may lie where it lay.
        places = {"HOME": str(self.home), "TMPDIR": str(self.home), "MPLCONFIGDIR": mpl.get_configdir()}
        return output_of(self.environment / "bin" / program, *arguments, cwd=self.cwd, env=kept | places)


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    output_of(sys.executable, "-m", "venv", folder, cwd=folder)
    output_of(folder / "bin" / "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)

    # The dependencies are those of this environment. Python does not follow the .pth files that it finds there, so its
    # editable nnbench stays out of sight; pip, which would see it and remove it, has done its work already.
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return folder


@pytest.fixture
def user(environment, tmp_path) -> User:
    (tmp_path / "cwd").mkdir()
    (tmp_path / "home").mkdir()
    return User(environment, tmp_path / "cwd", tmp_path / "home")


def test_the_wheel_is_the_package_with_conf_and_experiments(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "experiments"):
        expected = {f"nnbench/{folder}/{name}" for name in files_below(ROOT / folder)}
        assert expected
        assert expected <= names
    assert {name.split("/")[0] for name in names} == {"nnbench", f"nnbench-{__version__}.dist-info"}


def test_the_console_script_sweeps_below_the_current_folder_and_writes_nowhere_else(user):
    installed = files_below(user.environment)
    output = user.run("nnbench", "-m", "optimizer=gd,adam", "seeds=2", "num_epochs=2")
    assert "gd" in output
    assert "adam" in output
    assert (user.cwd / "mlflow.db").is_file()
    (sweep,) = (user.cwd / "multirun").iterdir()
    assert {"0", "1"} <= {path.name for path in sweep.iterdir()}
    assert files_below(user.home) == set()
    assert files_below(user.environment) == installed


def test_the_module_runs_from_the_wheel(user):
    package = Path(user.run("python", "-c", "import nnbench; print(nnbench.__file__)").strip()).parent
    assert package.is_relative_to(user.environment)
    assert "optimizer" in user.run("python", "-m", "nnbench", "--help")
    assert str(package / "conf") in user.run("python", "-m", "nnbench", "--info", "searchpath")
