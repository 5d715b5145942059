"""Compile the kernels of confounders beforehand: ``python -m s4c_hpc.confounders.warm``; see ``extract.warm``."""

from __future__ import annotations

import numpy as np

from s4c_hpc.config.confounders import Confounders
from s4c_hpc.confounders.peers import Peers
from s4c_hpc.confounders.rules import Passes, doubts_of_block, rain_at


def main() -> None:
    """Run every kernel once, on two fields and two days."""
    passes = Passes(orbit=np.zeros(2, np.int64), day=np.arange(2, dtype=np.int64))
    peers = Peers(np.zeros((2, 2)), np.array(["a", "a"]), 1.0, 3).of(0, 2)
    steps = np.zeros((2, 2), np.float32)
    doubts_of_block(steps, slice(0, 2), peers, rain_at(None, 2, passes, 5.0), passes, Confounders())


if __name__ == "__main__":
    main()
