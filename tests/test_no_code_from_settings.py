"""Nothing that stands in a setting is run: not on the command line, not in a file, not in Hydra's own part.

Each payload would leave a file P in the current folder if anything called it. Each door is a way into the
configuration. Whatever comes in is refused: exit status 2, a line that names the key, no P and nothing else.
"""

import pickle
import sys
from pathlib import Path
from pydoc import locate

import numpy as np
import pytest
import yaml
from command_line import problems_of
from command_line import run as run_command
from omegaconf.basecontainer import BaseContainer

from nnbench.__main__ import in_this_process

SOURCE = "S"  # a file whose content would become P


class Bomb:
    """Leaves P when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("P"),))


PAYLOADS = {
    "joblib.load": {"filename": "bomb.pkl"},
    "pandas.read_pickle": {"filepath_or_buffer": "bomb.pkl"},
    "numpy.load": {"file": "bomb.npy", "allow_pickle": True},
    "pickle.load": {"_args_": [{"_target_": "builtins.open", "file": "bomb.pkl", "mode": "rb"}]},
    "builtins.open": {"file": "P", "mode": "w"},
    "io.open": {"file": "P", "mode": "w"},
    "shutil.copy": {"src": SOURCE, "dst": "P"},
    "pathlib.Path.write_text": {"_args_": [{"_target_": "pathlib.Path", "_args_": ["P"]}, "x"]},
    "urllib.request.urlretrieve": {"url": f"file:{SOURCE}", "filename": "P"},
    "os.system": {"command": "touch P"},
    "logging.os.system": {"command": "touch P"},
    "os.mkdir": {"path": "P"},
    "subprocess.run": {"args": ["touch", "P"]},
    "subprocess.Popen": {"args": ["touch", "P"]},
    "builtins.eval": {"_args_": ["__import__('pathlib').Path('P').touch()"]},
    "builtins.exec": {"_args_": ["__import__('pathlib').Path('P').touch()"]},
    "runpy.run_path": {"path_name": "script.py"},
    "logging.FileHandler": {"filename": "P"},
    "nnbench.tracking.contents.write_json": {"path": {"_target_": "pathlib.Path", "_args_": ["P"]}, "content": 1},
}
GROUPS = ("dataset", "model", "activation", "optimizer", "loss", "initializer", "schedule", "tuning")
OPEN = {"_target_": "builtins.open", "file": "P", "mode": "w"}
LOGGING = {"version": 1, "root": {"handlers": ["x"]}, "disable_existing_loggers": False}
# What Hydra would build, import, run or obey before any code of ours, with as much in one go as fits.
OF_HYDRA = [
    {
        "callbacks": {"x": OPEN},
        "launcher": {"_target_": "builtins.open"},
        "sweeper": {"_target_": "builtins.open", "max_batch_size": 1},
        "job_logging": {**LOGGING, "handlers": {"x": {"class": "logging.FileHandler", "filename": "P"}}},
        "hydra_logging": {**LOGGING, "handlers": {"x": {"class": "logging.FileHandler", "filename": "P"}}},
        "job": {"env_set": {"PATH": "bin", "PYTHONPATH": "."}, "chdir": True, "name": "../P"},
        "output_subdir": "../../P",
        "run": {"dir": "../P"},
        "sweep": {"dir": "../P", "subdir": "../P"},
        "help": {"template": "${oc.env:HOME}"},
        "verbose": True,
    },
    {
        "launcher": {"_target_": "hydra_plugins.evil.Launcher"},
        "job_logging": {**LOGGING, "handlers": {"x": {"()": "builtins.open", "file": "P", "mode": "w"}}},
        "job": {"env_copy": ["HOME"]},
    },
    {"job_logging": {**LOGGING, "handlers": {"x": {"class": "ext://evil.Handler"}}}},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with everything that the payloads need, which is the current one."""
    (tmp_path / SOURCE).write_text("x")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    np.save(tmp_path / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    (tmp_path / "script.py").write_text("open('P', 'w')\n")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("open('P', 'w')\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\ntouch P\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    (tmp_path / "works.py").write_text("class Works:\n    def __init__(self):\n        open('P', 'w').close()\n")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def refused(folder, monkeypatch, capsys):
    """Return what gives a command line, sees that it is refused with nothing done, and returns what is said."""
    before = sorted(folder.rglob("*"))

    def give(*arguments):
        monkeypatch.setattr("sys.argv", ["nnbench", *arguments])
        status = in_this_process()
        error = capsys.readouterr().err
        own = folder / "D"
        new = [path for path in folder.rglob("*") if path not in before and own not in (path, *path.parents)]
        assert (status, new) == (2, []), error
        lines = [line.removeprefix("error: ") for line in error.splitlines() if line.startswith("error: ")]
        assert lines
        return lines

    return give


def written(value):
    """Return a value as Hydra's grammar has it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def dotted(content, place=""):
    """Yield the overrides that set a mapping value by value."""
    for key, value in content.items():
        inner = f"{place}.{key}" if place else key
        if isinstance(value, dict):
            yield from dotted(value, inner)
        else:
            yield f"++{inner}={written(value)}"


def named(lines):
    """Return what the lines are about, two words deep."""
    return {".".join(line.split()[0].split(".")[:2]) for line in lines}


def write(name, content, *, package=""):
    path = Path("D", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# @package {package}\n" if package else ""
    path.write_text(f"{head}{content if isinstance(content, str) else yaml.safe_dump(content)}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of files that nobody closes
@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_works_if_it_is_called(payload, folder):
    result = call({"_target_": payload, **PAYLOADS[payload]})
    if end := getattr(result, "wait", getattr(result, "close", None)):
        end()

    assert Path("P").exists()


@pytest.mark.parametrize("shift", range(0, len(PAYLOADS), 4))
def test_no_payload_comes_in_as_the_class_of_a_group(shift, refused):
    targets = [*PAYLOADS, *PAYLOADS][shift:]
    content = {group: {"_target_": target, **PAYLOADS[target]} for group, target in zip(GROUPS, targets, strict=False)}

    lines = refused(*dotted(content))

    assert {line.split(".")[0] for line in lines} == {*GROUPS}


@pytest.mark.parametrize("shift", range(0, len(PAYLOADS), 4))
def test_no_payload_comes_in_by_a_listed_module(shift, refused):
    groups = ("optimizer", "activation", "schedule", "tuning")
    targets = [*PAYLOADS, *PAYLOADS][shift:]
    content = {group: {"_target_": target, **PAYLOADS[target]} for group, target in zip(groups, targets, strict=False)}
    modules = {group: content[group]["_target_"].rpartition(".")[0] for group in groups}

    said = "\n".join(refused(*dotted({"plugins": [*modules.values()], **content})))

    assert all(f"{group}._target_ is " in said or f"plugins has {modules[group]}, " in said for group in groups)


def test_a_class_that_does_something_when_it_is_built_is_not_built(refused):
    lines = refused("plugins=[works]", *(f"++{group}._target_=works.Works" for group in GROUPS))

    assert {line.partition("._target_")[0] for line in lines} == {*GROUPS}


@pytest.mark.parametrize("word", ["_partial_", "_recursive_", "_convert_", "_args_"])
def test_no_word_of_hydras_builder_is_an_option(word, refused):
    values = dotted({group: {word: "all"} for group in GROUPS})

    lines = refused(*values)

    assert {line.split()[0] for line in lines} - {"tuning"} == {f"{group}.{word}" for group in GROUPS[:-1]}


PLACES = (
    *("x", "optimizer.x", "optimizer.learning_rate", "optimizer.space.learning_rate.low", "optimizer.space.x"),
    *("dataset.x", "tuning.x", "schedule.x", "model.x", "model.bias", "tracking.x", "tracking.uri", "seeds", "hidden"),
    *("about.x", "to_reach", "layer_activations", "baselines", "num_epochs", "study.x", "setting.x"),
)


@pytest.mark.parametrize("value", [OPEN, [OPEN]], ids=["mapping", "list"])
def test_no_payload_comes_in_as_a_value(value, refused):
    lines = refused(*(f"++{place}={written(value)}" for place in PLACES))

    assert {place.split(".")[0] for place in PLACES} <= {line.split()[0].split(".")[0] for line in lines}


@pytest.mark.parametrize("part", OF_HYDRA, ids=range(len(OF_HYDRA)))
def test_hydras_own_part_is_fixed_on_the_command_line(part, refused):
    write("payload/own.yaml", part)
    apart = [f"+hydra.{key}={written(part[key])}" for key in part if key != "launcher"]
    forms = [dotted({"hydra": part}), apart, ["--config-dir", "D", "+payload@hydra=own"]]

    said = [named(refused(*form)) - {"hydra.launcher"} for form in forms]

    assert said == [{f"hydra.{key}" for key in part if key != "launcher"}] * 3


@pytest.mark.parametrize("question", ["--help", "--hydra-help", "--cfg=job", "--cfg=hydra", "--info=all", "-sc"])
def test_hydras_own_part_is_fixed_for_questions_too(question, refused):
    part = {key: value for key, value in OF_HYDRA[0].items() if key not in ("launcher", "sweeper")}

    lines = refused(question, *dotted({"hydra": part}), "hydra.searchpath=[pkg://evil]", "hydra/job_logging=stdout")

    assert named(lines) == {"hydra.searchpath", "hydra/job_logging", *(f"hydra.{key}" for key in part)}


@pytest.mark.parametrize("part", OF_HYDRA, ids=range(len(OF_HYDRA)))
@pytest.mark.parametrize("way", ["study", "setting", "package"])
def test_hydras_own_part_is_fixed_in_a_file(way, part, refused):
    if way == "package":
        write("part/own.yaml", part, package="hydra")
    else:
        write(f"{way}/own.yaml", {"hydra": part}, package="_global_")

    lines = refused("--config-dir", "D", "+part=own" if way == "package" else f"{way}=own")

    assert named(lines) == {f"hydra.{key}" for key in part}


@pytest.mark.parametrize(
    "part",
    [{"searchpath": ["pkg://evil"]}, {"sweeper": {"max_batch_size": OPEN}}, {"callbacks": [OPEN]}, {"new": OPEN}],
    ids=["search path", "sweeper", "list", "new"],
)
def test_what_does_not_fit_into_hydras_own_part_is_refused_too(part, refused):
    write("study/own.yaml", {"hydra": part}, package="_global_")

    (line,) = refused("--config-dir", "D", "study=own")

    assert "study/own" in line


def test_what_a_study_sweeps_is_none_of_hydras_own_part(refused):
    params = {"hydra.searchpath": "[pkg://evil]", "+hydra.callbacks.x": written(OPEN), "hydra.launcher._target_": "a,b"}
    write("study/own.yaml", {"hydra": {"mode": "MULTIRUN", "sweeper": {"params": params}}}, package="_global_")

    lines = refused("--config-dir", "D", "study=own")

    assert named(lines) == {"hydra.searchpath", "hydra.callbacks", "hydra.launcher"}


def test_one_choice_of_a_sweep_is_enough_to_be_refused(refused):
    write("optimizer/own.yaml", {"job": {"env_set": {"PATH": "bin"}}}, package="hydra")
    write("study/own.yaml", {"hydra": {"mode": "MULTIRUN", "sweeper": {"params": {"optimizer": "adam,own"}}}})

    for arguments in (["-m", "optimizer=adam,own"], ["-m", "optimizer=gd", "+optimizer@hydra.job.env_set=adam,own"]):
        assert named(refused("--config-dir", "D", *arguments[:1], *arguments[1:])) >= {"hydra.job"}


def test_a_file_never_takes_the_place_of_a_shipped_one(refused):
    for name in ("study/xor", "setting/digits_sklearn/adam", "optimizer/adam", "hydra/help/nnbench"):
        write(f"{name}.yaml", {"hydra": OF_HYDRA[0]}, package="_global_")

    lines = refused("--config-dir", "D", "study=xor")

    assert [line.partition(" has the name of a choice of nnbench")[1] != "" for line in lines] == [True] * 4 + [False]


@pytest.mark.parametrize("question", [(), ("--help",), ("--cfg", "job")], ids=["train", "help", "cfg"])
def test_a_folder_of_own_files_leaves_hydras_groups_alone(question, refused):
    for name in ("config", "launcher/basic", "launcher/own", "callbacks/own", "job_logging/own"):
        write(f"hydra/{name}.yaml", OPEN)

    (line,) = refused(*question, "--config-dir", "D")

    assert line.startswith(f"{Path.cwd()}/D/hydra is fixed")


@pytest.mark.parametrize("question", [(), ("--cfg", "job"), ("--help",), ("-m",)], ids=["train", "cfg", "help", "-m"])
def test_no_other_file_takes_the_place_of_the_configuration(question, refused):
    write("own.yaml", {"hydra": {"searchpath": ["pkg://evil"], **OF_HYDRA[0]}})
    flags = ("--config-name", "own", "--config-path", f"{Path.cwd()}/D", "--experimental-rerun", "bomb.pkl")

    lines = refused(*question, *flags)

    assert {line.partition(" is not taken: ")[0] for line in lines} == {*flags[::2]}


def test_help_chooses_no_file_because_hydra_would_obey_it(folder, monkeypatch, capsys):
    write("optimizer/own.yaml", {"hydra_logging": OF_HYDRA[0]["hydra_logging"]}, package="hydra")
    monkeypatch.setattr("sys.argv", ["nnbench", "--help", "--config-dir", "D", "optimizer=own"])

    with pytest.raises(SystemExit) as ended:
        in_this_process()

    assert ended.value.code in (0, None)
    assert "optimizer: adagrad, adam, adamw, gd, momentum, nesterov, own, " in capsys.readouterr().out
    assert not Path("P").exists()


@pytest.mark.parametrize("group", ["study", "setting", "activation", "optimizer", "model"])
def test_no_tag_of_yaml_is_obeyed(group, refused):
    write(f"{group}/own.yaml", "_target_: !!python/object/apply:os.system ['touch P']\n")

    lines = refused("--config-dir", "D", f"{group}=own")

    assert "own.yaml" in lines[0]


def test_every_resolver_is_known():
    assert {*BaseContainer._resolvers} == {  # a new one is to be looked at before it is let in
        "oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.env", "oc.select",
        "now", "hydra", "python_version", "nnbench",
    }  # fmt: skip


def test_text_for_a_launcher_is_taken_from_the_command_line_alone_for_it_may_be_a_command(refused):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    options = {"n_jobs": 2, "backend": "loky", "timeout": 1.5, "temp_folder": "../P"}
    content = {"defaults": [{"override /hydra/launcher": "joblib"}], "hydra": {"launcher": options}}
    write("study/own.yaml", content, package="_global_")
    given = dotted({"hydra": {"launcher": options}})

    in_file = refused("--config-dir", "D", "study=own")
    (nested,) = refused("-m", "hydra/launcher=joblib", f"+hydra.launcher.x={written([OPEN])}")
    (whole,) = refused("-m", f"+hydra.launcher={written(OF_HYDRA[1]['launcher'])}")

    assert [line.split()[0] for line in in_file] == ["hydra.launcher.backend", "hydra.launcher.temp_folder"]
    assert nested.startswith("hydra.launcher.x is fixed")
    assert whole.startswith("hydra.launcher._target_ is fixed")
    assert problems_of("-m", "hydra/launcher=joblib", *given, "optimizer=adam,gd") == []


def test_a_process_of_its_own_refuses_the_same(folder):
    overrides = [*dotted({"hydra": OF_HYDRA[0]}), "hydra.searchpath=[pkg://evil]", "optimizer=adma"]

    ended = run_command(folder, *overrides)

    assert ended.status == 2
    assert named(ended.errors) == {"optimizer", "hydra.searchpath", *(f"hydra.{key}" for key in OF_HYDRA[0])}
    assert not (folder / "P").exists()


def call(value):
    """Do what a payload says, as Hydra's builder would."""
    if isinstance(value, list):
        return [call(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    options = {key: call(entry) for key, entry in value.items() if key != "_target_"}
    return locate(value["_target_"])(*options.pop("_args_", []), **options)
