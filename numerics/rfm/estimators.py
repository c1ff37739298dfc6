"""Recursive feature machines as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d, validate_data
from torch import Tensor

from .estimator_base import Array, RecursiveFeatureMachine, Sample, Target, flag
from .machine import mean_squared_error


class RFMRegressor(RegressorMixin, MultiOutputMixin, RecursiveFeatureMachine):  # type: ignore[misc]
    """Regression by a recursive feature machine (paper E).

    Kernel ridge regression with a Mahalanobis metric M that is learned: M starts as the identity
    and becomes, round after round, the average gradient outer product (AGOP) of the predictor.

    Args:
        kernel: "laplace", "gaussian", "matern32", "matern52", "generalised", "linear" or
            "polynomial".
        bandwidth: L of the kernel, or "median": in each round the median distance between points.
        ridge: λ ≥ 0 on the kernel matrix's diagonal, not scaled by n.
        rounds: Rounds after round 0, in which M is the identity.
        kernel_params: Options of the kernel: `norm` and `power` of "generalised", `degree` and
            `offset` of "polynomial".
        diagonal: Learn a diagonal M.
        centring: "none", "per_output" or "joint": which mean is removed from the gradients.
        normalisation: "largest_entry", "trace", "frobenius" or "none": what M is divided by.
        exponent: Power of the AGOP that becomes M.
        validation_fraction: Share of the samples that is kept apart to choose the round by mean
            squared error. Without it, and without X_val in `fit`, the last round is kept.
        refit: Fit again on all samples, those of the validation included, up to the chosen round.
        patience: Stop after so many rounds without a better validation error, where there is one.
        solver: "exact" (Cholesky, n² numbers in memory) or "iterative".
        dtype: "float32" or "float64"; by default that of X, and float64 for other numbers.
        device: Where torch computes.
        progress: True, False, or "auto": a bar on a terminal for fits of more than 10 s.
        random_state: Of the validation split, of the points whose distances make the median, and
            of the iterative solver.
        fit_intercept: Subtract the training targets' mean, and add it to the predictions.

    Attributes:
        agop_: AGOP of the predictor at the training points, (d, d), or (d,) if diagonal.
        M_: The metric of the chosen round, in the same form.
        history_: One `Round` for each: validation error, bandwidth and the spectrum of its M.
        best_round_: Number of the chosen round.
        bandwidth_: L of the chosen round.
        intercept_: The mean that was subtracted, one number for each output.
        machine_: The fitted `Machine`, on the CPU.
        n_features_in_: d.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = RFMRegressor(rounds=3).fit(X, X[:, 0] * X[:, 1])
    >>> (model.M_.diagonal() > 0.5).tolist()
    [True, True, False, False, False]
    """

    def __init__(
        self,
        *,
        kernel: str = "laplace",
        bandwidth: float | str = 10.0,
        ridge: float = 1e-3,
        rounds: int = 5,
        kernel_params: Mapping[str, float] | None = None,
        diagonal: bool = False,
        centring: str = "none",
        normalisation: str = "largest_entry",
        exponent: float = 1.0,
        validation_fraction: float | None = None,
        refit: bool = False,
        patience: int | None = None,
        solver: str = "exact",
        dtype: str | None = None,
        device: str = "cpu",
        progress: bool | str = "auto",
        random_state: int | np.random.RandomState | None = None,
        fit_intercept: bool = True,
    ) -> None:
        super().__init__(
            kernel=kernel,
            bandwidth=bandwidth,
            ridge=ridge,
            rounds=rounds,
            kernel_params=kernel_params,
            diagonal=diagonal,
            centring=centring,
            normalisation=normalisation,
            exponent=exponent,
            validation_fraction=validation_fraction,
            refit=refit,
            patience=patience,
            solver=solver,
            dtype=dtype,
            device=device,
            progress=progress,
            random_state=random_state,
        )
        self.fit_intercept = fit_intercept

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Learn metric and predictor.

        Args:
            X: Samples, shape (n, d).
            y: Targets, shape (n,) or (n, outputs).
            X_val: Samples by which the round is chosen.
            y_val: Their targets.

        Raises:
            ValueError: If shapes do not fit together, an entry is NaN or infinite, or a parameter
                is out of its range.
            numpy.linalg.LinAlgError: If a round's system is singular (a ValueError, too).
            MemoryError: If the kernel matrix does not fit into memory.
        """
        inputs, targets = validate_data(
            self, X, y, dtype=self._dtypes(), y_numeric=True, multi_output=True
        )
        train, validation = self._samples(inputs, targets, X_val, y_val)
        self._learn(train, validation, mean_squared_error)
        return self

    def _encoded(self, targets: Target, X: Array, *, learn: bool) -> Array:
        if learn:
            mean = targets.mean(axis=0).astype(X.dtype)
            centred = flag("fit_intercept", self.fit_intercept)
            self.intercept_: Array = mean if centred else np.zeros_like(mean)
        numbers: Array = targets - self.intercept_
        return numbers

    def _samples(
        self, X: Array, y: Target, X_val: ArrayLike | None, y_val: ArrayLike | None
    ) -> tuple[Sample, Sample | None]:
        points = self._validation_points(X, X_val, y_val)
        if points is not None:
            targets = check_array(y_val, ensure_2d=False, dtype=np.float64, input_name="y_val")
            outputs = y[:1].size
            if targets[:1].size != outputs:  # subtracting the intercept would broadcast them
                raise ValueError(
                    f"y_val has shape {targets.shape}, must have {outputs} outputs as y"
                )
            return (X, y), (points, targets.reshape(-1, *y.shape[1:]))
        if self.validation_fraction is None:
            return (X, y), None
        X, kept, y, aside = self._split(X, y, None)
        return (X, y), (kept, aside)

    def predict(self, X: ArrayLike) -> Array:
        """f(x), shape (n,) or (n, outputs), as the targets were."""
        raw = self._raw_predictions(X)
        shaped: Array = (raw if self.intercept_.ndim else raw[:, 0]) + self.intercept_
        return shaped


def misclassified(scores: Tensor, targets: Tensor) -> float:
    """The share of samples whose largest score (for one output: whose sign) is not the target's."""
    if scores.shape[1] == 1:
        wrong = (scores > 0) != (targets > 0)
    else:
        wrong = scores.argmax(dim=1) != targets.argmax(dim=1)
    return float(wrong.double().mean())


class RFMClassifier(ClassifierMixin, RecursiveFeatureMachine):  # type: ignore[misc]
    """Classification by a recursive feature machine (paper E).

    The machine of `RFMRegressor`, fitted to the classes: to ±1 for two of them, to the one-hot
    vector less 1/C for C > 2.

    Args:
        kernel: As in `RFMRegressor`, and so are all other parameters; with validation data the
            round of the smallest share of misclassified samples is chosen, the earliest if several
            are equal, and `validation_fraction` splits class by class.
        bandwidth: L of the kernel, or "median".
        ridge: λ ≥ 0.
        rounds: Rounds after round 0.
        kernel_params: Options of the kernel.
        diagonal: Learn a diagonal M.
        centring: Which mean is removed from the gradients.
        normalisation: What M is divided by.
        exponent: Power of the AGOP that becomes M.
        validation_fraction: Share of the samples that is kept apart to choose the round.
        refit: Fit again on all samples.
        patience: Stop after so many rounds without a better validation error.
        solver: "exact" or "iterative".
        dtype: "float32", "float64" or None.
        device: Where torch computes.
        progress: True, False, or "auto".
        random_state: Of all that is drawn.

    Attributes:
        classes_: The labels, sorted.
        agop_: AGOP of the predictor at the training points, (d, d), or (d,) if diagonal.
        M_: The metric of the chosen round, in the same form.
        history_: One `Round` for each: validation error, bandwidth and the spectrum of its M.
        best_round_: Number of the chosen round.
        bandwidth_: L of the chosen round.
        machine_: The fitted `Machine`, on the CPU.
        n_features_in_: d.
    """

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Learn metric and predictor.

        Args:
            X: Samples, shape (n, d).
            y: Labels, shape (n,): numbers or strings, at least two different ones.
            X_val: Samples by which the round is chosen.
            y_val: Their labels, each of which occurs in y.

        Raises:
            ValueError: If shapes do not fit together, an entry is NaN or infinite, there is only
                one class, or a parameter is out of its range.
            numpy.linalg.LinAlgError: If a round's system is singular (a ValueError, too).
            MemoryError: If the kernel matrix does not fit into memory.
        """
        inputs, labels = validate_data(self, X, y, dtype=self._dtypes())
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds 1 class, {self.classes_[0]!r}; there must be at least 2")
        train, validation = self._samples(inputs, index, X_val, y_val)
        self._learn(train, validation, misclassified)
        return self

    def _samples(
        self, X: Array, index: Target, X_val: ArrayLike | None, y_val: ArrayLike | None
    ) -> tuple[Sample, Sample | None]:
        points = self._validation_points(X, X_val, y_val)
        if points is not None:
            return (X, index), (points, self._indices(y_val))
        if self.validation_fraction is None:
            return (X, index), None
        X, kept, index, aside = self._split(X, index, index)
        return (X, index), (kept, aside)

    def _indices(self, labels: Any) -> Target:
        known = column_or_1d(labels)
        if strange := set(known.tolist()) - set(self.classes_.tolist()):
            first = min(strange, key=repr)
            raise ValueError(f"y_val holds {first!r}, which is not a class of y")
        index: Target = np.searchsorted(self.classes_, known)
        return index

    def _encoded(self, targets: Target, X: Array, *, learn: bool) -> Array:  # noqa: ARG002
        classes = len(self.classes_)
        if classes == 2:
            return np.where(targets[:, None] == 1, 1.0, -1.0)
        return np.eye(classes)[targets] - 1 / classes

    def decision_function(self, X: ArrayLike) -> Array:
        """f(x): shape (n,) for two classes, positive for the second; (n, C) for C > 2."""
        raw = self._raw_predictions(X)
        return raw[:, 0] if len(self.classes_) == 2 else raw

    def predict(self, X: ArrayLike) -> Target:
        """The class of the largest score."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: Target = self.classes_[index]
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability vectors nearest to what was fitted, shape (n, C).

        Least squares on one-hot vectors estimates probabilities; its values are projected onto the
        simplex, so that some are exactly 0 and 1. The largest belongs to the predicted class.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            second = np.clip((1 + scores) / 2, 0, 1)
            return np.stack([1 - second, second], axis=1)
        return project_to_simplex(scores)


def project_to_simplex(scores: Array) -> Array:
    """The nearest probability vector to each row, shape (n, C); a row's common shift cancels.

    >>> project_to_simplex(np.array([[0.5, 0.0, -2.0], [3.0, 0.0, 0.0]])).tolist()
    [[0.75, 0.25, 0.0], [1.0, 0.0, 0.0]]
    """
    descending = -np.sort(-scores, axis=1)
    counts = np.arange(1, scores.shape[1] + 1, dtype=scores.dtype)
    thresholds = (np.cumsum(descending, axis=1) - 1) / counts
    kept = (descending > thresholds).sum(axis=1)
    cut = np.take_along_axis(thresholds, kept[:, None] - 1, axis=1)
    nearest: Array = np.maximum(scores - cut, 0)
    return nearest
