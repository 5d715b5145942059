"""Tries to get where one does not belong: without a token, with a wrong one, to other sites, files and columns."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from support.serving import NEW, OTHER, SECRETS, SITE, Served, build_small, served, write_results

from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.roles import Role

HERE = f"/sites/{SITE}"
ITEMS = f"{HERE}/collections/parcels/items"
SEASON = f"{HERE}/seasons/latest"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = build_small(tmp_path_factory.mktemp("intruders") / "ws").workspace
    write_results(found, "2019")
    return found


@pytest.fixture(scope="module")
def service(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    other = build_small(folder / "other", OTHER).workspace
    with served(folder, workspace, other) as one:
        yield one


def refused(answer: httpx.Response, status: int) -> Any:
    """A problem of this status that says nothing of the machine."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    for word in ("Traceback", "/tmp", "/root", "/home", ".py", "site-packages", *SECRETS):  # noqa: S108
        assert word not in answer.text
    return problem


def addresses() -> list[str]:
    """One of every route below a site, with whatever it takes."""
    season = [
        "",
        "/parcels/1",
        "/parcels/1/series",
        "/series?ids=1,2",
        "/parcels/1/versions",
        "/parcels/1/peers?limit=100",
        "/classes",
        "/practices",
        "/evidence",
        "/files",
        "/markers/l4a?ids=1",
    ]
    site = ["", "/conformance", "/collections", "/collections/parcels", "/collections/parcels/items?limit=5000"]
    site += ["/collections/parcels/items/1", f"/collections/parcels.{NEW}.v0001/items"]
    return [HERE + one for one in site] + [SEASON + one for one in season]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        "Bearer s4c_000000000000_" + "A" * 43,
        "Basic " + base64.b64encode(b"admin:admin").decode(),
        "Bearer " + "x" * 4000,
    ],
)
def test_without_a_valid_token_nothing_is_told(service: Served, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    with service.client() as client:
        for path in ("", "/sites", *addresses(), "/nothing/at/all"):
            refused(client.get(path, headers=headers), 401)
        assert client.get("/health").json() == {"status": "ok"}
        assert SITE not in client.get("/openapi.json").json()["paths"]


def test_the_secret_of_another_token_is_none(service: Served) -> None:
    _, number, _ = service.held["admin"].split("_", 2)
    _, _, secret = service.held["viewer"].split("_", 2)
    with service.client() as client:
        refused(client.get("/sites", headers={"Authorization": f"Bearer s4c_{number}_{secret}"}), 401)


def test_a_token_ends_when_it_is_revoked_or_over(service: Served) -> None:
    service.held["gone"] = service.tokens.add("gone", {SITE: Role.ADMIN})
    assert service.get("/sites", "gone").status_code == 200
    service.tokens.revoke("gone")
    refused(service.get("/sites", "gone"), 401)
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.5)
    service.held["over"] = service.tokens.add("over", {SITE: Role.ADMIN}, soon)
    time.sleep(1.6)
    refused(service.get("/sites", "over"), 401)


def test_a_foreign_site_is_as_if_it_were_not_there(service: Served) -> None:
    assert [one["site"] for one in service.get("/sites", "foreign").json()["sites"]] == [OTHER]
    for path in [*addresses(), f"{HERE}/audit", f"{HERE}/administration"]:
        foreign = refused(service.get(path, "foreign"), 404)
        nowhere = refused(service.get(path.replace(HERE, "/sites/nowhere"), "foreign"), 404)
        assert foreign == nowhere
    with service.client("foreign") as client:
        refused(client.post(f"{HERE}/collections/parcels/search", json={}), 404)


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_what_is_for_administrators(service: Served, name: str) -> None:
    for path in ("/audit", "/administration"):
        refused(service.get(HERE + path, name), 403)
        assert service.get(HERE + path, "admin").status_code == 200


@pytest.mark.parametrize("form", ["json", "csv", "arrow"])
def test_ids_are_hidden_from_viewers_in_every_form(service: Served, form: str) -> None:
    told = 0
    for path in addresses():
        takes_form = any(word in path for word in ("items?", "series", "versions", "peers", "evidence", "practices"))
        more = ("&" if "?" in path else "?") + f"format={form}" if takes_form else ""
        seen = service.get(path + more, "viewer")
        assert seen.status_code == 200, seen.text
        for secret in SECRETS:
            assert secret.encode() not in seen.content, (path, secret)
        for column in ("ori_id", "ori_hold", "farmer"):
            assert column.encode() not in seen.content, (path, column)
        told += any(secret.encode() in service.get(path + more, "operator").content for secret in SECRETS)
    assert told >= 4, "operators see them there"


@pytest.mark.parametrize(
    "condition",
    [
        "ori_id = 'F001'",
        "\"ori_id\" = 'F001'",
        "parcels.ori_id = 'F001'",
        "farmer LIKE 'Hu%'",
        "ori_hold IS NULL",
        "lower(hold) = 'hold-0'",
        "NewID = 1 AND ori_id > 'F'",
    ],
)
def test_a_condition_on_what_is_hidden_is_refused(service: Served, condition: str) -> None:
    problem = refused(service.get(ITEMS, "viewer", filter=condition), 400)
    assert "ori_id," not in problem.get("hint", "")
    with service.client("viewer") as client:
        refused(client.post(f"{HERE}/collections/parcels/search", json={"filter": condition}), 400)


@pytest.mark.parametrize("key", ["ori_ids", "filter"])
def test_text_that_is_no_text(service: Served, key: str) -> None:
    """Half of a pair of UTF-16, which JSON lets through."""
    value = '["\\ud800"]' if key == "ori_ids" else "\"ori_crop = '\\ud800'\""
    with service.client("operator") as client:
        body, kind = f'{{"{key}": {value}}}', {"Content-Type": "application/json"}
        refused(client.post(f"{HERE}/collections/parcels/search", content=body, headers=kind), 400)


def test_own_ids_are_for_operators(service: Served) -> None:
    for key in ("ori_id", "ori_hold"):
        refused(service.get(ITEMS, "viewer", **{key: "F001"}), 403)
    with service.client("viewer") as client:
        refused(client.post(f"{HERE}/collections/parcels/search", json={"ori_ids": ["F001"]}), 403)
    assert service.get(ITEMS, "operator", ori_id="F001").json()["numberMatched"] == 1


@pytest.mark.parametrize(
    "condition",
    [
        "1=1; DROP TABLE parcels",
        "1=1; COPY (SELECT 1) TO '{file}'",
        "1=1 UNION SELECT 1",
        "(SELECT count(*) FROM range(1000000000000)) > 1",
        "NewID IN (SELECT NewID FROM parcels)",
        "EXISTS (SELECT 1)",
        "1 = (SELECT length(content) FROM read_text('/etc/passwd'))",
        "getenv('HOME') = ''",
        "current_setting('memory_limit') = ''",
        "list_sum(range(1000000000)) > 1",
        "regexp_matches(ori_crop, '(a+)+$')",
        "repeat('x', 1000000000) = ori_crop",
        "CASE WHEN true THEN true ELSE false END",
        "CAST(NewID AS VARCHAR) = '1'",
        "CAST(NULL AS INTEGER[100000][100000]) IS NULL",
        "CAST('{{}}' AS JSON) IS NULL",
        "NewID = 1 ORDER BY 1",
        "NewID = 1 LIMIT 1",
        "NewID = 1) OR (1 = 1",
        "NewID = $1",
        "row_number() OVER () = 1",
        "'a'",
        "",
        "NewID = 1 GROUP BY NewID",
        "NOT " * 200 + "GeomValid",
        "ori_crop LIKE '%a%a%a%a%a%'",
        "ori_crop LIKE tile",
        "NewID = 1" + " OR NewID = 1" * 400,
    ],
)
def test_a_condition_is_a_condition_and_nothing_else(service: Served, tmp_path: Path, condition: str) -> None:
    refused(service.get(ITEMS, "operator", filter=condition.format(file=tmp_path / "made")), 400)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path",
    [
        "/sites/..%2F..%2F..%2Fetc%2Fpasswd",
        "/sites/%2e%2e/%2e%2e/etc/passwd",
        f"{SEASON}/markers/..%2F..%2Fparcels?ids=1",
        f"{SEASON}/markers/%2Fetc?ids=1",
        f"{SEASON}/..%2Fclasses",
        f"{SEASON}/classes?period=..%2F..%2F..",
        f"{SEASON}/classes?period=%2Fetc",
        f"{HERE}/collections/parcels.{NEW}...%2Fv0001/items",
        f"{HERE}/collections/parcels.{NEW}.v0001%00/items",
        f"{HERE}/seasons/..%2F..%2F/files",
        "/%00",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(service: Served, path: str) -> None:
    answer = service.get(path, "admin")
    assert answer.status_code in {400, 404}, answer.text
    refused(answer, answer.status_code)
    assert "root:" not in answer.text


def test_links_to_elsewhere_are_not_followed(service: Served, workspace: Workspace, tmp_path: Path) -> None:
    home = workspace.markers / "l4b" / "2019"
    home.mkdir(parents=True)
    table = pa.table({"NewID": pa.array([1], pa.int32()), "stolen": ["Huber"]})
    write_ipc(tmp_path / "other.arrow", table.schema, table.to_batches())
    link = home / f"{SITE}_32UNU.arrow"
    link.symlink_to(tmp_path / "other.arrow")
    refused(service.get(f"{SEASON}/events", "admin"), 404)
    link.unlink()
    write_ipc(link, table.schema, table.to_batches())
    assert service.get(f"{SEASON}/events", "admin").json()["rows"] == 1, "as a file it is served"
    link.write_bytes(b"damaged")
    refused(service.get(f"{SEASON}/events", "admin"), 503)
    link.unlink()
    # Nor is a folder that is a link.
    away = tmp_path / "2020"
    away.mkdir()
    write_ipc(away / f"{SITE}_32UNU.arrow", table.schema, table.to_batches())
    home.with_name("2020").symlink_to(away)
    refused(service.get(f"{SEASON}/events", "admin"), 404)
    home.with_name("2020").unlink()


def test_formulas_are_text_in_spreadsheets(service: Served, workspace: Workspace) -> None:
    texts = ["=1+1", "wheat"]
    table = pa.table(
        {"NewID": pa.array([1, 2], pa.int32()), "crop": texts, "coded": pa.array(texts).dictionary_encode()}
    )
    path = workspace.markers / "l4b" / "2019" / f"{SITE}_32UNU.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ipc(path, table.schema, table.to_batches())
    lines = service.get(f"{SEASON}/events", "admin", format="csv").text.splitlines()
    path.unlink()
    assert [one.split(",")[2:] for one in lines] == [
        ['"crop"', '"coded"'],
        ['"\'=1+1"', '"\'=1+1"'],
        ['"wheat"', '"wheat"'],
    ]


def test_a_file_that_is_gone_is_asked_for_again(tmp_path: Path) -> None:
    space = build_small(tmp_path / "ws")
    with served(tmp_path, space.workspace) as service:
        moved = [(path, path.with_suffix(".away")) for path in space.workspace.imported.rglob("*.arrow")]
        for path, away in moved:
            path.rename(away)
        answer = service.get(f"{SEASON}/parcels/1/series", "viewer")
        refused(answer, 503)
        assert answer.headers["Retry-After"] == "1"
        for path, away in moved:
            away.rename(path)
        assert service.get(f"{SEASON}/parcels/1/series", "viewer").status_code == 200, "looked at anew"


def test_head_is_get_without_a_body(service: Served) -> None:
    """RFC 9110 wants it of every server; monitors ask for it."""
    with service.client("viewer") as client:
        for path in ("/health", ITEMS, f"{SEASON}/series?ids=1"):
            answer, whole = client.head(path), client.get(path)
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"] == whole.headers["content-type"]
        refused_to = client.head(f"{HERE}/audit")
        assert (refused_to.status_code, refused_to.content) == (403, b"")
    assert '"method": "HEAD"' in service.audit.read_text()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "TRACE", "PROPFIND"])
def test_nothing_can_be_changed(service: Served, method: str) -> None:
    with service.client("admin") as client:
        refused(client.request(method, f"{HERE}/collections/parcels/items/1"), 405)


def test_bodies_and_addresses_are_bounded(service: Served) -> None:
    search = f"{HERE}/collections/parcels/search"
    big = Limits().body_bytes + 1
    with service.client("viewer") as client:
        refused(client.post(search, content=b"{" + b" " * big), 413)
        refused(client.post(search, content=(b" " * 65_536 for _ in range(17))), 413)
        refused(client.get(ITEMS, params={"ids": "1," * 5_000 + "1"}), 414)
        refused(client.get(ITEMS, params={"ids": ",".join(map(str, range(501)))}), 400)
        refused(client.get(f"{SEASON}/series", params={"ids": ",".join(map(str, range(501)))}), 400)
        ring = [[10 + i * 1e-6, 48.0] for i in range(20_001)] + [[10, 49], [10, 48.0]]
        refused(client.post(search, json={"geometry": {"type": "Polygon", "coordinates": [ring]}}), 400)
        deep = "[" * 20_000 + "]" * 20_000
        body = f'{{"geometry":{{"type":"Polygon","coordinates":{deep}}}}}'
        refused(client.post(search, content=body, headers={"Content-Type": "application/json"}), 400)
        assert len(client.get(ITEMS, params={"limit": 10**9}).json()["features"]) == 30


def test_answers_are_bounded(workspace: Workspace, tmp_path: Path) -> None:
    limits = Limits(values_max=100, rate_per_s=1e6, burst=10**6)
    with served(tmp_path, workspace, limits=limits) as service:
        assert service.get(f"{SEASON}/series", "viewer", ids="1,2").status_code == 200
        for path, more in (("series", {"ids": "1,2,3"}), ("practices", {}), ("markers/l4c", {"ids": "1,2,3,4,5"})):
            problem = refused(service.get(f"{SEASON}/{path}", "viewer", **more), 400)
            assert "files" in problem["hint"]


def test_too_many_requests_wait(workspace: Workspace, tmp_path: Path) -> None:
    limits = Limits(rate_per_s=0.02, burst=3, refused_per_s=0.02, refused_burst=2)
    with served(tmp_path, workspace, limits=limits) as service:
        states = [service.get("/sites", "viewer").status_code for _ in range(5)]
        assert states == [200, 200, 200, 429, 429]
        answer = service.get("/sites", "viewer")
        refused(answer, 429)
        assert 1 <= int(answer.headers["Retry-After"]) <= 50
        assert service.get("/sites", "operator").status_code == 200, "counted by token"
        for _ in range(50):
            service.get("/sites", "viewer")
        assert service.audit.read_text().count('"status": 429') < 10, "who does not wait does not fill the log"
        assert [service.get("/sites", None).status_code for _ in range(4)] == [401, 401, 429, 429]


def test_other_names_of_the_host_are_refused(service: Served) -> None:
    with service.client("viewer") as client:
        for host in (
            "evil.example",
            "localhost:80@evil.example",
            "127.0.0.1:evil",
            "localhost:1/x",
            "[::1",
            "localhost.",
        ):
            refused(client.get("/sites", headers={"Host": host}), 400)
        assert client.get("/sites", headers={"Host": "localhost:1"}).status_code == 200


def test_every_answer_has_the_headers_and_no_origin_is_let_in(service: Served) -> None:
    with service.client("viewer") as client:
        for path in ("/health", "/sites", "/nothing", ITEMS, f"{HERE}/audit"):
            headers = client.get(path, headers={"Origin": "https://evil.example"}).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers
            assert not [name for name in headers if name.startswith("access-control")]


def test_an_origin_that_is_named_is_let_in(workspace: Workspace, tmp_path: Path) -> None:
    with served(tmp_path, workspace, cors_origins=("https://maps.example",)) as service, service.client() as client:
        for origin, allowed in (("https://maps.example", True), ("https://evil.example", False)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            answer = client.options("/sites", headers={**asked, "Access-Control-Request-Headers": "Authorization"})
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


def test_the_audit_log_says_who_and_what_and_names_no_farmer(service: Served) -> None:
    service.get(ITEMS, "operator", ori_id="F007", filter="farmer = 'Huber'", F007="x")
    service.get(ITEMS, "operator", ori_id="F007", filter="farmer = 'Huber'")
    service.get(f"{HERE}/seasons/latest/parcels/7/series?F007=1", "viewer")
    service.get("/sites/Huber/seasons/F007", None)
    text = service.audit.read_text()
    for secret in (*SECRETS, *service.held.values()):
        assert secret not in text
    *_, before, _, after = [json.loads(line) for line in text.splitlines()]
    assert before["who"] == "operator"
    assert before["route"] == "/v1/sites/{site}/collections/{collection}/items"
    assert (before["site"], before["parameters"], before["status"]) == (SITE, ["ori_id", "filter"], 200)
    assert (after["status"], "who" in after, "site" in after) == (401, False, False)
    assert service.audit.stat().st_mode & 0o777 == 0o600
    lines = service.get(f"{HERE}/audit", "admin", limit=3).json()["lines"]
    assert lines[0]["route"] == "/v1/sites/{site}/collections/{collection}/items"
    assert before in service.get(f"{HERE}/audit", "admin").json()["lines"]
    assert len(lines) == 3
    theirs = service.get(f"/sites/{OTHER}/audit", "foreign").json()["lines"]
    assert not [line for line in theirs if line["site"] != OTHER]


def test_what_cannot_be_logged_is_not_answered(workspace: Workspace, tmp_path: Path) -> None:
    with served(tmp_path, workspace, audit=Path("/dev/full")) as service:
        refused(service.get("/sites", "viewer"), 503)


def test_a_token_file_that_others_may_write_lets_nobody_in(workspace: Workspace, tmp_path: Path) -> None:
    with served(tmp_path, workspace) as service:
        assert service.get("/sites", "viewer").status_code == 200
        service.tokens.path.chmod(0o646)
        refused(service.get("/sites", "viewer"), 500)
        service.tokens.path.chmod(0o600)
        assert service.get("/sites", "viewer").status_code == 200
