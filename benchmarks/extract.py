"""``python -m benchmarks.extract``: everything that is measured about extraction, one after the other, as JSON.

Each part is a program of its own and can be run alone; a part that fails is told and does not end the others.
"""

from __future__ import annotations

import json
import subprocess
import sys

PARTS = ("zonal", "gather", "index", "series", "biophysical")


def main() -> int:
    """Run all parts; the exit code is that of the worst."""
    found, worst = {}, 0
    for part in PARTS:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.bench_{part}"], stdout=subprocess.PIPE, text=True, check=False
        )
        found[part] = json.loads(done.stdout) if done.returncode == 0 else f"failed with exit code {done.returncode}"
        worst = max(worst, abs(done.returncode))
    print(json.dumps(found, indent=2))
    return worst


if __name__ == "__main__":
    sys.exit(main())
