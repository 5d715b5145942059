"""Makes the plan rows of feature tasks; what tiles share is made once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from s4c_hpc.catalog import read_products
from s4c_hpc.config import Config
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_from_table
from s4c_hpc.core.stage import PlanContext
from s4c_hpc.core.subject import joined, name_of
from s4c_hpc.core.task import Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import Sizes, boundary_m
from s4c_hpc.extract.planning import tile_units
from s4c_hpc.extract.units import Unit
from s4c_hpc.features.groups import Group, applied, groups_of
from s4c_hpc.series.params import validity_params

Needs = Callable[[float, Mapping[str, Any], Sizes, int], Resources]
"""What a task asks for, by its work, its parameters, the sizes of its tile and the ranks that share it."""


class FeaturePlanner:
    """Rows of one plan."""

    def __init__(self, ctx: PlanContext, gathered: Sequence[Task], stage: tuple[str, str], needs: Needs) -> None:
        """Look up what rows are made of.

        Parameters
        ----------
        gathered : rows of all stacks
        stage : name and version
        needs : see ``FeatureStage.resources``
        """
        self._config: Config = ctx.config
        self._stage, self._needs = stage, needs
        names = {name_of(row.subject) for row in gathered}
        self._products = {
            product.id: product for product in read_products(ctx.workspace.catalog) if product.id in names
        }
        self._gathered: dict[tuple[str, str], list[Task]] = {}
        for row in sorted(gathered, key=lambda row: row.subject):
            self._gathered.setdefault((row.tile, row.input_keys[1]), []).append(row)
        self._indices = {(row.tile, row.subject): row.id for row in tasks_from_table(ctx.upstream["index"])}
        self._units = {tile: found.units for tile, found in tile_units(ctx, {row.tile for row in gathered}).items()}

    def rows(self, chosen: str) -> Iterator[Task]:
        """Rows of a set, tile by tile."""
        groups = groups_of(self._config, self._products.values(), chosen)
        for tile, units in self._units.items():
            for unit in units:
                for sensor, group in groups.items():
                    stacks = [
                        row for row in self._gathered[tile, unit.piece.id] if name_of(row.subject) in group.products
                    ]
                    if stacks:
                        yield self._row(chosen, sensor, group, unit, stacks)

    def _row(self, chosen: str, sensor: str, group: Group, unit: Unit, stacks: Sequence[Task]) -> Task:
        config, parcels = self._config, unit.parcels
        tile, made = parcels.tile.id, group.recipe
        grid = parcels.tile.grid(group.grid_res_m).name
        index = self._indices[tile, joined(grid, unit.addition)]
        rules: dict[str, int] = {}
        products = [self._products[name_of(row.subject)] for row in stacks]
        texts = [canonical_json(validity_params(product, applied(chosen, config))) for product in products]
        of_stack = [rules.setdefault(text, len(rules)) for text in texts]
        mine = {name_of(row.subject) for row in self._gathered[tile, unit.piece.id]}
        params: dict[str, Any] = {
            "recipe": made.params(),
            "bands": list(group.bands),
            "res_m": group.grid_res_m,
            "n_dates": len(stacks),
            "validity": [json.loads(text) for text in rules],
            "left_out": sorted(mine & group.left_out),
        }
        if len(rules) > 1:
            params["validity_of"] = of_stack
        text = canonical_json(params)
        depends_on = (unit.piece.id, index, *(row.id for row in stacks))
        identity = task_id(*self._stage, depends_on, text)
        pixels = parcels.area_m2 / group.grid_res_m**2 + boundary_m(parcels) / group.grid_res_m
        work = pixels * len(group.bands) * len(stacks)
        n_columns = 1 + len(made.columns(sensor))
        source = products[0].source
        return Task(
            id=identity,
            stage=self._stage[0],
            tile=tile,
            subject=joined(f"{chosen} {sensor}", unit.addition),
            input_keys=depends_on,
            params=text,
            depends_on=depends_on,
            outputs=(f"{tile_dir(tile)}/features/{sensor}/{chosen}.{short(identity)}.arrow",),
            work=work,
            bytes_out=n_columns * (4 * parcels.n_parcels + 164 * parcels.n_blocks + 1400) + 2 * len(text) + 8192,
            opens_imagery=0,
            resources=self._needs(
                work, params, Sizes.of(unit.piece.parcels, source), _ranks(work, unit.parcels.n_blocks, config)
            ),
        )


def _ranks(work: float, n_blocks: int, config: Config) -> int:
    """Ranks that a task is worth: where there is no cluster, tiles are what runs side by side."""
    if config.execute.executor == "local":
        return 1
    return max(1, min(config.features.ranks, n_blocks, math.ceil(work / config.features.values_per_rank)))
