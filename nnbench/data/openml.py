"""Data sets of openml.org, downloaded once and then read from the cache.

Numeric and boolean columns are features as they are; a categorical column becomes one feature of zeros and ones for
each of its categories, named `column=category`; columns of text or dates are refused. Inputs are (rows, features).
"""

import socket
import warnings
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

import numpy as np
from numpy.typing import NDArray

from nnbench.data.dataset import DataError
from nnbench.data.download import cache_folder
from nnbench.data.labels import class_names_of, encode
from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source, require
from nnbench.data.tables import check_finite, first_line, texts_of_labels

NUM_RETRIES = 1
RETRY_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class OpenML(Source):
    """A classification data set of openml.org, by `openml_name` and `version`, or by `data_id`.

    `target` is the column of the label; without one it is the data set's own. Vanschoren et al., 2014, arXiv:1407.7722.
    """

    openml_name: str | None = None
    version: int = 1  # never "active", which changes with time
    data_id: int | None = None
    target: str | None = None
    scaling: Scaling = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        names = (self.openml_name, self.data_id)
        require("(openml_name, data_id)", names, names.count(None) == 1, "one of the two and null for the other")
        require("version", self.version, self.version >= 1, "at least 1")

    def read(self) -> Samples:
        """Fetch the data set, from the cache if it is there."""
        origin = f"OpenML {self.openml_name} version {self.version}" if self.openml_name else f"OpenML {self.data_id}"
        bunch, notes = self.fetch(origin)
        inputs, feature_names = encode_columns(bunch.data, origin)
        check_finite(inputs, feature_names, origin)
        target = bunch.target
        if target is None or target.ndim != 1:
            raise DataError(f"{origin} has no single target column of its own; name one with dataset.target=COLUMN")
        label_texts = texts_of_labels(target, target.name, origin)
        class_names = class_names_of(label_texts)
        return Samples(
            name=bunch.details["name"],
            origin=origin,
            inputs=inputs,
            labels=encode(label_texts, class_names),
            class_names=class_names,
            feature_names=feature_names,
            warnings=notes,
        )

    def fetch(self, origin: str) -> tuple[Any, tuple[str, ...]]:
        """Return what scikit-learn fetches, and what openml.org says against the data set."""
        from sklearn.datasets import fetch_openml

        which = {"name": self.openml_name, "version": self.version} if self.openml_name else {"data_id": self.data_id}
        folder = cache_folder()
        timeout_before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_SECONDS)  # fetch_openml has none, and would wait for a silent server for ever
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                bunch = fetch_openml(
                    **which,
                    target_column=self.target or "default-target",
                    data_home=folder,
                    as_frame=True,
                    # Slower than parser="pandas", which with pandas 3.1 fails on categories that look like numbers or
                    # booleans (scikit-learn #34902) and names them as pandas understands them, not as the file does.
                    parser="liac-arff",
                    n_retries=NUM_RETRIES,
                    delay=RETRY_SECONDS,
                )
        except Exception as error:  # network, JSON and ARFF fail in their own ways
            if isinstance(error, HTTPError):
                error.close()
            raise DataError(
                f"{origin} is not in {folder} and could not be fetched ({first_line(error)}); check its name, version "
                "and target on openml.org, and the network; a set fetched once is read without it"
            ) from error
        finally:
            socket.setdefaulttimeout(timeout_before)
        notes = (str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
        return bunch, tuple(note for note in notes if "OpenML" in note or "inactive" in note)


def encode_columns(frame: Any, origin: str) -> tuple[NDArray, tuple[str, ...]]:
    """Return the features of a pandas table, (rows, features) in float64, and their names."""
    import pandas as pd

    columns, names = [], []
    for name in frame.columns:
        values = frame[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            if values.isna().any():
                row = int(values.isna().to_numpy().argmax())
                raise DataError(f"{origin}, row {row + 1}: column {name!r} is missing; choose a data set without gaps")
            for category in values.cat.categories:
                columns.append((values == category).to_numpy(dtype=np.float64))
                names.append(f"{name}={category}")
        elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values):
            columns.append(values.to_numpy(dtype=np.float64, na_value=np.nan))
            names.append(str(name))
        else:
            raise DataError(
                f"{origin}: column {name!r} holds {values.dtype}, neither numbers nor categories; save the data set "
                "without it as a table and use dataset=csv"
            )
    if not columns:
        raise DataError(f"{origin} has no column beside its target; it needs at least one feature")
    return np.stack(columns, axis=-1), tuple(names)
