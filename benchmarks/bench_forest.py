"""Fit of crop type models to 80 000 parcels with 600 features of 30 classes: CPU seconds a tree, peak memory.

``python -m benchmarks.bench_forest [--trees N] [--rows N]`` prints JSON. Each model has a process of its own and one
thread. A few trees are grown and the figures of 300 extrapolated: CPU by the tree; memory by what is held after the
fit plus the size of the trees to come, or by the peak if that is more. The ensemble's bound of memory is given to the
few trees in proportion, so that each has the size that it has among 300.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from s4c_hpc.classify.ensemble import CropEnsemble
from s4c_hpc.classify.size import FOREST_BYTES

N_FEATURES: Final = 600
N_CLASSES: Final = 30
N_TEST: Final = 20_000
N_TREES: Final = 300
MIB: Final = 1 << 20

MODELS: Final[dict[str, Callable[[int], Any]]] = {
    "forest, min node 10": lambda n: RandomForestClassifier(n, min_samples_split=10, random_state=0),
    "forest, min node 2": lambda n: RandomForestClassifier(n, random_state=0),
    "ensemble, min node 10": lambda n: CropEnsemble(n_trees=n, min_node=10, forest_bytes=FOREST_BYTES * n // N_TREES),
    "ensemble": lambda n: CropEnsemble(n_trees=n, forest_bytes=FOREST_BYTES * n // N_TREES),
}


def parcels(n_rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Features (n_rows, 600) and classes (n_rows,).

    40 hidden traits, normal about the centre of the class, are mixed into correlated features; the 30th class is 30
    times rarer than the first. Made for cost: normal classes suit the discriminant, so accuracy says little.
    """
    shape = np.random.default_rng(0)
    centres = shape.normal(0, 0.45, (N_CLASSES, 40))
    mixing = shape.normal(0, 40**-0.5, (40, N_FEATURES)).astype(np.float32)
    frequency = 1 / np.arange(1, N_CLASSES + 1)
    rng = np.random.default_rng(seed)
    classes = rng.choice(N_CLASSES, n_rows, p=frequency / frequency.sum())
    features = np.empty((n_rows, N_FEATURES), np.float32)
    for first in range(0, n_rows, 4096):
        part = classes[first : first + 4096]
        traits = centres[part] + rng.normal(0, 1, (len(part), 40))
        noise = rng.normal(0, 0.5, (len(part), N_FEATURES))
        features[first : first + 4096] = np.tanh(traits.astype(np.float32) @ mixing) + noise
    return features, classes


def fit_one(name: str, n_trees: int, n_rows: int) -> dict[str, float]:
    """Figures of one model, in this process."""
    features, classes = parcels(n_rows, 1)
    warm = parcels(600, 2)
    MODELS[name](2).fit(*warm).predict(warm[0])
    before = psutil.Process().memory_info().rss
    model = MODELS[name](n_trees)
    started = time.process_time()
    model.fit(features, classes)
    fit_s = time.process_time() - started
    above = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    held = psutil.Process().memory_info().rss - before
    trees = (model.forest_ if isinstance(model, CropEnsemble) else model).estimators_
    tree_bytes = float(np.mean([sum(part.nbytes for part in _arrays(tree.tree_)) for tree in trees]))
    one_more = time.process_time()
    MODELS[name](1).fit(features, classes)
    a_tree_s = (fit_s - (time.process_time() - one_more)) / (n_trees - 1)
    test, truth = parcels(N_TEST, 3)
    started = time.process_time()
    accuracy = float((model.predict(test) == truth).mean())
    return {
        "trees": n_trees,
        "fit_cpu_s": fit_s,
        "cpu_s_a_tree": a_tree_s,
        "cpu_s_besides_trees": fit_s - n_trees * a_tree_s,
        "nodes_a_tree": float(np.mean([tree.tree_.node_count for tree in trees])),
        "mib_a_tree": tree_bytes / MIB,
        "peak_mib_above_data": above / MIB,
        "cpu_s_of_300_extrapolated": fit_s + (N_TREES - n_trees) * a_tree_s,
        "peak_mib_above_data_of_300_extrapolated": max(above, held + (N_TREES - n_trees) * tree_bytes) / MIB,
        "predict_cpu_s_20_000_rows": time.process_time() - started,
        "accuracy_with_these_trees": accuracy,
    }


def _arrays(tree: Any) -> list[NDArray[Any]]:
    state = tree.__getstate__()
    return [state["nodes"], state["values"]]


def measure(n_trees: int, n_rows: int) -> dict[str, Any]:
    """Figures of every model, each in a fresh process."""
    found: dict[str, Any] = {
        "rows": n_rows,
        "features": N_FEATURES,
        "classes": N_CLASSES,
        "data_mib": n_rows * N_FEATURES * 4 / MIB,
    }
    for name in MODELS:
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_forest",
            "--trees",
            str(n_trees),
            "--rows",
            str(n_rows),
            "--only",
            name,
        ]
        found[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_forest", description="Measure; prints JSON.")
    parser.add_argument("--trees", type=int, default=6)
    parser.add_argument("--rows", type=int, default=80_000)
    parser.add_argument("--only", choices=MODELS, help="one model, in this process")
    options = parser.parse_args()
    found = fit_one(options.only, options.trees, options.rows) if options.only else measure(options.trees, options.rows)
    print(
        json.dumps(
            {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}, indent=1
        )
    )
