"""What a variable is: a band, a named index, the user's own formula or a network, resolved to one function each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from s4c_hpc.catalog.angles import COSINES
from s4c_hpc.config.model import BAND_NAME, Variables
from s4c_hpc.core.errors import ConfigError, listing
from s4c_hpc.optical.biophysical import network_variables
from s4c_hpc.optical.formula import PixelFunction, parse
from s4c_hpc.optical.spyndex_catalogue import BANDS, RADAR, SpyndexIndex, spyndex_indices
from s4c_hpc.optical.variable import DIMENSIONLESS, Variable

OPTICAL: Final = "optical"
RADAR_SENSOR: Final = "radar"

SENTINEL2_BANDS: Final = tuple(sorted(BANDS.values()))
"""Bands of Sentinel-2 that level 2A products may hold."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An index that may be named in ``variables.indices``."""

    name: str
    """What to write there; the variable has the same name in lower case."""
    formula: PixelFunction
    """Over our band names."""
    long_name: str
    source: str
    sensor: str = OPTICAL
    """``optical`` or ``radar``."""


_OURS: Final = tuple(
    Variable(name, parse(text), DIMENSIONLESS, long_name, source)
    for name, text, long_name, source in (
        (
            "ndvi",
            "(B08 - B04) / (B08 + B04)",
            "Normalized difference vegetation index",
            "Rouse et al. 1974, NASA SP-351, vol. 1, p. 309",
        ),
        (
            "ndwi_gao",
            "(B08 - B11) / (B08 + B11)",
            "Normalized difference water index of vegetation, rises with leaf water",
            "Gao 1996, doi:10.1016/S0034-4257(96)00067-3, in Sen4CAP's L3B form (its L4A form has the opposite sign)",
        ),
        (
            "ndwi_mcfeeters",
            "(B03 - B08) / (B03 + B08)",
            "Normalized difference water index of open water",
            "McFeeters 1996, doi:10.1080/01431169608948714",
        ),
        (
            # The catalogue of spyndex gives SAVI the L of EVI, 1.
            "savi",
            "1.5 * (B08 - B04) / (B08 + B04 + 0.5)",
            "Soil-adjusted vegetation index, L = 0.5",
            "Huete 1988, doi:10.1016/0034-4257(88)90106-X",
        ),
        (
            "brightness",
            "sqrt(B03 ** 2 + B04 ** 2 + B08 ** 2 + B11 ** 2)",
            "Brightness, norm of four reflectances",
            "Sen4CAP L4A optical features",
        ),
        (
            "brightness_l3b",
            "sqrt((B04 ** 2 + B03 ** 2) / 2)",
            "Soil brightness index",
            "Sen4CAP L3B, after Escadafal 1989 (BI)",
        ),
        (
            "bsi",
            "((B11 + B04) - (B08 + B02)) / ((B11 + B04) + (B08 + B02))",
            "Bare soil index",
            "Rikimaru, Roy and Miyatake 2002, Tropical Ecology 43(1), 39-47",
        ),
    )
)

DECIBEL: Final = "dB"

_OURS_RADAR: Final = tuple(
    Variable(name, parse(text), DECIBEL, long_name, "Sen4CAP marker databases 1 and 2: dB per pixel, then statistics")
    for name, text, long_name in (
        ("vv_sigma0_db", "10 * log(VV) / log(10)", "Backscatter in polarisation VV"),
        ("vh_sigma0_db", "10 * log(VH) / log(10)", "Backscatter in polarisation VH"),
        ("vv_vh_db", "10 * log(VV / VH) / log(10)", "Ratio of backscatter, VV to VH"),
    )
)
"""Of linear power; no value where a polarisation is not above 0. The mean of ``vv_vh_db`` is over pixels that have both
polarisations; the reference's marker database 2 subtracts two means, each over the pixels of its polarisation."""

_AMBIGUOUS: Final[Mapping[str, str]] = {
    "ndwi": "write ndwi_gao (B08 and B11, leaf water) or ndwi_mcfeeters (B03 and B08, open water)"
}
"""Names in common use for two different things."""


@lru_cache(maxsize=1)
def list_indices() -> tuple[IndexEntry, ...]:
    """Every index that can be had: ours, then those of spyndex in alphabetical order, those of radar last."""
    known = (*_OURS, *_OURS_RADAR)
    ours = [IndexEntry(v.name, v.formula, v.long_name, v.source, _sensor(v.formula)) for v in known]
    taken = {v.name for v in known} | set(_AMBIGUOUS)
    theirs = [
        IndexEntry(entry.key, entry.formula, entry.long_name, entry.source, _sensor(entry.formula))
        for entry in spyndex_indices().values()
        if entry.formula is not None and entry.key.lower() not in taken
    ]
    return tuple(sorted([*ours, *theirs], key=lambda entry: entry.sensor != OPTICAL))


def resolve(variables: Variables) -> tuple[Variable, ...]:
    """The variables that a configuration asks for: bands, indices, formulas, networks, each in the order given.

    Raises
    ------
    ConfigError
        For a name that is unknown (with the nearest one), ambiguous, impossible with the bands there are, or given
        twice, for a formula that cannot be read and for a set of networks that lacks a variable. Whether a product
        *has* a band is only known when a plan is made.
    """
    resolved = [_band(name) for name in variables.bands]
    resolved += [index_variable(name) for name in variables.indices]
    resolved += [
        Variable(
            name,
            parse(text, where=f"variables.formulas.{name}"),
            DIMENSIONLESS,
            f"Formula {name} of the configuration",
            "configuration",
        )
        for name, text in variables.formulas.items()
    ]
    resolved += network_variables(variables)
    if not resolved:
        raise ConfigError("no variable is asked for", where="variables", hint="name bands, indices or formulas")
    seen: set[str] = set()
    for variable in resolved:
        if variable.name in seen:
            raise ConfigError(
                f"two variables are called {variable.name!r}",
                where="variables",
                hint="remove one, or give it another name under [variables.formulas]",
            )
        seen.add(variable.name)
    return tuple(resolved)


def index_variable(name: str) -> Variable:
    """The index of that name; capitals matter only where two entries of spyndex differ in nothing else."""
    where, lowered = "variables.indices", name.lower()
    if lowered in _AMBIGUOUS:
        raise ConfigError(f"{name!r} means two different indices", where=where, hint=_AMBIGUOUS[lowered])
    for variable in (*_OURS, *_OURS_RADAR):
        if variable.name == lowered:
            return variable
    catalogue = spyndex_indices()
    same = [catalogue[name]] if name in catalogue else [e for e in catalogue.values() if e.key.lower() == lowered]
    if len(same) > 1:
        meanings = " or ".join(f"{e.key} ({e.long_name})" for e in same)
        raise ConfigError(f"{name!r} means several indices", where=where, hint=f"write {meanings}")
    if not same:
        known = [v.name for v in _OURS] + [key.lower() for key in catalogue]
        raise ConfigError(
            f"no index is called {name!r}",
            where=where,
            hint=f"{_nearest(lowered, known)}'s4c config indices' lists all; "
            "a formula of your own goes under [variables.formulas]",
        )
    return _from_spyndex(same[0], where)


def check_bands(variables: Iterable[Variable], available: Iterable[str]) -> None:
    """Refuse a variable that needs a band which no product of the season has.

    Parameters
    ----------
    variables : resolved variables
    available : names of every band that any product has, pseudo-bands of angles among them
    """
    bands = sorted(set(available))
    for variable in variables:
        forms = [variable, *variable.by_platform.values()]
        if any(set(form.formula.names) <= set(bands) for form in forms):
            continue
        name = next(name for name in variable.formula.names if name not in bands)
        if name in COSINES:
            raise ConfigError(
                f"variable {variable.name!r} needs sun and view angles, which no product of the season has",
                where="variables.biophysical",
                hint="SAFE, MAJA and Landsat products have them; for a GeoTIFF set give them in its [[sources]], "
                "angles = { sza = 40, saa = 150, vza = 5, vaa = 100 }, or leave the variable out",
            )
        raise ConfigError(
            f"variable {variable.name!r} needs band {name}, which no product of the season has",
            where="variables",
            hint=f"{_nearest(name, bands)}bands there are {listing(bands, 20)}; "
            "correct the name, or leave the variable out",
        )


def _from_spyndex(entry: SpyndexIndex, where: str) -> Variable:
    if entry.formula is None:
        raise ConfigError(
            f"index {entry.key!r} cannot be computed from the bands there are: it needs {', '.join(entry.missing)}",
            where=where,
            hint="'s4c config indices' lists those that can; own formulas go under [variables.formulas]",
        )
    return Variable(entry.key.lower(), entry.formula, DIMENSIONLESS, entry.long_name, entry.source)


def _sensor(formula: PixelFunction) -> str:
    return RADAR_SENSOR if set(formula.names) <= set(RADAR) else OPTICAL


def _band(name: str) -> Variable:
    if not BAND_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a band name",
            where="variables.bands",
            hint=f"{_nearest(name.upper(), (*SENTINEL2_BANDS, *RADAR))}band names are in capitals, e.g. B04, B8A or VV",
        )
    meaning = "Radar backscatter in polarisation" if name in RADAR else "Surface reflectance in band"
    return Variable(name.lower(), parse(name), DIMENSIONLESS, f"{meaning} {name}", "product")


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(found)}? " if found else ""
