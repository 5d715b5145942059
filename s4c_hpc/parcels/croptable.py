"""Crop code tables: what a country's crop codes mean, joined to the parcels when they are imported.

A table (LUT) has a row a crop code. Columns are those of the reference system, in any case and order: ``ori_crop`` (the
code as declared) and ``CTnum`` are needed. A second file leads from the codes to HCAT, the common European taxonomy of
EuroCrops (Schneider et al. 2023, doi:10.1038/s41597-023-02517-0); such files are read, and not part of this package.

What they say are attributes: pixels do not depend on them, so another table computes nothing again.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import InputError, MissingDataError, listing

CODE = "ori_crop"
COLUMNS: Final = {
    "CTnum": pa.int32(),
    "CT": pa.string(),
    "LC": pa.int32(),
    "CTnumL4A": pa.int32(),
    "CTL4A": pa.string(),
    "CTnumDIV": pa.int32(),
    "CTDIV": pa.string(),
    "EAA": pa.int32(),
    "AL": pa.int32(),
    "PGrass": pa.int32(),
    "TGrass": pa.int32(),
    "Fallow": pa.int32(),
    "Cwater": pa.int32(),
}
"""Columns of a table and their types: number and name of the crop, land cover class, number and name for L4A and for
diversification, and flags (1 or 0)."""
_NEEDED = ("CTnum",)
_FLAGS = ("EAA", "AL", "PGrass", "TGrass", "Fallow", "Cwater")
_NUMBER_AND_NAME = (("CTnum", "CT"), ("CTnumL4A", "CTL4A"), ("CTnumDIV", "CTDIV"))
_HCAT_CODES = ("original_code", "original_name")
"""What a declaration has: of some countries the crop's code, of others its name."""
_HCAT_GENERATIONS = ("HCAT4", "HCAT3", "HCAT2", "HCAT")
HCAT_COLUMNS: Final = {"HCAT_code": pa.string(), "HCAT_name": pa.string()}
_N_LISTED = 100


@dataclass(frozen=True)
class CropTable:
    """What is known of crop codes."""

    file: str
    """Name of the file, without its folder."""
    codes: pa.StringArray
    """(n,) distinct codes."""
    columns: pa.Table
    """(n,) rows; null where the file has a gap."""

    def of(self, codes: pa.StringArray) -> pa.Table:
        """The columns for crop codes (m,), null where a code is not in the table."""
        return self.columns.take(pc.index_in(codes, self.codes)).combine_chunks()


def read_crop_table(path: Path) -> CropTable:
    """A table of crop codes.

    Raises
    ------
    MissingDataError, InputError
        The file cannot be used, with the rows at fault, counted from 1 as in an editor.
    """
    names, rows = _read_csv(path)
    by_lower = {name.lower(): name for name in names}
    missing = [name for name in (CODE, *_NEEDED) if name.lower() not in by_lower]
    if missing:
        raise InputError(
            f"there is no column {listing(missing)}",
            where=str(path),
            hint=f"a table of crop codes has {CODE}, {', '.join(COLUMNS)}; this one has {listing(names, 20)}",
        )
    codes = _distinct([row[by_lower[CODE]] for row in rows], CODE, path)
    arrays = {
        name: _typed([row[by_lower[name.lower()]] for row in rows], name, kind, path)
        for name, kind in COLUMNS.items()
        if name.lower() in by_lower
    }
    return CropTable(path.name, codes, pa.table(arrays))


def read_hcat_table(path: Path) -> CropTable:
    """A file of EuroCrops that leads from a country's crop codes to HCAT, of its newest generation.

    Raises
    ------
    MissingDataError, InputError
        The file cannot be used.
    """
    names, rows = _read_csv(path)
    generation = next((g for g in _HCAT_GENERATIONS if {f"{g}_code", f"{g}_name"} <= set(names)), None)
    if generation is None or not set(_HCAT_CODES) & set(names):
        raise InputError(
            "this is no table from crop codes to HCAT",
            where=str(path),
            hint="a file of EuroCrops' country_mappings has original_code, HCAT3_code and HCAT3_name; "
            f"this one has {listing(names, 20)}",
        )
    classes: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        code = next((row[name] for name in _HCAT_CODES if row.get(name)), "")
        classes.setdefault(code, set()).add((row[f"{generation}_code"], row[f"{generation}_name"]))
    classes.pop("", None)
    # A code of several classes says nothing; the report counts it among the unknown ones.
    found = {code: next(iter(pair)) for code, pair in classes.items() if len(pair) == 1}
    columns = {
        name: pa.array([pair[i] or None for pair in found.values()], kind)
        for i, (name, kind) in enumerate(HCAT_COLUMNS.items())
    }
    return CropTable(path.name, pa.array(list(found), pa.string()), pa.table(columns))


@dataclass(frozen=True)
class Joined:
    """The columns of all tables for the rows of a version."""

    columns: pa.Table | None
    report: dict[str, Any]
    """For ``report.json``."""
    notes: tuple[str, ...]


def join(codes: pa.StringArray, table: CropTable | None, hcat: CropTable | None) -> Joined:
    """What the tables say of the crop of each row, and what they do not say.

    Parameters
    ----------
    codes : (n,) crop codes as declared; empty where there is none
    """
    if table is None and hcat is None:
        return Joined(None, {}, ())
    report: dict[str, Any] = {"columns": []}
    notes: list[str] = []
    declared = {v["values"]: v["counts"] for v in pc.value_counts(codes).to_pylist()}
    without = declared.pop("", 0)
    joined: list[pa.Table] = []
    for key, one in (("crop_table", table), ("hcat_table", hcat)):
        if one is None:
            continue
        said = one.of(codes)
        joined.append(said)
        report["columns"] += said.column_names
        known = set(one.codes.to_pylist())
        unknown = {code: n for code, n in declared.items() if code not in known}
        report[key] = {
            "file": one.file,
            "codes": len(known),
            "unused": len(known - declared.keys()),
            "unknown": dict(_largest(unknown)[:_N_LISTED]),
            "n_unknown": len(unknown),
            "parcels_unknown": sum(unknown.values()),
            **({"gaps": _gaps(one, declared), "ambiguous": _ambiguous(one)} if one is table else {}),
        }
        if unknown:
            named = [f"{code} ({n} parcels)" for code, n in _largest(unknown)]
            notes.append(f"{one.file} does not have {len(unknown)} of {len(declared)} crop codes: {listing(named)}")
    if table is not None:
        notes += _table_notes(table, report["crop_table"])
    if without:
        notes.append(f"{without} parcels have no crop code")
    columns = [(name, column) for t in joined for name, column in zip(t.column_names, t.columns, strict=True)]
    return Joined(pa.table(dict(columns)), report, tuple(notes))


def _table_notes(table: CropTable, facts: dict[str, Any]) -> list[str]:
    notes = [
        f"{table.file} has no {name} for {n} parcels, of codes {listing(codes)}"
        for name, (n, codes) in ((name, (gap["parcels"], gap["codes"])) for name, gap in facts["gaps"].items())
    ]
    return notes + [f"{table.file}: {text}" for text in facts["ambiguous"]]


def _gaps(table: CropTable, declared: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Columns in which codes that occur have no value, with the codes and their parcels."""
    gaps: dict[str, dict[str, Any]] = {}
    for name in ("CTnum", "LC", "CTnumL4A"):
        if name in table.columns.column_names:
            empty = table.codes.filter(table.columns[name].is_null().combine_chunks()).to_pylist()
            hit = sorted(code for code in empty if code in declared)
            if hit:
                gaps[name] = {"codes": hit[:_N_LISTED], "parcels": sum(declared[code] for code in hit)}
    return gaps


def _ambiguous(table: CropTable) -> list[str]:
    """Numbers that have several names."""
    found = []
    for number, name in _NUMBER_AND_NAME:
        if not {number, name} <= set(table.columns.column_names):
            continue
        pairs = {
            (a, b)
            for a, b in zip(table.columns[number].to_pylist(), table.columns[name].to_pylist(), strict=True)
            if a is not None and b is not None
        }
        several = sorted(str(n) for n, k in Counter(n for n, _ in pairs).items() if k > 1)
        if several:
            found.append(f"{number} {listing(several)} has several names in {name}")
    return found


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _distinct(codes: list[str], name: str, path: Path) -> pa.StringArray:
    empty = [i for i, code in enumerate(codes) if not code]
    if empty:
        raise InputError(
            f"{name} is empty in {_lines(empty)}", where=str(path), hint="fill the gaps or remove the rows"
        )
    twice = [(code, n) for code, n in Counter(codes).items() if n > 1]
    if twice:
        raise InputError(
            f"{len(twice)} codes occur more than once: {listing([f'{code} ({n} times)' for code, n in sorted(twice)])}",
            where=f"{path}, column {name}",
            hint="keep one row a code",
        )
    return pa.array(codes, pa.string())


def _typed(values: list[str], name: str, kind: pa.DataType, path: Path) -> pa.Array:
    if kind == pa.string():
        return pa.array([v or None for v in values], kind)
    numbers = [_number(v) for v in values]
    limits = (0, 1) if name in _FLAGS else (int(np.iinfo(np.int32).min), int(np.iinfo(np.int32).max))
    wrong = [i for i, (v, n) in enumerate(zip(values, numbers, strict=True)) if v and not _within(n, limits)]
    if wrong:
        raise InputError(
            f"{name} is not {'0 or 1' if name in _FLAGS else 'a whole number'} in {_lines(wrong)}",
            where=str(path),
            hint=f"it is {listing([repr(values[i]) for i in wrong[:3]])} there",
        )
    return pa.array(numbers, kind)


def _number(text: str) -> int | None:
    lowered = text.lower()
    if lowered in {"true", "t", "false", "f"}:
        return int(lowered.startswith("t"))
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return int(value) if value is not None and value.is_integer() else None


def _within(number: int | None, limits: tuple[int, int]) -> bool:
    return number is not None and limits[0] <= number <= limits[1]


def _lines(rows: list[int]) -> str:
    # Line 1 is the header.
    return f"line {listing([str(i + 2) for i in rows])}"


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Names of columns, and rows with every value as text without blanks around it."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingDataError("no such table of crop codes", where=str(path)) from error
    except OSError as error:
        raise MissingDataError(f"cannot be opened ({error.strerror})", where=str(path)) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    # A line in quotes may hold the delimiter, and even a line's end.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines = [[cell.strip() for cell in line] for line in reader]
    names = lines[0] if lines else []
    rows = [line for line in lines[1:] if any(line)]
    if not rows:
        raise InputError("there is no row", where=str(path), hint="a CSV file with a header is meant")
    if len({n.lower() for n in names}) < len(names):
        raise InputError("two columns have the same name", where=str(path))
    short = [i for i, line in enumerate(rows) if len(line) != len(names)]
    if short:
        raise InputError(
            f"{len(short)} rows have another number of columns than the header, first in {_lines(short[:1])}",
            where=str(path),
            hint=f"columns are taken to be divided by {delimiter!r}",
        )
    return names, [dict(zip(names, line, strict=True)) for line in rows]
