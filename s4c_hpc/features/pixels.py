"""The features of a parcel block from the pixels of a season: a pure function, one piece after the other.

What a pixel gives does not depend on its neighbours, nor a parcel on other parcels: how the work is cut into pieces and
shared among ranks shows in memory and time and nowhere else.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.extract.index import IndexBlock
from s4c_hpc.extract.pieces import Piece, pieces
from s4c_hpc.features.moments import Members

PIECE_PIXELS: Final = 1 << 13
"""Pixels worked on at a time, unless a single parcel has more: a season of them is some 20 MB, and half of it is in
reach of a core's cache."""


class PieceFeatures(Protocol):
    """Makes the features of the parcels of a piece."""

    n_columns: int

    def fill(self, rows: NDArray[np.uint32], members: Members, out: NDArray[np.float32]) -> None:
        """Fill in columns of parcels.

        Parameters
        ----------
        rows : (n,) stack row of each pixel
        members : which pixels are whose
        out : (n_columns, n_parcels)
        """
        ...


def block_features(
    block: IndexBlock, features: PieceFeatures, out: NDArray[np.float32], piece_pixels: int = PIECE_PIXELS
) -> None:
    """Fill in the features of a block.

    Parameters
    ----------
    out : (n_columns, n_parcels), in the order of the block
    piece_pixels : does not change the result
    """
    done = 0
    for piece in pieces(block, piece_pixels):
        n = piece.block.n_parcels
        part = np.empty((features.n_columns, n), np.float32)
        features.fill(piece.row, members_of(piece), part)
        out[:, done : done + n] = part
        done += n


def members_of(piece: Piece) -> Members:
    """Which pixels of a piece are whose: all whole pixels of a parcel are one run there, and so are its edge pixels."""
    n_whole = np.append(0, np.cumsum(piece.block.run_length, dtype=np.int64))
    return n_whole, piece.block.edge_offsets, piece.block.edge_fraction.astype(np.float64)


def pixels_of(members: Members) -> NDArray[np.float32]:
    """(n_parcels,) pixels; of an edge pixel the share that is inside."""
    whole, edge, fraction = members
    total = np.append(0.0, np.cumsum(fraction))
    found: NDArray[np.float32] = (np.diff(whole) + np.diff(total[edge])).astype(np.float32)
    return found


def is_centre(weighting: Weighting) -> bool:
    """Whether standard deviations are those of a sample (n - 1)."""
    return weighting is Weighting.CENTRE
