"""Where doubts about changes of coherence come into the stage."""

from __future__ import annotations

from collections.abc import Sequence

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.read import Source
from s4c_hpc.series.layers import Ids


def doubts_of(sources: Sequence[Source], ids: Ids) -> Doubts:
    """Doubts of parcels (n,) about the coherence of sources that have any, in their order: none are known yet."""
    return Doubts.none(ids.size, sum(bool(one.coherence) for one in sources))
