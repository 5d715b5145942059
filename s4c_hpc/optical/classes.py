"""From the raw quality layers of a source to one class value a pixel: what the class column of a stack holds.

Nothing is judged here: which class is a cloud is said by the tables of ``[validity]`` when statistics are made. Where
a source sets several flags for one pixel, the first of this order counts, as in the reference system (its
``MAJAMaskHandlerFunctor``): no data, cloud, cloud shadow, water, snow, saturation; then what terrain does.

Sources
-------
MAJA, format of MUSCATE: Theia, "Sentinel-2 L2A product format" (labo.obs-mip.fr/multitemp/sentinel-2/
theias-sentinel-2-l2a-product-format), CNES PSC-NT-411-0362: MG2 bit 0 water, 1 all clouds but the thinnest, 2 snow,
3 cloud shadow, 4 topographic shadow, 5 hidden by relief, 6 sun too low, 7 sun tangent to the slope; EDG other than 0
outside of the image; SAT a bit for each band of that pixel size.

Landsat 8 and 9, Collection 2: USGS LSDS-1619 (Level 2 Science Product Guide), QA_PIXEL bit 0 fill, 1 dilated cloud,
2 cirrus, 3 cloud, 4 cloud shadow, 5 snow, 7 water, each where confidence is high, 8 and 9 confidence of cloud (2 is
medium); QA_RADSAT bits 0 to 6 saturation of bands 1 to 7, 11 occluded by
terrain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError

NO_CLASS: Final = 255
"""What cannot be a class, and cells off the rasters: no data whatever a table says."""

LAND, WATER, SHADOW, SNOW, CLOUD, SATURATED = range(6)
"""Class values that MAJA, Landsat and FMask share here: those of the reference system's validity masks."""

TOPOGRAPHIC_SHADOW, HIDDEN, LOW_SUN = 6, 7, 8
"""Further ones of MAJA."""

DILATED_CLOUD, CIRRUS, OCCLUDED, PERHAPS_CLOUD = 6, 7, 8, 9
"""Further ones of Landsat."""

FILL: Final = 254
"""Outside of the image, by the source's own account (MAJA, Landsat)."""

_ANY: Final = 255
"""Any bit of a byte."""


def to_classes(kind: str, layers: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Class value of each pixel.

    Parameters
    ----------
    kind : ``scl``, ``declared`` or ``fmask`` (one layer, whose values are the classes), ``maja`` (layers MG2, EDG and
        SAT; what follows an underscore in their names is the pixel size) or ``landsat`` (QA_PIXEL, QA_RADSAT)
    layers : raw layers of one grid by name, all of one shape

    Returns
    -------
    uint8 of that shape; ``NO_CLASS`` for values that are no class, NaN and 65535 say
    """
    if kind == "maja":
        flags = {name.partition("_")[0]: layer for name, layer in layers.items()}
        return _of_maja(flags["MG2"], flags["EDG"], flags["SAT"])
    if kind == "landsat":
        return _of_landsat(layers["QA_PIXEL"], layers["QA_RADSAT"])
    if len(layers) != 1:
        raise InternalError(f"classes of kind {kind!r} are one layer, not {len(layers)}")
    (layer,) = layers.values()
    return as_classes(layer)


def as_classes(layer: NDArray[Any]) -> NDArray[np.uint8]:
    """A layer of classes as uint8; what cannot be one becomes ``NO_CLASS``."""
    if layer.dtype == np.uint8:
        return layer
    return np.where((layer >= 0) & (layer < NO_CLASS), layer, NO_CLASS).astype(np.uint8)


def _of_maja(mg2: NDArray[Any], edg: NDArray[Any], sat: NDArray[Any]) -> NDArray[np.uint8]:
    return _first(
        (edg, _ANY, FILL),
        (mg2, 1 << 1, CLOUD),
        (mg2, 1 << 3, SHADOW),
        (mg2, 1 << 0, WATER),
        (mg2, 1 << 2, SNOW),
        (sat, _ANY, SATURATED),
        (mg2, 1 << 5, HIDDEN),
        (mg2, 1 << 4, TOPOGRAPHIC_SHADOW),
        (mg2, 1 << 6 | 1 << 7, LOW_SUN),
    )


def _of_landsat(pixel: NDArray[Any], radsat: NDArray[Any]) -> NDArray[np.uint8]:
    return _first(
        (pixel, 1 << 0, FILL),
        (pixel, 1 << 3, CLOUD),
        (pixel, 1 << 2, CIRRUS),
        (pixel, 1 << 1, DILATED_CLOUD),
        (pixel, 1 << 4, SHADOW),
        (pixel, 1 << 7, WATER),
        (pixel, 1 << 5, SNOW),
        (radsat, 0b111_1111, SATURATED),  # bands 1 to 7, those that level 2 holds; bit 8 is the cirrus band
        (radsat, 1 << 11, OCCLUDED),
        (pixel, 1 << 9, PERHAPS_CLOUD),  # confidence 3 has bit 3 as well, and is cloud by then
    )


def _first(*rules: tuple[NDArray[Any], int, int]) -> NDArray[np.uint8]:
    """The class of the first rule that holds for a pixel, else ``LAND``; a rule is flags, bits and a class.

    Painted from the last rule to the first, so that one rule's answer is in memory at a time.
    """
    classes = np.full(rules[0][0].shape, LAND, dtype=np.uint8)
    for flags, bits, value in reversed(rules):
        classes[(flags & bits) != 0] = value
    return classes
