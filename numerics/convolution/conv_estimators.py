"""Convolutional recursive feature machines as scikit-learn estimators over images.

Images are arrays or torch tensors of shape (n, channels, height, width), the only way in which
these estimators differ from scikit-learn's own; parameters, `clone`, pipelines and scores are as
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d
from torch import Tensor

from ..rfm.estimators import misclassified, project_to_simplex
from ..rfm.machine import Score, mean_squared_error
from ..validation import choice, positive
from .cntk import ConvolutionalNTK
from .conv_rfm import ConvRecipe, fit_conv_rfm
from .patches import Patches, check_images, normalise_images

Array = NDArray[np.floating[Any]]
Labels = NDArray[Any]
Images = ArrayLike | Tensor

DTYPES = ("float32", "float64")


class ConvRecursiveFeatureMachine(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The parameters, described at `ConvRFMClassifier`, and what the kind of target leaves open."""

    def __init__(
        self,
        *,
        side: int = 3,
        stride: int = 1,
        padding: str = "valid",
        depth: int = 2,
        filter_side: int = 3,
        filter_padding: str = "circular",
        ridge: float | Sequence[float] = 1e-3,
        rounds: int = 5,
        exponent: float | Sequence[float] = 1.0,
        normalisation: str = "frobenius",
        image_normalisation: str = "none",
        validation_fraction: float | None = None,
        dtype: str | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.side = side
        self.stride = stride
        self.padding = padding
        self.depth = depth
        self.filter_side = filter_side
        self.filter_padding = filter_padding
        self.ridge = ridge
        self.rounds = rounds
        self.exponent = exponent
        self.normalisation = normalisation
        self.image_normalisation = image_normalisation
        self.validation_fraction = validation_fraction
        self.dtype = dtype
        self.device = device
        self.random_state = random_state

    def _recipe(self) -> ConvRecipe:
        patches = Patches(self.side, self.stride, self.padding)
        kernel = ConvolutionalNTK(patches, self.depth, self.filter_side, self.filter_padding)
        return ConvRecipe(
            kernel=kernel,
            ridges=_several(self.ridge),
            rounds=self.rounds,
            exponents=_several(self.exponent),
            normalisation=self.normalisation,
        )

    def _images(self, name: str, X: Images) -> Tensor:
        """Images as a normalised tensor on the device.

        Raises:
            TypeError: If they are not numbers.
            ValueError: If they are no images, or hold NaN or infinite entries.
        """
        tensor = X.detach() if isinstance(X, Tensor) else torch.from_numpy(_numbers(name, X))
        images = check_images(name, tensor.to(self.device, self._dtype(tensor.dtype)))
        return normalise_images(images, self.image_normalisation, name=name)

    def _kept(self, name: str, X: Images) -> Tensor:
        """The same as a copy: what becomes of X after the fit changes no prediction."""
        return self._images(name, X).clone()

    def _dtype(self, given: torch.dtype) -> torch.dtype:
        if self.dtype is None:
            return given if given in (torch.float32, torch.float64) else torch.float64
        wanted = choice("dtype", self.dtype, DTYPES)
        return torch.float32 if wanted == "float32" else torch.float64

    def _learn(
        self, X: Tensor, targets: Array, kept: tuple[Tensor, Array] | None, score: Score
    ) -> None:
        """Run the rounds and set the fitted attributes."""
        validation = None
        if kept is not None:
            validation = (kept[0].to(X.dtype), torch.as_tensor(kept[1]).to(X))
        machine = fit_conv_rfm(
            X, torch.as_tensor(targets).to(X), self._recipe(), validation=validation, score=score
        )
        self.machine_ = machine.to("cpu")
        self.patch_agop_: Array = self.machine_.patch_agop.numpy()
        M = self.machine_.metric.M
        d, kind = len(self.patch_agop_), self.patch_agop_.dtype
        self.M_: Array = np.eye(d, dtype=kind) if M is None else M.numpy()
        self.history_ = machine.history
        self.best_round_ = machine.round.number
        self.ridge_, self.exponent_ = machine.round.ridge, machine.round.exponent
        self.image_shape_ = tuple(X.shape[1:])

    def _raw_predictions(self, X: Images) -> Array:
        check_is_fitted(self)
        machine = self.machine_.to(self.device)
        images = self._images("X", X).to(machine.centres.dtype)
        predictions: Array = machine.predict(images).cpu().numpy()
        return predictions

    def _aside(
        self, X: Tensor, y: Labels, X_val: Images | None, y_val: Any, stratify: Labels | None
    ) -> tuple[Tensor, Labels, tuple[Tensor, Any] | None]:
        """Training images and targets, and those of validation, given or split off."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together")
        fraction = self.validation_fraction
        if X_val is not None:
            if fraction is not None:
                raise ValueError(
                    f"validation_fraction = {fraction!r} must be None where X_val and y_val are "
                    "given"
                )
            return X, y, (self._images("X_val", X_val), y_val)
        if fraction is None:
            return X, y, None
        if not 0 < positive("validation_fraction", fraction) < 1:
            raise ValueError(f"validation_fraction = {fraction!r} must be in (0, 1)")
        kept, aside = train_test_split(
            np.arange(len(X)),
            test_size=fraction,
            random_state=self.random_state,
            stratify=stratify,
        )
        return X[kept], y[kept], (X[aside], y[aside])


class ConvRFMRegressor(RegressorMixin, ConvRecursiveFeatureMachine):  # type: ignore[misc]
    """Regression by a convolutional recursive feature machine (paper D).

    Args:
        side: As in `ConvRFMClassifier`, and so are all other parameters; rounds are chosen by mean
            squared error.
        stride: Pixels from one patch to the next.
        padding: "valid" or "circular".
        depth: Convolutions.
        filter_side: Of the further convolutions.
        filter_padding: Of the further convolutions.
        ridge: λ, or several.
        rounds: Rounds after round 0.
        exponent: Power of the patch-AGOP, or several.
        normalisation: What M is divided by.
        image_normalisation: "none", "unit_norm" or "standardised".
        validation_fraction: Share of the images that is kept apart to choose by.
        dtype: "float32", "float64" or None.
        device: Where torch computes.
        random_state: Of the validation split.

    Attributes:
        patch_agop_: Of the predictor at the training images, (d, d).
        M_: The metric of the chosen round, (d, d).
        history_: One `ConvRound` for each round of each ridge and exponent.
        best_round_: Number of the chosen round.
        ridge_: Its λ.
        exponent_: Its exponent.
        intercept_: The training targets' mean, which is subtracted and added again.
        machine_: The fitted `ConvMachine`, on the CPU.
        image_shape_: (channels, height, width).
    """

    def fit(
        self, X: Images, y: ArrayLike, X_val: Images | None = None, y_val: ArrayLike | None = None
    ) -> Self:
        """Learn metric and predictor.

        Args:
            X: Images, shape (n, channels, height, width).
            y: Targets, shape (n,) or (n, outputs).
            X_val: Images by which the round is chosen.
            y_val: Their targets.

        Raises:
            TypeError: If the images are not numbers.
            ValueError: If shapes do not fit together, images are smaller than a patch, an entry is
                NaN or infinite, an image has no scale to normalise by, a parameter is out of its
                range, or there is something to choose and nothing to choose by.
            numpy.linalg.LinAlgError: If a round's system is singular (a ValueError, too).
        """
        images, targets = self._kept("X", X), _targets("y", y)
        _check_length("y", targets, images)
        images, targets, kept = self._aside(images, targets, X_val, y_val, None)
        self.intercept_: Array = targets.mean(axis=0)
        validation = None
        if kept is not None:
            seen = _targets("y_val", kept[1])
            _check_length("y_val", seen, kept[0])
            if seen.shape[1:] != targets.shape[1:]:
                raise ValueError(f"y_val has shape {seen.shape}, y {targets.shape}")
            validation = kept[0], seen - self.intercept_
        self._learn(images, targets - self.intercept_, validation, mean_squared_error)
        return self

    def predict(self, X: Images) -> Array:
        """f(x), shape (n,) or (n, outputs), as the targets were."""
        raw = self._raw_predictions(X)
        shaped: Array = (raw if self.intercept_.ndim else raw[:, 0]) + self.intercept_
        return shaped


class ConvRFMClassifier(ClassifierMixin, ConvRecursiveFeatureMachine):  # type: ignore[misc]
    """Classification by a convolutional recursive feature machine (paper D).

    Kernel ridge regression on the classes (±1 for two of them, one-hot less 1/C for more) with a
    convolutional neural tangent kernel, whose patches are seen through a metric M: first the
    identity, then the patch-AGOP of the last predictor.

    Args:
        side: Pixels of a patch along each edge.
        stride: Pixels from one patch to the next.
        padding: "valid" or "circular": where the patches lie.
        depth: Convolutions of the network.
        filter_side: Positions along each edge that the further convolutions see.
        filter_padding: "circular", "zero" or "valid": what they find beyond the edge.
        ridge: λ ≥ 0 for the kernel divided by its largest training entry; of several, the best on
            the validation data is chosen.
        rounds: Rounds after round 0, in which M is the identity.
        exponent: Power of the patch-AGOP that becomes M; of several, the best is chosen.
        normalisation: "frobenius", "trace", "largest_entry" or "none": what M is divided by.
        image_normalisation: "none", "unit_norm" or "standardised": what is done to each image.
        validation_fraction: Share of the images of each class that is kept apart to choose round,
            ridge and exponent by the share of misclassified images (the earliest of equals).
            Without it, and without X_val in `fit`, the last round is kept.
        dtype: "float32" or "float64"; by default that of X, and float64 for other numbers.
        device: Where torch computes.
        random_state: Of the validation split.

    Attributes:
        classes_: The labels, sorted.
        patch_agop_: Patch-AGOP of the predictor at the training images, (d, d),
            d = channels·side·side.
        M_: The metric of the chosen round, (d, d).
        history_: One `ConvRound` for each round of each ridge and exponent.
        best_round_: Number of the chosen round.
        ridge_: Its λ.
        exponent_: Its exponent.
        machine_: The fitted `ConvMachine`, on the CPU.
        image_shape_: (channels, height, width).

    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 1, 4, 4)), np.arange(40) % 2
    >>> X[:, 0, 1, 1] += 3 * y
    >>> model = ConvRFMClassifier(side=2, rounds=1).fit(X, y)
    >>> model.score(X, y), model.patch_agop_.shape
    (1.0, (4, 4))
    """

    def fit(
        self, X: Images, y: ArrayLike, X_val: Images | None = None, y_val: ArrayLike | None = None
    ) -> Self:
        """Learn metric and predictor.

        Args:
            X: Images, shape (n, channels, height, width).
            y: Labels, shape (n,): numbers or strings, at least two different ones.
            X_val: Images by which round, ridge and exponent are chosen.
            y_val: Their labels, each of which occurs in y.

        Raises:
            TypeError: If the images are not numbers.
            ValueError: If shapes do not fit together, images are smaller than a patch, an entry is
                NaN or infinite, an image has no scale to normalise by, there is only one class, a
                parameter is out of its range, or there is something to choose and nothing to
                choose by.
            numpy.linalg.LinAlgError: If a round's system is singular (a ValueError, too).
        """
        images, labels = self._kept("X", X), column_or_1d(_plain(y))
        check_classification_targets(labels)
        _check_length("y", labels, images)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds 1 class, {self.classes_[0]!r}; there must be at least 2")
        known = None if y_val is None else self._indices(y_val)
        images, index, kept = self._aside(images, index, X_val, known, index)
        validation = None
        if kept is not None:
            _check_length("y_val", kept[1], kept[0])
            validation = kept[0], self._targets(kept[1])
        self._learn(images, self._targets(index), validation, misclassified)
        return self

    def _indices(self, labels: Any) -> Labels:
        known = column_or_1d(_plain(labels))
        if strange := set(known.tolist()) - set(self.classes_.tolist()):
            first = min(strange, key=repr)
            raise ValueError(f"y_val holds {first!r}, which is not a class of y")
        index: Labels = np.searchsorted(self.classes_, known)
        return index

    def _targets(self, index: Labels) -> Array:
        classes = len(self.classes_)
        if classes == 2:
            return np.where(index[:, None] == 1, 1.0, -1.0)
        return np.eye(classes)[index] - 1 / classes

    def decision_function(self, X: Images) -> Array:
        """f(x): shape (n,) for two classes, positive for the second; (n, C) for C > 2."""
        raw = self._raw_predictions(X)
        return raw[:, 0] if len(self.classes_) == 2 else raw

    def predict(self, X: Images) -> Labels:
        """The class of the largest score."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: Labels = self.classes_[index]
        return labels

    def predict_proba(self, X: Images) -> Array:
        """The probability vectors nearest to what was fitted, shape (n, C)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            second = np.clip((1 + scores) / 2, 0, 1)
            return np.stack([1 - second, second], axis=1)
        return project_to_simplex(scores)


def _several(value: float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(value, np.ndarray):
        return tuple(np.atleast_1d(value))
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _plain(values: Any) -> Any:
    return values.cpu().numpy() if isinstance(values, Tensor) else values


def _numbers(name: str, X: ArrayLike) -> Array:
    array = np.asarray(X)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}, must be real numbers")
    if np.ma.is_masked(X):
        raise ValueError(f"{name} has masked entries, must be complete")
    if array.dtype not in (np.float32, np.float64):
        return array.astype(np.float64, order="C")
    return np.require(array, requirements=["C", "W"])


def _targets(name: str, y: Any) -> Array:
    targets: Array = check_array(
        _plain(y), ensure_2d=False, dtype=np.float64, input_name=name, ensure_min_samples=1
    )
    if targets.ndim > 2:
        raise ValueError(f"{name} has shape {targets.shape}, must be (n,) or (n, outputs)")
    return targets


def _check_length(name: str, targets: Labels, images: Tensor) -> None:
    if len(targets) != len(images):
        raise ValueError(f"{name} has {len(targets)} entries for {len(images)} images")
