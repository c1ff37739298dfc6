"""The Monte Carlo engine: independent samples in seeded blocks, merged to a mean with its error.

Every block has its own generator, spawned from the caller's, and blocks are merged in their order:
the result depends on the seed alone and not on how many processes share the work. Blocks run
through joblib, so that `joblib.parallel_config(backend="dask")` sends them to a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from typing import TypeVar

import joblib
import numpy as np

from .validation import RealArray, integer

Draw = Callable[[np.random.Generator, int], RealArray]
"""Takes a generator and a number of samples, and returns that many independent samples."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of some samples."""

    count: int
    mean: float
    deviations: float

    @classmethod
    def of(cls, samples: RealArray) -> Moments:
        """The moments of an array of samples.

        >>> Moments.of(np.array([1.0, 3.0]))
        Moments(count=2, mean=2.0, deviations=2.0)
        """
        mean = float(np.mean(samples))
        return cls(samples.size, mean, float(np.sum((samples - mean) ** 2)))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of samples together (Chan, Golub and LeVeque)."""
        count = self.count + other.count
        step = other.mean - self.mean
        between = step**2 * self.count * other.count / count
        return Moments(
            count,
            self.mean + step * other.count / count,
            self.deviations + other.deviations + between,
        )


@dataclass(frozen=True)
class Estimate:
    """The mean of independent samples.

    Attributes:
        mean: Sample mean.
        standard_error: Estimated standard deviation of `mean`.
        samples: Number of independent samples.
    """

    mean: float
    standard_error: float
    samples: int

    def z(self, value: float) -> float:
        """How many standard errors the mean lies above a claimed value.

        >>> Estimate(mean=1.5, standard_error=0.25, samples=100).z(1.0)
        2.0
        """
        difference = self.mean - value
        if self.standard_error == 0:  # the samples do not vary: any difference is infinitely many
            return math.copysign(math.inf, difference) if difference else 0.0
        return difference / self.standard_error


def estimate(
    draw: Draw,
    samples: int,
    rng: int | np.random.Generator,
    *,
    block: int = 256,
    n_jobs: int = 1,
) -> Estimate:
    """Estimate the mean of what `draw` draws.

    Args:
        draw: Called as draw(generator, count), returns `count` independent samples, shape (count,).
        samples: How many samples to draw, at least 2.
        rng: A seed, or a generator from which the blocks' generators are spawned.
        block: Samples per block. The result depends on it, but not on `n_jobs`.
        n_jobs: Processes, as in joblib.

    Returns:
        The mean and its standard error.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If samples < 2 or block < 1, or `draw` returns another shape, NaN or inf.
    """
    integer("samples", samples, 2)
    moments = _blocks(_block_moments, draw, samples, rng, block, n_jobs)
    total = reduce(Moments.merge, moments)
    variance = total.deviations / (total.count - 1)
    return Estimate(total.mean, math.sqrt(variance / total.count), total.count)


def collect(
    draw: Draw,
    samples: int,
    rng: int | np.random.Generator,
    *,
    block: int = 256,
    n_jobs: int = 1,
) -> RealArray:
    """Return the samples themselves, for medians and other statistics than the mean.

    Arguments and errors are those of `estimate`, which with the same arguments averages the same
    samples; one sample is enough.
    """
    integer("samples", samples, 1)
    return np.concatenate(_blocks(_block_samples, draw, samples, rng, block, n_jobs))


def _blocks(
    task: Callable[[Draw, np.random.Generator, int], Result],
    draw: Draw,
    samples: int,
    rng: int | np.random.Generator,
    block: int,
    n_jobs: int,
) -> list[Result]:
    sizes = list(_sizes(samples, integer("block", block, 1)))
    generators = generator(rng).spawn(len(sizes))
    tasks = zip(repeat(draw), generators, sizes, strict=False)
    results: list[Result] = joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(task)(*t) for t in tasks)
    return results


def generator(rng: object) -> np.random.Generator:
    """Return the generator itself, or a new one from a seed.

    Raises:
        TypeError: If `rng` is neither a generator nor an integer.
        ValueError: If the seed is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(integer("rng", rng, 0))


def _sizes(samples: int, block: int) -> Iterator[int]:
    yield from repeat(block, samples // block)
    if samples % block:
        yield samples % block


def _block_samples(draw: Draw, rng: np.random.Generator, count: int) -> RealArray:
    values = np.asarray(draw(rng, count), dtype=np.float64)
    if values.shape != (count,):
        raise ValueError(f"draw returned shape {values.shape}, must be ({count},)")
    if not np.isfinite(values).all():
        raise ValueError("draw returned NaN or infinite samples, must be finite")
    return values


def _block_moments(draw: Draw, rng: np.random.Generator, count: int) -> Moments:
    return Moments.of(_block_samples(draw, rng, count))
