"""``python -m support.driver WORKSPACE WORKERS``: what ``s4c run`` does, with probe stages."""

from __future__ import annotations

import sys
from pathlib import Path

from support.probe_stage import PROBES
from support.runs import probe_config

from s4c_hpc.core.errors import S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import run


def main() -> int:
    workspace, workers = Path(sys.argv[1]), int(sys.argv[2])
    try:
        return int(run(Workspace(workspace), probe_config(workers=workers), registry=PROBES).exit_code)
    except S4cError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
