"""Loading with a memory: a process that trains many cells reads each data set once."""

from functools import lru_cache

from nnbench.data.dataset import Dataset
from nnbench.data.source import Source


@lru_cache(maxsize=4)
def load(source: Source, dtype: str) -> Dataset:
    """Return the data set of a source, with inputs of that dtype."""
    return source.load(dtype)
