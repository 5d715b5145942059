"""What a site will take, from the numbers of its parcels and the sizes of its features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from s4c_hpc.classify.declarations import Declarations
from s4c_hpc.classify.sampling import n_taught
from s4c_hpc.config.classify import Classify

FOREST_BYTES: Final = 1 << 30
"""Bound of the trees of an ensemble in memory, and in the model's file before it is packed. Trees of many rows stop
when their share of it is used up, having split the most mixed nodes first; 300 trees of 8 classes reach it at 14 000
leaves each."""

DISCRIMINANT_ROWS: Final = 20_000
"""Rows that its discriminant learns from, at most; the largest classes are thinned first. Both stand here and not in
``ensemble``, since a plan does not load scikit-learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Upper bounds: every parcel of a class may turn out able to teach."""

    n_parcels: int
    n_rows: int
    """Parcels that teach, and those that are made up."""
    feature_bytes: int
    """Size of all features, as they are planned."""
    model_bytes: int
    """Size of the trees of a model."""
    discriminant_bytes: int
    """What the discriminant of an ensemble is made of."""
    work: float
    """Values that trees are grown over, in all models."""

    @classmethod
    def of(cls, declared: Declarations, config: Classify, feature_bytes: int) -> Size:
        """Size of the classification of a site.

        Parameters
        ----------
        feature_bytes : of all feature files together
        """
        parcels = declared.parcels
        pairs = np.char.add(np.char.add(parcels.stratum.astype(str), "\x1f"), parcels.label.astype(str))
        _, n_each = np.unique(pairs, return_counts=True)
        able = n_each[n_each >= config.class_min_parcels]
        taught = [n_taught(int(n), config) for n in able]
        made_up = sum(max(0, config.smote_target - n) for n in taught) if config.sampling == "reference" else 0
        n_rows = sum(taught) + made_up
        # Of noise, a tree has 2.6 to 3.5 nodes for each min_node rows, and never two for each row.
        n_nodes = min(2 * n_rows, 4 * n_rows / config.min_node)
        n_columns = feature_bytes / 4 / max(len(parcels), 1)
        # A node of scikit-learn's trees, and a share for each class.
        model_bytes = config.trees * n_nodes * (64 + 8 * max(1, able.size))
        is_ensemble = config.model == "ensemble"
        return cls(
            n_parcels=len(parcels),
            n_rows=n_rows,
            feature_bytes=feature_bytes,
            model_bytes=int(min(model_bytes, FOREST_BYTES) if is_ensemble else model_bytes),
            discriminant_bytes=int(is_ensemble * min(n_rows, DISCRIMINANT_ROWS) * 64 * (n_columns + 500)),
            # sqrt(p) features are looked at on each of some ten levels.
            work=(config.folds + 1) * config.trees * n_rows * max(1.0, n_columns) ** 0.5 * 10,
        )

    @property
    def bytes_out(self) -> int:
        """Most bytes of all files but what is said of inputs and tiles."""
        return 400 * self.n_parcels + self.model_bytes + 3 * 2**20

    def params(self) -> dict[str, int]:
        """For ``resources`` of the stage."""
        return {
            "feature_bytes": self.feature_bytes,
            "taught_bytes": self.n_rows * (self.feature_bytes // max(self.n_parcels, 1)),
            "model_bytes": self.model_bytes,
            "discriminant_bytes": self.discriminant_bytes,
        }
