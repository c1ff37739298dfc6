"""Convolutional recursive feature machines: the metric of the patches is the last round's AGOP.

Round t solves (K_M/κ + λI)α = Y with κ the largest entry of K_M, and the patch-AGOP of its
predictor becomes the next M; round 0 has M = I. With validation data the best of all rounds, ridges
and exponents is kept, round 0 being a candidate; without, the last round.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..rfm.checks import check_targets
from ..rfm.learned_metric import NORMALISATIONS, Metric, metric_from_agop
from ..rfm.machine import Score, mean_squared_error
from ..rfm.memory import require_memory
from ..validation import RealArray, choice, integer, nonnegative, positive
from .cntk import ConvolutionalNTK, check_like
from .patch_gradients import mapped_moment, pulled
from .patches import check_images
from .prepared import Source

Sample = tuple[Tensor, Tensor]
"""Images and targets."""


@dataclass(frozen=True)
class ConvRecipe:
    """How a convolutional recursive feature machine is fitted.

    Attributes:
        kernel: K.
        ridges: The λ ≥ 0 to choose from, for K divided by its largest training entry.
        rounds: How many metrics are learned; 0 is kernel ridge regression.
        exponents: The powers > 0 of the AGOP to choose from.
        normalisation: What the AGOP is divided by: "frobenius" (the Frobenius norm over √d),
            "trace", "largest_entry" or "none". No predictor depends on it, as K is divided by its
            largest entry and every K_{cM} is c K_M.

    Raises:
        TypeError: If an attribute has the wrong type.
        ValueError: If a number is out of its range, a name unknown, or nothing is given to choose.
    """

    kernel: ConvolutionalNTK = field(default_factory=ConvolutionalNTK)
    ridges: tuple[float, ...] = (1e-3,)
    rounds: int = 5
    exponents: tuple[float, ...] = (1.0,)
    normalisation: str = "frobenius"

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, ConvolutionalNTK):
            raise TypeError(f"kernel = {self.kernel!r} must be a ConvolutionalNTK")
        if not self.ridges or not self.exponents:
            raise ValueError("ridges and exponents must hold at least one number each")
        for ridge in self.ridges:
            nonnegative("ridge", ridge)
        for exponent in self.exponents:
            positive("exponent", exponent)
        integer("rounds", self.rounds, 0)
        choice("normalisation", self.normalisation, NORMALISATIONS)

    @property
    def single(self) -> bool:
        """Whether there is one ridge and one exponent only."""
        return len(self.ridges) == len(self.exponents) == 1


@dataclass(frozen=True, eq=False)
class ConvRound:
    """What one round found.

    Attributes:
        number: 0 for M = I.
        ridge: λ.
        exponent: Power of the AGOPs that made M.
        error: On the validation data; None without.
        spectrum: Eigenvalues of this round's M, largest first, shape (d,).
    """

    number: int
    ridge: float
    exponent: float
    error: float | None
    spectrum: RealArray


@dataclass(frozen=True, eq=False)
class ConvMachine:
    """A fitted convolutional recursive feature machine.

    Attributes:
        kernel: K.
        alpha: Coefficients, shape (n, outputs).
        centres: Training images.
        metric: M of the chosen round.
        scale: κ, by which K is divided.
        patch_agop: Of this predictor at the training images, (d, d).
        round: The chosen one.
        history: All rounds.
    """

    kernel: ConvolutionalNTK
    alpha: Tensor
    centres: Tensor
    metric: Metric
    scale: float
    patch_agop: Tensor
    round: ConvRound
    history: tuple[ConvRound, ...] = ()

    def predict(self, X: Tensor) -> Tensor:
        """f(x), shape (n, outputs), for images of shape (n, channels, height, width).

        Raises:
            TypeError: If X is not a floating tensor of the training images' dtype and device.
            ValueError: If an image has another shape, or an entry is NaN or infinite.
        """
        check_like("X", check_images("X", X), self.centres)
        return self.values(X.detach())

    def values(self, X: Tensor) -> Tensor:
        """The same for images that have been checked."""
        return self.from_sources(
            *(self.kernel.source(x, self.metric.root) for x in (X, self.centres))
        )

    def from_sources(self, X: Source, centres: Source) -> Tensor:
        """The same for images that may be ready already."""
        return self.kernel.gram(X, centres) @ self.alpha / self.scale

    def to(self, device: torch.device | str) -> ConvMachine:
        """The same machine on another device."""
        alpha, centres, agop = (t.to(device) for t in (self.alpha, self.centres, self.patch_agop))
        metric = self.metric.to(device)
        return replace(self, alpha=alpha, centres=centres, metric=metric, patch_agop=agop)


def fit_conv_rfm(
    X: Tensor,
    Y: Tensor,
    recipe: ConvRecipe | None = None,
    *,
    validation: Sample | None = None,
    score: Score = mean_squared_error,
    progress: Callable[[ConvRound], object] | None = None,
) -> ConvMachine:
    """Fit a convolutional recursive feature machine.

    If a patch-AGOP is zero (a constant predictor), there is no next metric and the rounds end.

    Args:
        X: Training images, shape (n, channels, height, width).
        Y: Targets, shape (n,) or (n, outputs).
        recipe: How; by default 3 × 3 patches, depth 2, λ = 1e-3, 5 rounds.
        validation: Images and targets by which round, ridge and exponent are chosen; the earliest
            of equally good ones.
        score: The validation error.
        progress: Called with each round when it is over.

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, images are smaller than a patch, an entry is NaN
            or infinite, all training images are zero, or several ridges or exponents are given and
            no validation data to choose by.
        numpy.linalg.LinAlgError: If a round's matrix is singular; the message names what mends it.
        MemoryError: If the kernel matrix does not fit into memory.
    """
    recipe = ConvRecipe() if recipe is None else recipe
    X, Y = _check_sample("X", X, Y)
    recipe.kernel.shape.grids(*X.shape[2:])
    if validation is not None:
        validation = _check_sample("X_val", *validation)
        check_like("X_val", validation[0], X)
        if validation[1].shape[1] != Y.shape[1]:
            raise ValueError(f"Y has {Y.shape[1]} outputs, Y_val {validation[1].shape[1]}")
    elif not recipe.single:
        raise ValueError(
            f"ridges = {recipe.ridges} and exponents = {recipe.exponents} are chosen by validation "
            "data: give them, or one ridge and one exponent"
        )
    size = 2 * len(X) ** 2 * X.element_size()
    require_memory(size, f"the kernel matrix of n = {len(X)} images and its factor", X.device)
    return _Fit(recipe, X, Y, validation, score).run(progress)


@dataclass(frozen=True, eq=False)
class _System:
    """One metric: training and validation images, and K over its largest entry."""

    metric: Metric
    train: Source
    seen: Source | None
    K: Tensor
    scale: float


class _Fit:
    """The state of one fit: data that stay, and the best machine so far."""

    def __init__(
        self, recipe: ConvRecipe, X: Tensor, Y: Tensor, validation: Sample | None, score: Score
    ) -> None:
        self.recipe, self.X, self.Y = recipe, X, Y
        self.validation, self.score = validation, score
        d = X.shape[1] * recipe.kernel.patches.side**2
        self.identity = Metric(None, None, X.new_ones(d))
        self.history: list[ConvRound] = []
        self.best: ConvMachine | None = None

    def run(self, progress: Callable[[ConvRound], object] | None) -> ConvMachine:
        first = self._system(self.identity)
        for ridge, exponent in itertools.product(self.recipe.ridges, self.recipe.exponents):
            for machine in self._rounds(first, ridge, exponent):
                self.history.append(machine.round)
                if self._better(machine.round):
                    self.best = machine
                if progress is not None:
                    progress(machine.round)
        assert self.best is not None  # round 0 is always better than nothing
        return replace(self.best, history=tuple(self.history))

    def _rounds(self, first: _System, ridge: float, exponent: float) -> Iterator[ConvMachine]:
        system: _System | None = first
        for number in range(self.recipe.rounds + 1):
            if system is None:
                return
            spectrum = system.metric.spectrum.double().cpu().numpy()
            machine = self._machine(system, ConvRound(number, ridge, exponent, None, spectrum))
            yield machine
            system = (
                self._next(machine.patch_agop, exponent) if number < self.recipe.rounds else None
            )

    def _next(self, agop: Tensor, exponent: float) -> _System | None:
        metric = metric_from_agop(agop, exponent=exponent, normalisation=self.recipe.normalisation)
        return None if metric is None else self._system(metric)

    def _system(self, metric: Metric) -> _System:
        kernel = self.recipe.kernel
        train = kernel.source(self.X, metric.root)
        K = kernel.gram(train)
        scale = float(K.max())
        if not math.isfinite(scale):
            raise ValueError(
                f"the kernel of the training images is beyond the range of {K.dtype}: rescale X"
            )
        if not scale > 0:
            raise ValueError(
                "the kernel of the training images is zero: all patches of X are zero, too small "
                f"for squares in {K.dtype}, or in the null space of M"
            )
        seen = None if self.validation is None else kernel.source(self.validation[0], metric.root)
        return _System(metric, train, seen, K.div_(scale), scale)

    def _machine(self, system: _System, found: ConvRound) -> ConvMachine:
        kernel, metric, train = self.recipe.kernel, system.metric, system.train
        alpha = _solve(system.K.clone(), self.Y, found)
        index = torch.arange(len(self.X), device=self.X.device)
        moment = mapped_moment(kernel, alpha / system.scale, train, train, index)
        agop = pulled(moment, metric.root)
        machine = ConvMachine(kernel, alpha, self.X, metric, system.scale, agop, found)
        if self.validation is None or system.seen is None:
            return machine
        error = self.score(machine.from_sources(system.seen, train), self.validation[1])
        return replace(machine, round=replace(found, error=error))

    def _better(self, found: ConvRound) -> bool:
        if self.best is None or found.error is None:
            return True
        lowest = self.best.round.error
        return lowest is None or found.error < lowest


def _solve(K: Tensor, Y: Tensor, found: ConvRound) -> Tensor:
    """α = (K + λI)⁻¹Y; K, whose largest entry is 1, is overwritten."""
    K.diagonal().add_(found.ridge)
    factor, info = torch.linalg.cholesky_ex(K)
    # Without a ridge a pivot below the angles' own error, the root of rounding, is noise: repeated
    # images. With one, the pivots are at least λ and only rounding of the factor counts.
    eps = torch.finfo(K.dtype).eps
    if info or factor.diagonal().min().square() <= 8 * (eps if found.ridge else eps**0.5):
        raise np.linalg.LinAlgError(
            f"round {found.number}: the kernel matrix of {len(K)} images plus ridge = "
            f"{found.ridge:g} is singular in {K.dtype}: take a larger ridge, float64, or remove "
            "repeated images"
        )
    return torch.cholesky_solve(Y, factor)


def _check_sample(name: str, X: Tensor, Y: Tensor) -> Sample:
    X = check_images(name, X)
    return X, check_targets(name, X, Y)
