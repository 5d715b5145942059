"""Which variables rasters are made of."""

from __future__ import annotations

from s4c_hpc.config import Config
from s4c_hpc.optical import Variable, named_variables


def raster_variables(config: Config) -> tuple[Variable, ...]:
    """What ``rasters.variables`` names, in its order.

    Raises
    ------
    ConfigError
        For a name that is no variable, and for two that mean the same.
    """
    return named_variables(config.rasters.variables, config.variables, "rasters.variables")


def step_of(variable: Variable, config: Config) -> float:
    """Step of the stored integers of a variable."""
    return config.rasters.scales.get(variable.name, config.rasters.scale)
