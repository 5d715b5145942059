"""Random kills on a real cluster, many rounds: ``python -m benchmarks.bench_faults [ROUNDS [FIRST_SEED]]``.

Each round is a run of the probe chain in which three processes or nodes, chosen by a seeded die, are killed at random
moments; a driver that died is started again as a person would. A round counts as passed if the run then ends with the
bytes of an undisturbed one, nothing done twice unnoticed and no job left. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.probe_stage import install_probes  # noqa: E402 - found on the path just given
from support.slurm import running_cluster  # noqa: E402
from support.slurm_chaos import Round, chaos_round  # noqa: E402

from s4c_hpc.slurm.cluster import Cluster  # noqa: E402


def main() -> int:
    """Do the rounds; 1 if any did not end as it should."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    passed: list[Round] = []
    failed: dict[int, str] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="s4c-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        probes = install_probes(folder / "probes")
        sys.path.insert(0, str(probes))
        with running_cluster(Cluster(folder / "cluster")) as cluster:
            for seed in range(first, first + rounds):
                cluster.restore()
                try:
                    passed.append(chaos_round(cluster, folder / f"round-{seed}", probes, seed))
                    print(f"seed {seed}: {passed[-1]}", file=sys.stderr)
                except Exception as error:  # noqa: BLE001 - the other rounds count as well
                    failed[seed] = f"{type(error).__name__}: {error}"
                    print(f"seed {seed}: {failed[seed]}", file=sys.stderr)
    print(json.dumps(_summary(rounds, passed, failed, time.monotonic() - began), indent=2))
    return 1 if failed else 0


def _summary(rounds: int, passed: list[Round], failed: dict[int, str], wall_s: float) -> dict[str, object]:
    kills: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for found in passed:
        kills.update(found.kills)
        kinds.update(found.kinds)
    return {
        "rounds": rounds,
        "passed": len(passed),
        "failed": failed,
        "kills": dict(kills),
        "attempts_by_end": dict(kinds),
        "starts": sum(found.starts for found in passed),
        "twins": sum(found.twins for found in passed),
        "round_s_median": sorted(found.wall_s for found in passed)[len(passed) // 2] if passed else None,
        "wall_s": round(wall_s, 1),
        "each": [asdict(found) for found in passed],
    }


if __name__ == "__main__":
    sys.exit(main())
