"""What the figures of this slice have in common: kernels, target, noise, and how they look."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from numerics.monte_carlo import Estimate
from numerics.ridgeless.targets import Target
from theory.ridgeless import Cauchy, Gaussian, Kernel, Laplace

from ..plot import Floats, Series
from ..style import BLUE, DASH_DOT, DASHED, GREEN, ORANGE, SOLID, Look


@dataclass(frozen=True)
class Named:
    """A kernel in both rooms, and its look in every figure.

    Attributes:
        name: In legends.
        kernel: For `theory`.
        profile: For `numerics`.
        look: Colour, dashes, marker.
        widest: The largest bandwidth in grid spacings at which doubles can solve the system.
    """

    name: str
    kernel: Kernel
    profile: str
    look: Look
    widest: float


GAUSSIAN = Named("Gaussian", Gaussian(), "gaussian", Look(BLUE, SOLID, "o"), 2.0)
CAUCHY = Named("Cauchy", Cauchy(), "cauchy", Look(GREEN, DASH_DOT, "^"), 8.0)
LAPLACE = Named("Laplace", Laplace(), "laplace", Look(ORANGE, DASHED, "s"), math.inf)
KERNELS = (GAUSSIAN, CAUCHY, LAPLACE)

TARGET: dict[int, complex] = {1: 0.5, -1: 0.5, 2: 0.5j, -2: -0.5j}
"""f* = cos 2πx − sin 4πx, with ‖f*‖² = 1."""

SAMPLED: Target = dict(TARGET.items())
"""The same, typed for `numerics`, which takes frequencies of any dimension."""

NOISE_VARIANCE = 0.25
SNR = 1 / NOISE_VARIANCE


def least(
    function: Callable[[float], float], low: float, high: float, scan: int = 12
) -> tuple[float, float]:
    """Return the minimiser in [low, high], on a log scale, and the minimum.

    The best of a coarse scan is refined between its neighbours, as there can be two minima.
    """
    logs = np.linspace(math.log(low), math.log(high), scan)
    best = int(np.argmin([function(math.exp(t)) for t in logs]))
    bounds = float(logs[max(best - 1, 0)]), float(logs[min(best + 1, scan - 1)])
    found = optimize.minimize_scalar(
        lambda t: function(math.exp(t)), bounds=bounds, method="bounded", options={"xatol": 1e-4}
    )
    return math.exp(found.x), float(found.fun)


def generators(seed: int) -> Iterator[np.random.Generator]:
    """Yield independent generators, one for every Monte Carlo point."""
    parent = np.random.default_rng(seed)
    while True:
        yield from parent.spawn(1)


def curve(x: Floats, function: Callable[[float], float]) -> Series:
    """Theory at the given abscissas."""
    return Series(x, np.array([function(float(value)) for value in x]))


def measured(x: Floats, function: Callable[[float], Estimate]) -> Series:
    """Numerics at the given abscissas, with its standard errors."""
    estimates = [function(float(value)) for value in x]
    means = np.array([e.mean for e in estimates])
    return Series(x, means, np.array([e.standard_error for e in estimates]))
