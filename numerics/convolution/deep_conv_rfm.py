"""The deep version: images mapped through a random convolution whose covariance is the metric M.

A layer fits a convolutional recursive feature machine, takes its patch-AGOP for M, and replaces
the image by the √2·ReLU of filters drawn from N(0, M): the first convolution of the kernel's
network, at finite width. Layers and a final classifier are joined by scikit-learn's `Pipeline`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..rfm.checks import check_metric
from ..rfm.learned_metric import metric_from_agop
from ..rfm.metric import metric_root
from ..validation import choice, integer
from .conv_estimators import Array, ConvRFMClassifier, ConvRFMRegressor, Images
from .patches import Patches, check_images

NONLINEARITIES = ("relu", "none")


def random_convolution(
    images: Tensor,
    patches: Patches,
    M: Tensor | None,
    width: int,
    *,
    generator: torch.Generator,
    nonlinearity: str = "relu",
) -> Tensor:
    """Each patch u through `width` filters w ~ N(0, M): √(2/width)·ReLU(w·u/√d).

    The inner product of two images' channels at a position is then, on average, the covariance
    after the first layer of `ConvolutionalNTK`.

    Args:
        images: Shape (n, channels, height, width).
        patches: Which patches.
        M: Covariance of the filters: None (the identity), (d,) or (d, d).
        width: Number of filters, at least 1.
        generator: Draws the filters.
        nonlinearity: "relu" or "none": without √2 and ReLU.

    Returns:
        Images of `width` channels, one pixel for each position.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If images are smaller than a patch, shapes do not fit together, an entry is NaN
            or infinite, or a name is unknown.
    """
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    check_images("images", images)
    d = images.shape[1] * patches.side**2
    M = check_metric(M, images.new_empty(0, d))
    weights = torch.randn(integer("width", width, 1), d, generator=generator, dtype=images.dtype)
    return convolved(images, patches, coloured(weights.to(images.device), M), nonlinearity)


def coloured(weights: Tensor, M: Tensor | None) -> Tensor:
    """Filters of covariance M from filters of covariance 1, shape (width, d)."""
    root = metric_root(M)
    if root is None:
        return weights
    return weights * root if root.ndim == 1 else weights @ root


def convolved(images: Tensor, patches: Patches, filters: Tensor, nonlinearity: str) -> Tensor:
    """The images through given filters, shape (n, width, rows, columns)."""
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    rows, columns = patches.grid(*images.shape[2:])
    width, d = filters.shape
    values = (patches.extract(images) @ filters.T).mul_((width * d) ** -0.5)
    if nonlinearity == "relu":
        values = values.clamp_(min=0).mul_(2**0.5)
    return values.transpose(1, 2).reshape(len(images), width, rows, columns)


class ConvRFMTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """One layer of a deep convolutional recursive feature machine (paper D).

    Args:
        machine: A `ConvRFMClassifier` or `ConvRFMRegressor`, of which a copy is fitted; by default
            a classifier of one round. Its patches are those of the convolution.
        width: Channels of the images that come out.
        nonlinearity: "relu" or "none".
        random_state: Draws the filters.

    Attributes:
        machine_: The fitted machine.
        M_: The covariance of the filters: its patch-AGOP to the chosen exponent, normalised.
        filters_: Shape (width, channels·side·side).

    >>> from sklearn.pipeline import make_pipeline
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(30, 1, 6, 6)), np.arange(30) % 2
    >>> layer = ConvRFMTransformer(width=4, random_state=0)
    >>> layer.fit(X, y).transform(X).shape
    (30, 4, 4, 4)
    >>> deep = make_pipeline(layer, ConvRFMClassifier(side=2, rounds=1)).fit(X, y)
    """

    def __init__(
        self,
        machine: ConvRFMClassifier | ConvRFMRegressor | None = None,
        *,
        width: int = 32,
        nonlinearity: str = "relu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.machine = machine
        self.width = width
        self.nonlinearity = nonlinearity
        self.random_state = random_state

    def fit(self, X: Images, y: ArrayLike, **validation: Any) -> Self:
        """Fit the machine and draw the filters.

        Args:
            X: Images, shape (n, channels, height, width).
            y: Labels or targets.
            validation: X_val and y_val, handed to the machine.

        Raises:
            TypeError: If the machine is neither a classifier nor a regressor of this module.
            ValueError: As the machine's `fit`; or if its predictor is constant, so that it has no
                metric.
        """
        choice("nonlinearity", self.nonlinearity, NONLINEARITIES)
        integer("width", self.width, 1)
        self.machine_ = self._copy().fit(X, y, **validation)
        agop = torch.from_numpy(self.machine_.patch_agop_)
        metric = metric_from_agop(
            agop, exponent=self.machine_.exponent_, normalisation=self.machine_.normalisation
        )
        if metric is None or metric.M is None:
            raise ValueError("the machine's predictor is constant: its patch-AGOP is no metric")
        self.M_: Array = metric.M.numpy()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(self.width, len(agop), generator=generator, dtype=agop.dtype)
        self.filters_: Array = coloured(weights, metric.M).numpy()
        return self

    def transform(self, X: Images) -> Array | Tensor:
        """The images through the convolution, (n, width, rows, columns); a tensor if X is one."""
        check_is_fitted(self)
        images = self.machine_._images("X", X)
        recipe = self.machine_._recipe()
        if tuple(images.shape[1:]) != self.machine_.image_shape_:
            raise ValueError(
                f"X has shape {tuple(images.shape)}, must be (n, "
                f"{', '.join(map(str, self.machine_.image_shape_))}) as in fit"
            )
        filters = torch.from_numpy(self.filters_).to(images)
        out = convolved(images, recipe.kernel.patches, filters, self.nonlinearity)
        return out if isinstance(X, Tensor) else out.cpu().numpy()

    def _copy(self) -> Any:
        if self.machine is None:
            return ConvRFMClassifier(rounds=1)
        if not isinstance(self.machine, ConvRFMClassifier | ConvRFMRegressor):
            raise TypeError(
                f"machine = {self.machine!r} must be a ConvRFMClassifier or ConvRFMRegressor"
            )
        return clone(self.machine)
