"""The public catalogue of spectral indices that the ``spyndex`` package carries, as formulas over our bands.

Only its data files are read. Importing the package would pull in a stack of libraries that nothing here needs.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from s4c_hpc.core.errors import MissingDataError
from s4c_hpc.optical.formula import Formula, parse

BANDS: Final[Mapping[str, str]] = {
    "A": "B01",
    "B": "B02",
    "G": "B03",
    "R": "B04",
    "RE1": "B05",
    "RE2": "B06",
    "RE3": "B07",
    "N": "B08",
    "N2": "B8A",
    "WV": "B09",
    "S1": "B11",
    "S2": "B12",
}
"""The catalogue's symbol of each Sentinel-2 band; Landsat's bands go by the Sentinel-2 name of the same role."""

RADAR: Final = ("HH", "HV", "VH", "VV")
"""Backscatter by polarisation, called the same in the catalogue and here: a linear power, never dB."""

_WAVELENGTH = "lambda"
_REASONS: Final[Mapping[str, str]] = {
    "T": "a thermal band",
    "T1": "a thermal band",
    "T2": "a thermal band",
    "Y": "a yellow band",
    "G1": "a second green band",
    "PAR": "the photosynthetically active radiation",
}


@dataclass(frozen=True, slots=True)
class SpyndexIndex:
    """One entry of the catalogue."""

    key: str
    """Short name with its capitals."""
    long_name: str
    reference: str
    """Publication, as an address."""
    formula: Formula | None
    """Over our band names, constants written in place; ``None`` where no sensor can give it."""
    constants: tuple[tuple[str, float], ...]
    """Name and value of each constant that was written in place."""
    missing: tuple[str, ...]
    """What it needs that no sensor measures, in words."""

    @property
    def source(self) -> str:
        """Where the formula comes from, with the values of its constants."""
        constants = ", ".join(f"{name} = {value:g}" for name, value in self.constants)
        return f"spyndex {_version()} {self.key}, {self.reference}" + (f"; with {constants}" if constants else "")


@lru_cache(maxsize=1)
def spyndex_indices() -> Mapping[str, SpyndexIndex]:
    """Every entry of the catalogue by its short name.

    Constants take the catalogue's defaults. Central wavelengths are those of Sentinel-2A for every satellite:
    they differ by less than 1 % between satellites, and an index must not jump from one to the other.
    """
    bands = {**BANDS, **{name: name for name in RADAR}}
    symbols: dict[str, str | float] = {**_constants(), **_wavelengths(), **bands}
    entries = _read("spectral-indices-dict.json")["SpectralIndices"]
    return {key: _entry(key, entry, symbols) for key, entry in sorted(entries.items())}


def _entry(key: str, entry: Mapping[str, Any], symbols: Mapping[str, str | float]) -> SpyndexIndex:
    text = str(entry["formula"])
    used = sorted({node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)})
    unknown = [name for name in used if name not in symbols]
    constants = tuple((n, value) for n in used if not isinstance(value := symbols.get(n, ""), str))
    return SpyndexIndex(
        key=key,
        long_name=str(entry["long_name"]),
        reference=str(entry["reference"]),
        formula=None if unknown else parse(text, where=f"spyndex {key}", symbols=symbols),
        constants=constants,
        missing=tuple(_in_words(name) for name in unknown),
    )


def _in_words(symbol: str) -> str:
    if symbol.startswith("k"):
        return f"{symbol} (a kernel of two bands, whose length scale is fitted to the scene)"
    return f"{symbol} ({_REASONS[symbol]})" if symbol in _REASONS else symbol


def _constants() -> dict[str, float]:
    table = _read("constants.json")
    return {name: float(entry["default"]) for name, entry in table.items() if entry["default"] is not None}


def _wavelengths() -> dict[str, float]:
    """Central wavelengths in nanometres, as ``lambdaN`` and the like."""
    bands = _read("bands.json")
    return {f"{_WAVELENGTH}{symbol}": float(bands[symbol]["platforms"]["sentinel2a"]["wavelength"]) for symbol in BANDS}


def _read(name: str) -> dict[str, Any]:
    path = _data_folder() / name
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(
            "the catalogue of spectral indices is incomplete", where=str(path), hint="install spyndex again"
        ) from error
    return content


def _data_folder() -> Path:
    found = find_spec("spyndex")
    if found is None or found.origin is None:
        raise MissingDataError(
            "the package spyndex, which holds the catalogue of spectral indices, is not installed",
            hint="pip install spyndex",
        )
    return Path(found.origin).parent / "data"


@lru_cache(maxsize=1)
def _version() -> str:
    return version("spyndex")
