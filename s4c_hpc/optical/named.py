"""Variables by name, wherever a configuration names some: of the site's own, bands, networks and indices."""

from __future__ import annotations

from collections.abc import Iterable

from s4c_hpc.config.model import BAND_NAME, Variables
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.optical.biophysical import QUANTITIES
from s4c_hpc.optical.catalogue import index_variable, resolve
from s4c_hpc.optical.variable import Variable


def named_variables(names: Iterable[str], variables: Variables, where: str) -> tuple[Variable, ...]:
    """What names mean, in their order.

    A name is first looked for among the variables of the site, formulas included, then among bands, networks and
    indices.

    Parameters
    ----------
    where : key of the configuration that holds the names

    Raises
    ------
    ConfigError
        For a name that is none of these, and for two that mean the same.
    """
    wanted = list(names)
    own = {variable.name: variable for variable in resolve(variables)} if wanted else {}
    found: dict[str, Variable] = {}
    for name in wanted:
        variable = own.get(name.lower()) or _elsewhere(name, variables, where)
        if variable.name in found:
            raise ConfigError(f"{variable.name!r} is named twice", where=where, hint="name it once")
        found[variable.name] = variable
    return tuple(found.values())


def _elsewhere(name: str, variables: Variables, where: str) -> Variable:
    """A variable that the site does not extract; networks are those that it would take."""
    nothing = {"bands": (), "indices": (), "formulas": {}, "biophysical": (), "biophysical_counts": False}
    try:
        if BAND_NAME.fullmatch(name):
            return resolve(variables.model_copy(update={**nothing, "bands": (name,)}))[0]
        if name.lower() in QUANTITIES:
            return resolve(variables.model_copy(update={**nothing, "biophysical": (name.lower(),)}))[0]
        return index_variable(name)
    except ConfigError as error:
        raise ConfigError(error.what, where=where, hint=error.hint) from error
