"""The run doctor: what ails a training, the evidence in numbers, and the override to try.

Every replica is examined alone, in the order of `FINDINGS`: the first that holds names it. The cell gets the finding
that most of its replicas have, of two that are as frequent the earlier; a single diverged one counts for all, because
the next seed may diverge, too. A finding has to matter: a network with most of its units saturated that fits and
generalises well is healthy. The test split is never looked at.

To add one: its name in `FINDINGS`, and a function from a chart to a symptom, or none, at its place in `EXAMINATIONS`.
"""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from nnbench.nn import LeakyReLU, ReLU
from nnbench.protocol.cell import Cell
from nnbench.protocol.chart import FITTED, WIDE_GAP, Chart, chart_of
from nnbench.protocol.stack import Trained

FINDINGS = (
    "diverged",
    "dead units",
    "saturated",
    "vanishing gradients",
    "momentum too high",
    "learning rate too high",
    "learning rate too low",
    "overfitting",
    "undecided",
    "healthy",
)

# Where no source is named, the number separates good from bad learning rates in grids over six decades, on digits and
# on small tables, with shallow and deep networks.
FEWEST_EPOCHS = 5  # fewer points are no curve
DEAD = 0.5  # share of a layer's units; in a dying network all of some layer (Lu et al., 2019, arXiv:1903.06733)
SATURATED = 0.7  # share of a layer's outputs; good shallow networks reach it, too (Glorot & Bengio, 2010, section 3)
VANISHED = 0.05  # first layer's gradient over the last's; 0.5 to 4 where a network learns (the same, section 4.2)
BIG_WEIGHTS = 2.0  # initial standard deviation over that of Auto
SMALL_WEIGHTS = 0.5
BIG_STEP = 0.02  # |step| / |parameters|; the rule of thumb is 0.001 (CS231n, Neural networks, part 3)
FAR = 1.0  # distance that a layer moves in the first epoch over the size that it had
SMALL_STEP = 5e-4  # where learning has stalled on a plateau
BLOWN_UP = 2.0  # loss after the first epoch over that of guessing
RECOVERED = 0.03  # gap below which a network that fits has got over it
JUMPING = 0.25  # mean |change| of log loss from one epoch to the next: the usual fall is 0.05 to 0.1
RISES = 0.3  # share of the epochs in which the training loss rises
LOST = 2.0  # loss of the last third over the lowest: what was learned is lost again
STILL_FALLING = 0.12  # share of the whole fall of log loss in the last third of the epochs: a third in the beginning
SLIGHT_FALL = 0.05  # of log loss in the last third, below which there is little left to gain
HARDLY_LEARNED = 0.9  # training loss over that of guessing
AT_LOWEST = 1.05  # validation loss at the end over its lowest
OVERFITTED = 1.5  # validation loss of the last third over its lowest; noise and confidence alone make it 1.3
LONG_MEMORY = 3.0  # 1 / (1 - momentum), the steps that are added up, over that of the optimizer's own momentum
RATE_STEP = 10  # from one learning rate to the next to try; Bengio, 2012, arXiv:1206.5533, section 3.1.1, takes 3
FIRST_WEIGHT_DECAY = 0.01  # of 0.001, 0.003, 0.01 and 0.03 the first that cures small noisy data


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the doctor says of a cell."""

    name: str
    seeds: int  # replicas that show it
    evidence: str
    override: str  # what to try; empty for a healthy cell


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """What the doctor says of a replica; `numbers` fill the gaps of `sentence`."""

    name: str
    sentence: str
    numbers: tuple[float, ...]
    override: str


def diagnose(cell: Cell, trained: Trained, *, learning_rate: float) -> Finding:
    """Return what ails a cell's replicas; `learning_rate` is the one they were trained with."""
    num_seeds = len(trained.seeds)
    if trained.diverged.any():
        diverged = trained.diverged_step[trained.diverged]
        chart = chart_of(cell, trained, 0, learning_rate)
        return Finding(
            name="diverged",
            seeds=len(diverged),
            evidence=f"{len(diverged)} of {_count(num_seeds, 'seed')} diverged, "
            f"the first after {_count(int(diverged.min()), 'gradient evaluation')}",
            override=_calmer(chart, min(learning_rate, RATE_STEP * _default_learning_rate(cell, learning_rate))),
        )
    symptoms = [_examine(chart_of(cell, trained, place, learning_rate)) for place in range(num_seeds)]
    frequency = Counter(symptom.name for symptom in symptoms)
    name = min(frequency, key=lambda name: (-frequency[name], FINDINGS.index(name)))
    return _summary(name, symptoms)


def _examine(chart: Chart) -> Symptom:
    """Return the first symptom that holds."""
    for examination in EXAMINATIONS:
        symptom = examination(chart)
        if symptom is not None:
            return symptom
    # Healthy has to be earned: too few epochs are no curve, and what is hardly learned is no health.
    too_short = chart.num_epochs < FEWEST_EPOCHS and chart.does_badly
    if too_short or chart.loss_over_guessing > HARDLY_LEARNED:
        return Symptom(
            name="undecided",
            sentence="{:.0f} epochs tell too little, with a training accuracy of {:.1%}",
            numbers=(chart.num_epochs, chart.train_accuracy),
            override=f"num_epochs={max(2 * chart.cell.num_epochs, 2 * FEWEST_EPOCHS)}",
        )
    best = chart.curves["val/accuracy"].max()
    sentence = "training accuracy {:.1%}, best validation accuracy {:.1%}"
    return Symptom(name="healthy", sentence=sentence, numbers=(chart.train_accuracy, best), override="")


def _summary(name: str, symptoms: list[Symptom]) -> Finding:
    """Return a finding with the words and the advice of most replicas that have it, and their median numbers."""
    having = [symptom for symptom in symptoms if symptom.name == name]
    (sentence, override), _ = Counter((symptom.sentence, symptom.override) for symptom in having).most_common(1)[0]
    numbers = [symptom.numbers for symptom in having if (symptom.sentence, symptom.override) == (sentence, override)]
    part = f"{len(numbers)} of " if len(numbers) < len(symptoms) else ""
    others = f", {len(having) - len(numbers)} more show it otherwise" if len(numbers) < len(having) else ""
    evidence = (
        f"{sentence.format(*np.median(numbers, axis=0))}; median over {part}{_count(len(symptoms), 'seed')}{others}"
    )
    return Finding(name=name, seeds=len(having), evidence=evidence, override=override)


def _dead_units(chart: Chart) -> Symptom | None:
    """Many units of a layer are zero for every validation sample, so that no gradient passes through them."""
    layer, dead = _largest_at_the_end(chart, "dead_units")
    if dead < DEAD or chart.train_accuracy >= FITTED or chart.gap > WIDE_GAP:  # dead units keep it from fitting
        return None
    killed = chart.steps[layer][0] > BIG_STEP or _far_above_default(chart)  # units that are born dead hardly move
    return Symptom(
        name="dead units",
        sentence=f"{{:.0%}} of the units of layer {layer} are dead, with a training accuracy of {{:.1%}}",
        numbers=(dead, chart.train_accuracy),
        override=_smaller_weights(chart)
        or _scaled_inputs(chart)
        or _larger_weights(chart)
        or (_smaller_steps(chart, chart.learning_rate) if killed else _leaky_relu(chart.cell)),
    )


def _saturated(chart: Chart) -> Symptom | None:
    """Most outputs of a layer lie where its activation is flat, so that it hardly learns."""
    layer, saturated = _largest_at_the_end(chart, "saturation")
    if saturated < SATURATED or not chart.does_badly:
        return None
    return Symptom(
        name="saturated",
        sentence=f"{{:.0%}} of the outputs of layer {layer} are saturated, with a training accuracy of {{:.1%}} and a "
        "gap to validation of {:.1%}",
        numbers=(saturated, chart.train_accuracy, chart.gap),
        override=_calmer(chart, chart.learning_rate),
    )


def _vanishing_gradients(chart: Chart) -> Symptom | None:
    """The first layer hears far less of the loss than the last one."""
    norms = chart.by_layer("grad_norm")
    remedy = _larger_weights(chart)
    if len(norms) < (2 if remedy else 3) or chart.train_accuracy >= FITTED:
        return None
    first, last = (float(np.median(norms[layer][chart.last_third])) for layer in (1, len(norms)))
    if not first < VANISHED * last:
        return None
    return Symptom(
        name="vanishing gradients",
        sentence="the gradient of layer 1 is {:.2g} times that of the last layer, with a training accuracy of {:.1%}",
        numbers=(first / last, chart.train_accuracy),
        override=remedy
        or (_lower(chart.cell, chart.learning_rate) if _far_above_default(chart) else _other_activation(chart.cell)),
    )


def _stuck(chart: Chart) -> Symptom | None:
    """Nothing is learned and nothing changes, as far as the curves can tell."""
    if not chart.cell.activations or chart.by_layer("grad_norm") or chart.num_epochs < FEWEST_EPOCHS:
        return None
    if not HARDLY_LEARNED < chart.loss_over_guessing < BLOWN_UP or chart.late_share > STILL_FALLING:
        return None
    squashing = any(activation.family == "squashing" for activation in chart.cell.activations)
    return Symptom(
        name="vanishing gradients",
        sentence="the training loss stays at {:.3g} times that of guessing, with a training accuracy of {:.1%}",
        numbers=(chart.loss_over_guessing, chart.train_accuracy),
        override=_other_activation(chart.cell) if squashing else _lower(chart.cell, chart.learning_rate),
    )


def _blown_up(chart: Chart) -> Symptom | None:
    """The first steps led to where guessing is better."""
    ratio = float(chart.curves["train/loss"][0] / chart.loss_of_guessing)
    steps = [curve[0] for curve in chart.steps.values()]
    big_steps = max(steps) > BIG_STEP if steps else chart.rises > RISES
    recovered = chart.train_accuracy >= FITTED and chart.gap < RECOVERED
    if ratio < BLOWN_UP or not big_steps or recovered or _smaller_weights(chart):
        return None
    return _too_high(chart, "after the first epoch the training loss is {:.3g} times that of guessing", ratio)


def _stranded(chart: Chart) -> Symptom | None:
    """The first steps led far away, to where there is hardly a gradient: saturated outputs under a squared error."""
    steps = [float(np.median(curve[chart.last_third])) for curve in chart.steps.values()]
    if not steps or min(steps) > SMALL_STEP or chart.num_epochs < FEWEST_EPOCHS or chart.train_accuracy >= FITTED:
        return None
    distances = [curve[0] for curve in chart.by_layer("distance_from_start").values()]
    sizes = np.sqrt(np.array(chart.layer_sizes[:-1]) * chart.layer_sizes[1:]) * chart.initial_std
    far = float(np.max(np.divide(distances, sizes, out=np.zeros_like(sizes), where=sizes > 0)))
    if far < FAR:
        return None
    return _too_high(chart, "in the first epoch a layer moves {:.2g} times its initial size, at the end hardly", far)


def _jumping(chart: Chart) -> Symptom | None:
    """The training loss rises and falls, or is far above what it was, and the network does not fit.

    A loss as high as that of guessing is no fit, whatever the accuracy: the few errors are made with absurd certainty.
    """
    fits = chart.train_accuracy >= FITTED and chart.loss_over_guessing <= HARDLY_LEARNED
    if chart.num_epochs < FEWEST_EPOCHS or fits:
        return None
    changes = np.abs(np.diff(chart.log_loss)[chart.num_epochs // 3 :]).mean()
    if chart.rises > RISES and changes > JUMPING:
        return _too_high(chart, "the training loss rises in {:.0%} of the epochs", chart.rises)
    lost = float(np.exp(np.median(chart.log_loss[chart.last_third]) - chart.log_loss.min()))
    if lost > LOST:
        return _too_high(chart, "at the end the training loss is {:.3g} times its lowest", lost)
    return None


def _too_high(chart: Chart, sentence: str, number: float) -> Symptom:
    """Return that the steps are too big, by the momentum where it is what is out of line.

    Where the gradient stays the same, momentum mu makes steps 1 / (1 - mu) times as long (Goh, 2017, Why momentum
    really works).
    """
    override = _calmer(chart, chart.learning_rate)
    momentum = _momentum(chart.cell)
    if momentum is not None and override == _lower_momentum(chart):
        return Symptom(
            name="momentum too high",
            sentence=f"{sentence}, with a learning rate of {{:g}} that momentum {{:g}} multiplies by up to {{:g}}",
            numbers=(number, chart.learning_rate, momentum, 1 / (1 - momentum) if momentum < 1 else np.inf),
            override=override,
        )
    return Symptom(
        name="learning rate too high",
        sentence=f"{sentence}, with a learning rate of {{:g}}",
        numbers=(number, chart.learning_rate),
        override=override,
    )


def _too_low(chart: Chart) -> Symptom | None:
    """The training loss falls steadily to the end, or the steps are too small to leave a plateau."""
    val_loss = chart.curves["val/loss"]
    if (
        chart.num_epochs < FEWEST_EPOCHS
        or chart.train_accuracy >= FITTED
        or chart.rises > RISES
        or val_loss[-1] > AT_LOWEST * val_loss.min()
    ):
        return None
    steps = [float(np.median(curve)) for curve in chart.steps.values()]
    matters = chart.late_fall > SLIGHT_FALL or chart.loss_over_guessing > HARDLY_LEARNED
    if chart.late_share > STILL_FALLING and matters:
        sentence = "the training loss fell by {:.2g} % in the last third of the epochs"
        number = 100 * (1 - float(np.exp(-chart.late_fall)))
    elif steps and min(steps) < SMALL_STEP:
        sentence = "a step changes the parameters of some layer by {:.1g} of their size"
        number = min(steps)
    else:
        return None
    return Symptom(
        name="learning rate too low",
        sentence=f"{sentence}, with a training accuracy of {{:.1%}} at the end and a learning rate of {{:g}}",
        numbers=(number, chart.train_accuracy, chart.learning_rate),
        override=_smaller_weights(chart)
        or (_larger_weights(chart) if chart.loss_over_guessing > HARDLY_LEARNED else "")
        or _higher(chart.cell, chart.learning_rate),
    )


def _overfitting(chart: Chart) -> Symptom | None:
    """What is still learned of the training split makes validation worse."""
    val_loss = chart.curves["val/loss"]
    rise = float(np.median(val_loss[chart.last_third]) / max(val_loss.min(), np.finfo(np.float32).tiny))
    if chart.num_epochs < FEWEST_EPOCHS or chart.gap < WIDE_GAP or rise < OVERFITTED:
        return None
    return Symptom(
        name="overfitting",
        sentence="the validation loss ends at {:.3g} times its lowest, the accuracy {:.1%} below that of training",
        numbers=(rise, chart.gap),
        override=f"weight_decay={RATE_STEP * chart.cell.weight_decay or FIRST_WEIGHT_DECAY:g}",
    )


EXAMINATIONS: tuple[Callable[[Chart], Symptom | None], ...] = (
    _dead_units,
    _saturated,
    _vanishing_gradients,
    _stuck,
    _blown_up,
    _stranded,
    _jumping,
    _too_low,
    _overfitting,
)


def _largest_at_the_end(chart: Chart, metric: str) -> tuple[int, float]:
    """Return the layer that has most of a metric after the last epoch, and how much; layer 0 where none has it."""
    at_the_end = {layer: float(curve[-1]) for layer, curve in chart.by_layer(metric).items()}
    layer = max(at_the_end, key=lambda layer: at_the_end[layer], default=0)
    return layer, at_the_end.get(layer, 0.0)


def _far_above_default(chart: Chart) -> bool:
    """Whether the learning rate is far above the optimizer's own, so that it is the first thing to doubt."""
    return chart.learning_rate > RATE_STEP * _default_learning_rate(chart.cell, chart.learning_rate)


def _smaller_weights(chart: Chart) -> str:
    """Return the override for initial weights that are far too large, empty where they are not."""
    return "initializer=auto" if max(chart.initial_std / chart.auto_std) > BIG_WEIGHTS else ""


def _larger_weights(chart: Chart) -> str:
    """Return the override for initial weights that are far too small, empty where they are not."""
    return "initializer=auto" if min(chart.initial_std / chart.auto_std) < SMALL_WEIGHTS else ""


def _calmer(chart: Chart, learning_rate: float) -> str:
    """Return the override for signals or steps that are too big: the first that is out of line, else a lower rate."""
    return _smaller_weights(chart) or _scaled_inputs(chart) or _smaller_steps(chart, learning_rate)


def _scaled_inputs(chart: Chart) -> str:
    """Return the override for inputs that are left as they are where the data set's own choice is to scale them.

    Weights that are too small make up for inputs that are too large, so that both are changed together or neither. A
    learning rate far above the optimizer's own is to blame first.
    """
    scaling = type(chart.cell.source).scaling  # a field's default
    if chart.cell.source.scaling != "none" or scaling == "none" or _far_above_default(chart):
        return ""
    return f"dataset.scaling={scaling} {_larger_weights(chart)}".rstrip()


def _smaller_steps(chart: Chart, learning_rate: float) -> str:
    """Return the override for steps that are too big."""
    return _lower_momentum(chart) or _lower(chart.cell, learning_rate)


def _lower_momentum(chart: Chart) -> str:
    """Return the override for a momentum that is too high: the optimizer's own. Empty where it is not to blame.

    A learning rate far above the optimizer's own is to blame first; what tuning chose is not known here.
    """
    momentum, usual = _momentum(chart.cell), _default(chart.cell, "momentum")
    if momentum is None or usual is None or "momentum" in chart.cell.space or _far_above_default(chart):
        return ""
    return f"optimizer.momentum={usual:g}" if (1 - usual) > LONG_MEMORY * (1 - momentum) else ""


def _lower(cell: Cell, learning_rate: float) -> str:
    """Return the override for a learning rate that is too high; where tuning chose it, tuning has to be off."""
    override = f"optimizer.learning_rate={learning_rate / RATE_STEP:.4g}"
    return f"tuning=none {override}" if "learning_rate" in cell.space else override


def _higher(cell: Cell, learning_rate: float) -> str:
    """Return the override for a learning rate that is too low: the optimizer's own if that is farther above.

    Where tuning has tried higher ones already, more epochs.
    """
    if "learning_rate" in cell.space:
        return f"num_epochs={2 * cell.num_epochs}"
    higher = max(RATE_STEP * learning_rate, _default_learning_rate(cell, learning_rate))
    return f"optimizer.learning_rate={higher:.4g}"


def _default_learning_rate(cell: Cell, otherwise: float) -> float:
    """Return the learning rate that the optimizer's class has by default, `otherwise` if it has to be given."""
    default = _default(cell, "learning_rate")
    return otherwise if default is None else default


def _default(cell: Cell, name: str) -> float | None:
    """Return what an option of the optimizer's class is by default, if that is a number; a plugin's may be none."""
    kind = cell.new_optimizer.func if isinstance(cell.new_optimizer, partial) else cell.new_optimizer
    parameter = inspect.signature(kind).parameters.get(name)
    return _number(parameter.default) if parameter is not None else None


def _momentum(cell: Cell) -> float | None:
    """Return the configured momentum, if the optimizer has one."""
    given = cell.new_optimizer.keywords if isinstance(cell.new_optimizer, partial) else {}
    return _number(given["momentum"]) if "momentum" in given else _default(cell, "momentum")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _leaky_relu(cell: Cell) -> str:
    """Return the override for units that die: an activation whose slope is never zero."""
    if any(isinstance(activation, LeakyReLU) for activation in cell.activations):
        return "activation.negative_slope=0.01"  # only a slope of zero lets them die
    return _activations(cell, "leaky_relu")


def _other_activation(cell: Cell) -> str:
    """Return the override for gradients that vanish: an activation whose slope is 1 where it is not flat."""
    return _activations(cell, "tanh" if all(isinstance(one, ReLU) for one in cell.activations) else "relu")


def _activations(cell: Cell, name: str) -> str:
    """Return the override that gives every hidden layer the same activation."""
    shared = cell.choices.get("activation", "").replace("_", "")
    if all(type(activation).__name__.lower() == shared for activation in cell.activations):
        return f"activation={name}"
    return f"layer_activations=[{','.join(name for _ in cell.activations)}]"


def _count(number: int, thing: str) -> str:
    return f"1 {thing}" if number == 1 else f"{number} {thing}s"
