"""What the scikit-learn estimators share: parameters, the rounds, predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ..validation import choice, positive
from .kernels import kernel_by_name
from .machine import Recipe, Score, fit_rfm
from .progress import progress_bar

Array = NDArray[np.floating[Any]]
Target = NDArray[Any]
Sample = tuple[Array, Target]
"""Points and targets."""

DTYPES = ("float32", "float64")


def flag(name: str, value: object) -> bool:
    """Return `value` as a bool; words such as "no" would count as true.

    Raises:
        TypeError: If it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} = {value!r} must be True or False")
    return bool(value)


def _together(train: Sample, validation: Sample) -> Sample:
    X, y = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    return X, y


class RecursiveFeatureMachine(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The parameters, described at `RFMRegressor`, and all that the kind of target leaves open."""

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
    ) -> None:
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.rounds = rounds
        self.kernel_params = kernel_params
        self.diagonal = diagonal
        self.centring = centring
        self.normalisation = normalisation
        self.exponent = exponent
        self.validation_fraction = validation_fraction
        self.refit = refit
        self.patience = patience
        self.solver = solver
        self.dtype = dtype
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _recipe(self) -> Recipe:
        bandwidth, median = self.bandwidth, False
        if isinstance(bandwidth, str):
            choice("bandwidth", bandwidth, ("median",))
            bandwidth, median = 1.0, True
        flag("diagonal", self.diagonal)
        options = {} if self.kernel_params is None else dict(self.kernel_params)
        kernel = kernel_by_name(self.kernel, bandwidth, **options)
        return Recipe(
            kernel=kernel,
            median_bandwidth=median,
            ridge=self.ridge,
            rounds=self.rounds,
            diagonal=self.diagonal,
            centring=self.centring,
            normalisation=self.normalisation,
            exponent=self.exponent,
            patience=self.patience,
            solver=self.solver,
        )

    def _learn(self, train: Sample, validation: Sample | None, score: Score) -> None:
        """Run the rounds, on all samples again if asked for, and set the fitted attributes."""
        recipe, again = self._recipe(), flag("refit", self.refit)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        points, targets = self._tensors(train, learn=True)
        kept = None if validation is None else self._tensors(validation)
        with progress_bar(self.rounds, self.progress) as progress:
            machine = fit_rfm(
                points, targets, recipe, validation=kept, score=score, seed=seed, progress=progress
            )
        if again and validation is not None:
            points, targets = self._tensors(_together(train, validation), learn=True)
            final = fit_rfm(points, targets, replace(recipe, rounds=machine.chosen), seed=seed)
            machine = replace(final, history=machine.history)
        self.machine_ = machine.to("cpu")
        self.agop_: Array = self.machine_.agop.numpy().copy()
        self.M_: Array = self._metric()
        self.history_ = machine.history
        self.best_round_ = machine.chosen
        self.bandwidth_ = machine.kernel.bandwidth

    def _metric(self) -> Array:
        if self.machine_.metric.M is not None:
            return np.asarray(self.machine_.metric.M.numpy().copy())
        d, dtype = self.machine_.centres.shape[1], self.agop_.dtype
        return np.ones(d, dtype) if self.diagonal else np.eye(d, dtype=dtype)

    def _raw_predictions(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        points = validate_data(self, X, dtype=self._dtypes(), reset=False)
        machine = self.machine_.to(self._device())
        tensor = self._tensor(points.astype(self.agop_.dtype))
        predictions: Array = machine.predict(tensor).cpu().numpy()
        return predictions

    @abstractmethod
    def _encoded(self, targets: Target, X: Array, *, learn: bool) -> Array:
        """The numbers that are fitted to these targets; `learn` takes from them what it needs."""

    def _tensors(self, sample: Sample, *, learn: bool = False) -> tuple[Tensor, Tensor]:
        X, targets = sample
        numbers = self._encoded(targets, X, learn=learn)
        return self._tensor(X), self._tensor(numbers.astype(X.dtype))

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(np.ascontiguousarray(array), device=self._device())

    def _device(self) -> torch.device:
        try:
            return torch.empty(0, device=self.device).device
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f"device = {self.device!r} is none that torch can use here, such as 'cpu': {error}"
            ) from error

    def _dtypes(self) -> list[type[np.floating[Any]]]:
        """dtypes that are kept; the first is what others become."""
        if self.dtype is None:
            return [np.float64, np.float32]
        wanted = choice("dtype", self.dtype, DTYPES)
        return [np.float32 if wanted == "float32" else np.float64]

    def _validation_points(
        self, X: Array, X_val: ArrayLike | None, y_val: ArrayLike | None
    ) -> Array | None:
        """X_val with the features of X and in its dtype.

        Raises:
            ValueError: If only one of the two is given, or the validation set is given twice.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together")
        if X_val is None:
            return None
        if self.validation_fraction is not None:
            raise ValueError(
                f"validation_fraction = {self.validation_fraction!r} must be None where X_val and "
                "y_val are given"
            )
        points: Array = validate_data(self, X_val, dtype=X.dtype, reset=False)
        return points

    def _split(self, X: Array, y: Target, stratify: Target | None) -> tuple[Array, ...]:
        """Two sets of points and their targets, (X, X_val, y, y_val), apart at random.

        Raises:
            ValueError: If the fraction is not between 0 and 1, or leaves a set or class empty.
        """
        if not 0 < positive("validation_fraction", self.validation_fraction) < 1:
            raise ValueError(
                f"validation_fraction = {self.validation_fraction!r} must be in (0, 1)"
            )
        parts: tuple[Array, ...] = train_test_split(
            X,
            y,
            test_size=self.validation_fraction,
            random_state=self.random_state,
            stratify=stratify,
        )
        return parts
