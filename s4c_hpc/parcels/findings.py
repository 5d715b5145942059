"""What is to be said of the parcels of a declaration: how many of each finding, which they are, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config import Config
from s4c_hpc.config.model import Parcels
from s4c_hpc.parcels.assign import crosses_zone
from s4c_hpc.parcels.checks import Flags, Texts, shape_index, slivers
from s4c_hpc.parcels.projection import Floats

if TYPE_CHECKING:
    from s4c_hpc.parcels.read import Layer
    from s4c_hpc.parcels.site import Site
    from s4c_hpc.parcels.table import Built

N_LISTED = 100
"""Offenders of each kind that are listed."""


class Weight(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """These parcels get no values, or the declaration cannot be imported as it is."""
    WARNING = "warning"
    """Somebody should look at them."""
    NOTE = "note"
    """In order, but good to know."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One kind of finding."""

    name: str
    title: str
    weight: Weight
    rows: NDArray[np.int64]
    """Rows of the offenders, ascending."""
    reasons: Sequence[str] | str
    """Of each offender; one text where it is the same for all."""

    @property
    def n(self) -> int:
        """Number of offenders."""
        return len(self.rows)

    def reason(self, i: int) -> str:
        """Why the ``i``-th offender is one."""
        return self.reasons if isinstance(self.reasons, str) else self.reasons[i]


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """What findings are made of, of each parcel (n,)."""

    missing: Flags
    """Whether there is nothing to use."""
    repair: Texts
    reason: Texts
    tile: Texts
    duplicate: Flags
    overlap_share: NDArray[Any]
    crosses: Flags
    crosses_zone: Flags
    area_m2: Floats
    perimeter_m: Floats
    off_site: Flags | None = None
    """Whether the parcel does not belong to the site; ``None`` where all do."""


def geometric(facts: Facts, limits: Parcels) -> tuple[Finding, ...]:
    """Findings that outlines give, those without offenders among them."""
    off_site = np.zeros(len(facts.missing), dtype=bool) if facts.off_site is None else facts.off_site
    placed = ~facts.missing & ~off_site
    outside = placed & (facts.tile == "")
    share, limit = facts.overlap_share, limits.overlap_limit
    overlap = np.flatnonzero(share > limit)
    sliver = np.flatnonzero(slivers(facts.area_m2, facts.perimeter_m, limits))
    index = shape_index(facts.area_m2, facts.perimeter_m)
    return (
        _finding("unusable", "Nothing to use", Weight.ERROR, facts.missing, facts.reason),
        _finding("without_tile", "Outside of all tiles", Weight.ERROR, outside, facts.reason),
        _finding("repaired", "Invalid as delivered, repaired", Weight.WARNING, facts.repair != "", facts.repair),
        _finding(
            "duplicate",
            "The same outline more than once",
            Weight.WARNING,
            facts.duplicate,
            "the same geometry occurs more than once",
        ),
        Finding(
            name="overlap",
            title="Overlaps others by more than the limit",
            weight=Weight.WARNING,
            rows=overlap,
            reasons=[f"others cover {s:.1%} of it, more than {limit:.0%}" for s in share[overlap]],
        ),
        Finding(
            name="sliver",
            title="Sliver",
            weight=Weight.WARNING,
            rows=sliver,
            reasons=[
                f"{facts.area_m2[i]:.0f} m2, {2 * facts.area_m2[i] / facts.perimeter_m[i]:.1f} m wide on average, "
                f"shape index {index[i]:.1f}"
                for i in sliver
            ],
        ),
        _finding(
            "crosses_tile", "Crosses the border of its tile", Weight.NOTE, facts.crosses,
            "part of it lies outside of its tile",
        ),
        _finding(
            "crosses_zone", "Crosses the border of a UTM zone", Weight.NOTE, placed & facts.crosses_zone,
            "it lies in two UTM zones",
        ),
        *([] if facts.off_site is None else [
            _finding("off_site", "Does not belong to the site", Weight.NOTE, off_site, facts.reason),
        ]),
    )  # fmt: skip


def too_small(pixels: NDArray[np.int32], facts: Facts, limits: Parcels) -> tuple[Finding, ...]:
    """Parcels on a tile that have fewer pixels than configured on a grid.

    Parameters
    ----------
    pixels : (n, 2) pixels on the grids of 10 m and of 20 m
    """
    on_tile = facts.tile != ""
    found = []
    for column, (name, sensor, res_m) in enumerate(
        (("too_small_s2", "Sentinel-2", 10), ("too_small_s1", "Sentinel-1", 20))
    ):
        rows = np.flatnonzero(on_tile & (pixels[:, column] < limits.min_pixels))
        found.append(
            Finding(
                name=name,
                title=f"Too small for the {res_m} m grid of {sensor}",
                weight=Weight.WARNING,
                rows=rows,
                reasons=[
                    f"{n} pixels of {res_m} m lie within, {res_m // 2} m from the border"
                    for n in pixels[rows, column].tolist()
                ],
            )
        )
    return tuple(found)


def site_report(site: Site, built: Built) -> dict[str, Any]:
    """For ``report.json``: what was asked of the place of parcels, and how many it concerns."""
    told: dict[str, Any] = {}
    if site.filters:
        told["site"] = {
            "within": None if site.within is None else site.within.file,
            "where": site.where,
            "parcels_off_site": int(built.off_site.sum()),
        }
    if site.strata is not None:
        counts = {v["values"]: v["counts"] for v in pc.value_counts(built.table["stratum"]).to_pylist()}
        told["strata"] = {
            "file": site.strata.file,
            "column": site.column,
            "parcels": {name: counts.get(name, 0) for name in site.strata.names},
            "parcels_without": counts.get("", 0),
        }
    return told


def strata_notes(told: Mapping[str, Any], n: int) -> list[str]:
    """A sentence on parcels without stratum, of what ``site_report`` tells of ``n`` parcels; none if all have one."""
    without = told["strata"]["parcels_without"] if "strata" in told else 0
    verb = "lies" if without == 1 else "lie"
    return [f"{without} of {n} parcels {verb} in no stratum of {told['strata']['file']}"] if without else []


def _finding(name: str, title: str, weight: Weight, flags: Flags, reasons: Texts | str) -> Finding:
    rows = np.flatnonzero(flags)
    texts = reasons if isinstance(reasons, str) else [str(text) for text in reasons[rows]]
    return Finding(name=name, title=title, weight=weight, rows=rows, reasons=texts)


def summary(
    built: Built,
    source: Layer,
    id_columns: Sequence[str],
    crop_column: str | None,
    config: Config,
    crs: CRS | None = None,
    *,
    filters: bool = False,
) -> tuple[dict[str, int], dict[str, Any]]:
    """Counts of each finding, and the whole of ``report.json`` but the version's name.

    Parameters
    ----------
    crs : of the version's outlines; that of the file when not given
    filters : whether there may be parcels that do not belong to the site
    """
    column = {name: built.table.column(name).to_numpy() for name in (
        "NewID", "ori_id", "tile", "repair", "reason", "GeomValid", "Duplic", "overlap_share", "crosses", "Area_meters"
    )}  # fmt: skip
    found = geometric(
        Facts(
            missing=built.outlines.missing,
            repair=column["repair"],
            reason=column["reason"],
            tile=column["tile"],
            duplicate=column["Duplic"],
            overlap_share=column["overlap_share"],
            crosses=column["crosses"],
            crosses_zone=crosses_zone(built.bounds, crs or source.crs),
            area_m2=column["Area_meters"],
            perimeter_m=built.perimeter_m,
            off_site=built.off_site if filters else None,
        ),
        config.parcels,
    )
    counts = {
        "parcels": built.table.num_rows,
        "usable": int((column["tile"] != "").sum()),
        "geom_invalid": int((~column["GeomValid"]).sum()),
        **{finding.name: finding.n for finding in found},
        "overlap_pairs": len(built.pairs),
    }
    new_id, ori_id = column["NewID"], column["ori_id"]
    offenders = {}
    for finding in found:
        listed = np.argsort(new_id[finding.rows], kind="stable")[:N_LISTED].tolist()
        offenders[finding.name] = [
            {"NewID": int(new_id[row]), "ori_id": ori_id[row], "reason": finding.reason(i)}
            for i, row in zip(listed, finding.rows[listed].tolist(), strict=True)
        ]
    names, n_parcels = np.unique(column["tile"].astype(str), return_counts=True)
    return counts, {
        "source": {
            "file": source.file,
            "layer": source.name,
            "crs": source.crs.to_string(),
            "columns": source.attributes.column_names,
            "id_columns": list(id_columns),
            "crop_column": crop_column,
        },
        "overlap_limit": config.parcels.overlap_limit,
        "counts": counts,
        "tiles": {str(n): int(c) for n, c in zip(names, n_parcels, strict=True) if n},
        "offenders": offenders,
        "overlap_pairs": [{"NewID": a, "other": b, "area_m2": round(area, 2)} for a, b, area in built.pairs[:N_LISTED]],
        "notes": [*source.notes, *built.notes],
    }
