"""A small helper for SVG by hand: elements that escape what they are given, and linear scales.

The report draws its plots itself and not with matplotlib: text stays text (selectable, searchable, read by screen
readers), colours follow the reader's light or dark theme through CSS classes, a mark can carry a ``<title>`` for
hovering, and a time line costs some 5 kB and a millisecond instead of 100 kB and 100 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

SVG_NAMESPACE = "http://www.w3.org/2000/svg"

Attribute = str | float | None
"""Text is escaped, numbers are rounded to hundredths of a drawing unit, ``None`` leaves the attribute out."""


def number(value: float) -> str:
    """A coordinate with at most two decimals and no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def element(name: str, *children: str | Markup | None, **attributes: Attribute) -> Markup:
    """One SVG element; plain text children and all attribute values are escaped.

    Attribute names are written with ``_`` for ``-``; a trailing ``_`` (``class_``) is dropped.
    """
    parts = [
        Markup(' {}="{}"').format(_attribute_name(key), _attribute_text(value))
        for key, value in attributes.items()
        if value is not None
    ]
    opening = Markup("<{}{}").format(name, join(parts))
    inner = join(child for child in children if child is not None)
    return Markup("{}>{}</{}>").format(opening, inner, name) if inner else Markup("{}/>").format(opening)


def join(parts: Iterable[str | Markup]) -> Markup:
    """All parts one after the other; plain text is escaped."""
    return Markup("").join(parts)


def drawing(
    *children: str | Markup | None,
    width: float,
    height: float,
    label: str,
    class_: str = "",
    interactive: bool = False,
    standalone: bool = False,
) -> Markup:
    """An ``<svg>`` that scales with the page and has ``label`` as its accessible name.

    ``interactive`` drawings hold links. ``standalone`` adds the namespace that a file of its own needs and HTML does
    not.
    """
    return element(
        "svg",
        *children,
        xmlns=SVG_NAMESPACE if standalone else None,
        viewBox=f"0 0 {number(width)} {number(height)}",
        class_=class_ or None,
        # The parts of an img do not exist for a screen reader; those of a group do.
        role="group" if interactive else "img",
        aria_label=label,
    )


def polyline(points: Iterable[tuple[float, float]], *, close: bool = False) -> str:
    """Path data through ``points`` in drawing units."""
    text = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f"M{text}Z" if close else f"M{text}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear map from values ``low ... high`` to drawing units ``start ... end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Position of ``value``; values outside are not clipped."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``, some ``about`` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def spread(n: int, wanted: int) -> list[int]:
    """Up to ``wanted`` indices of ``range(n)``, evenly spread, first and last included; the same every time."""
    if wanted >= n:
        return list(range(n))
    if wanted <= 1:
        return [0][:wanted]
    return sorted({round(i * (n - 1) / (wanted - 1)) for i in range(wanted)})


def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _attribute_text(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)
