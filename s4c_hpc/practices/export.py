"""The practices product as files of the reference: its table, a file a practice, and its third marker database.

Tables are those of TsaCSVWriter.cpp, columns of the marker database those of extract_l4c_markers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.core.errors import InputError, NoInputsError, TemporaryError
from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.practices.codes import PRACTICE_NAMES, Index, Seen, Status
from s4c_hpc.practices.product import ID
from s4c_hpc.practices.table import MAIN_CROP, P_TYPE, digest, texts_of

_AGAIN: Final = "run 's4c run' again"
_ORDER: Final = (
    *("FIELD_ID", "ORIG_ID", "COUNTRY", "YEAR", "MAIN_CROP", "VEG_START", "H_START", "H_END", "PRACTICE", "P_TYPE"),
    *("P_START", "P_END", "L_WEEK", "M1", "M2", "M3", "M4", "M5", "H_WEEK", "H_W_START", "H_W_END", "H_W_S1"),
    *("M6", "M7", "M8", "M9", "M10", "C_INDEX", "S1PIX", "S1GAPS", "H_S1GAPS", "P_S1GAPS", "H_W_S1GAPS"),
    *("H_QUALITY", "C_QUALITY"),
)
_TILLAGE: Final = ("TL_WEEK", "TL_W_START", "TL_W_END")

MDB3: Final = ("M1", "M2", "M3", "M4", "M5")


def read_product(workspace: Workspace, config: Config, set_name: str) -> pa.Table:
    """What is said of all parcels of a site, a row a parcel and tile, by NewID.

    Raises
    ------
    NoInputsError
        If there is no product.
    TemporaryError
        If files are of different configurations.
    """
    folder = workspace.markers / set_name / str(config.site.season_end.year)
    paths = sorted(folder.glob(f"{config.site.name}_*.arrow"))
    if not paths:
        raise NoInputsError("there is no practices product", where=str(folder), hint="run 's4c run' with [practices]")
    tables = [open_ipc(path).read_all() for path in paths]
    if len({tuple(table.schema.names) for table in tables}) > 1:
        raise TemporaryError("files of tiles have different columns", where=str(folder), hint=_AGAIN)
    return pa.concat_tables([table.replace_schema_metadata(tables[0].schema.metadata) for table in tables]).sort_by(ID)


def write_reference_tables(workspace: Workspace, config: Config, product: pa.Table, out: Path) -> list[Path]:
    """A file a practice that any parcel has, as the reference names and writes them; their paths.

    Raises
    ------
    InputError
        If ``out`` is a file.
    TemporaryError
        If the table of practices is another one than the product was made with.
    """
    ids = product[ID].to_numpy()
    own = _own_ids(workspace, ids)
    table, country = config.practices.table, config.practices.country or ""
    year = config.site.season_end.year
    said = read_metadata(product.schema)
    if said.get("table", "") != (digest(table) if table else ""):
        raise TemporaryError("the table of practices has changed since", where=str(table), hint=_AGAIN)
    texts = texts_of(table, config.practices.delimiter, own.tolist()) if table else {}
    empty = np.full(ids.size, "")
    columns: dict[str, Any] = {
        "FIELD_ID": ids,
        "ORIG_ID": own,
        "COUNTRY": np.full(ids.size, country),
        "YEAR": np.full(ids.size, year),
        MAIN_CROP: texts.get(MAIN_CROP, empty),
        P_TYPE: texts.get(P_TYPE, empty),
    }
    practice = product["PRACTICE"].to_numpy()
    is_declared = product["STATUS"].to_numpy() != Status.NO_SEASON
    written = []
    if out.exists() and not out.is_dir():
        raise InputError("is no folder", where=str(out), hint="name the folder of the tables")
    out.mkdir(parents=True, exist_ok=True)
    names = [*_ORDER, *(name for name in _TILLAGE if name in product.schema.names)]
    for name, code in PRACTICE_NAMES.items():
        rows = np.flatnonzero((practice == code) & is_declared)
        if not rows.size:
            continue
        columns["PRACTICE"] = np.full(ids.size, name)
        taken = {
            one: np.asarray(columns[one] if one in columns else _texts(one, product[one].to_numpy()))[rows]
            for one in names
        }
        path = out / f"Sen4CAP_L4C_{name}_{country or 'ALL'}_{year}_CSV.csv"
        options = pa.csv.WriteOptions(delimiter=";", quoting_style="none", include_header=False)
        with path.open("wb") as sink:
            sink.write((";".join(names) + "\n").encode())
            pa.csv.write_csv(pa.table({one: pa.array(taken[one]) for one in names}), sink, options)
        written.append(path)
    return written


def write_mdb3(product: pa.Table, day: str, path: Path) -> None:
    """Markers M1 to M5 of the last week as the reference's marker database has them: ``20210906_M1``, 8-bit codes."""
    fields = [
        pa.field(ID, pa.int32(), nullable=False),
        *(pa.field(f"{day}_{m}", pa.int8(), nullable=False) for m in MDB3),
    ]
    table = product.select([ID, *MDB3]).combine_chunks()
    schema = pa.schema(fields)
    arrays = [table[name].combine_chunks() for name in (ID, *MDB3)]
    write_ipc(path, schema, [pa.RecordBatch.from_arrays(arrays, schema=schema)])


def last_week(product: pa.Table) -> str:
    """Latest Monday of radar of any parcel, ``20210906``.

    Raises
    ------
    NoInputsError
        If no parcel has any.
    """
    latest = int(product["L_WEEK"].to_numpy().max(initial=-1))
    if latest < 0:
        raise NoInputsError("no parcel could be judged", hint="column STATUS says why")
    return str(latest)


def _own_ids(workspace: Workspace, ids: NDArray[np.int32]) -> NDArray[np.object_]:
    """(n,) ids of the declaration."""
    version = latest_version(workspace) or ""
    known = read_attributes(workspace, version, ["NewID", "ori_id"]).sort_by("NewID")
    at = np.searchsorted(known["NewID"].to_numpy(), ids)
    own: NDArray[np.object_] = known["ori_id"].take(pa.array(at)).to_numpy()
    return own


def _texts(name: str, values: NDArray[Any]) -> NDArray[np.str_]:
    """Codes and days as the reference writes them."""
    unique, at = np.unique(values, return_inverse=True)
    text = _writer(name)
    return np.array([text(int(value)) for value in unique])[at]


def _writer(name: str) -> Callable[[int], str]:
    if name == "C_INDEX":
        return lambda value: Index(value).name
    if name in {"H_QUALITY", "C_QUALITY"}:
        return lambda value: "1" if value else ""
    if name[0] == "M" and name[1:].isdigit():
        return lambda value: Seen(value).name
    if name.endswith("GAPS") or name == "S1PIX" or (name.endswith("_WEEK") and name != "L_WEEK"):
        return lambda value: _missing(name, value) if value < 0 else str(value)
    return lambda value: (
        _missing(name, value) if value < 0 else f"{value // 10000}-{value // 100 % 100:02}-{value % 100:02}"
    )


def _missing(name: str, value: int) -> str:
    """What stands where there is no number."""
    if value == -10001:
        if name.startswith("TL_"):
            return "NO-TILLAGE"
        return "NO-HARVEST" if name.startswith("H_W") else ""
    return "NA1" if value == -10002 else "NA"
