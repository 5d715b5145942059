"""The map over many parcels, in headless Chromium: time to the first parcels, frames while panning, tiles by zoom.

``python -m benchmarks.bench_viewer [--parcels N] [--folder DIR]`` prints JSON. Fields are those of ``bench_serve``,
with one date. Chromium draws without a graphics card (SwiftShader), on the same cores as the service: a desk is faster.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.bench_serve import SITE, make_workspace, memory, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.browser import Page, chromium

READY = "document.body.dataset.state === 'ready'"
_PAN = """(async () => {
  const canvas = [...document.querySelectorAll('canvas.maplibregl-canvas')].at(-1);
  const box = canvas.getBoundingClientRect();
  const middle = [box.x + box.width / 2, box.y + box.height / 2];
  const frame = () => new Promise(requestAnimationFrame);
  const send = (to, kind, x, y, buttons) => to.dispatchEvent(new MouseEvent(kind, {
    bubbles: true, clientX: middle[0] + x, clientY: middle[1] + y, button: 0, buttons, view: window }));
  const times = [];
  for (let turn = 0; turn < 2; turn += 1) {
    const way = turn % 2 ? 1 : -1;
    send(canvas, 'mousedown', 0, 0, 1);
    for (let i = 1; i <= 60; i += 1) {
      times.push(await frame());
      send(document, 'mousemove', way * 5 * i, way * 2 * i, 1);
    }
    await frame();
    await frame();
    send(document, 'mouseup', way * 300, way * 120, 0);
    times.push(NaN);
    await new Promise((done) => setTimeout(done, 400));
  }
  return times.map((one) => (Number.isNaN(one) ? null : one));
})()"""
"""Drags there and back, a step a frame, by the page itself: no message of the tester stands between two frames."""
_PEER = """(async () => {
  const features = [];
  let next = `${location.origin}/v1/sites/SITE/collections/parcels/items?limit=10000`;
  while (next) {
    const page = await (await fetch(next, { headers: { Authorization: 'Bearer TOKEN' } })).json();
    for (const one of page.features) features.push({ ...one, properties: { crop: one.properties.ori_crop } });
    next = page.links.find((one) => one.rel === 'next')?.href;
  }
  const place = document.createElement('div');
  place.id = 'peer';
  const theirs = document.querySelector('#map').getBoundingClientRect();
  const where = { left: theirs.x, top: theirs.y, width: theirs.width, height: theirs.height };
  for (const [name, value] of Object.entries(where)) place.style[name] = `${value}px`;
  place.style.position = 'fixed';
  place.style.zIndex = 9;
  document.body.append(place);
  const started = performance.now();
  const map = new maplibregl.Map({ container: place, attributionControl: false, fadeDuration: 0,
    style: { version: 8, sources: {}, layers: [{ id: 'ground', type: 'background' }] } });
  await map.once('load');
  map.fitBounds(BBOX, { padding: 30, animate: false });
  map.addSource('parcels', { type: 'geojson', data: { type: 'FeatureCollection', features } });
  const colours = ['match', ['get', 'crop'], '115', '#4477aa', '131', '#ccbb44', '171', '#228833', '#ee6677'];
  const paint = { 'fill-color': colours, 'fill-antialias': false };
  map.addLayer({ id: 'fill', type: 'fill', source: 'parcels', paint });
  await map.once('idle');
  window.peer = map;
  return (performance.now() - started) / 1e3;
})()"""
"""The same parcels as one GeoJSON source in a map of the same size, library and page."""


def tiles(url: str, token: str) -> dict[str, Any]:
    """Seconds and bytes of tiles that have not been asked for, in the middle of the parcels."""
    found: dict[str, Any] = {}
    season = f"{url}/v1/sites/{SITE}/seasons/latest"
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
    with httpx.Client(headers=headers, timeout=120, trust_env=False) as client:
        started = time.perf_counter()
        west, south, east, north = client.get(f"{season}/map").json()["bbox"]
        found["first answer of the map, s"] = round(time.perf_counter() - started, 2)
        x, y = (west + east) / 2, np.radians((south + north) / 2)
        for zoom in range(6, 16):
            at = int((x + 180) / 360 * 2**zoom), int((1 - np.arcsinh(np.tan(y)) / np.pi) / 2 * 2**zoom)
            started = time.perf_counter()
            answer = client.get(f"{season}/tiles/{zoom}/{at[0]}/{at[1]}").raise_for_status()
            found[f"zoom {zoom}"] = {
                "s": round(time.perf_counter() - started, 3),
                "kB": round(len(answer.content) / 1e3, 1),
                "sent kB": round(int(answer.headers["content-length"]) / 1e3, 1),
            }
    return found


def pan(page: Page) -> dict[str, Any]:
    """Frames while the map is dragged there and back, and what processes took the cores meanwhile."""
    before = _seconds()
    page.value(f"window.frames_ = null, {_PAN}.then((times) => {{ window.frames_ = times; }}), 0")
    times = np.array(page.wait("window.frames_", 300), dtype=float)
    gaps = np.diff(times)
    gaps = gaps[np.isfinite(gaps)]
    after = _seconds()
    print(".", end="", file=sys.stderr, flush=True)
    p50, p95, p99 = np.percentile(gaps, [50, 95, 99])
    return {
        "frames": len(gaps),
        "p50 ms": round(float(p50), 1),
        "p95 ms": round(float(p95), 1),
        "p99 ms": round(float(p99), 1),
        "dropped": round(max(0.0, 1 - len(gaps) * 1e3 / 60 / float(gaps.sum())), 3),
        "processor ms a frame": {
            kind: round((after[kind] - before.get(kind, 0.0)) * 1e3 / len(gaps), 1) for kind in sorted(after)
        },
    }


def _seconds() -> dict[str, float]:
    """Processor time of the browser's processes by what they do, and of the service."""
    found: dict[str, float] = {}
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            line = " ".join(one.cmdline())
            kind = re.search(r"--type=(gpu-process|renderer)", line)
            name = kind[1] if kind else "service" if " serve " in line else "other"
            found[name] = found.get(name, 0.0) + sum(one.cpu_times()[:2])
    return found


def wheel(page: Page, steps: int, away: float) -> None:
    """Turn the wheel over the middle of the map."""
    at = page.place("#map")
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    for _ in range(steps):
        page.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=away)
        time.sleep(0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parcels", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"))  # noqa: S108 - where the others keep theirs
    chosen = parser.parse_args()
    root = chosen.folder / f"serve-{chosen.parcels}-1"
    if not (root / "s4c.toml").exists():
        shutil.rmtree(root, ignore_errors=True)
        make_workspace(root, chosen.parcels, 1)
    result: dict[str, Any] = {"parcels": chosen.parcels, "load average": os.getloadavg()}
    with tempfile.TemporaryDirectory() as name, chromium(Path(name) / "browser") as new:
        with serving(root, Path(name)) as (url, token, process, _):
            page = new()
            for what in ("of a service just started", "again"):
                page.open("about:blank")
                started = time.perf_counter()
                page.open(f"{url}/v1/view/#token={token}")
                page.wait(READY, 120)
                result[f"first parcels {what}, s"] = round(time.perf_counter() - started, 2)
            result["panning, all in view"] = pan(page)
            for zoom in (1, 2, 3):  # of the wheel: about a step of zoom each
                wheel(page, 2, -240)
                time.sleep(3)
                result[f"panning, {zoom} nearer"] = pan(page)
            page.type("#parcel", str(chosen.parcels // 2))
            page.wait("document.querySelector('#panel').dataset.parcel")
            page.value("document.querySelector('#panel button').click()")
            time.sleep(2)
            result["panning, fields in view"] = pan(page)
            page.type("#condition", "NewID < 0")
            time.sleep(3)
            result["panning, nothing in view"] = pan(page)
            bbox = json.dumps(
                page.value(
                    f"fetch('{url}/v1/sites/{SITE}/seasons/latest/map',"
                    f" {{headers: {{Authorization: 'Bearer {token}'}}}}).then((a) => a.json()).then((a) => a.bbox)"
                )
            )
            script = _PEER.replace("SITE", SITE).replace("TOKEN", token).replace("BBOX", bbox)
            page.value(f"{script}.then((s) => {{ window.peerSeconds = s; }}), 0")
            result["peer, first parcels from memory, s"] = round(page.wait("window.peerSeconds", 300), 2)
            result["peer, panning, all in view"] = pan(page)
            result["memory, MiB"] = memory(process)
        with serving(root, Path(tempfile.mkdtemp(dir=name))) as (url, token, _process, _):
            result["tiles"] = tiles(url, token)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
