"""Deep recursive feature machines: layers of an AGOP step and a random feature map (paper B).

Layer ℓ takes X_ℓ, whose rows have unit norm, fits a recursive feature machine to (X_ℓ, Y), and
hands Φ_ℓ(X_ℓ M_ℓ^½) to the next layer. M_ℓ is the AGOP of the machine, divided by its largest
entry; without the AGOP step it is the identity, and the layer is a random network's. On the last
layer's features, again at unit norm, kernel ridge regression predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..rfm.checks import check_points
from ..rfm.kernels import Laplace
from ..rfm.learned_metric import Metric, identity_metric, metric_from_agop
from ..rfm.machine import Machine, Recipe, fit_rfm
from ..rfm.metric import distinct_rows
from ..validation import choice, integer, positive
from .feature_maps import FEATURE_MAPS, FeatureMap, draw_feature_map


@dataclass(frozen=True)
class DeepRecipe:
    """How a deep recursive feature machine is fitted.

    Attributes:
        machine: How the machine of each layer is fitted. Its `rounds`, at least 1, says how many
            metrics it learns, the last of which is the layer's: with 1, paper B's choice, the AGOP
            is that of kernel ridge regression with M = I.
        depth: Number of layers, at least 1.
        width: Of the feature maps, at least 1.
        feature_map: "relu" or "fourier"; see `FEATURE_MAPS`.
        frequency: γ > 0 of the Fourier features.
        agop: Whether the AGOP becomes M; if not, M = I in every layer.

    Raises:
        TypeError: If an attribute has the wrong type.
        ValueError: If a number is out of its range or a name unknown.
    """

    machine: Recipe = field(default_factory=lambda: Recipe(Laplace(2.0), rounds=1))
    depth: int = 20
    width: int = 512
    feature_map: str = "relu"
    frequency: float = 0.1
    agop: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.machine, Recipe):
            raise TypeError(f"machine = {self.machine!r} must be a Recipe")
        if self.machine.rounds < 1:
            raise ValueError(f"rounds = {self.machine.rounds!r} must be an integer >= 1")
        integer("depth", self.depth, 1)
        integer("width", self.width, 1)
        choice("feature_map", self.feature_map, FEATURE_MAPS)
        positive("frequency", self.frequency)
        if not isinstance(self.agop, bool):
            raise TypeError(f"agop = {self.agop!r} must be True or False")


@dataclass(frozen=True, eq=False)
class LayerFeatures:
    """Samples in one layer, row by row.

    Attributes:
        number: Of the layer, from 1 on.
        inputs: X, rows at unit norm, shape (n, d).
        mapped: X M^½, shape (n, d).
        features: Φ(X M^½), shape (n, width).
    """

    number: int
    inputs: Tensor
    mapped: Tensor
    features: Tensor


@dataclass(frozen=True, eq=False)
class DeepLayer:
    """A fitted layer: its metric and its feature map."""

    metric: Metric
    feature_map: FeatureMap

    def __call__(self, number: int, points: Tensor) -> LayerFeatures:
        """What the layer makes of points that the layer before gave out."""
        # Equal rows stay equal: a matrix product may round them differently, and the next layer's
        # gradients do not vanish at a distance that should be 0.
        inputs = unit_rows(points)
        rows, places = distinct_rows(inputs)
        mapped = self.metric.map(rows)
        features = self.feature_map(mapped)
        if places is not None:
            mapped, features = mapped[places], features[places]
        return LayerFeatures(number, inputs, mapped, features)

    def to(self, device: torch.device | str) -> DeepLayer:
        """The same layer on another device."""
        return DeepLayer(self.metric.to(device), self.feature_map.to(device))


@dataclass(frozen=True, eq=False)
class DeepMachine:
    """A fitted deep recursive feature machine.

    Attributes:
        deep: Its layers.
        head: Kernel ridge regression on the last layer's features at unit norm.
    """

    deep: tuple[DeepLayer, ...]
    head: Machine

    def layers(self, X: Tensor) -> Iterator[LayerFeatures]:
        """Points of shape (n, d) in one layer after the other."""
        for number, layer in enumerate(self.deep, 1):
            found = layer(number, X)
            yield found
            X = found.features

    def transform(self, X: Tensor) -> Tensor:
        """The last layer's features, shape (n, width)."""
        for layer in self.layers(X):
            features = layer.features
        return features

    def predict(self, X: Tensor) -> Tensor:
        """f(x), shape (n, outputs)."""
        return self.head.predict(unit_rows(self.transform(X)))

    def to(self, device: torch.device | str) -> DeepMachine:
        """The same machine on another device."""
        return DeepMachine(tuple(layer.to(device) for layer in self.deep), self.head.to(device))


def unit_rows(X: Tensor) -> Tensor:
    """Rows over their norms; a row of zeros stays."""
    bounds, largest = torch.finfo(X.dtype), X.abs().amax(dim=1, keepdim=True)
    # Squares of these would leave the range of the dtype.
    beyond = (largest > bounds.max**0.25) | ((largest < bounds.tiny**0.25) & (largest > 0))
    if beyond.any():
        X = X / torch.where(beyond, largest, torch.ones_like(largest))
    norms = torch.linalg.vector_norm(X, dim=1, keepdim=True)
    return X / torch.where(norms > 0, norms, torch.ones_like(norms))


def fit_deep_rfm(
    X: Tensor,
    Y: Tensor,
    recipe: DeepRecipe | None = None,
    *,
    seed: int = 0,
    progress: Callable[[LayerFeatures], object] | None = None,
) -> DeepMachine:
    """Fit a deep recursive feature machine.

    Where an AGOP is zero (a constant predictor), M is the identity.

    Args:
        X: Training points, shape (n, d).
        Y: Targets, shape (n,) or (n, outputs); paper B takes the one-hot vectors of the classes.
        recipe: How; by default Laplace's kernel, L = 2, λ = 1e-3, 20 layers of 512 ReLU features.
        seed: Of the feature maps, and of what the machines draw.
        progress: Called with the training points in each layer when it is fitted.

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, or an entry is NaN or infinite.
        numpy.linalg.LinAlgError: If a layer's matrix is singular.
        MemoryError: If the exact solver's matrix does not fit into memory.
    """
    recipe = DeepRecipe() if recipe is None else recipe
    check_points("X", X)
    generator = torch.Generator().manual_seed(seed)
    deep: list[DeepLayer] = []
    points = X
    for number in range(1, recipe.depth + 1):
        metric = _metric(unit_rows(points), Y, recipe, seed + number)
        layer = DeepLayer(metric, _feature_map(points, recipe, generator))
        found = layer(number, points)
        if progress is not None:
            progress(found)
        deep.append(layer)
        points = found.features
    head = fit_rfm(unit_rows(points), Y, replace(recipe.machine, rounds=0), seed=seed)
    return DeepMachine(tuple(deep), head)


def _metric(points: Tensor, Y: Tensor, recipe: DeepRecipe, seed: int) -> Metric:
    """M of one layer: the AGOP after the machine's last round but one."""
    rfm = recipe.machine
    if not recipe.agop:
        return identity_metric(points)
    machine = fit_rfm(points, Y, replace(rfm, rounds=rfm.rounds - 1), seed=seed)
    metric = metric_from_agop(machine.agop, exponent=rfm.exponent, normalisation=rfm.normalisation)
    return identity_metric(points) if metric is None else metric


def _feature_map(points: Tensor, recipe: DeepRecipe, generator: torch.Generator) -> FeatureMap:
    drawn = draw_feature_map(
        recipe.feature_map, points.shape[1], recipe.width, generator, frequency=recipe.frequency
    )
    phases = None if drawn.phases is None else drawn.phases.to(points)
    return FeatureMap(drawn.weights.to(points), phases)
