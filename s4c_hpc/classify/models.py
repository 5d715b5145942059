"""The kinds of models by name: how one is made, fitted and asked.

A further kind is a function and a row of ``MODELS``: what it makes follows scikit-learn's interface and takes features
with gaps (NaN).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from s4c_hpc.config.classify import Classify
from s4c_hpc.core.errors import ConfigError

Matrix = NDArray[np.float32]

_BLOCK_ROWS = 4096
"""Rows that are judged at a time, whatever the number of cores."""


def forest(config: Classify, seed: int) -> Any:
    """A random forest; a split sends parcels without a value to the side that tells crops apart better.

    Notes
    -----
    As Sen4CAP's ranger: probabilities of leaves, sqrt(p) features at a node, nodes of ``min_node`` rows are split. Gaps
    filled with medians tell no more, and cost a forest of many parcels eight copies of its features.
    """
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - heavy, and not needed to plan

    return RandomForestClassifier(
        n_estimators=config.trees, max_features="sqrt", min_samples_split=config.min_node, random_state=seed
    )


def gradient_boosting(config: Classify, seed: int) -> Any:
    """Boosted trees over histograms; a gap is a value of its own."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - heavy, and not needed to plan

    return HistGradientBoostingClassifier(max_iter=config.trees, early_stopping=False, random_state=seed)


def ensemble(config: Classify, seed: int) -> Any:
    """Trees and a kernel discriminant, pooled: better on rare classes, see ``classify.ensemble``."""
    from s4c_hpc.classify.ensemble import make_ensemble  # noqa: PLC0415 - heavy, and not needed to plan

    return make_ensemble(seed, config.trees, config.min_node)


MODELS: Final[dict[str, Callable[[Classify, int], Any]]] = {
    "forest": forest,
    "ensemble": ensemble,
    "gradient-boosting": gradient_boosting,
}
"""What ``classify.model`` may say."""


def make_model(config: Classify, seed: int) -> Any:
    """A model that is not fitted yet.

    Raises
    ------
    ConfigError
        If there is no such kind.
    """
    if config.model not in MODELS:
        raise ConfigError(
            f"no model is called {config.model!r}", where="classify.model", hint=f"there are {', '.join(MODELS)}"
        )
    return MODELS[config.model](config, seed)


def fit(model: Any, values: Matrix, labels: NDArray[np.object_], cores: int) -> Any:
    """The model fitted; the same whatever the number of cores.

    Trees of a forest are grown side by side, each from a seed of its own. Sums of boosting depend on the number of
    threads, so there is one.
    """
    _set_jobs(model, cores)
    with threadpool_limits(limits=1):
        model.fit(values, labels.astype(str))
    _set_jobs(model, None)
    return model


def probabilities(
    model: Any, values: Matrix, rows: NDArray[np.bool_], classes: tuple[str, ...], cores: int
) -> NDArray[np.float64]:
    """Probability of each class for some rows.

    Parameters
    ----------
    values : (n, p)
    rows : (n,) which are judged; a copy is made of a block of them at a time

    Returns
    -------
    (m, c), 0 for a class that the model does not know

    Notes
    -----
    Blocks of rows go to threads, and each is judged by one: a forest adds up the votes of its trees in the order in
    which threads come by, which the last digit shows.
    """
    chosen = np.flatnonzero(rows)
    out = np.zeros((chosen.size, len(classes)))
    known = [classes.index(name) for name in model.classes_]

    def judge(start: int) -> None:
        block = slice(start, start + _BLOCK_ROWS)
        out[block, known] = model.predict_proba(values[chosen[block]])

    with threadpool_limits(limits=1), ThreadPoolExecutor(cores) as threads:
        list(threads.map(judge, range(0, chosen.size, _BLOCK_ROWS)))
    return out


def _set_jobs(model: Any, cores: int | None) -> None:
    """Tell the parts of a model that can use them how many cores there are."""
    names = [name for name in model.get_params() if name == "n_jobs" or name.endswith("__n_jobs")]
    model.set_params(**dict.fromkeys(names, cores))
