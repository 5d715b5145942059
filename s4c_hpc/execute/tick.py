"""``python -m s4c_hpc.execute.tick RUN``: what a tick job of a detached run does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from s4c_hpc.core.errors import S4cError
from s4c_hpc.execute.detach import tick
from s4c_hpc.plan import RunFolder


def main() -> int:
    """Advance the run once; the log of the ticks says what went wrong."""
    os.umask(0o027)
    try:
        tick(RunFolder(Path(sys.argv[1])))
    except S4cError as error:
        print(f"s4c: {error}", file=sys.stderr)  # noqa: T201 - the log of a job
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
