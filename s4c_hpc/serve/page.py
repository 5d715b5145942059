"""The viewer: a page of fixed files. It knows nothing; what it shows it asks for with the reader's token."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from s4c_hpc.serve.problems import Problem

router = APIRouter(include_in_schema=False)

PATH: Final = "/view"
MAPLIBRE: Final = "maplibre-gl-5.24.1"
"""Folder of the library: unchanged files of ``dist`` of the npm package, see the README there."""
SCRIPTS: Final = ("viewer", "map", "legend", "panel", "service")
_FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    **{f"{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS},
    "viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    "maplibre-gl.js": (f"{MAPLIBRE}/maplibre-gl.js", "text/javascript; charset=utf-8"),
    "maplibre-gl.css": (f"{MAPLIBRE}/maplibre-gl.css", "text/css; charset=utf-8"),
    "LICENSE.txt": (f"{MAPLIBRE}/LICENSE.txt", "text/plain; charset=utf-8"),
}
"""What there is, by name: no name that a caller gives becomes part of a path."""
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src blob:",  # MapLibre makes its worker of its own text
        "style-src 'self'",
        "img-src 'self' blob: data:",  # pictures that were fetched with the token; signs of MapLibre's style sheet
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@router.get(f"{PATH}/{{name:path}}")
def page(request: Request, name: str) -> Response:
    """A file of the viewer."""
    request.state.route = f"/v1{PATH}/"
    if name not in _FILES:
        raise Problem(404, "there is no such file", where="viewer", hint=f"the page is /v1{PATH}/")
    path, kind = _FILES[name]
    return Response(_read(path), media_type=kind, headers={"Content-Security-Policy": _POLICY})


@cache
def _read(path: str) -> bytes:
    return files("s4c_hpc.serve").joinpath("static", *path.split("/")).read_bytes()
