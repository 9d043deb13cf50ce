"""Configurations, composed by Hydra from the files that a combination of overrides chooses.

Hydra takes a tenth of a second for each combination, so of a sweep over several groups only those are composed that
differ from the first in one group; the others are put together from these, where that is sure to be the same.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nnbench.arguments import FIXED, OPEN
from nnbench.components import ConfigError, nearest, show
from nnbench.places import COMMANDS, CONF

# Beside what is open, what Hydra itself writes into its part while it composes.
VARIABLE = (*(name.removeprefix("hydra.") for name in OPEN), "overrides", "runtime.choices", "job.override_dirname")
ABSENT = object()


class Composer:
    """Composes configurations, one for each combination of group choices."""

    def __init__(self, folders: list[Path], texts: list[str]):
        self.folders = folders
        self.texts = texts  # the overrides of the command line
        # As `hydra.main` does with --config-dir, so that both see the same files in the same order.
        search_path = create_config_search_path(str(CONF))
        for folder in folders[1:-1]:
            search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
        GlobalHydra.instance().clear()
        Hydra.create_main_hydra2("nnbench", search_path)
        self.loader = GlobalHydra.instance().config_loader()
        self.known: dict[str, list[str]] = {}  # the choices of each group
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.first: list[str] | None = None  # of the combinations of group choices
        self.changed: dict[tuple[int, str], tuple[dict[str, Any], dict[str, str]] | None] = {}  # see `_changes`
        self.shipped: dict[str, dict[str, Any]] = {}  # Hydra's own part as it is shipped, by the choice of launcher

    def compose(self, overrides: list[str]) -> DictConfig:
        """Return the configuration for these group choices, Hydra's own part included and checked."""
        key = tuple(overrides)
        if key not in self.composed:
            if problems := parse(overrides)[1]:  # names of files that glob() found may be none of Hydra's grammar
                raise ConfigError(problems)
            config = self._by_hydra(overrides)
            launcher = str(config.hydra.runtime.choices["hydra/launcher"])
            if launcher not in self.shipped:
                self.shipped[launcher] = _as_written(self._by_hydra([f"hydra/launcher={launcher}"]).hydra)
            if problems := _changed(_as_written(config.hydra), self.shipped[launcher], self.texts):
                raise ConfigError(problems)
            self.composed[key] = config
        return self.composed[key]

    def _by_hydra(self, overrides: list[str]) -> DictConfig:
        """Let Hydra compose."""
        try:
            return compose("config", overrides=overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, YAMLError, UnicodeError) as error:
            raise ConfigError([" ".join(f"{error} {error.__cause__ or ''}".split())]) from error
        except RecursionError as error:
            line = f"{' '.join(overrides)} begins with itself; mend the defaults of its file"
            raise ConfigError([line]) from error

    def options(self, group: str) -> list[str]:
        """Return the choices of a group; none where there is no such group."""
        if not group:  # from an override without a key, such as =1
            return []
        if group not in self.known:
            places = [(folder / group, folder.glob(f"{group}/**/*.yaml")) for folder in self.folders]
            files = {path.relative_to(top).with_suffix("").as_posix() for top, paths in places for path in paths}
            self.known[group] = sorted(files | set(self.loader.get_group_options(group, ObjectType.CONFIG)))
        return self.known[group]

    def is_group(self, override: str) -> bool:
        """Whether an override chooses a file, or belongs to Hydra itself."""
        key = override.partition("=")[0].lstrip("+~")
        return key.startswith("hydra") or bool(self.options(key.partition("@")[0]))

    def unknown_choice(self, override: str) -> str:
        """Return a line if an override chooses what its group does not have, else nothing."""
        group, _, choice = override.partition("=")
        group = group.lstrip("+")
        options = self.options(group)
        choice = choice.strip("'\"")
        if not options or choice in options:
            return ""
        way_out = "; joblib comes with pip install hydra-joblib-launcher" if group == "hydra/launcher" else ""
        return f"{group} is {choice}, which is not one of its choices{nearest(choice, options)}{way_out}"

    def _with_choices(self, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
        """Return the configuration for these group choices without Hydra's part, and the choice in each group."""
        self.first = self.first or overrides
        changes = self._changes(overrides) if len(self.first) == len(overrides) else []
        keys = [key for parts, _ in changes for key in parts]
        apart = len(changes) > 1 and len(keys) == len(set(keys))  # no key is changed by two of them
        config = self.compose(self.first if apart else overrides)
        cell = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.set_struct(cell, False)
        choices = chosen(config.hydra)
        for parts, others in changes if apart else []:
            for key, part in parts.items():
                cell[key] = part
            choices |= others
        return cell, choices

    def _changes(self, overrides: list[str]) -> list[tuple[dict[str, Any], dict[str, str]]]:
        """Return for each override that is not that of the first combination what it changes there, by itself.

        That is keys of the configuration and choices. Nothing, where a change may depend on another one.
        """
        first = cast(list[str], self.first)
        places = [place for place, text in enumerate(overrides) if text != first[place]]
        groups = [overrides[place].partition("=")[0].partition("/")[0] for place in places]
        if len(set(groups)) < max(2, len(groups)) or self.some_choices_depend_on_others:
            return []
        if not all(self._keeps_to_itself(text) for place in places for text in (first[place], overrides[place])):
            return []
        before = self.compose(first)
        found = []
        for place in places:
            mark = place, overrides[place]
            if mark not in self.changed:
                after = self.compose([*first[:place], overrides[place], *first[place + 1 :]])
                self.changed[mark] = _changed_parts(before, after)
            found.append(self.changed[mark])
        return [] if None in found else cast(list[tuple[dict[str, Any], dict[str, str]]], found)

    @cached_property
    def some_choices_depend_on_others(self) -> bool:
        """Whether there is a ${...} in the defaults of a file, or a file that cannot be read."""
        places = [place for folder in self.folders for place in os.walk(folder, followlinks=True)]
        try:
            return any(
                _has_dependent_defaults(Path(folder, name).read_bytes())
                for folder, _, names in places
                for name in names
                if name.endswith(".yaml")
            )
        except (OSError, YAMLError, ValueError, RecursionError):
            return True

    def _keeps_to_itself(self, override: str) -> bool:
        """Whether an override chooses a file that says something of its own group alone."""
        group, _, choice = override.partition("=")
        files = [folder / group / f"{choice}.yaml" for folder in self.folders]
        try:
            text = next((file for file in files if file.is_file()), files[0]).read_bytes()
        except (OSError, ValueError):
            return False
        return b"@package" not in text and b"defaults" not in text

    def cell(self, combination: list[str]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
        """Return the configuration of one combination of overrides, its choices, and a line for each not to be set."""
        cell, choices = self._with_choices([text for text in combination if self.is_group(text)])
        overrides, problems = parse([text for text in combination if not self.is_group(text)])
        for override in overrides:
            key = override.key_or_group
            parent = OmegaConf.select(cell, key.rpartition(".")[0]) if "." in key else cell
            name = key.rpartition(".")[2]
            if override.is_delete():
                problems.append(f"~{key} deletes a key; set it to another value instead")
            elif not isinstance(parent, DictConfig):
                known = nearest(key.partition(".")[0], [str(known) for known in cell])
                problems.append(f"{key} is not a key of the configuration{known}")
            elif name not in set(parent.keys()) and not (override.is_add() or override.is_force_add()):
                group = key.rpartition(".")[0]
                whose = f"an option of {group}={choices.get(group, group)}" if group else "a key of the configuration"
                options = [str(option) for option in parent if option != "_target_"]
                elsewhere = (
                    [] if group else [f"{group}.{option}" for group in choices for option in cell.get(group) or ()]
                )
                problems.append(f"{key} is not {whose}{nearest(name, options, elsewhere=elsewhere)}")
            elif override.is_add() and name in set(parent.keys()):
                problems.append(f"+{key} adds a key that is there already; write {key}=VALUE")
            else:
                try:
                    OmegaConf.update(cell, key, override.value(), force_add=True)
                except OmegaConfBaseException as error:
                    problems.append(f"{key} cannot be set: {' '.join(str(error).split())}")
        try:
            return plain(cell), choices, problems
        except OmegaConfBaseException as error:
            raise ConfigError([*problems, " ".join(str(error).split())]) from error


def _has_dependent_defaults(text: bytes) -> bool:
    """Whether a choice in the defaults of a file depends on other choices."""
    if b"${" not in text or b"defaults" not in text:  # as in nearly all
        return False
    content = yaml.safe_load(text)
    return isinstance(content, dict) and "${" in str(content.get("defaults"))


def _changed_parts(before: DictConfig, after: DictConfig) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Return the keys and the choices that differ in `after`; None where that is more than other values for keys."""
    old, new = _as_written(before), _as_written(after)
    keys = [key for key in old if key != "hydra" and new.get(key, ABSENT) != old[key]]
    if old.keys() != new.keys() or any(OmegaConf.is_interpolation(after, key) for key in keys):
        return None
    choices = chosen(before.hydra)
    return {key: after[key] for key in keys}, {
        group: choice for group, choice in chosen(after.hydra).items() if choices.get(group) != choice
    }


def _changed(hydra_config: dict[str, Any], shipped: dict[str, Any], texts: list[str]) -> list[str]:
    """Return a line for everything in Hydra's own part that a file has changed and may not; see `nnbench.arguments`.

    Text among the options of a launcher may become a command on a cluster, so it is taken from the command line alone.
    """
    given = {text.partition("=")[0].lstrip("+~") for text in texts}
    problems = []
    for place, value in _differences(hydra_config, shipped):
        key = f"hydra.{place}"
        free = any(place == name or place.startswith(f"{name}.") for name in VARIABLE)
        of_launcher = place.partition(".")[0] == "launcher"
        if not free or (of_launcher and any(name.startswith("_") for name in [*place.split("."), *_keys(value)])):
            problems.append(f"{key} {FIXED}")
        elif of_launcher and not isinstance(value, int | float | None) and not {key, "hydra.launcher"} & given:
            problems.append(f"{key} is {show(value)} in a file; text for a launcher belongs on the command line")
    return problems


def _keys(value: Any) -> Iterator[str]:
    """Yield every key inside a plain value."""
    if isinstance(value, dict):
        yield from map(str, value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(inner)


def _as_written(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as dictionaries and lists, interpolations as they are written."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    return plain


def _differences(config: Any, shipped: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted place and the value of everything in which a plain configuration differs from another."""
    if isinstance(config, dict) and isinstance(shipped, dict):
        for key in {**shipped, **config}:
            inner = f"{place}.{key}" if place else str(key)
            yield from _differences(config.get(key, ABSENT), shipped.get(key, ABSENT), inner)
    elif config != shipped:
        yield place, config


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as dictionaries and lists, every interpolation resolved."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain


def chosen(hydra_config: Any) -> dict[str, str]:
    """Return the choice made in each of our own groups."""
    choices = hydra_config.runtime.choices
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}


def parse(texts: list[str]) -> tuple[list[Override], list[str]]:
    """Parse overrides; return them, and a line for each that cannot be read."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides, problems = [], []
    for text in texts:
        try:
            override = parser.parse_override(text)
            override.config_loader = parser.config_loader  # glob() looks at the choices
            overrides.append(override)
        except HydraException as error:
            if "=" not in text:
                problems.append(f"{text} is neither a command nor KEY=VALUE{nearest(text, COMMANDS)}")
                continue
            problems.append(
                f"{text} cannot be read: {' '.join(str(error).split())}; write KEY=VALUE, lists as KEY=[A,B], "
                "and text with special characters as 'KEY=\"TEXT\"'"
            )
    return overrides, problems
