"""Whether a model out of a file is one that can be asked: compiled code that walks its trees checks nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def require_sound(model: Any, classes: tuple[str, ...], n_features: int) -> None:
    """Refuse a model that does not fit what the file says of it, or whose trees lead out of themselves.

    Parameters
    ----------
    classes : that it may tell apart
    n_features : that it takes

    Raises
    ------
    ValueError
        If it is of another kind, has other classes or features, or a forged tree.
    """
    trees = list(_trees(model))  # first: it is what knows the kind
    if not trees:
        raise ValueError("the model has no tree")
    foreign = set(np.asarray(model.classes_).tolist()) - set(classes)
    if foreign:
        raise ValueError(f"the model tells apart classes that are not listed: {sorted(map(str, foreign))}")
    if model.n_features_in_ != n_features:
        raise ValueError(f"the model takes {model.n_features_in_} features, {n_features} are listed")
    for left, right, feature, is_leaf in trees:
        own, n = np.arange(left.size)[~is_leaf], left.size
        # Children come after their parent: no way through a tree is a circle.
        for child in (left[~is_leaf].astype(np.int64), right[~is_leaf].astype(np.int64)):
            if not ((child > own) & (child < n)).all():
                raise ValueError("a tree of the model leads out of itself")
        asked = feature[~is_leaf]
        if not ((asked >= 0) & (asked < n_features)).all():
            raise ValueError("a tree of the model asks for a feature that is not there")


_Tree = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]
"""Left child, right child, feature and whether it is a leaf, of each node."""


def _trees(model: Any) -> Iterator[_Tree]:
    """The trees of a model of one of our kinds."""
    from sklearn.ensemble import (  # noqa: PLC0415 - heavy, and not needed to plan
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier  # noqa: PLC0415 - as above

    from s4c_hpc.classify.ensemble import CropEnsemble  # noqa: PLC0415 - as above

    # Exactly these types: one of another kind may hold what is not looked at here.
    if type(model) is CropEnsemble:
        if type(model.forest_) is not ExtraTreesClassifier:
            raise ValueError("the ensemble has no forest of ours")
        yield from _of_forest(model.forest_, ExtraTreeClassifier)
    elif type(model) is RandomForestClassifier:
        yield from _of_forest(model, DecisionTreeClassifier)
    elif type(model) is HistGradientBoostingClassifier:
        yield from _of_boosting(model)
    else:
        raise ValueError(f"the model is a {type(model).__name__}, none of our kinds")


def _of_forest(forest: Any, kind: type) -> Iterator[_Tree]:
    from sklearn.tree._tree import Tree  # noqa: PLC0415 - heavy, and not needed to plan

    for one in forest.estimators_:
        tree: Any = getattr(one, "tree_", None)
        # Before its arrays are looked at: they are views of memory of as many nodes as it says.
        if type(one) is not kind or type(tree) is not Tree or not 1 <= tree.node_count <= tree.capacity:
            raise ValueError("a tree of the model is none")
        yield tree.children_left, tree.children_right, tree.feature, tree.children_left == -1


def _of_boosting(model: Any) -> Iterator[_Tree]:
    from sklearn.ensemble._hist_gradient_boosting.predictor import (  # noqa: PLC0415 - heavy, not needed to plan
        TreePredictor,
    )

    inside = vars(model)  # scikit-learn has no public way to the trees of boosting
    if inside["_preprocessor"] is not None or np.any(inside["_bin_mapper"].is_categorical_):
        raise ValueError("the model asks for features that are no numbers")
    for one in (predictor for of_round in inside["_predictors"] for predictor in of_round):
        if type(one) is not TreePredictor or not one.nodes.size or one.nodes["is_categorical"].any():
            raise ValueError("a tree of the model is none")
        nodes = one.nodes
        yield nodes["left"], nodes["right"], nodes["feature_idx"], nodes["is_leaf"] != 0
