"""What a person sees in the terminal: plan, progress, leaderboard, problems.

Results go to standard output, everything else to standard error; without a terminal the progress is a line for each
cell and one each half minute of a long cell.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from nnbench.data import Dataset
    from nnbench.nn import Training
    from nnbench.protocol.baselines import BaselineCell
    from nnbench.protocol.cell import Cell
    from nnbench.sweep.plan import Plan
    from nnbench.sweep.predict import Prediction
    from nnbench.sweep.sweep_file import SweepFile
    from nnbench.tracking.coverage import Coverage

WIDTH_OF_BARS = 24  # characters
MOST_CLASSES = 10  # of which a prediction tells the probability
NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
SENT_EVERY = 0.1  # seconds between what a worker tells of its epochs
LINE_EVERY = 30  # seconds between lines about a long cell where there is no terminal


class PlainConsole(Console):
    """A console that leaves out control characters, which a terminal would obey, and writes ? for what it cannot."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what is to be printed."""
        for text, style, control in super().render(renderable, options):
            written = NO_TEXT.sub("", text).encode(self.encoding, "replace").decode(self.encoding)
            yield Segment(text if control else written, style, control)


class Steady:
    """A stream that drops what it cannot write: its reader is gone, or its disk is full."""

    def __init__(self, stream: IO[str]):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class SteadyConsole(PlainConsole):
    """A console for words beside a training, which goes on when nobody can read them any more."""

    @property  # type: ignore[misc]  # nobody sets it
    def file(self) -> IO[str]:
        """The stream, as nnbench's own."""
        return cast(IO[str], Steady(super().file))


def out() -> Console:
    """Return the console for results."""
    return PlainConsole(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console for everything else."""
    return SteadyConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_problems(problems: Sequence[str]) -> None:
    """Print one line for each problem that keeps a command from starting."""
    console = err()
    for problem in problems:
        console.print(Text.assemble(("error: ", "bold red"), problem))
    if len(problems) > 1:
        console.print(f"{len(problems)} problems; nothing was started")


def say(text: str) -> None:
    """Print a line about what is being done."""
    err().print(Text(text))


class CellProgress:
    """The progress of one cell: bars on a terminal, lines elsewhere; nothing if switched off.

    A worker has its parent show both: `send` takes what there is to tell, in keyword arguments.
    """

    def __init__(
        self,
        label: str,
        *,
        job: int,
        num_cells: int,
        num_epochs: int,
        shown: bool,
        send: Callable[..., None] | None = None,
    ):
        self.label = label
        self.job = job
        self.num_epochs = num_epochs
        self.num_cells = num_cells
        self.shown = shown
        self.send = send
        self.console = err()
        self.last_line = self.last_sent = perf_counter()
        self.bars: Progress | None = None

    def __enter__(self) -> "CellProgress":
        if self.shown and self.console.is_terminal and self.send is None:
            self.bars = _bars(self.console)
            if self.num_cells > 1:
                self.bars.add_task("cells", total=self.num_cells, completed=self.job, state="")
            self.cell_bar = self.bars.add_task(self.label, total=self.num_epochs, state="")
            self.bars.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bars is not None:
            self.bars.stop()

    def epoch_done(self, stage: str, training: "Training") -> None:
        """Show how far the stack is that is training, and what it is for: tuning, final or untuned."""
        accuracy = training.history["val/accuracy"][-1, training.active]
        state = f"validation accuracy {accuracy.mean():.1%}" if len(accuracy) else "all seeds have ended"
        if stage != "final":
            state = f"{stage}, {state}"
        if self.bars is not None:
            self.bars.update(self.cell_bar, completed=training.epoch, state=state)
        elif self.send is not None and self.shown and self.console.is_terminal:
            if perf_counter() - self.last_sent > SENT_EVERY:
                self.last_sent = perf_counter()
                self.send(epoch=training.epoch, state=state)
        elif self.shown and perf_counter() - self.last_line > LINE_EVERY:
            self.last_line = perf_counter()
            self.line(f"epoch {training.epoch}/{self.num_epochs}, {state}")

    def line(self, text: str) -> None:
        """Print a line about the cell, above the bars."""
        line = f"cell {self.job + 1}/{self.num_cells}  {self.label}  {text}"
        if self.send is not None:
            self.send(line=line)
        elif self.shown:
            (self.bars.console if self.bars is not None else self.console).print(Text(line))


class SweepProgress:
    """The progress of cells that are trained side by side: on a terminal a bar for each, lines elsewhere.

    It is drawn by `show` alone, and no thread of it runs when a process is forked.
    """

    def __init__(self, labels: Sequence[str], *, shown: bool):
        self.labels = labels
        self.shown = shown
        self.console = err()
        self.bars: Progress | None = None
        self.bar_by_cell: dict[int, TaskID] = {}

    def __enter__(self) -> "SweepProgress":
        if self.shown and self.console.is_terminal:
            self.bars = _bars(self.console, auto_refresh=False)
            self.all = self.bars.add_task("cells", total=len(self.labels), state="")
            self.bars.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bars is not None:
            self.bars.stop()

    def begin(self, cell: int, num_epochs: int) -> None:
        """Show a cell that has begun."""
        if self.bars is not None:
            self.bar_by_cell[cell] = self.bars.add_task(self.labels[cell], total=num_epochs, state="")

    def tell(self, cell: int | None = None, *, line: str = "", epoch: int = 0, state: str = "") -> None:
        """Show what a worker has sent: a line, or how far its cell is."""
        if line:
            self.line(line)
        elif self.bars is not None and cell is not None:
            self.bars.update(self.bar_by_cell[cell], completed=epoch, state=state)

    def pass_over(self) -> None:
        """Count a cell that has nothing to train."""
        if self.bars is not None:
            self.bars.advance(self.all)

    def end(self, cell: int, *, done: bool) -> None:
        """Show a cell no longer, and count it if it is done."""
        if self.bars is not None:
            self.bars.remove_task(self.bar_by_cell.pop(cell))
            self.bars.advance(self.all, int(done))

    def line(self, text: str) -> None:
        """Print a line of progress, above the bars."""
        if self.shown:
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line, above the bars if there are any."""
        (self.bars.console if self.bars is not None else self.console).print(Text(text))

    def show(self) -> None:
        """Draw the bars as they are now."""
        if self.bars is not None:
            self.bars.refresh()


def _bars(console: Console, *, auto_refresh: bool = True) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(), console=console, transient=True, auto_refresh=auto_refresh,
    )  # fmt: skip


def print_size(cells: "Sequence[Cell | BaselineCell]", datasets: "Sequence[Dataset]") -> None:
    """Print what a sweep consists of, and the data it trains on."""
    from nnbench.protocol.baselines import BaselineCell

    console = err()
    networks = [cell for cell in cells if not isinstance(cell, BaselineCell)]
    baselines = [cell.choices["model"] for cell in cells if isinstance(cell, BaselineCell)]
    trainings = sum(cell.num_trainings() for cell in networks)
    beside = f"; beside them {', '.join(dict.fromkeys(baselines))}" if baselines and networks else ""
    size = f"{_count(len(networks), 'cell')}, {_count(trainings, 'training')}{beside}"
    console.print(Text(size if networks else f"baselines: {', '.join(baselines)}"))
    for dataset in {dataset.name: dataset for dataset in datasets}.values():
        sizes = " / ".join(str(len(split)) for split in (dataset.train, dataset.validation, dataset.test))
        console.print(
            Text(f"{dataset.name}: {dataset.num_features} features, {dataset.num_classes} classes, "
                 f"{sizes} training / validation / test samples")
        )  # fmt: skip
        for warning in dataset.warnings:
            console.print(Text.assemble(("warning: ", "yellow"), warning))


def print_plan(plan: "Plan", *, num_fits: int, num_done: int, at_once: int) -> None:
    """Print what there is left to train, and what that takes; `num_fits` are those of baselines.

    `at_once` cells are trained side by side.
    """
    fits = f"{_count(num_fits, 'fit')} of baselines" if num_fits else ""
    order = "cell by cell" if min(at_once, plan.num_cells) < 2 else f"{min(at_once, plan.num_cells)} cells at a time"
    if num_done:
        err().print(f"{_count(num_done, 'cell')} done already, {plan.num_cells} to train")
    if plan.num_cells:
        err().print(
            f"plan: {_count(plan.num_trainings, 'training')}, {_count(plan.num_steps, 'step')} of the stacks, "
            f"about {_duration(plan.train_seconds / min(at_once, plan.num_cells))} of training, {order}, and "
            f"{in_bytes(plan.num_bytes * min(at_once, plan.num_cells))} of memory"
            f"{'; extensions of a grid come on top' if plan.may_be_extended else ''}{f'; then {fits}' if fits else ''}"
        )
    elif fits:
        err().print(f"plan: {fits}")


def print_coverage(coverage: "Coverage") -> None:
    """Print which cells of a sweep are there: optimizers by activations, baselines, each that is not simply done."""
    console = out()
    states = ", ".join(f"{number} {state}" for state, number in coverage.counts().items())
    of_sweep = f", sweep {coverage.sweep}" if coverage.sweep else ""
    console.print(Text(f"{coverage.study}{of_sweep}: {_count(len(coverage.cells), 'cell')}, {states}"))
    matrix = coverage.matrix()
    if len(matrix):
        table = Table()
        for name in ("", *matrix.columns):
            table.add_column(Text(str(name)), overflow="fold")
        for optimizer, row in matrix.iterrows():
            table.add_row(*(Text(str(word)) for word in (optimizer, *row)))
        console.print(table)
    if baselines := coverage.baselines():
        console.print(Text(f"baselines: {', '.join(f'{model} {state}' for model, state in baselines.items())}"))
    for row in coverage.cells.itertuples():
        if row.state != "done" or row.reason:
            console.print(Text(f"{row.state}  {row.cell}{f': {row.reason}' if row.reason else ''}"))
    if coverage.num_duplicates:
        console.print(f"{_count(coverage.num_duplicates, 'result')} of cells that have a newer one")
    if coverage.num_others:
        console.print(f"{_count(coverage.num_others, 'more cell')} of the study outside of this sweep")
    if not coverage.complete and coverage.command:
        console.print(Text(_to_go_on(coverage.command, resumes=coverage.resumes)))


def print_dataset(dataset: "Dataset") -> None:
    """Print how many samples of each class each split has, with a bar for all three together."""
    import numpy as np

    from nnbench.tracking.contents import class_counts

    table = Table(title=Text(f"{dataset.name}: samples of each class"), title_justify="left")
    table.add_column("class", overflow="fold")
    for name in ("training", "validation", "test"):
        table.add_column(name, justify="right")
    table.add_column("share of all", no_wrap=True)
    counts = class_counts(dataset)
    total = np.sum(list(counts.values()), axis=0)
    for place, (name, number) in enumerate(zip(dataset.class_names, total, strict=True)):
        share = f"{bar(number / total.max()):{WIDTH_OF_BARS}} {number / total.sum():5.1%}"
        table.add_row(Text(name), *(str(of_split[place]) for of_split in counts.values()), share)
    out().print(table)


def print_prediction(prediction: "Prediction") -> None:
    """Print for each sample what the network takes it for, and the probabilities of the classes, the largest first."""
    import numpy as np

    out().print(Text(f"{prediction.cell}, the network of seed {prediction.seed}"))
    for title, said, row in zip(prediction.titles, prediction.predicted, prediction.probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[:MOST_CLASSES]
        true = f" and is {prediction.true}" if prediction.true is not None else ""
        table = Table(title=Text(f"{title} is taken for {said}{true}"), title_justify="left")
        table.add_column("class", overflow="fold")
        table.add_column("probability", no_wrap=True)
        for label in order:
            name = prediction.class_names[label]
            mark = " (true)" if name == prediction.true else ""
            table.add_row(Text(f"{name}{mark}"), f"{bar(row[label]):{WIDTH_OF_BARS}} {row[label]:6.1%}")
        out().print(table)
        if len(order) < len(row):
            out().print(f"and {len(row) - len(order)} more classes")
    for note in prediction.notes:
        out().print(Text(note))


def bar(share: float) -> str:
    """Return a bar of a length between 0 and 1, in steps of half a character."""
    halves = round(2 * WIDTH_OF_BARS * share)
    return "█" * (halves // 2) + "▌" * (halves % 2)


def print_leaderboard(board: "pd.DataFrame", *, dataset: str | None) -> None:
    """Print a leaderboard of `nnbench.analysis.tables` with its facts, best cell first.

    `dataset` is named where there are several.
    """
    columns: dict[str, list[str]] = {
        "test": [],
        "95 % interval": [],
        "validation": [],
        "seeds": [],
        "diverged": [],
        "untuned": [],
    }
    tuned = _tuned_header(board["tuned"])
    columns[tuned] = []
    for row in board.itertuples():
        columns["test"].append(f"{100 * row.mean:.2f}")
        interval = f"{100 * row.low:.2f} to {100 * row.high:.2f}" if row.seeds > 1 else "one seed"
        columns["95 % interval"].append("draws nothing" if row.one_fit else interval)
        columns["validation"].append(f"{100 * row.val_accuracy:.2f}" if row.diverged < row.seeds else "-")
        columns["seeds"].append(str(row.seeds))
        columns["diverged"].append(str(row.diverged))
        columns["untuned"].append(f"{100 * row.untuned:.2f}" if row.tuned else "-")
        columns[tuned].append(_tuned_words(row.tuned, bare=tuned != "tuned") + (" (edge)" if row.at_edge else ""))
    any_tuned = any(board["tuned"])
    left_out = {"diverged"} if not board["diverged"].any() else set()
    left_out |= {"validation"} if any_tuned else {"untuned", tuned}  # so that a line has room for the rest

    title = "Accuracy in %, mean over seeds, best first"
    table = Table(title=Text(f"{dataset}: {title}" if dataset else title), title_justify="left")
    table.add_column("cell", overflow="fold")
    shown = [name for name in columns if name not in left_out]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=name not in (tuned, "cell"), overflow="fold")
    for place, cell in enumerate(board["cell"]):
        table.add_row(Text(str(cell)), *(columns[name][place] for name in shown))
    out().print(table)
    if any_tuned:
        out().print("untuned: the configured hyperparameters on the same seeds")
    if board["at_edge"].any():
        out().print("(edge): the best value lies at the end of its grid; a better one may lie beyond")


def _tuned_header(tuned: "Iterable[Mapping[str, float]]") -> str:
    """Return the name of the one hyperparameter that every tuned cell has, if that is so."""
    names = {tuple(chosen) for chosen in tuned if chosen}
    return names.pop()[0].replace("_", " ") if len(names) == 1 and len(next(iter(names))) == 1 else "tuned"


def _tuned_words(chosen: Mapping[str, float], *, bare: bool) -> str:
    return "\n".join(f"{value:.3g}" if bare else f"{name}={value:.3g}" for name, value in chosen.items()) or "-"


def print_bands(tables: Path) -> None:
    """Print which bands of a study are met or missed, a line each, from the folder of a report's tables."""
    import pandas as pd

    path = tables / "to_reach.csv"
    if not path.exists():
        return
    for row in pd.read_csv(path, dtype=str, keep_default_na=False).itertuples():
        source = f", source {row.published_in_words}" if row.published_in_words else ""
        found = row.found_in_words or "nothing"
        out().print(Text(f"{row.verdict:6}  {row.cell}: {row.what}: {found}, wanted {row.band}{source}"))


def print_findings(cells: Sequence[Mapping[str, Any]]) -> None:
    """Print what the doctor has to say of the cells that are not healthy."""
    for cell in cells:
        if cell["finding"] not in ("healthy", ""):
            advice = f"; try {cell['override']}" if cell["override"] else ""
            out().print(Text(f"doctor  {cell['cell']}: {cell['finding']} ({cell['evidence']}){advice}"))


def print_failures(rows: Sequence[tuple[str, str, Path]]) -> None:
    """Print the cells that failed: label, error and where the traceback is."""
    table = Table(title=f"{_count(len(rows), 'cell')} failed", title_justify="left", title_style="bold red")
    for name in ("cell", "error", "traceback"):
        table.add_column(name, overflow="fold")
    for label, error, log in rows:
        table.add_row(Text(label), Text(error), Text(str(log)))
    err().print(table)


def print_cells(sweep: "SweepFile") -> None:
    """Print the cells of a sweep, one in a line, and which of them need no training."""
    for number, (label, mark) in enumerate(zip(sweep.labels, sweep.fingerprints, strict=True)):
        first = sweep.fingerprints.index(mark)
        why = f"  (the same setting as cell {first + 1})" if first < number else ""
        out().print(Text(f"{number + 1:4}  {label}{'  (done already)' if mark in sweep.done else why}"))


def print_stop(done: int, total: int, command: str | None, *, resumes: bool) -> None:
    """Print what a stopped sweep has done and the command that continues it, or begins anew if it does not resume."""
    err().print(Text(f"stopped: {done} of {_count(total, 'cell')} done"))
    if command is not None:
        err().print(Text(_to_go_on(command, resumes=resumes)))


def _to_go_on(command: str, *, resumes: bool) -> str:
    return f"{'continue' if resumes else 'train all of it again'} with  {command}"


def print_next(steps: Mapping[str, str]) -> None:
    """Print what can be done next: a word and a command or a file."""
    for word, step in steps.items():
        err().print(Text(f"{word}  {step}"))


def in_bytes(number: float) -> str:
    """Return a number of bytes for people."""
    return f"{max(number / 1e6, 1):.0f} MB" if number < 1e9 else f"{number / 1e9:,.1f} GB"


def _duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:,.0f} h"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
