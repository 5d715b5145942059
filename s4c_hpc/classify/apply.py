"""A saved model on feature files alone: no parcels, no declarations, no plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from s4c_hpc.classify.matrix import has_values, matched, read_matrix
from s4c_hpc.classify.models import probabilities
from s4c_hpc.classify.saved import SavedModel
from s4c_hpc.classify.site import best_two
from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.features import read_features
from s4c_hpc.series.contract import ID


def apply_model(
    saved: SavedModel, files: Sequence[Path], season_start: dt.date, stratum: str = "", cores: int = 1
) -> pa.Table:
    """The two most likely classes of every parcel that has a feature.

    Parameters
    ----------
    files : feature files, layers behind those that they lie over
    season_start : of their season: periods of the model are counted from the start of its own
    stratum : whose model judges, if there are several

    Returns
    -------
    (n,) rows by NewID: ``CT_pred_1, CT_conf_1, CT_pred_2, CT_conf_2``

    Raises
    ------
    ConfigError
        If the model has none of this stratum.
    InputError
        If features of the model are missing, with a list, or there is no value of one.
    """
    name = saved.of(stratum)
    if name is None:
        known = listing(sorted(saved.models))
        raise ConfigError(
            f"the model has none of stratum {stratum!r}",
            where=saved.site,
            hint=f"it has {known}",
        )
    ids = [read_features(path).new_id for path in files]
    new_id = np.unique(np.concatenate(ids)) if ids else np.empty(0, np.int32)
    matrix = read_matrix(files, new_id, season_start)
    values = matched(saved.features, matrix, listing([str(path) for path in files], 3))
    has = has_values(values)
    if not has.any():
        raise InputError(
            "no parcel has a value of a feature of the model", where=listing([str(path) for path in files], 3)
        )
    classes = saved.classes[name]
    chances = probabilities(saved.models[name], values, has, classes, cores)
    (first, sure), (second, less) = best_two(chances, classes)
    return pa.table(
        {
            ID: new_id[has],
            "CT_pred_1": pa.array(first, pa.string()),
            "CT_conf_1": sure,
            "CT_pred_2": pa.array(second, pa.string()),
            "CT_conf_2": less,
        }
    )
