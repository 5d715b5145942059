"""What the feature tasks of a sensor have in common: the recipe, and the products that it can be made of."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s4c_hpc.catalog import Product
from s4c_hpc.config import Config
from s4c_hpc.config.model import MaskChoice
from s4c_hpc.core.errors import ConfigError, InternalError, listing
from s4c_hpc.features.radar_recipe import BACKSCATTER, COHERENCE, RadarRecipe, pass_name, radar_recipe
from s4c_hpc.features.recipe import Recipe, recipe, set_variables
from s4c_hpc.optical import Variable


@dataclass(frozen=True, slots=True)
class Group:
    """What tasks of a sensor have in common."""

    recipe: Recipe | RadarRecipe
    bands: tuple[str, ...]
    """Every product has all of them, of radar one."""
    grid_res_m: float
    products: frozenset[str]
    """Ids of those that have the bands, of all tiles."""
    left_out: frozenset[str] = frozenset()
    """Ids of those of the sensor that lack some of them."""


def groups_of(config: Config, products: Iterable[Product], chosen: str) -> dict[str, Group]:
    """By sensor, those that can give at least one feature of a set.

    Parameters
    ----------
    products : of all tiles

    Raises
    ------
    ConfigError
        If a feature cannot be resolved, or needs a band that no product has.
    """
    by_sensor = sorted(products, key=lambda product: (product.sensor, product.id))
    of_sensor = itertools.groupby(by_sensor, key=lambda product: product.sensor)
    if chosen == "sar":
        groups = dict(_radar(config, of_sensor))
        _check_radar(groups)
        return groups
    variables = set_variables(config, chosen)
    groups = dict(_optical(config, of_sensor, chosen, variables))
    known = {name for group in groups.values() for name, _ in group.recipe.params()["functions"]}
    for variable in variables:
        if variable.name not in known:
            raise ConfigError(
                f"no product of the season has all that feature {variable.name!r} needs: "
                f"{listing(list(variable.formula.names))}",
                where=f"features.{chosen.replace('-', '_')}",
                hint="correct the name, or leave it out",
            )
    return groups


def _optical(
    config: Config, of_sensor: Iterable[tuple[str, Iterable[Product]]], chosen: str, variables: Sequence[Variable]
) -> Iterator[tuple[str, Group]]:
    for sensor, found in of_sensor:
        products = tuple(found)
        there = {band.name for product in products for band in product.bands}
        mine = tuple(v for v in variables if set(v.formula.names) <= there)
        bands = tuple(sorted({name for v in mine for name in v.formula.names}))
        whole = tuple(product for product in products if has_bands(product, bands))
        if not mine:
            continue
        if 2 * len(whole) < len(products):
            counts = {name: sum(has_bands(product, (name,)) for product in products) for name in bands}
            rare = min(counts, key=lambda name: counts[name])
            raise ConfigError(
                f"{len(whole)} of {len(products)} products of {sensor} have all bands of the set; {rare} is in "
                f"{counts[rare]}",
                where=f"features.{chosen.replace('-', '_')}",
                hint=f"leave out what needs {rare}: a product counts with all bands or not at all",
            )
        made = recipe(config, chosen, mine, [product.datetime.date() for product in whole])
        left_out = frozenset(product.id for product in products) - {product.id for product in whole}
        yield sensor, Group(made, bands, _finest(whole, bands), frozenset(p.id for p in whole), left_out)


def _radar(config: Config, of_sensor: Iterable[tuple[str, Iterable[Product]]]) -> Iterator[tuple[str, Group]]:
    for sensor, found in of_sensor:
        products = tuple(product for product in found if radar_pairs(product))
        pairs = {pair for product in products for pair in radar_pairs(product)}
        if not products:
            continue
        made = radar_recipe(
            config,
            [(p, band) for p, band in pairs if band in BACKSCATTER],
            [(p, COHERENCE[band]) for p, band in pairs if band in COHERENCE],
        )
        bands = tuple(sorted({band for _, band in pairs}))
        yield sensor, Group(made, bands, _finest(products, bands), frozenset(p.id for p in products))


def _check_radar(groups: Mapping[str, Group]) -> None:
    if not groups:
        raise ConfigError(
            "no product of the season has a radar band",
            where="features.sets",
            hint=f"leave out 'sar', or name sources with bands {listing([*BACKSCATTER, *COHERENCE])}",
        )
    if len(groups) > 1:
        raise ConfigError(
            f"several sensors have radar bands, and the columns of both have the same names: {listing(sorted(groups))}",
            where="features.sets",
            hint="call the sensor of all radar sources s1",
        )


def applied(chosen: str, config: Config) -> Config:
    """The configuration as it holds for a set: nobody makes FMask of radar, so its own classes are all that counts."""
    if chosen != "sar":
        return config
    validity = config.validity.model_copy(update={"mask": MaskChoice.PRODUCT})
    return config.model_copy(update={"validity": validity})


def planned_recipe(params: Mapping[str, Any], config: Config) -> Recipe | RadarRecipe:
    """The recipe that a task was planned with.

    Raises
    ------
    InternalError
        If the configuration gives another one.
    """
    said = params["recipe"]
    made: Recipe | RadarRecipe
    if said["set"] == "sar":
        made = radar_recipe(config, *([(p, pol) for p, pol in said[kind]] for kind in ("backscatter", "coherence")))
    else:
        variables = {v.name: v for v in set_variables(config, said["set"])}
        chosen = [variables[name] for name, _ in said["functions"]]
        days = [dt.date.fromisoformat(first) for first, _ in said["periods"]]
        made = recipe(config, said["set"], chosen, [days[0], days[-1]])
    if made.params() != said:
        raise InternalError("the configuration is not the one that the plan was made with", where=f"set {said['set']}")
    return made


def is_usable(product: Product, params: Mapping[str, Any]) -> bool:
    """Whether a product has what a task needs of it: all bands, of radar any."""
    return bool(radar_pairs(product)) if params["recipe"]["set"] == "sar" else has_bands(product, params["bands"])


def has_bands(product: Product, bands: Collection[str]) -> bool:
    """Whether it has all of them."""
    return set(bands) <= {band.name for band in product.bands}


def radar_pairs(product: Product) -> list[tuple[str, str]]:
    """Pass and radar bands of a product."""
    wanted = {*BACKSCATTER, *COHERENCE}
    return [(pass_name(product.orbit_direction), band.name) for band in product.bands if band.name in wanted]


def _finest(products: Sequence[Product], bands: Sequence[str]) -> float:
    """Pixel size of the finest of some bands, in metres."""
    return min(band.grid.res_m for product in products for band in product.bands if band.name in bands)
