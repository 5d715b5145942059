"""What decides a raster and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s4c_hpc.catalog import Band, Product
from s4c_hpc.config import Config
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.task import Task
from s4c_hpc.extract.stage_gather import class_rules
from s4c_hpc.optical import Variable
from s4c_hpc.rasters.choice import step_of
from s4c_hpc.rasters.cog import Description
from s4c_hpc.rasters.open_layers import class_columns, needed_layers
from s4c_hpc.series.assign import GridVariables
from s4c_hpc.series.params import angles_params, needs_angles, validity_params


def layers_read(product: Product, works: Sequence[GridVariables], config: Config) -> dict[str, dict[str, Band]]:
    """By grid name and key, every layer that is read."""
    bands = {name for work in works for variable in work.variables for name in variable.formula.names}
    return needed_layers(product, bands, class_columns(product) if config.rasters.mask else ())


def effective_params(
    product: Product,
    works: Sequence[GridVariables],
    layers: Mapping[str, Mapping[str, Band]],
    frames: Mapping[str, Grid],
    config: Config,
) -> dict[str, Any]:
    """Everything that decides the pixels and how they are stored, and nothing that does not."""
    params: dict[str, Any] = {
        "rasters": [
            {"name": v.name, "formula": v.formula.text, "scale": step_of(v, config), "grid": work.grid.name}
            for work in works
            for v in work.variables
        ],
        "frames": {name: [f.crs, f.ulx, f.uly, f.res_m, f.width, f.height] for name, f in frames.items()},
        "layers": {name: [_described(key, band) for key, band in found.items()] for name, found in layers.items()},
        "compress": config.rasters.compress,
        "validity": None,
    }
    if needs_angles(works):
        params["angles"] = angles_params(product)
    if config.rasters.mask:
        params["validity"] = validity_params(product, config)
        params["widened"] = {
            column: [[list(mask.values), mask.radius_m] for mask in rule.widenings]
            for column, rule in class_rules(product, config).items()
            if rule.widenings
        }
    return params


def _described(key: str, band: Band) -> dict[str, Any]:
    return {
        "name": key,
        "dtype": band.dtype,
        "scale": band.scale,
        "offset": band.offset,
        "nodata": None if band.nodata is None else repr(float(band.nodata)),
        "saturated": None if band.saturated is None else repr(float(band.saturated)),
    }


def grid_of(values: Sequence[Any]) -> Grid:
    """A frame as it stands in the parameters."""
    crs, ulx, uly, res_m, width, height = values
    return Grid(crs=crs, ulx=ulx, uly=uly, res_m=res_m, width=width, height=height)


def describe(product: Product, work: GridVariables, variable: Variable, task: Task, config: Config) -> Description:
    """What the raster of a variable says of itself."""
    resampled = {name: grid for name, grid in work.resampled.items() if name in variable.formula.names}
    use = ", ".join(category.value for category in config.validity.use)
    return Description(
        scale=step_of(variable, config),
        unit=variable.unit,
        long_name=variable.long_name,
        tags={
            "variable": variable.name,
            "description": variable.long_name,
            "units": variable.unit,
            "formula": variable.formula.text,
            "source": variable.source,
            "product": product.id,
            "sensor": product.sensor,
            "platform": product.platform,
            "tile": product.tile,
            "acquired": product.datetime.isoformat(),
            "pixels": use if config.rasters.mask else "all",
            "nearest": ", ".join(f"{name} from {grid}" for name, grid in sorted(resampled.items())) or "none",
            "task": task.id,
        },
    )
