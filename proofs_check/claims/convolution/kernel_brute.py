"""Patch gradients by their definition: differences in fractions and in many digits, and PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from ..rationals import objects, rational

if TYPE_CHECKING:
    from torch import Tensor

COMBINATIONS = ("additive", "pairs", "joint")
Product = Callable[[Any, Any], Any]

# ── images of any kind of number ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Problem:
    """A kernel machine on images of patches, in numbers that are not rounded to doubles.

    Attributes:
        centres: Training images, (n, P, d).
        coefficients: α, (n, o).
        inputs: Images, (q, P, d); the first is a training image with one patch changed.
        metric: M, (d, d).
        bandwidth: L.
    """

    centres: Any
    coefficients: Any
    inputs: Any
    metric: Any
    bandwidth: Any


@lru_cache(maxsize=4)
def problem(n: int, positions: int, dimension: int, outputs: int) -> Problem:
    """Generic fractions, always the same."""
    shape = (-1, positions, dimension)
    centres = objects(rational(n * positions, dimension, 81)).reshape(shape)
    inputs = objects(rational(2 * positions, dimension, 82)).reshape(shape)
    inputs[0, 1:] = centres[0, 1:]
    root = objects(rational(dimension, dimension, 83))
    alpha = objects(rational(n, outputs, 84))
    return Problem(centres, alpha, inputs, root.T @ root, Fraction(7, 3))


def sums_of(combination: str, value: Product, x: Any, z: Any) -> Any:
    """Sums of a patch kernel over positions or over pairs of positions."""
    if combination == "additive":
        return sum(value(u, w) for u, w in zip(x, z, strict=True))
    return sum(value(u, w) for u, w in itertools.product(x, z))


def outputs_at(kernel: Product, data: Problem, x: Any) -> list[Any]:
    """f_c(x) = Σ_i α_ic K(x, x_i)."""
    values = [kernel(x, z) for z in data.centres]
    return [sum(a * v for a, v in zip(column, values, strict=True))
            for column in data.coefficients.T]  # fmt: skip


def central_gradients(kernel: Product, data: Problem, x: Any, step: Any) -> Any:
    """Central differences of every output by every entry of every patch, (o, P, d)."""
    found = np.empty((data.coefficients.shape[1], *x.shape), dtype=object)
    for place in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] = moved[place] + sign * step
            ends.append(outputs_at(kernel, data, moved))
        for c, (up, down) in enumerate(zip(*ends, strict=True)):
            found[(c, *place)] = (up - down) / (2 * step)
    return found


def outer_mean(gradients: Sequence[Any]) -> Any:
    """(1/q) Σ over images, outputs and positions of ∇∇ᵀ."""
    total: Any = 0
    for G in gradients:
        rows = G.reshape(-1, G.shape[-1])
        total = total + rows.T @ rows
    return total / len(gradients)


# ── fractions: a quadratic kernel, whose central differences are exact ───────────────────────────

OFFSET = Fraction(1, 2)


def quadratic_kernel(combination: str, data: Problem) -> Product:
    """(b + τ)² of patches, summed, or of whole images."""

    def square(tau: Fraction) -> Fraction:
        return (OFFSET + tau) ** 2

    def product(u: Any, w: Any) -> Any:
        return u @ data.metric @ w / data.bandwidth**2

    if combination == "joint":
        return lambda x, z: square(sums_of("additive", product, x, z))
    return lambda x, z: sums_of(combination, lambda u, w: square(product(u, w)), x, z)


@lru_cache(maxsize=4)
def exact_gradients(combination: str) -> tuple[Any, ...]:
    """Gradients of the machine at every input, in fractions."""
    data = problem(3, 3, 2, 2)
    kernel = quadratic_kernel(combination, data)
    return tuple(central_gradients(kernel, data, x, Fraction(1)) for x in data.inputs)


# ── many digits: radial kernels ──────────────────────────────────────────────────────────────────

DIGITS = 60


def context() -> Any:
    """A context of its own precision."""
    mp = mpmath.MPContext()
    mp.dps = DIGITS
    return mp


def profile(mp: Any, name: str, rho: Any) -> Any:
    """φ(ρ)."""
    root = mp.sqrt(3) * rho
    values = {
        "laplace": lambda: mp.exp(-rho),
        "gaussian": lambda: mp.exp(-rho * rho / 2),
        "matern32": lambda: (1 + root) * mp.exp(-root),
    }
    return values[name]()


RADIAL = ("laplace", "gaussian", "matern32")


def _in_digits(mp: Any, data: Problem) -> Problem:
    def numbers(array: Any) -> Any:
        found = np.empty(array.shape, dtype=object)
        for place, value in np.ndenumerate(array):
            found[place] = mp.mpf(value.numerator) / value.denominator
        return found

    L = mp.mpf(data.bandwidth.numerator) / data.bandwidth.denominator
    centres, alpha = numbers(data.centres), numbers(data.coefficients)
    return Problem(centres, alpha, numbers(data.inputs), numbers(data.metric), L)


@lru_cache(maxsize=1)
def digits_problem() -> Problem:
    """The problem in numbers of 60 digits, with a bandwidth that suits its distances."""
    return _in_digits(context(), replace(problem(2, 2, 2, 1), bandwidth=Fraction(61, 3)))


@lru_cache(maxsize=16)
def radial_gradients(name: str, combination: str) -> tuple[Any, ...]:
    """Central differences with a step of 1e-20, and so about 40 digits; also at coincidences."""
    mp, data = context(), digits_problem()

    def square(u: Any, w: Any) -> Any:
        return (u - w) @ data.metric @ (u - w)

    def value(squares: Any) -> Any:
        return profile(mp, name, mp.sqrt(squares) / data.bandwidth)

    def kernel(x: Any, z: Any) -> Any:
        if combination == "joint":
            return value(sums_of("additive", square, x, z))
        return sums_of(combination, lambda u, w: value(square(u, w)), x, z)

    step = mp.mpf(10) ** -20
    return tuple(central_gradients(kernel, data, x, step) for x in data.inputs)


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────

NAMES = ("laplace", "gaussian", "matern32", "matern52", "linear", "exponential")


@lru_cache(maxsize=1)
def arrays() -> tuple[Any, ...]:
    """Centres (7, 5, 4), α (7, 3), inputs (3, 5, 4) and a metric."""
    rng = np.random.default_rng(85)
    Z, alpha, X = (rng.standard_normal(s) for s in ((7, 5, 4), (7, 3), (3, 5, 4)))
    root = rng.standard_normal((3, 4)) / 2  # singular
    return Z, alpha, X, root.T @ root


@lru_cache(maxsize=32)
def automatic(name: str, combination: str) -> Any:
    """∇_p f_c by reverse mode through the definition, (q, o, P, d)."""
    import torch

    Z, alpha, X, M = (torch.from_numpy(a) for a in arrays())
    x = X.clone().requires_grad_()
    f = _matrix(name, combination, x, Z, M, 1.5) @ alpha
    rows = [torch.autograd.grad(f[:, c].sum(), x, retain_graph=True)[0] for c in range(3)]
    return torch.stack(rows, dim=1).numpy()


def _matrix(name: str, combination: str, x: Tensor, Z: Tensor, M: Tensor, L: float) -> Tensor:
    """K(x, z) for all pairs of images."""
    import torch

    inner = name in ("linear", "exponential")
    # u of every pair of images and every pair of positions, (q, n, P, P)
    if inner:
        u = torch.einsum("qpi,ij,nrj->qnpr", x, M, Z) / L**2
    else:
        away = x[:, None, :, None] - Z[None, :, None]
        u = torch.einsum("qnpri,ij,qnprj->qnpr", away, M, away) / L**2
    own = u.diagonal(dim1=2, dim2=3)
    if combination == "joint":
        return _profile(name, own.sum(dim=2) if inner else own.sum(dim=2).sqrt())
    chosen = own if combination == "additive" else u.flatten(2)
    return _profile(name, chosen if inner else chosen.sqrt()).sum(dim=2)


def _profile(name: str, u: Tensor) -> Tensor:
    three, five = 3**0.5 * u, 5**0.5 * u
    shapes: dict[str, Callable[[], Tensor]] = {
        "laplace": lambda: (-u).exp(),
        "gaussian": lambda: (-u * u / 2).exp(),
        "matern32": lambda: (1 + three) * (-three).exp(),
        "matern52": lambda: (1 + five + five**2 / 3) * (-five).exp(),
        "linear": lambda: u,
        "exponential": lambda: u.exp(),
    }
    return shapes[name]()


@lru_cache(maxsize=1)
def transformed() -> tuple[Any, Any]:
    """A convolutional kernel of transformed patches: central differences by x_p, and R∇̃_p.

    Arc-cosine kernels of patches are convolved around a circle, taken through the next arc-cosine
    kernel, and summed: products of patches of one image enter through the norms.
    """
    import torch

    Z, alpha, X, M = (torch.from_numpy(a) for a in arrays())
    values, vectors = torch.linalg.eigh(M)
    R = vectors * values.clamp(min=0).sqrt()
    t = (X @ R).requires_grad_()
    (by_transformed,) = torch.autograd.grad((_two_layers(t, Z @ R) @ alpha[:, 0]).sum(), t)
    by_patch, step = torch.zeros_like(X), 1e-5
    for place in np.ndindex(*X.shape[1:]):
        ends = []
        for sign in (1, -1):
            moved = X.clone()
            moved[(slice(None), *place)] += sign * step
            ends.append(_two_layers(moved @ R, Z @ R) @ alpha[:, 0])
        by_patch[(slice(None), *place)] = (ends[0] - ends[1]) / (2 * step)
    return by_patch.numpy(), (by_transformed @ R.T).numpy()


def _two_layers(x: Tensor, z: Tensor) -> Tensor:
    """K of all pairs of images whose patches are transformed already."""
    left, right = x.square().sum(dim=2), z.square().sum(dim=2)
    cross = (x[:, None, :, None] * z[None, :, None]).sum(dim=4)
    first = _arc(cross, left[:, None, :, None], right[None, :, None])
    around = first + first.roll((1, 1), (2, 3)) + first.roll((-1, -1), (2, 3))
    own = around.diagonal(dim1=2, dim2=3)
    return _arc(own, _pooled(left)[:, None], _pooled(right)[None]).sum(dim=2)


def _pooled(norms: Tensor) -> Tensor:
    return norms + norms.roll(1, 1) + norms.roll(-1, 1)


def _arc(product: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """2 E relu(u)relu(v) of Gaussians with these second moments."""
    import torch

    size = (left * right).sqrt()
    cosine = (product / size).clamp(-1 + 1e-12, 1 - 1e-12)
    angle = torch.arccos(cosine)
    return size * (angle.sin() + (np.pi - angle) * cosine) / np.pi
