"""One step from zero filters by its definition: in integers, in symbols, and in PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Integers = NDArray[np.int64]

# ── every readout of a law on integers ───────────────────────────────────────────────────────────

LAWS: Mapping[str, Mapping[int, int]] = {
    "±1": {-1: 1, 1: 1},
    "sparse": {-1: 1, 0: 2, 1: 1},
    "lopsided": {-1: 3, 2: 2, 3: 1},
    "constant": {2: 1},
}
"""Value -> weight. The lopsided law has m_1 = 2/3 and m_3 = 50/6."""


def law_moments(law: str) -> tuple[Fraction, ...]:
    """E a, …, E a⁴."""
    total = sum(LAWS[law].values())
    return tuple(
        Fraction(sum(w * value**power for value, w in LAWS[law].items()), total)
        for power in range(1, 5)
    )


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Exact means over all readouts.

    Attributes:
        covariance: E WᵀW, fractions (d, d).
        agop: E patch-AGOP, fractions (d, d).
        spread: E‖WᵀW − E WᵀW‖²/‖E WᵀW‖².
        networks: How many readouts there are.
    """

    covariance: Any
    agop: Any
    spread: Fraction
    networks: int


def images(n: int, positions: int, dimension: int) -> tuple[Integers, Integers]:
    """Generic integer patches (n, P, d) and targets (n,), always the same."""
    rng = np.random.default_rng(100 * n + 10 * positions + dimension)
    X = rng.integers(-2, 3, (n, positions, dimension))
    X[0, 0] = np.arange(1, dimension + 1)
    return X.astype(np.int64), rng.choice([-2, -1, 1, 3], n).astype(np.int64)


@lru_cache(maxsize=32)
def enumerated(law: str, n: int, positions: int, dimension: int, width: int) -> Enumeration:
    """Step every network f(x) = Σ_p a_pᵀWx_p of that law from W = 0, η = 1, linear activation.

    The loss is quadratic in W and f linear in x, so that differences are derivatives.
    """
    X, y = images(n, positions, dimension)
    values, weights = zip(*LAWS[law].items(), strict=True)
    choices = itertools.product(range(len(values)), repeat=positions * width)
    picks = np.array(list(choices))
    A = np.array(values, dtype=np.int64)[picks].reshape(-1, positions, width)
    likelihood = np.prod(np.array(weights, dtype=np.int64)[picks], axis=1)
    W = _stepped(A, X, y)
    gradients = _patch_gradients(A, W, X)
    covariances = np.einsum("aji,ajk->aik", W, W)
    agops = np.einsum("anpi,anpk->aik", gradients, gradients)
    mean = _mean(covariances, likelihood, 1)
    second = _mean(np.sum(covariances**2, axis=(1, 2)), likelihood, 1)
    square = sum(entry**2 for entry in mean.flat)
    spread = (second[()] - square) / square
    return Enumeration(mean, _mean(agops, likelihood, n), spread, len(A))


def _outputs(A: Integers, W: Integers, X: Integers) -> Integers:
    """f of every network at every image, shape (networks, n)."""
    found: Integers = np.einsum("apj,aji,npi->an", A, W, X)
    return found


def _stepped(A: Integers, X: Integers, y: Integers) -> Integers:
    """−∂/∂W of Σ ½(f − y)² at W = 0, by central differences of twice the loss."""
    W = np.zeros((len(A), A.shape[2], X.shape[2]), dtype=np.int64)
    for j, i in itertools.product(range(W.shape[1]), range(W.shape[2])):
        bump = np.zeros_like(W)
        bump[:, j, i] = 1
        ends = [np.sum((_outputs(A, sign * bump, X) - y) ** 2, axis=1) for sign in (1, -1)]
        W[:, j, i] = -(ends[0] - ends[1]) // 4
    return W


def _patch_gradients(A: Integers, W: Integers, X: Integers) -> Integers:
    """∇_p f of every network at every image, shape (networks, n, P, d)."""
    G = np.zeros((len(A), *X.shape), dtype=np.int64)
    for p, i in itertools.product(range(X.shape[1]), range(X.shape[2])):
        moved = X.copy()
        moved[:, p, i] += 1
        G[:, :, p, i] = _outputs(A, W, moved) - _outputs(A, W, X)
    return G


def _mean(values: Integers, likelihood: Integers, samples: int) -> Any:
    """Weighted mean over the networks, in fractions."""
    share = Fraction(1, int(likelihood.sum()) * samples)
    totals = np.tensordot(likelihood, values, axes=1)
    found = np.empty(totals.shape, dtype=object)
    for place, total in np.ndenumerate(totals):
        found[place] = int(total) * share
    return found


# ── any law, in symbols ──────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=8)
def symbolic(
    positions: int, width: int, dimension: int, moments: tuple[sympy.Symbol, ...]
) -> tuple[sympy.Matrix, sympy.Matrix, sympy.Matrix, sympy.Expr]:
    """V, E WᵀW, E patch-AGOP (η = 1) and E‖WᵀW‖², for an iid readout with these raw moments.

    The loss is differentiated by W at 0, f by x, and the monomials in the readout's entries are
    replaced by products of moments. In the last one the fourth moment is the highest; the first
    and third are set to 0.
    """
    X, y = images(2, positions, dimension)
    a = sympy.symbols(f"a0:{positions * width}")
    W = sympy.symbols(f"w0:{width * dimension}")
    x = sympy.symbols(f"x0:{positions * dimension}")
    f = sum(
        a[p * width + j] * W[j * dimension + i] * x[p * dimension + i]
        for p in range(positions)
        for j in range(width)
        for i in range(dimension)
    )
    at = [dict(zip(x, map(int, image.flat), strict=True)) for image in X]
    loss = sum((f.subs(place) - int(t)) ** 2 / 2 for place, t in zip(at, y, strict=True))
    moved = {w: -sympy.diff(loss, w).subs(dict.fromkeys(W, 0)) for w in W}
    filters = sympy.Matrix(width, dimension, [moved[w] for w in W])
    gradients = sympy.Matrix(positions, dimension, [sympy.diff(f, v).subs(moved) for v in x])
    covariance = (filters.T * filters).applyfunc(sympy.expand)
    agop = (gradients.T * gradients).applyfunc(sympy.expand)  # the same for every image
    V = sympy.Matrix(np.tensordot(y, X, axes=1).tolist())
    square = _expected(sympy.expand(sum(entry**2 for entry in covariance)), a, moments)
    centred = square.subs({moments[0]: 0, moments[2]: 0})
    return (
        V,
        covariance.applyfunc(lambda entry: _expected(entry, a, moments)),
        agop.applyfunc(lambda entry: _expected(entry, a, moments)),
        sympy.expand(centred),
    )


def _expected(
    polynomial: sympy.Expr, entries: Sequence[sympy.Symbol], moments: Sequence[sympy.Symbol]
) -> sympy.Expr:
    """Replace every monomial in independent entries by the product of their moments."""
    total = sympy.Integer(0)
    for powers, coefficient in sympy.Poly(polynomial, *entries).terms():
        total += coefficient * prod(moments[power - 1] for power in powers if power)
    return sympy.expand(total)


GAUSSIAN = tuple(sympy.Integer(m) for m in (0, 1, 0, 3, 0, 15, 0, 105))
"""E a, …, E a⁸ of a standard Gaussian."""


def cubic_images() -> tuple[Integers, Integers]:
    """Two images of two patches in the plane, and targets, for the cubic network."""
    X = np.array([[[1, 0], [1, -1]], [[0, 1], [2, 1]]], dtype=np.int64)
    return X, np.array([1, -1], dtype=np.int64)


@lru_cache(maxsize=2)
def cubic_network(width: int, rate: Fraction) -> sympy.Matrix:
    """E patch-AGOP for φ = z + z³/3 and standard Gaussian readouts at every position, exactly.

    Loss and output are differentiated by SymPy, and the polynomials in the readout's entries are
    averaged monomial by monomial.
    """
    X, y = cubic_images()
    a, W, x = (sympy.symbols(f"{name}0:{2 * size}") for name, size in
               (("a", width), ("w", width), ("x", 2)))  # fmt: skip
    f = sympy.Integer(0)
    for p, j in itertools.product(range(2), range(width)):
        z = W[2 * j] * x[2 * p] + W[2 * j + 1] * x[2 * p + 1]
        f += a[p * width + j] * (z + z**3 / 3)
    at = [dict(zip(x, map(int, image.flat), strict=True)) for image in X]
    loss = sum((f.subs(place) - int(t)) ** 2 / 2 for place, t in zip(at, y, strict=True))
    eta, zero = sympy.Rational(rate.numerator, rate.denominator), dict.fromkeys(W, 0)
    moved = {w: -eta * sympy.diff(loss, w).subs(zero) for w in W}
    total = sympy.zeros(2, 2)
    for place in at:
        partials = [sympy.expand(sympy.diff(f, v).subs(place).subs(moved)) for v in x]
        G = sympy.Matrix(2, 2, partials)
        total += (G.T * G).applyfunc(lambda e: _expected(sympy.expand(e), a, GAUSSIAN))
    return total / len(at)


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────


def signs(count: int) -> Tensor:
    """All vectors of ±1, shape (2^count, count)."""
    import torch

    rows = itertools.product((-1.0, 1.0), repeat=count)
    return torch.tensor(list(rows), dtype=torch.float64)


def step_of_patches(rest: Any, W: Tensor, patches: Tensor, y: Tensor, rate: float) -> Tensor:
    """W after one step on Σ ½(f − y)², where f = rest(patches Wᵀ)."""
    import torch

    W = W.clone().requires_grad_()
    loss = (rest(patches @ W.T) - y).square().sum() / 2
    (slope,) = torch.autograd.grad(loss, W)
    return (W - rate * slope).detach()


def patch_gradients(rest: Any, W: Tensor, patches: Tensor) -> Tensor:
    """∇_p f by reverse mode, patches being free variables, shape (n, P, d)."""
    import torch

    x = patches.clone().requires_grad_()
    (found,) = torch.autograd.grad(rest(x @ W.T).sum(), x)
    return found


def slopes(rest: Any, z: Tensor) -> Tensor:
    """∂f/∂z_p at every image, shape (n, P, k)."""
    import torch

    z = z.clone().requires_grad_()
    (found,) = torch.autograd.grad(rest(z).sum(), z)
    return found


def agop(gradients: Tensor) -> Any:
    """(1/n) Σ over images, positions of ∇∇ᵀ as a NumPy array."""
    rows = gradients.reshape(-1, gradients.shape[-1])
    return (rows.T @ rows / len(gradients)).numpy()
