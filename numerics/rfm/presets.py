"""The papers' protocols, as parameters of the estimators and grids to search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer

from ..validation import choice
from .estimators import RFMClassifier, RFMRegressor

RIDGES = [10.0, 1.0, 0.1, 0.01, 0.001]


@dataclass(frozen=True)
class Preset:
    """A protocol.

    Attributes:
        source: The paper, and where in its released code.
        parameters: Of the estimators, where they differ from their defaults or fix them.
        grid: Values of parameters among which validation chooses.
        rows: How rows are prepared: "as_they_are", "unit_norm", or "searched" (the better of both).
    """

    source: str
    parameters: Mapping[str, Any]
    grid: Mapping[str, list[Any]] = field(default_factory=dict)
    rows: str = "as_they_are"

    def regressor(self, **changes: Any) -> BaseEstimator:
        """An `RFMRegressor` without intercept, after the preparation of rows if there is one.

        Args:
            changes: Parameters in place of the preset's.
        """
        parameters = {"fit_intercept": False, **self.parameters, **changes}
        return self._prepared(RFMRegressor(**parameters))

    def classifier(self, **changes: Any) -> BaseEstimator:
        """An `RFMClassifier`, after the preparation of rows if there is one.

        Args:
            changes: Parameters in place of the preset's.
        """
        return self._prepared(RFMClassifier(**{**self.parameters, **changes}))

    def search(self, estimator: BaseEstimator, **options: Any) -> GridSearchCV:
        """Cross-validation over the preset's grid.

        Args:
            estimator: What `regressor` or `classifier` returned.
            options: Of scikit-learn's GridSearchCV: `cv`, `scoring`, `n_jobs`.
        """
        piped = isinstance(estimator, Pipeline)
        grid = {f"rfm__{name}" if piped else name: list(v) for name, v in self.grid.items()}
        if self.rows == "searched":
            grid["rows"] = ["passthrough", Normalizer()]
        return GridSearchCV(estimator, grid, **options)

    def _prepared(self, estimator: BaseEstimator) -> BaseEstimator:
        if self.rows == "as_they_are":
            return estimator
        return Pipeline([("rows", Normalizer()), ("rfm", estimator)])


PRESETS = {
    "scripts": Preset(
        "paper E, tutorial and scripts: M is the AGOP itself",
        {"kernel": "laplace", "bandwidth": 10.0, "ridge": 1e-3, "normalisation": "none"},
    ),
    "package": Preset(
        "paper E, the package: bandwidth 1, M divided by its largest entry",
        {"kernel": "laplace", "bandwidth": 1.0, "ridge": 1e-3},
    ),
    "tabular": Preset(
        "paper E, tabular benchmark: at most 5 rounds, ridge and unit rows chosen by validation",
        {"kernel": "laplace", "bandwidth": 10.0, "rounds": 5, "normalisation": "none"},
        {"ridge": RIDGES, "rounds": [0, 1, 2, 3, 4, 5]},
        rows="searched",
    ),
    "deep_rfm": Preset(
        "paper B, one layer of Deep RFM: unit rows, one round, bandwidth 2",
        {"kernel": "laplace", "bandwidth": 2.0, "ridge": 1e-3, "rounds": 1},
        rows="unit_norm",
    ),
    "concepts": Preset(
        "paper A, probes of hidden states: 8 rounds, bandwidth and centring chosen by validation",
        {"kernel": "laplace", "ridge": 1e-3, "rounds": 8},
        {"bandwidth": [1.0, 10.0, 100.0], "centring": ["none", "per_output"]},
    ),
    "xrfm": Preset(
        "the library xrfm: exp(−(r/L)^q), gradients centred over all outputs, early stopping",
        {
            "kernel": "generalised",
            "kernel_params": {"norm": 2.0, "power": 1.0},
            "centring": "joint",
            "patience": 1,
            "validation_fraction": 0.2,
        },
    ),
}
"""The presets by name."""


def preset(name: str) -> Preset:
    """The preset of this name.

    Args:
        name: "scripts", "package", "tabular", "deep_rfm", "concepts" or "xrfm".

    Raises:
        ValueError: If there is none.

    >>> preset("deep_rfm").regressor()["rfm"].bandwidth
    2.0
    """
    return PRESETS[choice("preset", name, tuple(PRESETS))]
