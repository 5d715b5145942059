"""Parts of a cross-validation: each class in every part, and rows of one field in one part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fold_numbers(
    labels: NDArray[np.object_], groups: NDArray[np.object_], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """(n,) number of the part that each row is in.

    Parameters
    ----------
    labels : (n,) class of each row, rows in a fixed order
    groups : (n,) name of the field that a row belongs to; an empty one is a field of its own

    Notes
    -----
    Fields of a class (that of their first row) are shuffled and dealt out one by one, each class beginning where the
    one before has ended, so that parts of many small classes are equally large.
    """
    named = np.array([group or f"\x00{i}" for i, group in enumerate(groups.tolist())], object)
    _, first, group_of = np.unique(named.astype(str), return_index=True, return_inverse=True)
    # Fields in the order of their first rows: what they are called must not matter.
    by_place = np.argsort(first, kind="stable")
    class_of = labels[first[by_place]].astype(str)
    fold_of_group = np.empty(first.size, np.int64)
    generator = np.random.default_rng(seed)
    dealt = 0
    for name in np.unique(class_of):
        mine = generator.permutation(by_place[class_of == name])
        fold_of_group[mine] = (dealt + np.arange(mine.size)) % n_folds
        dealt += mine.size
    return fold_of_group[group_of]
