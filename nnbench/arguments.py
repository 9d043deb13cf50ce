"""The arguments of the command line: which of Hydra's flags, keys and files are taken.

Hydra keeps a part of the configuration for itself. It builds the classes that this part names, sets up logging as it
says, imports the packages of its search path and sets environment variables, all of it before any code of ours runs. So
of that part only `OPEN` is taken: which cells there are, and how they are launched. This module imports nothing heavy,
because `--help` passes through it, too.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnbench.places import CONF, EXPERIMENTS

OPEN = ("hydra/launcher", "hydra.launcher", "hydra.mode", "hydra.sweeper.params")
FIXED = f"is fixed; of Hydra's own keys only {', '.join(OPEN[:-1])} and {OPEN[-1]} are taken, and no class"
PLACES = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.chdir")


def misplaced(words: Sequence[str]) -> list[str]:
    """Return a line for each word that Hydra's parser has not taken."""
    no_flag = "is no flag; see python -m nnbench --help"
    order = "is out of place: flags such as -m stand before all settings, as in python -m nnbench -m optimizer=adam,gd"
    return [f"{word} {no_flag if word.startswith('-') else order}" for word in words]


def refused(arguments: argparse.Namespace) -> list[str]:
    """Return a line for everything that is not taken of Hydra's parsed command line, whatever it asks for."""
    instead = "nnbench composes its own files; --config-dir FOLDER adds yours"
    flags = {
        "--experimental-rerun": (arguments.experimental_rerun, "it would run a pickle; give the command again"),
        "--config-path": (arguments.config_path, instead),
        "--config-name": (arguments.config_name, instead),
    }
    problems = [f"{flag} is not taken: {why}" for flag, (value, why) in flags.items() if value is not None]
    asked = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in asked if getattr(arguments, name)]
    if len(given) > 1:
        problems.append(f"{' and '.join(given)} ask for different things; give one of them")
    if arguments.resolve and not (arguments.cfg or arguments.help):
        problems.append("--resolve belongs to --cfg; write --cfg job --resolve")
    return problems + own_files(arguments) + [line for text in arguments.overrides if (line := closed(text))]


def closed(override: str) -> str:
    """Return a line if an override sets what belongs to Hydra alone, else nothing."""
    key = override.partition("=")[0].lstrip("+~")
    first, *inner = key.replace("/", ".").replace("@", ".").split(".")
    if first != "hydra":
        return ""
    if key in PLACES:
        return f"{key} is fixed, because records are found by it; change to another folder instead"
    is_open = any(key == name or key.startswith(f"{name}.") for name in OPEN)
    return "" if is_open and not any(name.startswith("_") for name in inner) else f"{key} {FIXED}"


def own_files(arguments: argparse.Namespace) -> list[str]:
    """Return what keeps the folder of --config-dir from doing what it seems to do."""
    if arguments.config_dir is None:
        return []
    folder = Path(arguments.config_dir).absolute()
    if not folder.is_dir():
        return [f"--config-dir is {arguments.config_dir}; it must be a folder, and {folder} is none"]
    files = [path for path in sorted(folder.glob("**/*.yaml")) if path.parent != folder]
    return [
        f"{path} has the name of a choice of nnbench; rename it"
        for path in files
        if any((shipped / path.relative_to(folder)).exists() for shipped in (CONF, EXPERIMENTS))
    ] + ([f"{folder / 'hydra'} {FIXED}"] if (folder / "hydra").exists() else [])
