"""The periodised kernel φ_h(x) = Σ_{m in Z^d} φ((x + m)/h), summed over the images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ..validation import RealArray, coordinates, positive
from .lattice import power_sum, power_sum_error
from .profiles import Profile

MOST_IMAGES = 10_000_000
"""More images than this are refused."""
CHUNK = 2_000_000
"""Numbers held at once while images are summed."""
DEGREE = 12
"""Chebyshev coefficients per coordinate of the far images' sum, as a polynomial in x_i²."""


def periodised(
    profile: Profile, x: ArrayLike, bandwidth: float, tolerance: float = 1e-16
) -> RealArray:
    """φ_h(x), by direct summation over the images near enough to count.

    Images whose sum is below `tolerance` are left out. Cauchy profiles decay too slowly for that:
    their far images are summed by the Euler–Maclaurin formula (d <= 3). `truncation_error` bounds
    what is left out in either case.

    Args:
        profile: φ.
        x: Points, shape (..., d).
        bandwidth: h > 0, in units of the torus.
        tolerance: Absolute bound on the omitted images' sum (per factor, if φ is a product).

    Returns:
        Values of shape (...).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If h or the tolerance is not positive and finite, x has the wrong last axis or
            is not finite, or the profile decays too slowly to be summed.
    """
    positive("bandwidth", bandwidth)
    positive("tolerance", tolerance)
    array = coordinates("x", x, profile.dimension)
    flat = _reduce(array.reshape(-1, profile.dimension))
    values = _periodised(profile, flat, bandwidth, tolerance)
    return values.reshape(array.shape[:-1])


def truncation_error(profile: Profile, bandwidth: float, tolerance: float = 1e-16) -> float:
    """A bound on |computed - exact| of `periodised`, rounding apart, uniform in x.

    Arguments and errors are those of `periodised`.
    """
    positive("bandwidth", bandwidth)
    positive("tolerance", tolerance)
    if profile.separable and profile.dimension > 1:
        one = truncation_error(profile.factor, bandwidth, tolerance)
        largest = _periodised(profile.factor, np.zeros((1, 1)), bandwidth, tolerance)[0]
        # (a + e)^d - a^d <= d e (a + e)^{d-1}
        return float(profile.dimension * one * (largest + one) ** (profile.dimension - 1))
    if _is_cauchy(profile):
        s = (profile.dimension + 1) / 2
        return float(bandwidth ** (2 * s) * power_sum_error(profile.dimension, s))
    return _omitted(profile, bandwidth, _radius(profile, bandwidth, tolerance))


def _reduce(x: RealArray) -> RealArray:
    return x - np.round(x)  # into [-1/2, 1/2]^d


def _periodised(profile: Profile, x: RealArray, h: float, tolerance: float) -> RealArray:
    if profile.separable and profile.dimension > 1:
        factors = [_periodised(profile.factor, c[:, None], h, tolerance) for c in x.T]
        return np.asarray(np.prod(factors, axis=0))
    if _is_cauchy(profile):
        s = (profile.dimension + 1) / 2
        parts = [h ** (2 * s) * power_sum(c, np.full(len(c), h * h), s) for c in _chunks(x, 100)]
        return np.concatenate(parts) if parts else np.zeros(0)
    return _sum_images(profile, x, h, _ball(profile.dimension, _radius(profile, h, tolerance)))


def _is_cauchy(profile: Profile) -> bool:
    return profile.radial is None and profile.name == "cauchy" and profile.dimension <= 3


def _chunks(x: RealArray, per_point: int) -> Iterator[RealArray]:
    step = max(1, CHUNK // per_point)
    return (x[i : i + step] for i in range(0, len(x), step))


def _sum_images(profile: Profile, x: RealArray, h: float, images: RealArray) -> RealArray:
    # One image at a time where there are many points, one point's images at a time where few.
    if len(x) >= len(images):
        total = np.zeros(len(x))
        for m in images:
            total += profile.of_distance(_norm(x + m) / h)
        return total
    parts = [
        profile.of_distance(_norm(c[:, None, :] + images) / h).sum(axis=1)
        for c in _chunks(x, len(images))
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _norm(x: RealArray) -> RealArray:
    if x.shape[-1] == 1:
        return np.abs(x[..., 0])
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", x, x)))


def _ball(dimension: int, radius: int) -> RealArray:
    """Integer points |m| <= radius, farthest first, so that small terms are added first."""
    count = (2 * radius + 1) ** dimension
    if count > MOST_IMAGES:
        raise ValueError(
            f"{count} images would have to be summed, at most {MOST_IMAGES} are: "
            "choose a smaller bandwidth, a larger tolerance or a profile that decays faster"
        )
    axes = np.meshgrid(*[np.arange(-radius, radius + 1.0)] * dimension, indexing="ij")
    images = np.stack([a.ravel() for a in axes], axis=-1)
    distances = np.linalg.norm(images, axis=1)
    order = np.argsort(-distances, kind="stable")
    return np.asarray(images[order][distances[order] <= radius])


@lru_cache(maxsize=256)
def _radius(profile: Profile, h: float, tolerance: float) -> int:
    """The smallest radius beyond which the images sum to at most the tolerance."""
    upper = 1
    while _omitted(profile, h, upper) > tolerance:
        upper *= 2
        if (2 * upper + 1) ** profile.dimension > 64 * MOST_IMAGES:
            raise ValueError(
                f"the profile {profile.name!r} at bandwidth = {h!r} decays too slowly to be summed "
                f"to tolerance = {tolerance!r}: choose a larger tolerance or a smaller bandwidth"
            )
    lower = 0 if _omitted(profile, h, 0) > tolerance else -1
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (
            (middle, upper) if _omitted(profile, h, middle) > tolerance else (lower, middle)
        )
    return upper


def _omitted(profile: Profile, h: float, radius: int) -> float:
    """Bound on Σ_{|m| > radius} ρ(|x + m|/h) for |x_i| <= 1/2.

    d = 1: |x + m| >= |m| - 1/2, and ρ does not increase, so the sum is at most its first term and
    an integral, on either side. Otherwise every image is compared with the unit cube about m:
    |x + m| >= |m| - √d/2 >= |y| - √d for y in the cube, and all such y have |y| > radius - √d/2.
    """
    d = profile.dimension
    if d == 1:
        start = (radius + 0.5) / h
        first = float(profile.of_distance(np.array([start]))[0])
        return 2 * (first + h * _tail_integral(profile, start, 0.0, 1))
    start = (radius - 1.5 * math.sqrt(d)) / h
    if start <= 0:
        return math.inf
    sphere = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    return float(sphere * h**d) * _tail_integral(profile, start, math.sqrt(d) / h, d)


def _tail_integral(profile: Profile, start: float, shift: float, d: int) -> float:
    """Bound on ∫_start^∞ ρ(u) (u + shift)^{d-1} du by upper sums, because ρ does not increase.

    Sixteen steps on each of the panels of length 1, 2, 4, ..., until a panel adds nothing to speak
    of; for a profile that decays like a power, what then follows is of the size of that panel.
    """
    total, left, length = 0.0, start, 1.0
    for _ in range(200):
        edges = left + length * np.linspace(0, 1, 17)
        heights = profile.of_distance(edges[:-1]) * (edges[1:] + shift) ** (d - 1)
        part = float(heights.sum()) * length / 16
        total += part
        if part <= 1e-6 * total:
            return 1.01 * total
        left, length = left + length, 2 * length
    return math.inf


@dataclass(frozen=True)
class PeriodicKernel:
    """φ_h for many points.

    Isotropic profiles in d >= 2 need hundreds of images. Those with max|m_i| > 1 are smooth where
    |x_i| <= 1/2 (the nearest has its singularity at distance 3/2) and even in each coordinate:
    their sum is interpolated once, by Chebyshev polynomials in the x_i². The 3^d images that are
    left are summed as they are. Separable and unknown profiles are always summed directly.
    """

    profile: Profile
    bandwidth: float
    tolerance: float = 1e-16

    def __call__(self, x: RealArray) -> RealArray:
        """φ_h(x) for x of shape (..., d)."""
        profile, h = self.profile, self.bandwidth
        flat = _reduce(x.reshape(-1, profile.dimension))
        if profile.separable or profile.radial is not None or profile.dimension > 3:
            values = _periodised(profile, flat, h, self.tolerance)
        else:
            parts = [self.near(c) + self._far(c) for c in _chunks(flat, 8 * DEGREE**2)]
            values = np.concatenate(parts) if parts else np.zeros(0)
        return values.reshape(x.shape[:-1])

    def near(self, x: RealArray) -> RealArray:
        """The sum over the images with max|m_i| <= 1, for |x_i| <= 1/2."""
        images = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=x.shape[1])))
        return sum(
            (self.profile.of_distance(_norm(x + m) / self.bandwidth) for m in images), 0.0 * x[:, 0]
        )

    def _far(self, x: RealArray) -> RealArray:
        values = _far_coefficients(self)
        # Contract one coordinate at a time: the first as a matrix product, the others per point.
        values = _polynomials(x[:, 0]) @ values.reshape(DEGREE, -1)
        for coordinate in x.T[1:]:
            values = values.reshape(len(x), DEGREE, -1)
            values = np.einsum("pi,pij->pj", _polynomials(coordinate), values)
        return values.reshape(len(x))


@lru_cache(maxsize=64)
def _far_coefficients(kernel: PeriodicKernel) -> RealArray:
    """Chebyshev coefficients in t_i = 8 x_i² - 1 of the far images' sum, shape (DEGREE,) * d."""
    d = kernel.profile.dimension
    nodes = np.cos(np.pi * (np.arange(DEGREE) + 0.5) / DEGREE)
    mesh = np.meshgrid(*[np.sqrt((nodes + 1) / 8)] * d, indexing="ij")
    x = np.stack([m.ravel() for m in mesh], axis=-1)
    # φ depends on |x| alone, so the order of the coordinates does not matter.
    distinct, where = np.unique(np.sort(x, axis=1), axis=0, return_inverse=True)
    total = _periodised(kernel.profile, distinct, kernel.bandwidth, kernel.tolerance)
    far = (total - kernel.near(distinct))[where.reshape(-1)].reshape([DEGREE] * d)
    to_coefficients = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, DEGREE - 1))
    for axis in range(d):
        far = np.moveaxis(np.tensordot(to_coefficients, far, axes=(1, axis)), 0, axis)
    return np.asarray(far)


def _polynomials(x: RealArray) -> RealArray:
    return np.asarray(np.polynomial.chebyshev.chebvander(8 * x**2 - 1, DEGREE - 1))
