"""The configuration at the border: every key typed and bounded, every problem found at once, then turned into a cell.

`parse` takes a resolved configuration as plain dictionaries and lists; what concerns the class of a group is in
`nnbench.components`.
"""

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nnbench.components import ConfigError, bind, complaints, component, load_module, nearest, show
from nnbench.data import Dataset
from nnbench.nn.activations import CurvedActivation
from nnbench.nn.diagnostics import Diagnostics
from nnbench.nn.losses import CurvedLoss
from nnbench.protocol.baselines import BaselineCell
from nnbench.protocol.cell import Cell, Vary
from nnbench.protocol.fingerprint import is_baseline, seed_list
from nnbench.protocol.naming import SETTING
from nnbench.protocol.search import END_OF_SEEDS, LearningRateGrid, Range, Search
from nnbench.protocol.study import About, Band


def _at_most(limit: int) -> AfterValidator:
    """Return the check that a number, or the length of a list, is none that would keep the planning busy for ever."""

    def check(value: Any) -> Any:
        if isinstance(value, list) and len(value) > limit:
            raise ValueError(f"it must have at most {limit} entries")
        if isinstance(value, int) and value > limit:
            raise ValueError(f"it must be at most {limit}")
        return value

    return AfterValidator(check)


AtLeast1 = Annotated[int, Field(ge=1), _at_most(10**9)]
Seed = Annotated[int, Field(ge=0, lt=END_OF_SEEDS)]
RESERVED = {"trial", "extension", "seed", "status", "seconds"}  # columns of the table of tuning
PASSED_ON = (
    "num_epochs",
    "batch_size",
    "weight_decay",
    "clip_norm",
    "vary",
    "selection",
    "patience",
    "diagnostics",
    "target_accuracy",
    "stack_size",
)
COMPONENTS = ("dataset", "optimizer", "activation", "loss", "initializer", "schedule")


class Settings(BaseModel):
    """The root of the configuration; a description completes the sentence "it must be ..."."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    seeds: Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[Seed], Field(min_length=1), _at_most(10_000)] = (
        Field(description="a number of seeds, 1 to 10000, or a list of different seeds, each at least 0")
    )
    vary: Vary = Field(description="all, init or order")
    num_epochs: Annotated[AtLeast1, _at_most(10**6)] = Field(description="an integer, at least 1")
    batch_size: AtLeast1 | Literal["full"] = Field(description="an integer, at least 1, or full")
    hidden: Annotated[list[AtLeast1], _at_most(1000)] = Field(
        description="a list of layer sizes, each an integer, at least 1, such as [32] or [128,64]; [] is a linear model"
    )
    layer_activations: list[str] | None = Field(description="a list of activations, one for each hidden layer, or null")
    weight_decay: float = Field(ge=0, allow_inf_nan=False, description="a finite number, at least 0")
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        description="a number above 0, or null"
    )
    selection: Literal["best", "last"] = Field(description="best or last")
    patience: AtLeast1 | None = Field(description="a number of epochs, at least 1, or null")
    target_accuracy: Annotated[float, Field(gt=0, le=1)] | None = Field(description="above 0 and at most 1, or null")
    dtype: Literal["float32", "float64"] = Field(description="float32 or float64")
    diagnostics: Diagnostics = Field(description="none, basic or full")
    plugins: list[str] = Field(description="a list of names of Python modules")
    baselines: Literal["auto"] | list[str] = Field(description="auto, or a list of choices of the group model")
    stack_size: AtLeast1 | None = Field(description="a number of replicas, at least 1, or null")
    workers: AtLeast1 | None = Field(description="a number of cells, at least 1, or null")
    resume: bool = Field(description="true or false")
    report: bool = Field(description="true or false")
    progress: bool = Field(description="true or false")
    dry_run: bool = Field(description="true or false")
    inspect: bool = Field(description="true or false")
    about: dict[str, Any] | None = Field(default=None, description="a mapping with question and source, or null")
    to_reach: list[dict[str, Any]] = Field(default=[], description="a list of bands, each a mapping")

    dataset: dict[str, Any]
    model: "ModelSettings"
    activation: dict[str, Any]
    optimizer: dict[str, Any]
    loss: dict[str, Any]
    initializer: dict[str, Any]
    schedule: dict[str, Any]
    tuning: dict[str, Any]
    tracking: "TrackingSettings"


class ModelSettings(BaseModel):
    """The group `model`, of networks."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bias: bool = Field(description="true or false")


class TrackingSettings(BaseModel):
    """The group `tracking`; all empty for `tracking=none`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    uri: str | None = Field(default=None, description="a tracking URI of MLflow, or null")
    experiment: Annotated[str, Field(min_length=1)] | None = Field(default=None, description="a name, or null")


NESTED: dict[str, type[BaseModel]] = {"model": ModelSettings, "tracking": TrackingSettings}


def parse(
    config: Mapping[str, Any], choices: Mapping[str, str], activation_choices: Mapping[str, Any]
) -> Cell | BaselineCell:
    """Turn a resolved configuration into a cell, of networks or of a baseline.

    `choices` are the names chosen in each group; `activation_choices` maps the name of each activation to its
    configuration, for `layer_activations`. Raises ConfigError with every problem that can be seen without the data.
    """
    problems: list[str] = []
    baseline = isinstance(config.get("model"), Mapping) and is_baseline(config)
    checked = {**config, "model": {"bias": True}} if baseline else dict(config)  # a baseline's class checks its options
    try:
        Settings.model_validate(checked)  # strict: "3" is no integer, 1 is no boolean
    except ValidationError as error:
        problems += [_sentence(config, details) for details in _first_for_each_key(error)]

    plugins = [name for name in _as_list(config.get("plugins")) if isinstance(name, str)]
    for name in plugins:
        try:
            load_module(name)
        except ConfigError as error:
            problems += error.problems
    parts: dict[str, Any] = {}
    for group in (*COMPONENTS, "model") if baseline else COMPONENTS:
        if isinstance(config.get(group), Mapping):
            try:
                parts[group] = component(group, _without_space(config[group]), plugins)
            except ConfigError as error:
                problems += error.problems
    search, space = None, {}
    try:
        if config.get("tuning") or choices.get("tuning", "none") != "none":
            search = component("tuning", config["tuning"], plugins)()
    except ConfigError as error:
        problems += error.problems
    try:
        if "optimizer" in parts:
            space = _space(config["optimizer"].get("space"), parts["optimizer"], search)
    except ConfigError as error:
        problems += error.problems

    problems += _problems_of_study(config)
    seeds = config.get("seeds")
    if config.get("vary") == "order" and config.get("batch_size") == "full" and seeds not in (1, [0]):
        problems.append(
            "vary is order and batch_size is full, so that every seed is the same training; use vary=all or vary=init, "
            "a smaller batch_size, or seeds=1"
        )
    if isinstance(seeds, list) and all(type(seed) is int for seed in seeds) and len(set(seeds)) < len(seeds):
        problems.append(f"seeds is {seeds}; it must not name a seed twice")
    if isinstance(seeds, int | list) and search is not None:
        problems += _seeds_not_fresh(seeds, search)
    try:
        activations = _layer_activations(config, parts.get("activation"), activation_choices, plugins)
    except ConfigError as error:
        problems += error.problems
    if not problems and config["diagnostics"] == "full":
        problems += _without_curvature(activations, parts["loss"]())
    if problems:
        raise ConfigError(problems)

    common = {
        "choices": dict(choices),
        "source": parts["dataset"](),
        "seeds": tuple(seed_list(config["seeds"])),
        "dtype": config["dtype"],
    }
    if baseline:
        return BaselineCell(model=parts["model"](), **common)
    return Cell(
        activations=activations,
        loss=parts["loss"](),
        initializer=parts["initializer"](),
        schedule=parts["schedule"](),
        new_optimizer=parts["optimizer"],
        hidden=tuple(config["hidden"]),
        bias=config["model"]["bias"],
        learning_rate=_learning_rate(parts["optimizer"]),
        tuning=search,
        space=space,
        untuned={name: hyperparameter(parts["optimizer"], name) for name in space},
        **{key: config[key] for key in PASSED_ON},
        **common,
    )


def clipped(cells: Iterable[Cell | BaselineCell], datasets: Iterable[Dataset]) -> list[str]:
    """Return a warning for each batch size that is larger than the training split, of which it then is the whole."""
    return list(
        dict.fromkeys(
            f"batch_size is {cell.batch_size} but the training split of {dataset.name} has {len(dataset.train)} "
            f"samples; each step takes all {len(dataset.train)} of them"
            for cell, dataset in zip(cells, datasets, strict=True)
            if isinstance(cell, Cell) and cell.batch_size != "full" and cell.batch_size > len(dataset.train)
        )
    )


def hyperparameter(new_optimizer: partial, name: str) -> float:
    """Return the value that an optimizer's hyperparameter has in the configuration, or by default."""
    value = new_optimizer.keywords.get(name, inspect.signature(new_optimizer.func).parameters[name].default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError([f"optimizer.{name} is {show(value)}; to be tuned it must be a number"])
    return float(value)


def _problems_of_study(config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with what a study says of itself."""
    parts: list[tuple[str, type, Any]] = [("about", About, config.get("about"))]
    bands = config.get("to_reach")
    parts += [(f"to_reach.{place}", Band, band) for place, band in enumerate(_as_list(bands))]
    problems = []
    for place, kind, options in parts:
        if isinstance(options, Mapping):
            try:
                bind(place, kind, options)
            except ConfigError as error:
                problems += error.problems
    return problems


def _learning_rate(new_optimizer: partial) -> float:
    """Return the configured learning rate of an optimizer."""
    try:
        return float(np.ravel(new_optimizer(np.zeros((1, 1))).learning_rate)[0])
    except Exception as error:  # a plugin is the user's own code and may raise anything
        raise ConfigError(
            [
                f"{new_optimizer.func.__name__} cannot be built for a network of one parameter, or has no "
                f"learning_rate ({type(error).__name__}: {error}); call Optimizer.__init__ with it in its constructor"
            ]
        ) from error


def _without_space(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a class; the space of an optimizer is for tuning."""
    return {key: value for key, value in config.items() if key != "space"}


def _space(config: Any, new_optimizer: partial, search: Search | None) -> dict[str, Range]:
    """Return where tuning may look; raise ConfigError where the optimizer could not be built there."""
    if not (config is None or isinstance(config, Mapping)):
        raise ConfigError([f"optimizer.space is {show(config)}; it must map hyperparameters to low, high and scale"])
    kind: Any = new_optimizer.func
    known = [name for name in inspect.signature(kind).parameters if name != "params"]
    space: dict[str, Range] = {}
    problems = []
    for name, entry in (config or {}).items():
        place = f"optimizer.space.{name}"
        if name not in known:
            problems.append(f"{place} is not an option of {kind.__name__}{nearest(name, known)}")
        elif name in RESERVED:
            problems.append(
                f"{place} cannot be tuned, because the table of tuning has a column {name}; rename the option"
            )
        elif not isinstance(entry, Mapping):
            problems.append(f"{place} is {show(entry)}; it must have low, high and scale")
        else:
            try:
                space[name] = bind(place, Range, entry)()
            except ConfigError as error:
                problems += error.problems
            else:
                ends = [{**new_optimizer.keywords, name: end} for end in (space[name].low, space[name].high)]
                try:
                    problems += [f"{place} leads too far: {complaint}" for complaint in complaints(kind, ends)]
                except Exception as error:  # a plugin is the user's own code and may raise anything
                    problems.append(f"{place} leads too far: {type(error).__name__}: {error}")
    if isinstance(search, LearningRateGrid) and "learning_rate" not in known:
        problems.append(f"tuning is learning_rate, which is not an option of {kind.__name__}{nearest('', known)}")
    elif isinstance(search, LearningRateGrid):
        space = {"learning_rate": space.get("learning_rate") or _around(hyperparameter(new_optimizer, "learning_rate"))}
        if space["learning_rate"].scale != "log":
            problems.append(
                f"optimizer.space.learning_rate.scale is {space['learning_rate'].scale}; the grid of "
                "tuning=learning_rate is a log one, so it must be log"
            )
    elif search is not None and not space and not problems:
        problems.append("optimizer.space is empty; tuning=random draws from it, so declare it in the optimizer's file")
    if search is not None and not problems:
        problems += _trial_problems(new_optimizer, search, space)
    if problems:
        raise ConfigError(problems)
    return space if search is not None else {}


def _trial_problems(new_optimizer: partial, search: Search, space: Mapping[str, Range]) -> list[str]:
    """Return why some trial of a search cannot be trained: nothing if the optimizer takes them all, as arrays, too."""
    name = new_optimizer.func.__name__
    try:
        trials = search.trials(space)
        if not trials or search.tuning_seeds == ():
            return ["tuning has no trial or no seed; its class must give at least one of each"]
        for trial in trials:
            new_optimizer(np.zeros((1, 1)), **trial)
        columns = {key: np.full((2, 1), value) for key, value in trials[0].items()}
        new_optimizer(np.zeros((2, 3)), **columns)
    except Exception as error:  # plugins are the user's own code and may raise anything
        return [
            f"tuning cannot try its trials on {name}: {type(error).__name__}: {error}; hyperparameters in the space "
            "must take a number, or an array of them, (replicas, 1)"
        ]
    return []


def _around(learning_rate: float) -> Range:
    """Return three decades round a learning rate, for an optimizer whose file declares no space."""
    try:
        return Range(low=learning_rate / 10**1.5, high=learning_rate * 10**1.5)
    except ValueError as error:
        raise ConfigError(
            [f"optimizer.learning_rate is {learning_rate}; there is no grid round it: {error}"]
        ) from error


def _without_curvature(activations: Iterable[Any], loss: Any) -> list[str]:
    names = [type(part).__name__ for part in activations if not isinstance(part, CurvedActivation)]
    names += [] if isinstance(loss, CurvedLoss) else [type(loss).__name__]
    return [
        f"diagnostics is full, which needs the second derivatives of {name}; define its curvature, or use basic"
        for name in dict.fromkeys(names)
    ]


def _seeds_not_fresh(seeds: int | list[int], search: Search) -> list[str]:
    both = sorted(set(seed_list(seeds)) & set(search.tuning_seeds))
    if not both:
        return []
    return [f"tuning.seeds has {both}, which seeds has, too; the winner must be trained on fresh seeds, so give others"]


def _layer_activations(config: Mapping[str, Any], shared: Any, choices: Mapping[str, Any], plugins: list[str]) -> tuple:
    """Return one activation for each hidden layer."""
    hidden, names = config.get("hidden"), config.get("layer_activations")
    if not isinstance(names, list):
        return tuple(shared() for _ in _as_list(hidden)) if shared else ()
    problems = [
        f"layer_activations has {name!r}, which is not an activation{nearest(str(name), choices)}"
        for name in names
        if str(name) not in choices
    ]
    if isinstance(hidden, list) and len(names) != len(hidden):
        problems.append(f"layer_activations has {len(names)} names for {len(hidden)} hidden layers; give one for each")
    if problems:
        raise ConfigError(problems)
    return tuple(component("activation", choices[name], plugins)() for name in names)


def _first_for_each_key(error: ValidationError) -> list[Any]:
    """Return the first complaint about each key; a union complains once for each of its members.

    Before all others goes one of ours, that the value is too large.
    """
    first: dict[str, Any] = {}
    for details in sorted(error.errors(include_url=False), key=lambda details: details["type"] != "value_error"):
        first.setdefault(_key(details), details)
    return list(first.values())


def _key(details: Mapping[str, Any]) -> str:
    location = [str(part) for part in details["loc"]]
    return ".".join(location[:2]) if location[0] in NESTED else location[0]


def _sentence(config: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    """Say in one line what was got and what is allowed."""
    key = _key(details)
    group, _, inner = key.partition(".")
    fields = (NESTED[group] if inner else Settings).model_fields
    if key in ("study", SETTING):
        return f"{key} has no options; the file of a {key} must begin with the line # @package _global_"
    if details["type"] == "extra_forbidden":
        return f"{key} is not a key of the configuration{nearest(inner or group, fields)}"
    if details["type"] == "missing":
        return f"{key} is missing"
    value = config[group][inner] if inner else config[group]
    if details["type"] == "value_error":
        return f"{key} is {show(value)}; {details['ctx']['error']}"
    return f"{key} is {show(value)}; it must be {fields[inner or group].description or 'a group of options'}"


def _as_list(value: Any) -> list:
    return value if isinstance(value, list) else []
