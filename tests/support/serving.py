"""Workspaces to serve, and a service on loopback that is started and stopped by its handle."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import pyarrow as pa
import uvicorn
from support.imports import LONG, ImportSpace
from support.runs import InlineExecutor
from support.updates import CRS, Declaration, Site, build_archive, field_at

from s4c_hpc.classify.outputs import crop_schema
from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import run
from s4c_hpc.parcels import read_attributes, versions
from s4c_hpc.practices.improved.evidence import EVIDENCE_SET, evidence_schema
from s4c_hpc.practices.product import product_schema
from s4c_hpc.serve.connections import Connection
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.roles import Role
from s4c_hpc.serve.run import Options, application, uvicorn_options
from s4c_hpc.serve.tokens import TokenFile

SITE, OTHER = "site", "other"
OLD, NEW = "2018-01-01_2018-12-31", "2019-03-01_2019-10-31"
"""Seasons of ``site``: one of imagery whose parcels were updated, one of imported tables."""
CUT = dt.date(2019, 6, 10)
N_NEW = 30
"""Parcels of the new season; the first ten are mown on ``CUT``."""
SECRETS = ("Huber", "Maier", "HOLD-", "P00", "P01", "P02", "F00", "F01", "F02", "F03")
"""What names a farmer, or an id of the declaration: values of columns that only some may see."""


class Farms(Declaration):
    """Fields with holdings, and the name of who farms them."""

    def write(self, path: Path) -> None:
        """The declaration as a file."""
        outlines, crops = zip(*self.parcels.values(), strict=True)
        path.unlink(missing_ok=True)
        columns = {
            "id": list(self.parcels),
            "crop": crops,
            "hold": [f"HOLD-{i % 5}" for i in range(len(crops))],
            "farmer": ["Huber" if i % 2 else "Maier" for i in range(len(crops))],
        }
        gpd.GeoDataFrame(columns, geometry=list(outlines), crs=CRS).to_file(path)


def build_old(root: Path) -> Workspace:
    """A season of imagery: 20 fields on two tiles, run, updated, run; and files of results."""
    products = build_archive(root / "products")
    site = Site(root, products, parcels={"holding_columns": ["hold"], "mode": "update"})
    site.deliver(0, 1, 2)
    farms = Farms()
    for row in range(4):
        for column in range(5):
            farms.add(field_at(260 + 450 * column, 190 + 260 * row), "wheat" if column % 2 else "grass")
    assert site.declare(farms) == "v0001"
    site.run()
    farms.delete("P003")
    farms.crop("P005", "maize")
    farms.add(field_at(500, 1100, 60, 40), "maize")
    assert site.declare(farms) == "v0002"
    site.run()
    configure(site.workspace.root, SITE, OLD)
    write_results(site.workspace, "2018")
    return site.workspace


def build_new(root: Path, site: str = SITE) -> Workspace:
    """A season of imported NDVI, with mowings."""
    space = build_small(root, site, more="[mowing]\nenabled = true\n")
    result = run(space.workspace, load_config(root / "s4c.toml").config, executor=InlineExecutor())
    assert result.exit_code is ExitCode.OK, result.status
    return space.workspace


def build_small(root: Path, site: str = SITE, *, more: str = "") -> ImportSpace:
    """A season of imported NDVI, nothing run."""
    root.mkdir(parents=True)
    columns = {
        "crop": ["grass"] * N_NEW,
        "hold": [f"HOLD-{i % 5}" for i in range(N_NEW)],
        "farmer": ["Huber" if i % 2 else "Maier" for i in range(N_NEW)],
    }
    space = ImportSpace(root, n=N_NEW, columns=columns, crop_column="crop", holding_columns=["hold"])
    days = [dt.date(2019, 3, 5) + dt.timedelta(days=5 * i) for i in range(46)]
    rows = []
    for i in range(N_NEW):
        for day in days:
            since = (day - CUT).days
            rows.append((f"F{i + 1:03d}", day, min(0.85, 0.45 + 0.01 * since) if i < 10 and since >= 0 else 0.85))
    values = dict(zip(("id", "date", "ndvi"), map(list, zip(*rows, strict=True)), strict=True))
    space.bring(space.table(values), LONG)
    configure(root, site, NEW, f'[parcels]\nfile = "{space.file}"\nid_columns = ["id"]\n{more}')
    return space


def configure(root: Path, site: str, season: str, more: str = "") -> None:
    """Write the file of a workspace."""
    start, _, end = season.partition("_")
    (root / "s4c.toml").write_text(f'[site]\nname = "{site}"\nseason_start = {start}\nseason_end = {end}\n{more}')


def write_results(workspace: Workspace, period: str, site: str = SITE) -> None:
    """Crop types, practices and evidence, a file a tile, as their stages lay them out."""
    newest = versions(workspace)[-1]
    places = read_attributes(workspace, newest, ["NewID", "tile"]).to_pydict()
    for tile in sorted(set(places["tile"]) - {""}):
        ids = sorted(i for i, one in zip(places["NewID"], places["tile"], strict=True) if one == tile)
        crops = crop_schema({"set": "l4a", "site": site, "tile": tile, "period": period, "contract": "s4c-crops-1"})
        practices = product_schema({"set": "l4c", "site": site, "tile": tile, "period": period}, tillage=False)
        evidence = evidence_schema({"set": EVIDENCE_SET, "site": site, "tile": tile, "period": period})
        for name, schema, repeated in (("l4a", crops, 1), ("l4c", practices, 1), (EVIDENCE_SET, evidence, 2)):
            path = workspace.markers / name / period / f"{site}_{tile}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_ipc(path, schema, _rows(schema, np.repeat(ids, repeated)).to_batches())


def _rows(schema: pa.Schema, ids: Any) -> pa.Table:
    columns = []
    for one in schema:
        if one.name == "NewID":
            columns.append(pa.array(ids, pa.int32()))
        elif pa.types.is_floating(one.type):
            values = np.where(np.arange(len(ids)) % 3 == 0, np.nan, 0.25).astype(np.float32)
            columns.append(pa.array(values, from_pandas=False))
        elif pa.types.is_string(one.type):
            columns.append(pa.array([f"{one.name} {i}" for i in ids]))
        elif pa.types.is_date(one.type):
            columns.append(pa.array([None if i % 2 else dt.date(2018, 7, 1) for i in ids], one.type))
        else:
            is_day = (one.metadata or {}).get(b"unit") == b"day as yyyymmdd"
            columns.append(pa.array([20180701 if is_day else 1] * len(ids), one.type))
    return pa.table(columns, schema=schema)


@dataclass
class Served:
    """A service, and how to ask it."""

    url: str
    tokens: TokenFile
    audit: Path
    held: dict[str, str] = field(default_factory=dict, repr=False)
    """Token by name."""
    _clients: dict[str | None, httpx.Client] = field(default_factory=dict, repr=False)

    def client(self, name: str | None = None, **options: Any) -> httpx.Client:
        """Asks with somebody's token, or with none."""
        headers = {} if name is None else {"Authorization": f"Bearer {self.held[name]}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, timeout=30, trust_env=False, **options)

    def get(self, path: str, name: str | None = "operator", **params: Any) -> httpx.Response:
        """One request."""
        if name not in self._clients:
            self._clients[name] = self.client(name)
        return self._clients[name].get(path, params=params or None)

    def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def served(
    folder: Path, *workspaces: Workspace, protocol: type[Connection] = Connection, **options: Any
) -> Iterator[Served]:
    """Serve workspaces on a free port of loopback, with a token for each role at ``site``, until the block ends."""
    tokens = TokenFile(folder / "tokens.json")
    held = {role.value: tokens.add(role.value, {SITE: role}) for role in Role}
    held["foreign"] = tokens.add("foreign", {OTHER: Role.ADMIN})
    chosen = Options(
        workspaces=[one.root for one in workspaces],
        port=0,
        tokens=tokens.path,
        **{
            "audit": folder / "audit.jsonl",
            "limits": Limits(rate_per_s=1e6, burst=10**6, refused_per_s=1e6, refused_burst=10**6),
            **options,
        },
    )
    app, _ = application(chosen)
    with running(app, **uvicorn_options(chosen) | {"http": protocol}) as url:
        service = Served(url, tokens, chosen.audit, held)
        try:
            yield service
        finally:
            service.close()


@contextlib.contextmanager
def running(app: Any, **options: Any) -> Iterator[str]:
    """An ASGI application in a thread of its own; its address."""
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the service ended before it began"
            assert time.monotonic() < until, "the service does not begin"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"{'https' if options.get('ssl_certfile') else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service does not end"
