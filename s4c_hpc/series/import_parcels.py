"""Which parcel of a declaration a row of a table from elsewhere is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.config.imports import ImportMapping
from s4c_hpc.core.errors import ConfigError, MissingDataError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_attributes, read_places, read_tiles
from s4c_hpc.parcels.columns import as_text
from s4c_hpc.parcels.ids import original_ids
from s4c_hpc.parcels.pseudonyms import Key, read_key
from s4c_hpc.parcels.read import nearest, read_layer
from s4c_hpc.parcels.read_postgis import is_postgis
from s4c_hpc.series.import_values import UNKNOWN, coded, whole_numbers

ROW: Final = "row"
"""Matching by the number of the row in the declaration's file."""
ORI_ID: Final = "ori_id"
"""Matching by the id in the declaration."""


@dataclass(frozen=True, eq=False)
class Declaration:
    """The parcels of a version, and what a table calls them."""

    version: str
    new_id: NDArray[np.int32]
    """(n,) parcels in the order of the version: by tile and block."""
    tiles: dict[str, tuple[int, int]]
    """First place and the one behind the last of each tile; parcels without a tile are in none."""
    keys: dict[str, str]
    """Key of the parcels of each tile."""
    labels: pa.Array
    """(m,) what the table calls parcels, each once."""
    places: NDArray[np.int64]
    """(m,) place of each of them."""
    years: NDArray[np.int64] | None
    """(n,) year of each parcel; ``None``: not asked for."""
    key: Key | None
    """What makes pseudonyms of ids of a table; ``None``: the workspace knows ids as they are."""

    @property
    def may_quote(self) -> bool:
        """Whether a report in the workspace may say what a table calls parcels."""
        return self.key is None

    def places_of(self, column: pa.ChunkedArray, match: str) -> NDArray[np.int64]:
        """(k,) place of the parcel of each row, -1 for none of ours."""
        texts, row = coded(column)
        if self.key is not None and match == ORI_ID:
            texts = self.key.parcels(texts.fill_null(""))
        found = pc.index_in(texts, value_set=self.labels, skip_nulls=True).fill_null(-1).to_numpy()
        place_of = np.append(self.places, -1)[found]  # -1 is the last one
        return np.append(place_of, -1)[row]

    def has_tile(self) -> NDArray[np.bool_]:
        """(n,) whether each parcel lies on a tile."""
        has = np.zeros(self.new_id.size, bool)
        for begin, end in self.tiles.values():
            has[begin:end] = True
        return has


def read_declaration(workspace: Workspace, config: Config, mapping: ImportMapping) -> Declaration:
    """The newest parcels of a workspace, ready to be found by what a mapping says.

    Raises
    ------
    MissingDataError
        If no parcels have been imported.
    ConfigError
        If they cannot be told apart by that.
    """
    version = latest_version(workspace)
    if version is None:
        raise MissingDataError(
            "there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import' first"
        )
    new_id, begins = read_places(workspace, version)
    ends = [row for row, _ in begins[1:]] + [new_id.size]
    tiles = {name: (row, end) for (row, name), end in zip(begins, ends, strict=True) if name}
    pseudonyms = config.parcels.pseudonyms
    key = None if pseudonyms is None else read_key(pseudonyms, workspace)
    labels, places = _labels(workspace, version, config, mapping, key)
    years = None
    if mapping.parcel_year_column is not None:
        column = _attribute(workspace, version, mapping.parcel_year_column, "parcel_year_column")
        years = whole_numbers(column)
        years = np.where((years >= 1900) & (years <= 2200), years, UNKNOWN)
    keys = {one.tile.id: one.key for one in read_tiles(workspace, version)}
    return Declaration(version, new_id, tiles, keys, labels, places, years, key)


def _labels(
    workspace: Workspace, version: str, config: Config, mapping: ImportMapping, key: Key | None
) -> tuple[pa.Array, NDArray[np.int64]]:
    """What the table calls parcels, and their places."""
    if mapping.match == ROW:
        return _rows(workspace, version, config, mapping, key)
    known = as_text(_attribute(workspace, version, mapping.match, "match"))
    places = np.flatnonzero(known.is_valid().to_numpy(zero_copy_only=False))
    labels = known.take(pa.array(places))
    if len(pc.unique(labels)) < len(labels):
        raise ConfigError(
            f"several parcels have the same {mapping.match!r}",
            where=f"match, parcels {version}",
            hint="name a column that tells parcels apart",
        )
    return labels, places


def _attribute(workspace: Workspace, version: str, name: str, key: str) -> pa.ChunkedArray:
    table = read_attributes(workspace, version)
    if name not in table.column_names:
        raise ConfigError(
            f"parcels have no column {name!r}",
            where=f"{key}, parcels {version}",
            hint=nearest(name, table.column_names),
        )
    return table[name]


def _rows(
    workspace: Workspace, version: str, config: Config, mapping: ImportMapping, key: Key | None
) -> tuple[pa.Array, NDArray[np.int64]]:
    """Numbers of the rows of the declaration's file, which a version does not keep: the file is read again."""
    settings = config.parcels
    if settings.file is None or is_postgis(settings.file):
        why = "no file is named" if settings.file is None else "a table of a data base has no order"
        raise ConfigError(
            f"{why}: the rows of the declaration cannot be counted",
            where="match = row, parcels.file",
            hint="match by ori_id or another column, or set parcels.file",
        )
    layer = read_layer(settings.file, settings.layer, settings.id_columns)
    ids = original_ids(layer.attributes, settings.id_columns, str(settings.file), quote_values=key is None)
    ids = ids if key is None else key.parcels(ids)
    ours = read_attributes(workspace, version, ["ori_id"])["ori_id"].combine_chunks()
    place = pc.index_in(ids, value_set=ours).fill_null(-1).to_numpy().astype(np.int64)
    numbers = pa.array(np.arange(len(ids)) + mapping.first_row).cast(pa.string())
    known = place >= 0
    return numbers.filter(pa.array(known)), place[known]
