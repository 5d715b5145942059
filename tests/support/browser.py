"""Debian's Chromium without a screen, spoken to over two pipes (DevTools protocol): no driver, no port."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

CHROMIUM = shutil.which("chromium")
SIZE = 1280, 800
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may be run by root, in a container
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    f"--window-size={SIZE[0]},{SIZE[1]}",
)


class Page:
    """One page, what it asked for and what went wrong in it."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._buffer, self._number = to, back, b"", 0
        self._session = ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        """Errors of scripts, refused by the policy or not."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        width, height = SIZE
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> Any:
        """One command and its answer."""
        self._number += 1
        number, message = self._number, {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            answer = self._next(until - time.monotonic())
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._hear(answer)
        raise TimeoutError(method)

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What an expression is, promises awaited."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 40) -> Any:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(AssertionError):
                if found := self.value(script):
                    return found
            time.sleep(0.05)
        raise AssertionError((script, self.value("document.body.innerText"), self.complaints))

    def click(self, x: float, y: float) -> None:
        """The left button, pressed and released."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            buttons = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **buttons)

    def type(self, selector: str, text: str) -> None:
        """Write into a field, and Enter."""
        self.value(f"(() => {{ const f = document.querySelector('{selector}'); f.focus(); f.select(); }})()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    def choose(self, selector: str, value: str) -> None:
        """Take an entry of a list."""
        chosen = f"const s = document.querySelector('{selector}'); s.value = '{value}'"
        self.value(f"(() => {{ {chosen}; s.dispatchEvent(new Event('change')); }})()")

    def screenshot(self, selector: str = "", path: Path | None = None) -> NDArray[np.uint8]:
        """(rows, columns, 3) of the page, or of an element of it; kept as PNG if asked for."""
        clip = self.place(selector) if selector else {}
        more = {"clip": {**clip, "scale": 1}} if clip else {}
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png", **more)["data"])
        if path is not None:
            path.write_bytes(png)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(io.BytesIO(png)) as image:
                return np.moveaxis(image.read([1, 2, 3]), 0, -1)

    def place(self, selector: str) -> dict[str, float]:
        """Where an element is."""
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        found: dict[str, float] = self.value(f"(b => ({{x: b.x, y: b.y, width: b.width, height: b.height}}))({box})")
        return found

    def _next(self, seconds: float) -> Any:
        while b"\0" not in self._buffer:
            if not select.select([self._back], [], [], max(seconds, 0))[0]:
                return {}
            more = os.read(self._back, 1 << 20)
            assert more, "the browser has ended"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _hear(self, event: Any) -> None:
        method, about = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"])[:600])
        elif method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Callable[[], Page]]:
    """A browser with a profile of its own until the block ends; gives new pages."""
    assert CHROMIUM is not None
    read_theirs, write_ours = os.pipe()
    read_ours, write_theirs = os.pipe()
    command = f'exec "$@" 3<&{read_theirs} 4>&{write_theirs}'
    process = subprocess.Popen(
        ["bash", "-c", command, "bash", CHROMIUM, *_FLAGS, f"--user-data-dir={folder}"],
        pass_fds=(read_theirs, write_theirs),
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_theirs)
    os.close(write_theirs)
    try:
        yield lambda: Page(write_ours, read_ours)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait(20)
        os.close(write_ours)
        os.close(read_ours)
