"""Which variables rasters are made of."""

from __future__ import annotations

from s4c_hpc.config import Config
from s4c_hpc.config.model import BAND_NAME, Variables
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.optical import Variable, index_variable, resolve
from s4c_hpc.optical.biophysical import QUANTITIES

_WHERE = "rasters.variables"


def raster_variables(config: Config) -> tuple[Variable, ...]:
    """What ``rasters.variables`` names, in its order.

    A name is first looked for among the variables of the site, formulas included, then among bands, networks and
    indices.

    Raises
    ------
    ConfigError
        For a name that is none of these, and for two that mean the same.
    """
    if not config.rasters.variables:
        return ()
    own = {variable.name: variable for variable in resolve(config.variables)}
    found: dict[str, Variable] = {}
    for name in config.rasters.variables:
        variable = own.get(name.lower()) or _elsewhere(name, config.variables)
        if variable.name in found:
            raise ConfigError(f"{variable.name!r} is named twice", where=_WHERE, hint="name it once")
        found[variable.name] = variable
    return tuple(found.values())


def step_of(variable: Variable, config: Config) -> float:
    """Step of the stored integers of a variable."""
    return config.rasters.scales.get(variable.name, config.rasters.scale)


def _elsewhere(name: str, variables: Variables) -> Variable:
    """A variable that the site does not extract; networks are those that it would take."""
    nothing = {"bands": (), "indices": (), "formulas": {}, "biophysical": (), "biophysical_counts": False}
    try:
        if BAND_NAME.fullmatch(name):
            return resolve(variables.model_copy(update={**nothing, "bands": (name,)}))[0]
        if name.lower() in QUANTITIES:
            return resolve(variables.model_copy(update={**nothing, "biophysical": (name.lower(),)}))[0]
        return index_variable(name)
    except ConfigError as error:
        raise ConfigError(error.what, where=_WHERE, hint=error.hint) from error
