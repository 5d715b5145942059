"""LAI, FAPAR, FCOVER, CCC and CWC: the published sets of networks, and which one a product takes.

The numbers are in ``configs/biophysical/``, a file a set; ``network.py`` evaluates them.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from s4c_hpc.config.model import Variables
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ConfigError, listing
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.optical.network import Domain, Network, Outside, cell_number
from s4c_hpc.optical.variable import DIMENSIONLESS, Variable

SETS: Final[Mapping[str, str]] = {
    "2.1/S2": "s2-v2.1",
    "3.0/S2A": "s2a-v3.0",
    "3.0/S2B": "s2b-v3.0",
    "3.0/S2A_10m": "s2a-10m-v3.0",
    "3.0/S2B_10m": "s2b-10m-v3.0",
    "3.0/LANDSAT8": "landsat8-v3.0",
    "sen2agri/S2_allbands": "s2-sen2agri",
}
"""File of each set."""

BY_PLATFORM: Final[Mapping[str, Mapping[str, str]]] = {
    "auto": {
        "": "2.1/S2",
        "sentinel-2a": "3.0/S2A",
        "sentinel-2b": "3.0/S2B",
        "sentinel-2c": "3.0/S2B",
        "landsat-8": "3.0/LANDSAT8",
        "landsat-9": "3.0/LANDSAT8",
    },
    "auto_10m": {
        "": "3.0/S2A_10m",
        "sentinel-2a": "3.0/S2A_10m",
        "sentinel-2b": "3.0/S2B_10m",
        "sentinel-2c": "3.0/S2B_10m",
        "landsat-8": "3.0/LANDSAT8",
        "landsat-9": "3.0/LANDSAT8",
    },
}
"""Choice of ``variables.biophysical_set`` -> platform -> set; the empty platform stands for every other one."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a network gives."""

    long_name: str
    unit: str


QUANTITIES: Final[Mapping[str, Quantity]] = {
    "lai": Quantity("Leaf area index, green area", "m2 m-2"),
    "fapar": Quantity("Fraction of absorbed photosynthetically active radiation", "1"),
    "fcover": Quantity("Fraction of ground covered by green vegetation", "1"),
    "ccc": Quantity("Canopy chlorophyll content, a and b, per area of ground", "ug cm-2"),
    "cwc": Quantity("Canopy water content, per area of ground", "g cm-2"),
}
"""By name of the variable. SNAP's own unit texts of the last two do not fit its numbers."""


def network(set_name: str, variable: str, *, keeps_outside: bool = True) -> Network:
    """The network of a variable.

    Parameters
    ----------
    set_name : one of ``SETS``
    variable : one of ``QUANTITIES``
    keeps_outside : whether pixels outside of the domain or the valid range keep their value, as in SNAP

    Raises
    ------
    ConfigError
        If the set has no such variable.
    """
    content = _read(set_name)
    numbers = content["variables"].get(variable)
    if numbers is None:
        raise ConfigError(
            f"the networks {set_name!r} do not give {variable!r}",
            where="variables.biophysical_set",
            hint=f"they give {listing(list(content['variables']))}; choose another set, or leave the variable out",
        )
    inputs = tuple(content["inputs"])
    domain = content.get("domain") if numbers.get("has_domain", True) else None
    deciding = {"inputs": inputs, "low": content["low"], "high": content["high"], "domain": domain, **numbers}
    digest = hashlib.sha256(canonical_json(deciding).encode()).hexdigest()[:12]
    low, high = numbers["output"]
    begin, end = numbers["valid"]
    return Network(
        name=f"{variable} of {set_name} ({digest})",
        names=tuple(sorted(inputs)),
        source=f"{set_name}: {content['source']}",
        inputs=inputs,
        low=np.array(content["low"]),
        high=np.array(content["high"]),
        hidden=np.array(numbers["hidden"]),
        weights=np.array(numbers["weights"]),
        output=(low, high),
        valid=(begin, end),
        tolerance=numbers["tolerance"],
        domain=None if domain is None else _domain(inputs, domain),
        keeps_outside=keeps_outside,
    )


def gives(set_name: str, variable: str) -> bool:
    """Whether a set has a network for the variable."""
    return variable in _read(set_name)["variables"]


def sets_by_platform(variables: Variables) -> Mapping[str, str]:
    """Set of each platform, the empty one standing for every other, as the configuration chooses."""
    return BY_PLATFORM.get(variables.biophysical_set, {"": variables.biophysical_set})


def network_variables(variables: Variables) -> Iterator[Variable]:
    """What the configuration wants of networks, and of each the number of pixels that it does not vouch for.

    Raises
    ------
    ConfigError
        If the set that it names has no network for a variable.
    """
    keeps_outside = variables.biophysical_outside == "keep"
    for name in variables.biophysical:
        networks = {
            platform: network(set_name, name, keeps_outside=keeps_outside)
            for platform, set_name in sets_by_platform(variables).items()
            if not platform or gives(set_name, name)
        }
        yield _with_platforms({platform: _value(name, found) for platform, found in networks.items()})
        if variables.biophysical_counts:
            yield _with_platforms({platform: _outside(name, found) for platform, found in networks.items()})


def _with_platforms(forms: Mapping[str, Variable]) -> Variable:
    """The form of the empty platform, which knows those of the others."""
    return replace(forms[""], by_platform={platform: form for platform, form in forms.items() if platform})


def _value(name: str, found: Network) -> Variable:
    quantity = QUANTITIES[name]
    return Variable(name, found, quantity.unit, quantity.long_name, found.source)


def _outside(name: str, found: Network) -> Variable:
    meaning = f"Pixels outside of what the networks for {name} were made for, or with a result beyond its range"
    return Variable(f"{name}_outside", Outside(found), DIMENSIONLESS, meaning, found.source, statistics=("count",))


@lru_cache(maxsize=len(SETS))
def _read(set_name: str) -> dict[str, Any]:
    return tomllib.loads(bundled(f"configs/biophysical/{SETS[set_name]}.toml").read_text(encoding="utf-8"))


def _domain(inputs: tuple[str, ...], content: Mapping[str, Any]) -> Domain:
    low, high = np.array(content["low"]), np.array(content["high"])
    return Domain(inputs[: low.size], low, high, _cells(content["cells"]) if "cells" in content else None)


@lru_cache(maxsize=len(SETS))
def _cells(text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    numbers = []
    for line in text.split("\n"):
        first, _, rest = line.partition(":")
        numbers += [cell_number(first + word) for word in rest.split()]
    return np.unique(np.array(numbers, dtype=np.int64))
