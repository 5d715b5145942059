"""``s4c parcels check``: everything that is wrong with a declaration, before anything is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.options import JsonOption, SetOption
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.core.errors import ExitCode

if TYPE_CHECKING:
    from s4c_hpc.config import Config


def check(
    file: Annotated[Path, typer.Argument(help="The declaration: any file that OGR reads, GeoParquet, or PG:...")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for check.html, check.json and offenders.gpkg.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the file.")] = None,
    id_column: Annotated[
        list[str] | None, typer.Option(help="Column that identifies a parcel; may be repeated.")
    ] = None,
    crop_column: Annotated[str | None, typer.Option(help="Column with the declared crop.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration whose sections parcels and grid give limits, columns and tiles.")
    ] = None,
    overrides: SetOption = None,
    pixels: Annotated[bool, typer.Option(help="Count the pixels of each parcel on the grids of 10 m and 20 m.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Check a declaration without a workspace; nothing is written unless -o names a folder.

    Exit codes: 0 clean, 5 findings, 4 or 6 the file cannot be used, be it for its ids (4) or because no parcel lies on
    a tile (6).
    """
    from s4c_hpc.extract.pixel_counts import pixel_counts
    from s4c_hpc.parcels.check import check as check_parcels
    from s4c_hpc.parcels.read import read_layer

    settings = _settings(config, overrides)
    parcels = settings.parcels
    if out is not None:
        _keep_ids_out(out, settings)
    ids = tuple(id_column) if id_column else parcels.id_columns
    crop = crop_column or parcels.crop_column
    source = read_layer(file, layer or parcels.layer, [*ids, *([crop] if crop else [])])
    found = check_parcels(
        source,
        parcels,
        settings.grid.tiles,
        id_columns=ids,
        crop_column=crop,
        pixel_counts=pixel_counts if pixels else None,
    )
    report = found.report()
    if out is not None:
        from s4c_hpc.core.atomic import write_text
        from s4c_hpc.parcels.check_layer import write_offenders
        from s4c_hpc.report.parcel_check import write_page

        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "check.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_offenders(out / "offenders.gpkg", found)
        write_page(out / "check.html", found)
    if as_json:
        print_json(report)
    else:
        print_table(
            [{"finding": f.name, "weight": f.weight.value, "parcels": f.n, "what": f.title} for f in found.findings]
        )
    for note in found.notes:
        say(note)
    where = f"; see {out / 'check.html'}" if out is not None else ""
    pairs = len(found.overlaps.pairs)
    say(f"{report['verdict']}: {found.n} parcels, {found.n_usable} usable, {pairs} overlapping pairs{where}")
    if not found.is_importable:
        say(f"cannot be imported: {found.refusal}")
        raise typer.Exit(int(ExitCode.INPUT if found.n_usable else ExitCode.NO_INPUTS))
    raise typer.Exit(int(ExitCode.OK if found.is_clean else ExitCode.PARTIAL))


def _keep_ids_out(out: Path, settings: Config) -> None:
    """Refuse a folder in a workspace whose parcels have pseudonyms: what is written has the file's own ids."""
    from s4c_hpc.config import load_config
    from s4c_hpc.core.errors import ConfigError
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.parcels.modes import previous_version

    folder = out.resolve()
    workspace = next((ws for ws in map(Workspace, (folder, *folder.parents)) if ws.config.is_file()), None)
    if workspace is None:
        return
    previous = previous_version(workspace)
    if (
        settings.parcels.pseudonyms is not None
        or load_config(workspace.config).config.parcels.pseudonyms is not None
        or (previous is not None and "pseudonyms" in previous.report)
    ):
        raise ConfigError(
            f"a check tells clear ids, and this folder lies in the workspace {workspace.root}, which has pseudonyms",
            where=str(out),
            hint="name a folder elsewhere, for those who may know the ids",
        )


def _settings(path: Path | None, overrides: list[str] | None) -> Config:
    """The configuration, or its defaults: a check needs no site and no season."""
    import tempfile

    from s4c_hpc.config import load_config

    if path is not None:
        return load_config(path, flags=overrides or ()).config
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder) / "s4c.toml"
        nothing.write_text('[site]\nname = "check"\nseason_start = 2000-01-01\nseason_end = 2000-12-31\n')
        return load_config(nothing, flags=overrides or ()).config
