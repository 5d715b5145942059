"""Writing the series files of one product."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.catalog import Product
from s4c_hpc.catalog.angles import mean_angles
from s4c_hpc.config import Category, Config
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.extract.blocks import BlockReader
from s4c_hpc.extract.cells import Mask
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.index import ParcelIndex, read_index
from s4c_hpc.extract.stack import Stack
from s4c_hpc.optical import CODE, external_rule, own_lut, usable_codes
from s4c_hpc.series.assign import GridVariables
from s4c_hpc.series.compute import PixelRules, series_batches
from s4c_hpc.series.contract import SeriesHeader, series_schema
from s4c_hpc.series.params import validity_params


@dataclass(frozen=True, eq=False)
class SeriesInputs:
    """What the series of a product are made from, mapped; nothing is read before it is needed."""

    mask: Mask
    stacks: dict[str, Stack]
    """By grid name."""
    indices: dict[str, ParcelIndex]
    """By grid name."""

    @classmethod
    def open(cls, mask: Path, stacks: Iterable[Path], indices: Iterable[Path]) -> SeriesInputs:
        """Map the files.

        Raises
        ------
        MissingDataError, InputError
            If one is not there, or is not whole.
        """
        opened_stacks, opened_indices = [Stack(path) for path in stacks], [read_index(path) for path in indices]
        return cls(
            mask=read_mask(mask),
            stacks={stack.metadata["grid"]: stack for stack in opened_stacks},
            indices={index.metadata["grid"]: index for index in opened_indices},
        )


def write_series(
    path: Path,
    product: Product,
    work: GridVariables,
    inputs: SeriesInputs,
    config: Config,
    *,
    tile: str,
    task: str,
) -> int:
    """Write the series file of one grid of a product; returns its number of rows.

    Parameters
    ----------
    work : the variables on this grid
    task : id of the task, kept in the file's metadata

    Raises
    ------
    InputError
        If the inputs do not belong together.
    """
    index = inputs.indices[work.grid.name]
    if index.weighting is not config.extract.weighting:
        raise InputError(
            f"the parcel index was made for weighting {index.weighting.value!r}, the configuration says "
            f"{config.extract.weighting.value!r}",
            where=f"tile {tile}, grid {work.grid.name}",
            hint="plan again",
        )
    statistics = config.variables.statistics
    header = SeriesHeader(
        product=product.id,
        product_key=product.key,
        sensor=product.sensor,
        platform=product.platform,
        datetime=product.datetime,
        relative_orbit=product.relative_orbit,
        orbit_direction=product.orbit_direction,
        tile=tile,
        grid=work.grid.name,
        parcels=index.metadata["parcels"],
        weighting=index.weighting,
        buffer_m=float(index.metadata["buffer_m"]),
        validity=canonical_json(validity_params(product, config)),
        task=task,
    )
    schema = series_schema(header, work.variables, statistics, work.resampled)
    external = external_rule(config.validity, has_mask=product.external_mask is not None)
    reader = BlockReader(inputs.stacks, inputs.mask, work.grid, external, mean_angles(product))
    rules = pixel_rules(product, config)
    return write_ipc(path, schema, series_batches(index, reader, work.variables, rules, statistics, schema))


def pixel_rules(product: Product, config: Config) -> PixelRules:
    """Which pixels of a product count."""
    external = external_rule(config.validity, has_mask=product.external_mask is not None)
    return PixelRules(
        lut=_lut(product, config) if product.class_layers or external is not None else None,
        usable=usable_codes(config.validity),
    )


def _lut(product: Product, config: Config) -> NDArray[np.uint8]:
    if not product.class_layers:  # FMask alone speaks; where there is no raster there are no data
        return np.full(256, CODE[Category.VALID], dtype=np.uint8)
    return own_lut(product.class_kind, config.validity, product.class_table)
