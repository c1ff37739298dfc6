"""Recursive feature machines beside other learners on the tables that come with scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.rfm.tables import TABLES, Table, bundled_table

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    ERROR_BARS,
    GREEN,
    ORANGE,
    SOLID,
    Look,
    canvas,
    legend_above,
    points,
    title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
ROUNDS = 3


@dataclass(frozen=True)
class _Learner:
    """A way to learn: (classification?, seed) -> an estimator."""

    name: str
    make: Callable[[bool, int], Any]
    look: Look


def _rfm(rounds: Sequence[int]) -> Callable[[bool, int], Any]:
    """Ridge and number of rounds by cross-validation within the training folds."""

    def make(classes: bool, _: int) -> Any:
        from sklearn.model_selection import GridSearchCV

        from numerics.rfm.estimators import RFMClassifier, RFMRegressor

        machine = (RFMClassifier if classes else RFMRegressor)(progress=False)
        return GridSearchCV(machine, {"ridge": RIDGES, "rounds": list(rounds)}, cv=2)

    return make


def _trees(classes: bool, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed)


def _network(classes: bool, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPClassifier if classes else MLPRegressor
    return kind(
        hidden_layer_sizes=(64,), alpha=1e-2, learning_rate_init=3e-3, max_iter=100,
        random_state=seed,
    )  # fmt: skip


LEARNERS = (
    _Learner("RFM", _rfm((0, ROUNDS)), Look(BLUE, SOLID, "o", filled=True, size=4.2)),
    _Learner("kernel ridge", _rfm((0,)), Look(BLACK, SOLID, "D")),
    _Learner("boosted trees", _trees, Look(GREEN, SOLID, "^", size=4.2)),
    _Learner("MLP", _network, Look(ORANGE, SOLID, "s")),
)


def tables(folds: int = 3, rows: int = 300, names: Sequence[str] = TABLES, seed: int = 0) -> Plot:
    """Test error by cross-validation: misclassified share, or 1 − R² for the regression (diabetes).

    Recursive feature machine and kernel ridge regression (Laplace, L = 10) choose the ridge from
    five values, the machine also 0 or 3 rounds, by two folds within each training set; boosted
    trees keep scikit-learn's settings, the network has 64 hidden units and 100 epochs. Inputs are
    standardised. Points are means over folds, bars ± 2 standard errors between them; with three
    folds of at most 300 rows, as drawn by default in seconds, they tell large differences only.

    Args:
        folds: At least 2.
        rows: Rows taken from each table, at most, in a random order.
        names: Of the tables.
        seed: Of the order, and of trees and networks.
    """
    data: dict[str, Series] = {}
    for number, name in enumerate(names):
        table = bundled_table(name)
        chosen = np.random.default_rng([seed, number]).permutation(len(table))[:rows]
        for learner in LEARNERS:
            errors = _errors(learner, table, chosen, folds, seed)
            spread = errors.std(ddof=1) / np.sqrt(folds)
            place = np.array([float(number)])
            data[f"{name}: {learner.name}"] = Series(
                place, np.array([errors.mean()]), np.array([spread])
            )
    return Plot("rfm.tables", data, _paint)


def _errors(learner: _Learner, table: Table, chosen: Any, folds: int, seed: int) -> Floats:
    """1 − accuracy, or 1 − R², on each fold."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = bool(table.classes)
    model = learner.make(classes, seed)
    if not classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    pipeline = make_pipeline(StandardScaler(), model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Stochastic Optimizer: Maximum iterations")
        scores = cross_val_score(pipeline, table.inputs[chosen], table.targets[chosen], cv=folds)
    errors: Floats = 1 - np.asarray(scores, dtype=np.float64)
    return errors


# The picture


def _paint(data: Data) -> Figure:
    names = list(dict.fromkeys(key.split(": ")[0] for key in data))
    figure, panels = canvas(1.9, len(names))
    for index, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for place, learner in enumerate(LEARNERS):
            found = data[f"{name}: {learner.name}"]
            points(axes, Series(np.array([float(place)]), found.y, found.error), learner.look)
        title(axes, index, name)
        axes.set(xlim=(-0.6, len(LEARNERS) - 0.4), xlabel="learner")
        axes.set_xticks(range(len(LEARNERS)), ["R", "K", "B", "M"])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("misclassified" if name != "diabetes" else "$1 - R^2$")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    from ..style import handle

    legend_above(
        figure,
        [
            handle(learner.look, f"{learner.name[0].upper()}: {learner.name}", shows="points")
            for learner in LEARNERS
        ],
        4,
        f"means over folds, bars ± {ERROR_BARS:g} standard errors",
    )
