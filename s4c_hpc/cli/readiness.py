"""``s4c catalog readiness``, and the same in short in ``s4c plan``: what the season lacks and what that blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from s4c_hpc.catalog import Readiness
    from s4c_hpc.config import Config
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.markers import Blocked
    from s4c_hpc.series.inputs import RuleInput

WORST = 5
"""Marker files that ``s4c plan`` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is missing, and what that means for the marker files."""

    found: Readiness
    blocked: list[Blocked]
    inputs: tuple[RuleInput, ...]
    """What practices and mowing have to go by; none where they are not asked for."""


def readiness(workspace: WorkspaceOption = HERE, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Show which tiles, months, dates and pairs the season lacks, and which marker files suffer. Opens no product."""
    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.extract.planning import is_without_imagery

    ws, loaded = open_workspace(workspace, overrides)
    if is_without_imagery(ws, loaded.config):
        inputs = imported_inputs(ws, loaded.config)
        if as_json:
            print_json({"rule_inputs": _inputs_json(inputs)})
        else:
            print_table(_input_rows(inputs))
            say_weak(inputs)
        return
    if not ws.catalog.exists():
        raise NoInputsError("there is no product index yet", where=str(ws.catalog), hint="run 's4c catalog scan'")
    report = season_readiness(ws, loaded.config)
    if report is None:
        hint = "import a declaration with 's4c parcels import'"
        raise NoInputsError("there are no parcels, so no tile is needed", where=str(ws.parcels), hint=hint)
    if as_json:
        print_json(readiness_json(report))
    else:
        _print_tables(report)
        say_readiness(report)


def season_readiness(ws: Workspace, config: Config) -> Report | None:
    """Hold the product index against the parcels' tiles and the season; ``None`` without parcels."""
    from s4c_hpc import catalog, markers
    from s4c_hpc.parcels import latest_version, read_tiles

    version = latest_version(ws)
    if version is None:
        return None
    nothing = catalog.Acquisitions(rows=(), bounds={})
    found = catalog.readiness(
        catalog.read_acquisitions(ws.catalog) if ws.catalog.exists() else nothing,
        [parcels.tile.id for parcels in read_tiles(ws, version)],
        season_start=config.site.season_start,
        season_end=config.site.season_end,
        today=dt.datetime.now(dt.UTC).date(),
    )
    sets = [one.name for one in config.markers.sets]
    return Report(
        found=found,
        blocked=markers.blocked(found, site=config.site.name, sets=sets),
        inputs=_inputs(ws, config, found),
    )


def imported_inputs(ws: Workspace, config: Config) -> tuple[RuleInput, ...]:
    """What practices and mowing have to go by where there is no imagery, only imported tables."""
    from s4c_hpc import catalog
    from s4c_hpc.parcels import latest_version, read_tiles

    version = latest_version(ws)
    nothing = catalog.readiness(
        catalog.Acquisitions(rows=(), bounds={}),
        [] if version is None else [parcels.tile.id for parcels in read_tiles(ws, version)],
        season_start=config.site.season_start,
        season_end=config.site.season_end,
        today=dt.datetime.now(dt.UTC).date(),
    )
    return _inputs(ws, config, nothing)


def _inputs(ws: Workspace, config: Config, found: Readiness) -> tuple[RuleInput, ...]:
    if not (config.practices.enabled or config.mowing.enabled):
        return ()
    from s4c_hpc.series.inputs import rule_inputs

    ndvi = config.practices.ndvi if config.practices.enabled else config.mowing.ndvi
    indexed = {(line.tile, line.sensor): line.n_days for line in found.coverage if line.orbit is None}
    return rule_inputs(ws, found.tiles, ndvi, found.first, found.until, indexed)


def say_readiness(report: Report | None) -> None:
    """Tell in a few lines what is missing."""
    from s4c_hpc.core.errors import listing

    if report is None:
        return
    found = report.found
    if found.until < found.first:
        say(f"the season begins on {found.first}: nothing can be missing yet")
        return
    season = f"{found.first} to {found.until}"
    if found.is_ready:
        say(f"no product is known to be missing, {season}")
        say_weak(report.inputs)
        return
    if found.empty:
        say(
            f"warning: {len(found.empty)} of {len(found.tiles)} tiles with parcels have no product that can be used, "
            f"{season}: {listing(list(found.empty))}; their parcels get no markers"
        )
    absent = [one for one in report.blocked if not one.exists and one.tile not in found.empty]
    incomplete = [one for one in report.blocked if one.exists]
    counts = [
        (len(absent), "month of a tile without any acquisition", "months of tiles without any acquisition"),
        (len(incomplete), "month of a tile incomplete", "months of tiles incomplete"),
        (len(found.broken), "broken product", "broken products"),
        (len(found.missing_pairs), "radar pair without its partner", "radar pairs without their partners"),
    ]
    if parts := [f"{n} {one if n == 1 else many}" for n, one, many in counts if n]:
        say(f"missing, {season}: {', '.join(parts)}")
    worst = [text for kind in (absent, incomplete) for text in _by_tile(kind)]
    for text in worst[:WORST]:
        say(f"  {text}")
    for pair in found.missing_pairs[: max(WORST - len(worst), 0)]:
        say(
            f"  s1 orbit {pair.orbit}: no coherence over {pair.length_days} days of {pair.day}: "
            f"{pair.partner_mission} of {pair.partner_day} is missing"
        )
    say("  all of it: s4c catalog readiness")
    say_weak(report.inputs)


def say_weak(inputs: Sequence[RuleInput]) -> None:
    """Tell what is missing or weak of that which rules go by."""
    if weak := [f"{one.tile}: {note}" for one in inputs for note in one.notes]:
        say(f"what practices and mowing have to do without, or with little ({len(weak)}):")
        for text in weak[:WORST]:
            say(f"  {text}")
        if len(weak) > WORST:
            say(f"  and {len(weak) - WORST} more: s4c catalog readiness")


def _by_tile(found: list[Blocked]) -> list[str]:
    """The first month of each tile, and how many others: one bad tile must not hide all others. The worst first."""
    tiles: dict[str, list[Blocked]] = {}
    for one in found:
        tiles.setdefault(one.tile, []).append(one)
    worst = sorted(tiles.values(), key=lambda there: -len(there))
    return [there[0].text + (f" (and {len(there) - 1} more months)" if there[1:] else "") for there in worst]


def readiness_json(report: Report | None) -> dict[str, Any] | None:
    """The whole report as values for JSON; days as ISO 8601, nothing where there are no parcels."""
    if report is None:
        return None
    found = report.found
    return {
        "first": found.first,
        "until": found.until,
        "ready": found.is_ready,
        "tiles": len(found.tiles),
        "tiles_without_product": found.empty,
        "coverage": [asdict(line) for line in found.coverage],
        "months_without": dict(found.months_without),
        "absent": [asdict(one) for one in found.absent],
        "unusable": [
            {"product": p.product, "tile": p.tile, "day": p.day, "status": p.status, "reason": p.reason}
            for p in found.unusable
        ],
        "pairs": len(found.pairs) - len(found.missing_pairs),
        "missing_pairs": [asdict(pair) | {"partner_day": pair.partner_day} for pair in found.missing_pairs],
        "blocked": [asdict(one) for one in report.blocked],
        "rule_inputs": _inputs_json(report.inputs),
    }


def _inputs_json(inputs: Sequence[RuleInput]) -> list[dict[str, Any]]:
    return [asdict(one) | {"notes": one.notes} for one in inputs]


def _input_rows(inputs: Sequence[RuleInput]) -> list[dict[str, Any]]:
    return [
        {
            "tile": one.tile,
            "for rules": str(one.kind),
            "days": one.days,
            "first": one.first,
            "last": one.last,
            "longest gap": one.longest_gap_days,
            "orbits": one.orbits,
            "pairs of days": one.pair_days,
            "waiting": one.waiting,
        }
        for one in inputs
    ]


def _print_tables(report: Report) -> None:
    found = report.found
    nothing = {"sensor": "", "orbit": "", "days": 0, "first": "", "last": ""}
    rows: list[dict[str, Any]] = [
        {
            "tile": line.tile,
            "sensor": line.sensor,
            "orbit": "all" if line.orbit is None else str(line.orbit),
            "days": line.n_days,
            "first": line.first,
            "last": line.last,
            "revisit": line.revisit_days,
            "longest gap": line.longest_gap_days,
            "months without": line.months_without,
        }
        for line in found.coverage
    ]
    rows += [{"tile": tile, **nothing, "months without": found.months_without.get(tile, ())} for tile in found.empty]
    tables: list[list[dict[str, Any]]] = [
        sorted(rows, key=lambda row: str(row["tile"])),
        [
            {
                "tile": one.tile,
                "month": one.period,
                "marker files": "incomplete" if one.exists else "none",
                "why": "; ".join(one.reasons),
            }
            for one in report.blocked
        ],
        [
            {
                "orbit": pair.orbit,
                "day": pair.day,
                "mission": pair.mission,
                "pair": f"{pair.length_days} days",
                "missing": f"{pair.partner_mission} {pair.partner_day}",
            }
            for pair in found.missing_pairs
        ],
        [
            {"product": p.product, "tile": p.tile, "day": p.day, "status": p.status, "reason": p.reason}
            for p in found.unusable
        ],
        _input_rows(report.inputs),
    ]
    for i, table in enumerate(table for table in tables if table):
        if i:
            typer.echo()
        print_table(table)
