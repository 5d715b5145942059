"""Which files of a plan are there: one listing a folder, no stat a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.plan.graph import Mask


def are_there(root: Path, paths: pa.ChunkedArray) -> Mask:
    """Whether each file exists; (n_paths,).

    Parameters
    ----------
    paths : relative to ``root``, with forward slashes
    """
    folders: dict[str, int] = {}
    codes, names = [np.zeros(0, dtype=np.int64)], []
    for chunk in paths.chunks:  # one after the other: what lies between would be as large as the paths
        folder, name = _split(chunk)
        encoded = folder.dictionary_encode()
        place = [folders.setdefault(text, len(folders)) for text in encoded.dictionary.to_pylist()]
        codes.append(np.asarray(place, dtype=np.int64)[np.asarray(encoded.indices)])
        names.append(name)
    code, name = np.concatenate(codes), pa.concat_arrays([pa.array([], pa.binary()), *names])
    there = np.zeros(len(code), dtype=bool)
    order = np.argsort(code, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(code, minlength=len(folders)))[:-1]) if folders else []
    for folder, rows in zip(folders, rows_of, strict=True):
        there[rows] = np.asarray(pc.is_in(name.take(pa.array(rows)), value_set=_listing(root / folder)))
    return there


def _split(paths: pa.StringArray) -> tuple[pa.Array, pa.Array]:
    """Folder and name of each path."""
    parts = pc.split_pattern(paths, "/", max_splits=1, reverse=True)
    last = np.cumsum(np.asarray(pc.list_value_length(parts))) - 1
    values = parts.flatten()
    folder = values.take(pa.array(np.maximum(last - 1, 0)))
    has_folder = pa.array(np.diff(last, prepend=-1) > 1)
    return pc.if_else(has_folder, folder, ""), values.take(pa.array(last)).cast(pa.binary())


def _listing(folder: Path) -> pa.Array:
    try:
        names = os.listdir(os.fsencode(folder))  # noqa: PTH208 - names alone, as bytes, whatever they are
        return pa.array(names, pa.binary())
    except (FileNotFoundError, NotADirectoryError):
        return pa.array([], pa.binary())
