"""Parcels that are imported while a plan is made: the plan is of one version, whichever stage was asked by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from support.updates import Site, build_archive, twenty_fields

from s4c_hpc.core.stage import PlanContext, stages
from s4c_hpc.extract.units import units_of
from s4c_hpc.plan import make_plan

STAGES = stages()


class Late:
    """A stage of the chain, before whose rows something happens."""

    def __init__(self, name: str, happens: Callable[[], object]) -> None:
        self._stage, self._happens = STAGES[name], happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        self._happens()
        return self._stage.tasks(ctx)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Products of a day, and parcels that were updated once."""
    site = Site(tmp_path_factory.mktemp("site"), build_archive(tmp_path_factory.mktemp("products")))
    site.deliver(0)
    site.declare(twenty_fields())
    imports(site)()
    return site


def imports(site: Site) -> Callable[[], str]:
    """Imports a version in which a parcel lies beyond the mask, and another one has moved a little."""

    def one_more() -> str:
        number, declaration = len(list(site.workspace.parcels.iterdir())), twenty_fields()
        declaration.move("P002", 100 + 7 * number, 0)
        declaration.move("P001", number, -number)
        return site.declare(declaration)

    return one_more


def rows(site: Site, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = make_plan(site.workspace, site.config, **options).tasks.to_pylist()
    return found


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if stage.after])
def test_between_two_stages(site: Site, name: str) -> None:
    before = rows(site)
    assert rows(site, registry=STAGES | {name: Late(name, imports(site))}) == before
    assert rows(site) != before


def test_while_parcels_are_looked_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before, left = rows(site), [imports(site)]

    def interrupted(*arguments: Any) -> Any:
        while left:
            left.pop()()
        return units_of(*arguments)

    monkeypatch.setattr("s4c_hpc.extract.planning.units_of", interrupted)
    found = rows(site)
    assert found != before
    assert found == rows(site)
