"""Runs on a node for ``s4c slurm check --deep``: says what it finds there, in a file of the workspace."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from s4c_hpc import __version__
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import S4cError
from s4c_hpc.slurm.admin import AdminClient

ANSWER = "answer.json"
TRIAL = "trial.sh"
"""Batch script for ``sbatch --test-only`` on the node."""


def main(folder: Path) -> None:
    """Try what a driver on a node would need, and write the answer."""
    try:
        refusal = AdminClient(timeout_s=30).trial((folder / TRIAL).read_text(encoding="utf-8"))
    except S4cError as error:
        refusal = error
    answer = {
        "host": os.uname().nodename,
        "version": __version__,
        "python": sys.executable,
        "time": time.time(),
        "refusal": None if refusal is None else str(refusal),
    }
    write_text(folder / ANSWER, json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
