"""What detector and regressor share: reading states, probes of all layers, aggregated scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from ..validation import choice, integer
from .aggregators import Aggregate, fit_aggregate
from .crossfit import Plan, cross_fit
from .probes import FEATURES, Probe
from .states import (
    Array,
    Layer,
    as_array,
    by_layer,
    check_magnitude,
    check_range,
    from_tensor,
    split_layers,
)
from .targets import Numbers, Target


class ConceptMachine(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The parameters, described at `ConceptDetector`, and what kinds of labels share."""

    _probes: tuple[str, ...]
    _aggregators: tuple[str, ...]

    def __init__(
        self,
        probe: str = "rfm",
        aggregator: str | None = "linear",
        *,
        features: str = "projections",
        vectors_per_layer: int | None = None,
        folds: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.probe = probe
        self.aggregator = aggregator
        self.features = features
        self.vectors_per_layer = vectors_per_layer
        self.folds = folds
        self.random_state = random_state

    def _plan(self) -> Plan:
        choice("probe", self.probe, self._probes)
        if self.aggregator is not None:
            choice("aggregator", self.aggregator, self._aggregators)
        features = choice("features", self.features, FEATURES)
        vectors = self.vectors_per_layer
        if vectors is not None:
            integer("vectors_per_layer", vectors, 1)
        folds = integer("folds", self.folds, 2)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return Plan(self.probe, vectors, folds, seed, features=features)

    def _learn(self, layers: Mapping[Layer, Array], target: Target, plan: Plan) -> None:
        """Fit probes and aggregators, and set the fitted attributes."""
        for name, X in layers.items():
            check_range(f"states[{name!r}]", X)
        fitted = cross_fit(layers, target, plan)
        kind = "linear" if self.aggregator is None else self.aggregator
        seeds = np.random.default_rng([plan.seed, len(layers)]).spawn(len(layers) + 1)
        self.layers_ = tuple(layers)
        self.probes_: dict[Layer, Probe] = dict(fitted.probes)
        self.vectors_ = {name: probe.vectors for name, probe in self.probes_.items()}
        self.aggregates_: dict[Layer, Aggregate] = {
            name: fit_aggregate(kind, features, target, seed)
            for (name, features), seed in zip(fitted.features.items(), seeds[1:], strict=True)
        }
        self.aggregate_: Aggregate | None = None
        if self.aggregator is not None:
            together = np.concatenate(list(fitted.features.values()), axis=1)
            self.aggregate_ = fit_aggregate(kind, together, target, seeds[0])

    def _read(self, states: Any, y: Any, *, numeric: bool) -> tuple[dict[Layer, Array], Any]:
        """The layers of states to fit to, and their labels or numbers, shape (n,)."""
        states, y = _plain(states), _plain(y)
        if not is_mapping(states) and axes_of(states) != 3:
            X, y = validate_data(self, states, y, dtype=_DTYPES, y_numeric=numeric)
            return {0: np.ascontiguousarray(X)}, y
        for name in ("n_features_in_", "feature_names_in_"):  # of an earlier fit to a table
            self.__dict__.pop(name, None)
        layers = _layers(states)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but y is None")
        y = column_or_1d(y, warn=True)
        samples = len(next(iter(layers.values())))
        if len(y) != samples:
            raise ValueError(f"states have {samples} samples, y has {len(y)}")
        assert_all_finite(y, input_name="y")
        return layers, y.astype(np.float64) if numeric else y

    def _read_again(self, states: Any) -> dict[Layer, Array]:
        """The fitted layers of states to predict from.

        Raises:
            ValueError: If a layer is missing, has another width or too large entries.
        """
        check_is_fitted(self)
        states = _plain(states)
        if is_mapping(states):
            layers = by_layer(states, self.layers_)
        elif self.layers_ != tuple(range(len(self.layers_))):
            raise ValueError(
                f"states is an array, must be a mapping with the layers {list(self.layers_)}"
            )
        else:
            layers = self._array_again(states)
        for name, X in layers.items():
            width = self.vectors_[name].shape[1]
            if X.shape[1] != width:
                raise ValueError(
                    f"layer {name!r} has {X.shape[1]} dimensions, was fitted with {width}"
                )
            check_magnitude(f"states[{name!r}]", X)
        return layers

    def _array_again(self, states: Any) -> dict[Layer, Array]:
        fitted = len(self.layers_)
        if axes_of(states) == 3:
            layers = _layers(states)
            if len(layers) != fitted:
                raise ValueError(f"states has {len(layers)} layers, was fitted with {fitted}")
            return layers
        if fitted > 1:
            raise ValueError(
                f"states must be of shape (n, {fitted}, d), or a mapping with the layers "
                f"{list(self.layers_)}, as they were fitted; it has {axes_of(states)} axes"
            )
        X = validate_data(self, states, dtype=_DTYPES, reset=False)
        return {0: np.ascontiguousarray(X)}

    def _features(self, states: Any) -> dict[Layer, Numbers]:
        layers = self._read_again(states)
        return {name: self.probes_[name].features(X) for name, X in layers.items()}

    def _layer_scores(self, features: Mapping[Layer, Numbers]) -> Numbers:
        """Shape (n, layers, outputs)."""
        scores = [self.aggregates_[name].scores(p) for name, p in features.items()]
        return np.stack(scores, axis=1)

    def _scores(self, states: Any) -> Numbers:
        """Aggregated scores, shape (n, outputs)."""
        features = self._features(states)
        if self.aggregate_ is None:
            mean: Numbers = self._layer_scores(features).mean(axis=1)
            return mean
        return self.aggregate_.scores(np.concatenate(list(features.values()), axis=1))


_DTYPES = [np.float64, np.float32]
"""dtypes that are kept; the first is what others become."""


def _plain(value: Any) -> Any:
    """A tensor as a NumPy array; all else as it is."""
    if isinstance(value, Tensor):
        return from_tensor(value)
    return value


def is_mapping(states: Any) -> bool:
    """Whether states are a mapping of layers; one of SciPy's sparse matrices is a dict, too."""
    return isinstance(states, Mapping) and not issparse(states)


def axes_of(states: Any) -> int:
    """How many axes an array has; 2 for what only scikit-learn can read."""
    if isinstance(states, list | tuple):
        return int(np.ndim(states))
    return int(getattr(states, "ndim", 2))


def _layers(states: Any) -> dict[Layer, Array]:
    """The layers of a mapping, or of an array (n, layers, d)."""
    if is_mapping(states):
        return by_layer(states)
    return split_layers(as_array("states", states))
