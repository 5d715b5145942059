"""``s4c config``: check, show, schema, indices."""

from __future__ import annotations

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@app.command()
def check(workspace: WorkspaceOption = HERE, overrides: SetOption = None) -> None:
    """Check the configuration file, its layouts, its indices and its formulas."""
    from s4c_hpc.catalog import bands_of, check_layouts
    from s4c_hpc.optical import resolve

    ws, loaded = open_workspace(workspace, overrides)
    variables = resolve(loaded.config.variables)
    check_layouts(loaded.config)
    say(f"{ws.config} is valid: {len(loaded.config.sources)} source(s), {len(variables)} variables")
    bands = bands_of(loaded.config.sources)
    for variable in (one for one in variables if one.name in loaded.config.variables.formulas):
        if lacking := [name for name in variable.formula.names if name not in bands]:
            say(f"but no source has {', '.join(lacking)}, which variables.formulas.{variable.name} needs")
    named = [("the folder of a source", source.root) for source in loaded.config.sources]
    if loaded.config.parcels.file is not None:
        named.append(("the declaration", loaded.config.parcels.file))
    for what, path in named:
        if not path.exists():
            say(f"but {what} is not there: {path}")


@app.command()
def show(workspace: WorkspaceOption = HERE, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Print every value and where it comes from."""
    _, loaded = open_workspace(workspace, overrides)
    rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in loaded.flat()]
    print_json(rows) if as_json else print_table(rows)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from s4c_hpc.config.schema import config_schema

    print_json(config_schema())


@app.command()
def indices(as_json: JsonOption = False) -> None:
    """List the indices that can be named in the configuration, those of radar last."""
    from s4c_hpc.optical import list_indices

    rows = [
        {"name": v.name, "sensor": v.sensor, "formula": v.formula.text, "meaning": v.long_name} for v in list_indices()
    ]
    print_json(rows) if as_json else print_table(rows)
