"""Deep recursive feature machines as a scikit-learn classifier and transformer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ..rfm.estimators import project_to_simplex
from ..rfm.kernels import kernel_by_name
from ..rfm.machine import Recipe
from ..validation import choice
from .machine import DeepRecipe, LayerFeatures, fit_deep_rfm
from .metrics import Collapse, collapse_of

Array = NDArray[np.floating[Any]]
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class LayerCollapse:
    """How collapsed the training samples are in one layer.

    Attributes:
        number: Of the layer, from 1 on.
        inputs: Of X, rows at unit norm.
        mapped: Of X M^½.
        features: Of Φ(X M^½).
    """

    number: int
    inputs: Collapse
    mapped: Collapse
    features: Collapse


@dataclass(frozen=True, eq=False)
class LayerArrays:
    """Samples in one layer, as NumPy arrays; see `LayerFeatures`."""

    number: int
    inputs: Array
    mapped: Array
    features: Array


class DeepRFM(ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A deep recursive feature machine (paper B): a classifier, and a transformer.

    Each layer scales its samples to unit norm, fits a recursive feature machine to the classes'
    one-hot vectors, and maps X to Φ(X M^½), where M is the machine's AGOP and Φ a random feature
    map. Kernel ridge regression on the last layer's features predicts.

    Args:
        kernel: "laplace", "gaussian" or another name that `numerics.rfm.kernel_by_name` knows.
        bandwidth: L of the kernel, or "median": in each layer the median distance of the points.
        ridge: λ ≥ 0 on the kernel matrix's diagonal, not scaled by n.
        kernel_params: Further options of the kernel.
        depth: Number of layers.
        width: Features of each layer.
        feature_map: "relu": ReLU(Wx), W uniform on ±1/√d; "fourier": √(2/D) cos(Ωx + u), the
            entries of Ω from Cauchy's law.
        frequency: Scale γ of that law.
        agop: Whether each layer's M is the AGOP; if False, it is the identity.
        rounds: Metrics that the machine of a layer learns, at least 1; the last is the layer's.
        normalisation: "largest_entry", "trace", "frobenius" or "none": what the AGOP is divided by.
        exponent: Power of the AGOP that becomes M, whose root is applied.
        solver: "exact" (Cholesky, n² numbers in memory) or "iterative".
        dtype: "float32" or "float64"; by default that of X, and float64 for other numbers.
        device: Where torch computes.
        random_state: Of the feature maps, and of what the machines draw.

    Attributes:
        classes_: The labels, sorted.
        history_: One `LayerCollapse` for each layer: NC1 and NC2 of the training samples' X, X M^½
            and Φ(X M^½).
        machine_: The fitted `DeepMachine`, on the CPU.
        n_features_in_: d.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> model = DeepRFM(depth=4, width=64, random_state=0).fit(X[:100], y[:100])
    >>> model.transform(X[100:]).shape, model.score(X[100:], y[100:]) > 0.95
    ((437, 64), True)
    >>> model.history_[-1].features.nc1 < model.history_[0].features.nc1 / 2
    True
    """

    def __init__(
        self,
        *,
        kernel: str = "laplace",
        bandwidth: float | str = 2.0,
        ridge: float = 1e-3,
        kernel_params: Mapping[str, float] | None = None,
        depth: int = 20,
        width: int = 512,
        feature_map: str = "relu",
        frequency: float = 0.1,
        agop: bool = True,
        rounds: int = 1,
        normalisation: str = "largest_entry",
        exponent: float = 1.0,
        solver: str = "exact",
        dtype: str | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.kernel_params = kernel_params
        self.depth = depth
        self.width = width
        self.feature_map = feature_map
        self.frequency = frequency
        self.agop = agop
        self.rounds = rounds
        self.normalisation = normalisation
        self.exponent = exponent
        self.solver = solver
        self.dtype = dtype
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the layers one after the other, and the regression on the last.

        Args:
            X: Samples, shape (n, d).
            y: Labels, shape (n,): numbers or strings, at least two different ones.

        Raises:
            ValueError: If shapes do not fit together, an entry is NaN or infinite, there is only
                one class, or a parameter is out of its range.
            numpy.linalg.LinAlgError: If a layer's system is singular (a ValueError, too).
            MemoryError: If the kernel matrix does not fit into memory.
        """
        samples, labels = validate_data(self, X, y, dtype=self._dtypes())
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds 1 class, {self.classes_[0]!r}; there must be at least 2")
        targets = np.eye(len(self.classes_), dtype=samples.dtype)[index]
        history: list[LayerCollapse] = []
        machine = fit_deep_rfm(
            self._tensor(samples),
            self._tensor(targets),
            self._recipe(),
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            progress=lambda layer: history.append(_measured(layer, index)),
        )
        self.machine_ = machine.to("cpu")
        self.history_ = tuple(history)
        return self

    def layers(self, X: ArrayLike) -> Iterator[LayerArrays]:
        """The samples in one layer after the other: X at unit norm, X M^½ and Φ(X M^½)."""
        points = self._points(X)  # at once, so that bad samples are refused at once
        return map(_arrays, self.machine_.to(self.device).layers(points))

    def transform(self, X: ArrayLike) -> Array:
        """The last layer's features, shape (n, width)."""
        points = self._points(X)
        features: Array = self.machine_.to(self.device).transform(points).cpu().numpy()
        return features

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Names of the last layer's features: "deeprfm0" and so on.

        Args:
            input_features: Ignored, as scikit-learn allows where names do not depend on it.
        """
        check_is_fitted(self)
        width = len(self.machine_.deep[-1].feature_map.weights)
        return np.array([f"deeprfm{i}" for i in range(width)], dtype=object)

    def decision_function(self, X: ArrayLike) -> Array:
        """f(x): shape (n,) for two classes, positive for the second; (n, C) for C > 2."""
        raw = self._raw_predictions(X)
        return raw[:, 1] - raw[:, 0] if len(self.classes_) == 2 else raw

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of the largest score."""
        index = self._raw_predictions(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[index]
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability vectors nearest to what was fitted, shape (n, C).

        Least squares on one-hot vectors estimates probabilities; its values are projected onto the
        simplex, so that some are exactly 0 and 1. The largest belongs to the predicted class.
        """
        return project_to_simplex(self._raw_predictions(X))

    def _raw_predictions(self, X: ArrayLike) -> Array:
        points = self._points(X)
        predictions: Array = self.machine_.to(self.device).predict(points).cpu().numpy()
        return predictions

    def _points(self, X: ArrayLike) -> Tensor:
        check_is_fitted(self)
        samples = validate_data(self, X, dtype=self._dtypes(), reset=False)
        return self._tensor(samples).to(self.machine_.head.centres.dtype)

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(np.ascontiguousarray(array), device=self.device)

    def _recipe(self) -> DeepRecipe:
        bandwidth, median = self.bandwidth, False
        if isinstance(bandwidth, str):
            choice("bandwidth", bandwidth, ("median",))
            bandwidth, median = 1.0, True
        options = {} if self.kernel_params is None else dict(self.kernel_params)
        machine = Recipe(
            kernel=kernel_by_name(self.kernel, bandwidth, **options),
            median_bandwidth=median,
            ridge=self.ridge,
            rounds=self.rounds,
            normalisation=self.normalisation,
            exponent=self.exponent,
            solver=self.solver,
        )
        return DeepRecipe(
            machine, self.depth, self.width, self.feature_map, self.frequency, self.agop
        )

    def _dtypes(self) -> list[type[np.floating[Any]]]:
        """dtypes that are kept; the first is what others become."""
        if self.dtype is None:
            return [np.float64, np.float32]
        wanted = choice("dtype", self.dtype, DTYPES)
        return [np.float32 if wanted == "float32" else np.float64]


def _arrays(layer: LayerFeatures) -> LayerArrays:
    parts = (layer.inputs, layer.mapped, layer.features)
    return LayerArrays(layer.number, *(part.cpu().numpy() for part in parts))


def _measured(layer: LayerFeatures, index: NDArray[Any]) -> LayerCollapse:
    parts = (layer.inputs, layer.mapped, layer.features)
    return LayerCollapse(layer.number, *(collapse_of(part, index) for part in parts))
