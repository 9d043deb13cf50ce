"""Stratified draws: which samples train, which select, which test.

Not scikit-learn's `train_test_split`, which refuses a class with one sample and a split smaller than the number of
classes; here such a class lands where its share puts it, and `Source.load` warns about the splits that lack it.
"""

import numpy as np
from numpy.typing import NDArray


def draw_stratified(
    candidates: NDArray, labels: NDArray, count: int, rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Draw `count` of the `candidates`, every class in proportion, at random within a class.

    `candidates` are indices into `labels`. Returns the indices drawn and the rest, each in ascending order. The counts
    per class are shares of `count`, rounded by largest remainder, so that they differ from the exact share by less
    than one sample.
    """
    candidate_labels = labels[candidates]
    class_sizes = np.bincount(candidate_labels)
    quotas, remainders = np.divmod(class_sizes * count, len(candidates))
    num_missing = count - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:num_missing]] += 1

    drawn = np.zeros(len(candidates), dtype=bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(candidate_labels == label)
        drawn[rng.permutation(members)[:quota]] = True
    return candidates[drawn], candidates[~drawn]
