"""What one request may ask for, and how many may be made."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of requests. Whoever needs more takes the files, which have none."""

    page_default: int = 100
    """Rows or features of a page when no ``limit`` is given."""
    page_max: int = 5_000
    """Rows or features of a page."""
    parcels_max: int = 500
    """Parcels of a request that names them."""
    values_max: int = 2_000_000
    """Values (rows x columns) of an answer."""
    body_bytes: int = 1_048_576
    """Bytes of a request's body."""
    url_bytes: int = 8_192
    """Bytes of a request's path and query."""
    expression_chars: int = 2_000
    """Characters of a condition on attributes."""
    vertices_max: int = 5_000
    """Vertices of a polygon."""
    rate_per_s: float = 50.0
    """Requests a second of a token, on average."""
    burst: int = 200
    """Requests that may come at once."""
    refused_per_s: float = 1.0
    """Requests a second of an address that have no valid token, on average."""
    refused_burst: int = 20


class Buckets:
    """A token bucket a key, for the keys that were seen last."""

    def __init__(
        self, rate_per_s: float, burst: int, *, keys_max: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Every bucket is full at first."""
        self._rate, self._burst, self._keys_max, self._clock = rate_per_s, float(burst), keys_max, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, key: str, cost: float = 1.0) -> float:
        """Take from a bucket; 0, or how many seconds are to be waited if there is not enough in it."""
        with self._lock:
            now = self._clock()
            level, since = self._buckets.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._rate)
            enough = level >= cost
            self._buckets[key] = (level - cost if enough else level, now)
            if len(self._buckets) > self._keys_max:
                self._buckets.popitem(last=False)
            return 0.0 if enough else (cost - level) / self._rate
