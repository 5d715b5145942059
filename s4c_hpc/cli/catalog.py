"""``s4c catalog``: scan the sources, list what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.cli.readiness import readiness

if TYPE_CHECKING:
    from s4c_hpc.catalog import ScanReport

app = typer.Typer(help="Find products and keep an index of them.", no_args_is_help=True)


@app.command()
def scan(workspace: WorkspaceOption = HERE, overrides: SetOption = None) -> None:
    """Look for products in all sources; only new and changed ones are opened.

    In sources with a layout, products on tiles without parcels are left out as soon as parcels are imported.
    """
    from s4c_hpc import catalog, parcels

    ws, loaded = open_workspace(workspace, overrides)
    version = parcels.latest_version(ws)
    tiles = [found.tile for found in parcels.read_tiles(ws, version)] if version else None
    say_scan(catalog.scan(loaded.config, ws, tiles))


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """List the products of the index, usable or not, with the reason."""
    from s4c_hpc import catalog
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    if not ws.catalog.exists():
        raise NoInputsError("there is no product index yet", where=str(ws.catalog), hint="run 's4c catalog scan'")
    rows = [
        {
            "product": p.id,
            "tile": p.tile,
            "acquired": None if p.datetime == catalog.UNKNOWN_TIME else p.datetime.isoformat(),
            "baseline": p.baseline,
            "status": p.status,
            "reason": p.reason,
        }
        for p in catalog.read_products(ws.catalog)
    ]
    print_json(rows) if as_json else print_table(rows)


@app.command()
def layouts(as_json: JsonOption = False) -> None:
    """List the layouts of archives that a source can name, with their path templates, and the fields of templates."""
    from s4c_hpc import catalog

    known = [catalog.load_layout(name, "") for name in catalog.layout_names()]
    rows = [
        {
            "layout": layout.name,
            "kind": kind,
            "template": str(template),
            "below": layout.root,
            "archive": layout.description,
        }
        for layout in known
        for kind, templates in layout.templates.items()
        for template in templates
    ]
    if as_json:
        print_json(rows)
        return
    print_table(rows)
    say("")
    say('a layout of your own is a TOML file: layout = "FILE.toml" in the source, and in the file')
    say("[templates]")
    say('sentinel2-l2a = "{tile}/{year}/{product}.SAFE"   # relative to the root of the source')
    say("fields are")
    for field, meaning in catalog.FIELD_MEANINGS.items():
        say(f"  {{{field}}}".ljust(14) + meaning)


app.command()(readiness)


def say_scan(report: ScanReport) -> None:
    """Tell what a scan came to; none to use is an error."""
    from s4c_hpc.core.errors import NoInputsError

    for line in (*report.looked_in, *report.warnings):
        say(line)
    say(
        f"{report.n_products} products in the index: {report.n_usable} usable, {report.n_superseded} superseded, "
        f"{report.n_broken} broken ({report.n_new} read now, {report.n_unchanged} unchanged, {report.n_removed} gone)"
    )
    if report.n_broken:
        say("why products are broken: s4c catalog list")
    if not report.n_usable:
        raise NoInputsError(
            "no usable product was found",
            where="; ".join(report.looked_in),
            hint="check root, layout and pattern of the sources, and 's4c catalog list' for reasons",
        )
