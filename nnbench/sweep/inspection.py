"""`inspect=true`: what the data are, in the terminal and as a picture, before anything is trained."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nnbench import terminal
from nnbench.data import Dataset
from nnbench.tracking import contents, store

FOLDER = Path("outputs", "inspect")  # below the current folder


def show(datasets: Iterable[Dataset]) -> int:
    """Print how often each class of each data set occurs, and where a picture of it lies; return the exit status.

    Of several data sets of one name, such as one that is scaled in two ways, the later ones have a number.
    """
    paths: list[Path] = []
    for dataset in datasets:
        terminal.print_dataset(dataset)
        stem, number = store.file_name(dataset.name), 1
        while (path := FOLDER / f"{stem}{f'_{number}' if number > 1 else ''}.png") in paths:
            number += 1
        paths.append(path)
        try:
            _write_picture(dataset, path)
        except OSError as error:
            way_out = "mend it, or give the command in another folder"
            terminal.print_problems([f"{path.absolute()} cannot be written: {error.strerror or error}; {way_out}"])
            return 1
        terminal.print_next({"picture": str(path)})
    return 0


def _write_picture(dataset: Dataset, path: Path) -> None:
    """Draw the label distribution and, of images, some of the training split; raises OSError."""
    from nnbench.analysis.plots import data_set_figure

    counts = pd.DataFrame(contents.class_counts(dataset), index=pd.Index(dataset.class_names))
    images, labels = contents.sample_images(dataset)
    figure = data_set_figure(counts, images, labels, title=dataset.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    contents.write_figure(figure, path)
