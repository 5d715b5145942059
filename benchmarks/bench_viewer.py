"""The map over many parcels, in headless Chromium: time to the first parcels, frames while panning, tiles by zoom.

``python -m benchmarks.bench_viewer [--parcels N] [--folder DIR]`` prints JSON. Fields are those of ``bench_serve``,
with one date. Chromium draws without a graphics card (SwiftShader), on the same cores as the service: a desk is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.bench_serve import SITE, make_workspace, memory, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.browser import Page, chromium

READY = "document.body.dataset.state === 'ready'"
FRAMES = """(() => {
  const runs = window.frames_ !== undefined;
  window.frames_ = [];
  if (runs) return;
  const frame = (t) => { frames_.push(t); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
})()"""


def tiles(url: str, token: str) -> dict[str, Any]:
    """Seconds and bytes of tiles that have not been asked for, in the middle of the parcels."""
    found: dict[str, Any] = {}
    season = f"{url}/v1/sites/{SITE}/seasons/latest"
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
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
            }
    return found


def pan(page: Page) -> dict[str, float]:
    """Frames while the map is dragged for some seconds."""
    page.value(FRAMES)
    at = page.place("#map")
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    for _ in range(3):
        page.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        for i in range(40):
            page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 6 * i, y=y - 2 * i, button="left", buttons=1)
            time.sleep(0.016)
        page.call("Input.dispatchMouseEvent", type="mouseReleased", x=x - 240, y=y - 80, button="left")
    gaps = np.diff(page.value("frames_"))
    return {
        "frames": len(gaps),
        "p50 ms": round(float(np.median(gaps)), 1),
        "p99 ms": round(float(np.percentile(gaps, 99)), 1),
        "share above 34 ms": round(float((gaps > 34).mean()), 3),
    }


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
            page.type("#condition", "NewID < 0")
            time.sleep(2)
            result["panning, nothing in view"] = pan(page)
            page.type("#condition", "")
            time.sleep(3)
            page.type("#parcel", str(chosen.parcels // 2))
            page.wait("document.querySelector('#panel').dataset.parcel")
            page.value("document.querySelector('#panel button').click()")
            time.sleep(2)
            result["panning, fields in view"] = pan(page)
            result["memory, MiB"] = memory(process)
        with serving(root, Path(tempfile.mkdtemp(dir=name))) as (url, token, _process, _):
            result["tiles"] = tiles(url, token)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
