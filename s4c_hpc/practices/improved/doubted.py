"""Doubts about the coherence that practices are judged by."""

from __future__ import annotations

from collections.abc import Sequence

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.confounders.read import ConfounderFile
from s4c_hpc.practices.read import Source
from s4c_hpc.series.layers import Ids


def doubts_of(confounders: ConfounderFile | None, sources: Sequence[Source], ids: Ids) -> Doubts:
    """Doubts of parcels (n,) about the coherence of sources that have any, in their order; without a file none."""
    acquisitions = [one.acquisition for one in sources if one.coherence]
    if confounders is None:
        return Doubts.none(ids.size, len(acquisitions))
    return confounders.doubts_of(acquisitions, ids)
