"""Two Gaussian classes from the definition: densities, their ratio, and sums over points."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from flint import fmpq, fmpq_mat

CASES = (("1", "1/10"), ("1/2", "1/2"), ("5/2", "3/4"), ("1/20", "1/3"))
"""δ and π."""

COVARIANCE = np.array([[2.0, 0.6], [0.6, 0.5]])
MEANS = np.array([[0.7, -0.4], [-0.7, 0.4], [0.1, 1.1]])


@lru_cache(maxsize=16)
def scale(separation: str, prior: str, digits: int = 30) -> Any:
    """E η'(x)² of the posterior of N(±1, 1/δ²) in one dimension, over (1/σ²)² = δ⁴."""
    context = mpmath.MPContext()
    context.dps = digits
    delta, pi = (_fraction(context, text) for text in (separation, prior))
    lift = context.exp(delta**2 / 2) / delta**4  # so that the rule's absolute error is relative

    def integrand(x: Any) -> Any:
        first, second = (context.npdf(x, sign, 1 / delta) for sign in (1, -1))
        slopes = (-(x - 1) * first * delta**2, -(x + 1) * second * delta**2)
        total = pi * first + (1 - pi) * second
        change = pi * slopes[0] + (1 - pi) * slopes[1]
        derivative = (pi * slopes[0] * total - pi * first * change) / total**2
        return lift * derivative**2 * total

    return context.quad(integrand, _ends(context, delta, pi)) / (lift * delta**4)


def _ends(context: Any, delta: Any, pi: Any) -> list[Any]:
    """Pieces of the line: around both means, or, for far classes, where the posterior turns."""
    if delta > 100:
        middle = -context.log(pi / (1 - pi)) / (2 * delta**2)
        return [middle + k / delta**2 for k in (-36, -12, -5, -2, 0, 2, 5, 12, 36)]
    ends = [context.mpf(k) / delta for k in (-14, -8, -5, -3, -1, 0, 1, 3, 5, 8, 14)]
    return [end + (1 if end > 0 else -1) for end in ends]


@lru_cache(maxsize=4)
def limits(prior: str) -> dict[str, Any]:
    """Leading and next terms of c for δ → 0 and δ → ∞, from its values at two δ each.

    c = c₀ + c₂δ² + O(δ⁴), and c·δe^{δ²/2} = u(1 − w/δ² + O(δ⁻⁴)).
    """
    near = [scale(f"{k}/10000000", prior, 40) for k in (1, 2)]
    tops = [10**6, 2 * 10**6]
    context = mpmath.MPContext()
    context.dps = 40
    far = [scale(f"{t}", prior, 40) * context.mpf(t) * context.exp(context.mpf(t) ** 2 / 2)
           for t in tops]  # fmt: skip
    return {
        "small": near[0],
        "second_order": (near[1] - near[0]) * 10**14 / 3,
        "large": far[1],
        "deficit": (1 - far[0] / far[1]) * 4 / 3 * 10**12,
    }


def _fraction(context: Any, text: str) -> Any:
    top, bottom = text.split("/") if "/" in text else (text, "1")
    return context.mpf(top) / context.mpf(bottom)


def grid_agop(means: Any, covariances: Any, priors: Any, output: str) -> Any:
    """The AGOP of the first posterior, of all of them, or of the logit, by the trapezium rule.

    Gradients of densities are −Σ⁻¹(x − μ) times them; those of ratios follow by the quotient rule.
    """
    axis = np.linspace(-14, 14, 351)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    parts, slopes = [], []
    for mean, sigma, prior in zip(means, covariances, priors, strict=True):
        z = (x - mean) @ np.linalg.inv(sigma)
        size = np.exp(-(z * (x - mean)).sum(axis=1) / 2) / np.sqrt(np.linalg.det(sigma))
        parts.append(np.maximum(prior * size / (2 * np.pi), 1e-140))
        slopes.append(-z * parts[-1][:, None])
    total, change = sum(parts), sum(slopes)
    if output == "logit":
        gradients = [slopes[0] / parts[0][:, None] - slopes[1] / parts[1][:, None]]
    else:
        gradients = [
            (s * total[:, None] - p[:, None] * change) / total[:, None] ** 2
            for p, s in zip(parts, slopes, strict=True)
        ][: 1 if output == "first" else None]
    weight = total * (axis[1] - axis[0]) ** 2
    return sum(np.einsum("n,ni,nj->ij", weight, g, g) for g in gradients)


# ── exact means in fractions ─────────────────────────────────────────────────────────────────────


def drawn(d: int, rng: np.random.Generator) -> tuple[fmpq_mat, fmpq_mat]:
    """A mean and an invertible root R of the covariance RRᵀ."""
    root = np.tril(rng.integers(-3, 4, (d, d)), -1) + np.diag(rng.integers(1, 4, d))
    mean = rng.integers(-4, 5, (d, 1))
    return fmpq_mat(mean.tolist()), fmpq_mat(root.tolist())


def unit(d: int, i: int) -> fmpq_mat:
    """A column of the identity."""
    return fmpq_mat([[int(i == j)] for j in range(d)])


def logit_agop(
    classes: tuple[tuple[fmpq_mat, fmpq_mat], ...], precisions: tuple[fmpq_mat, ...], pi: fmpq
) -> fmpq_mat:
    """E∇ℓ∇ℓᵀ of the logit, a quadratic: differences and sums over points are exact.

    Σᵢ[q(m + Re_i) + q(m − Re_i)]/2 − (d − 1)q(m) is the mean of a quadratic q under N(m, RRᵀ).
    """
    d = classes[0][0].nrows()

    def logit(x: fmpq_mat) -> fmpq:
        parts = [
            ((x - m).transpose() * P * (x - m))[0, 0]
            for (m, _), P in zip(classes, precisions, strict=True)
        ]
        return (parts[1] - parts[0]) / 2

    def outer(x: fmpq_mat) -> fmpq_mat:
        slopes = [(logit(x + unit(d, i)) - logit(x - unit(d, i))) / 2 for i in range(d)]
        column = fmpq_mat([[slope] for slope in slopes])
        return column * column.transpose()

    total = fmpq_mat(d, d)
    for weight, (m, R) in zip((pi, 1 - pi), classes, strict=True):
        mean = outer(m) * fmpq(1 - d)
        for i in range(d):
            step = R * unit(d, i)
            mean += (outer(m + step) + outer(m - step)) / 2
        total += mean * weight
    return total


def posterior_outer(
    means: list[fmpq_mat], precision: fmpq_mat, x: fmpq_mat, heights: list[fmpq]
) -> fmpq_mat:
    """Σ_k ∇p_k∇p_kᵀ at x by the quotient rule, from the heights π_kf_k(x), all drawn freely."""
    slopes = [precision * (m - x) * h for m, h in zip(means, heights, strict=True)]
    total, change = sum(heights, fmpq(0)), sum(slopes[1:], slopes[0])
    found = fmpq_mat(x.nrows(), x.nrows())
    for slope, height in zip(slopes, heights, strict=True):
        gradient = (slope * total - change * height) / total**2
        found += gradient * gradient.transpose()
    return found
