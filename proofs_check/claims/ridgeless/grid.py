"""What holds for every kernel on the grid: spectrum, risk, ridge, conservation, limit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy

from numerics.ridgeless import (
    HighPrecisionRisk,
    Profile,
    exact_risk,
    exact_risk_mp,
    grid,
    kernel_matrix,
)
from numerics.ridgeless import Risk as SolvedRisk
from theory.ridgeless import fourier
from theory.ridgeless import grid as algebra
from theory.ridgeless.alias import alias_excess
from theory.ridgeless.finite import Risk, risk
from theory.ridgeless.kernels import RADIUS, Cauchy, Gaussian, Kernel, Laplace, Matern, RadialKernel
from theory.ridgeless.limit import LimitRisk, limit_risk

from ...claim import Claim, Formulas, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula, joined
from .common import ON_THE_GRID, PAIRS, POSITIVE_SPECTRUM, WHITE_NOISE, monte_carlo_leg


def target(dimension: int) -> dict[int | tuple[int, ...], complex]:
    """A complex target with a frequency that aliases on every grid of up to 5 points."""
    rest = (0,) * (dimension - 1)
    return {(0, *rest): 0.5, (1,) * dimension: 1 - 0.5j, (6, *rest): 0.25}


# ── spectrum ─────────────────────────────────────────────────────────────────────────────────────


def _eigenvalues(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed N·S_l, sorted, against eigenvalues of directly summed kernel matrices."""
    for (kernel, profile), n in zip(PAIRS, (7, 6, 5, 6, 4, 4, 4), strict=True):
        d, h = kernel.dimension, 0.15
        label = np.minimum(np.arange(n), n - np.arange(n))
        nearest = np.stack(np.meshgrid(*[label] * d, indexing="ij"), axis=-1)
        excess = alias_excess(kernel, h * n, [label / n] * d).first
        alias_sums = np.sort(
            (h**d * np.exp(kernel.log_density(h * nearest)) * (1 + excess)).ravel()
        )
        points = grid(n, d)
        measured = np.linalg.eigvalsh(kernel_matrix(profile, points, points, h))
        for rank in (0, n // 2, n**d - 1):
            values = {algebra.POINTS: n**d, algebra.EIGENVALUE_SUM: float(alias_sums[rank])}
            claimed = float(formula(formulas, "eigenvalue").subs(values))
            yield f"{kernel!r}, n = {n}, eigenvalue {rank}", claimed, float(measured[rank])


FAMILIES: dict[str, RadialKernel] = {
    "gaussian_density": Gaussian(2),
    "laplace_density": Laplace(1),
    "cauchy_density": Cauchy(3),
    "matern_density": Matern(2.5, 3),
}


@lru_cache(maxsize=8)
def _transformed(name: str) -> Any:
    """∫ φ e^{−2πi x·ξ} dx at |ξ| = 2/5 by mpmath: a radial integral in d = 1, 2, 3."""
    mp = mpmath.MPContext()
    mp.dps = 20
    kernel, xi = FAMILIES[name], mp.mpf(2) / 5
    profile = sympy.lambdify(RADIUS, kernel.radial_kernel, modules=[mp, "mpmath"])
    angles: dict[int, Callable[[Any], Any]] = {
        1: lambda r: 2 * mp.cos(2 * mp.pi * xi * r),
        2: lambda r: 2 * mp.pi * r * mp.besselj(0, 2 * mp.pi * xi * r),
        3: lambda r: 2 * r / xi * mp.sin(2 * mp.pi * xi * r),
    }
    angle = angles[kernel.dimension]
    if isinstance(kernel, Cauchy):  # decays algebraically
        return mp.quadosc(lambda r: profile(r) * angle(r), [0, mp.inf], omega=2 * mp.pi * xi)
    return mp.quad(lambda r: profile(r) * angle(r), [1e-30, *range(1, 12), 40])


def _transforms(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for name, kernel in FAMILIES.items():
        claimed = formula(formulas, name).subs(RADIUS, sympy.Rational(2, 5)).evalf(30)
        yield f"{kernel!r} at |ξ| = 2/5", claimed, _transformed(name)


OTHERS = (
    *(Gaussian(1), Gaussian(3), Laplace(2), Laplace(3), Cauchy(1), Cauchy(2)),
    *(Matern(1.5), Matern(2.5), Matern(1, 2)),
)

SPECTRUM = Claim(
    id="ridgeless.spectrum",
    title="eigenvalues of the kernel matrix",
    statement=r"K(X,X)\,e_l = N S_l\, e_l,\quad S_l = \sum_{k\in[l]} h^d\hat\varphi(hk)",
    source="F",
    hypotheses=(ON_THE_GRID, POSITIVE_SPECTRUM),
    formulas={
        "eigenvalue": algebra.EIGENVALUE,
        **{name: kernel.radial_density for name, kernel in FAMILIES.items()},
    },
    legs=(
        derivation_leg("derivation", algebra.derive_spectrum, ("eigenvalue",), whole=True),
        *(
            derivation_leg(
                f"fourier pair {kernel!r}",
                lambda density, kernel=kernel: fourier.fourier_pair(kernel, density),
                (name,),
                whole=True,
            )
            for name, kernel in FAMILIES.items()
        ),
        derivation_leg(
            "fourier pairs, other dimensions",
            lambda: joined("every family", *(fourier.fourier_pair(k) for k in OTHERS)),
            (),
            on_mutants=False,
        ),
        digits_leg("eigenvalues", _eigenvalues, ("eigenvalue",), digits=9),
        digits_leg("transforms", _transforms, tuple(FAMILIES), digits=8),
    ),
)


# ── risk and ridge ───────────────────────────────────────────────────────────────────────────────

RiskFunction = Callable[..., Risk]


@lru_cache(maxsize=4)
def _from_definition(ridge: sympy.Rational) -> tuple[tuple[Any, tuple[Any, Any]], ...]:
    return tuple((case, case.risk_from_definition()) for case in algebra.instances(ridge))


def _small_systems(ridge: sympy.Rational) -> Callable[[Formulas, Setting], Iterator[Case]]:
    """Class-wise formulas against solves in rational arithmetic; the values are rational, too."""

    def cases(formulas: Formulas, setting: Setting) -> Iterator[Case]:
        claimed = [formula(formulas, name) for name in ("approximation", "estimation")]
        for case, truth in _from_definition(ridge):
            found = case.risk_from_formula(*claimed)
            for part, value, reference in zip(("B", "V"), found, truth, strict=True):
                yield f"{part}, n = {case.n}, d = {case.dimension}", value, reference

    return cases


def _against_quadrature(ridge: float) -> Callable[[Formulas, Setting], Iterator[Case]]:
    """Both parts against a dense solve and quadrature of the squared error, in doubles."""

    def cases(formulas: Formulas, setting: Setting) -> Iterator[Case]:
        for (kernel, profile), n in zip(PAIRS, (5, 4, 5, 4, 3, 3, 2), strict=True):
            d, h, noise = kernel.dimension, 0.12, 0.7
            found = formula(formulas, "risk")(kernel, n, h, target(d), noise, ridge)
            truth = _solved(profile, n, h, noise, ridge)
            for part in ("approximation", "estimation"):
                point = f"{kernel!r}, n = {n}, h = {h}, ridge = {ridge}: {part}"
                yield point, getattr(found, part), getattr(truth, part)

    return cases


@lru_cache(maxsize=32)
def _solved(profile: Profile, n: int, h: float, noise: float, ridge: float) -> SolvedRisk:
    points = np.arange(n) / n if profile.dimension == 1 else grid(n, profile.dimension)
    return exact_risk(profile, points, target(profile.dimension), h, noise, ridge)


@lru_cache(maxsize=1)
def _solved_gaussian() -> HighPrecisionRisk:
    return exact_risk_mp("gaussian", 8, {1: 1.0, 3: 0.5}, 0.5, dps=90, digits=20)


def _ill_conditioned(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The Gaussian at h = 1/2, where doubles see a singular matrix, by a solve with 90 digits."""
    found = formula(formulas, "risk")(Gaussian(), 8, 0.5, {1: 1.0, 3: 0.5}, 1.0)
    truth = _solved_gaussian()
    yield "Gaussian, n = 8, h = 1/2: approximation", found.approximation, truth.approximation
    yield "Gaussian, n = 8, h = 1/2: estimation", found.estimation, truth.estimation


def _changed(change: Callable[[Risk], dict[str, float]]) -> RiskFunction:
    def mutant(*arguments: Any) -> Risk:
        found = risk(*arguments)
        return dataclasses.replace(found, **change(found))

    return mutant


def _with_arguments(change: Callable[..., tuple[Any, ...]]) -> RiskFunction:
    def mutant(*arguments: Any) -> Risk:
        return risk(*change(*arguments))

    return mutant


RISK_MUTANTS = (
    Mutant(
        "estimation × 1.000001",
        {"risk": _changed(lambda r: {"estimation": r.estimation * 1.000001})},
    ),
    Mutant(
        "approximation × 1.000001",
        {"risk": _changed(lambda r: {"approximation": r.approximation * 1.000001})},
    ),
    Mutant("parts exchanged", {"risk": _changed(
        lambda r: {"estimation": r.approximation, "approximation": r.estimation})}),
    Mutant("bandwidth × 1.00001", {"risk": _with_arguments(
        lambda k, n, h, *rest: (k, n, h * 1.00001, *rest))}),
    Mutant("grid of n + 1", {"risk": _with_arguments(lambda k, n, *rest: (k, n + 1, *rest))}),
    Mutant("noise variance squared", {"risk": _with_arguments(
        lambda k, n, h, f, noise, *rest: (k, n, h, f, noise**2, *rest))}),
    Mutant("target conjugated in one coefficient", {"risk": _with_arguments(
        lambda k, n, h, f, *rest: (k, n, h, {a: abs(b) for a, b in f.items()}, *rest))}),
)  # fmt: skip

RISK = Claim(
    id="ridgeless.risk",
    title="exact risk at every finite n",
    statement=(
        r"\mathrm{estimation} = \frac{\sigma^2}{N}\sum_l \frac{Q_l}{S_l^2},\quad "
        r"\mathrm{approximation} = \sum_l\Big[|F_l|^2\frac{Q_l}{S_l^2} - 2\,\mathrm{Re}\!"
        r"\sum_{k\in[l]}\overline{f^*_k}\,r_kF_l + \sum_{k\in[l]}|f^*_k|^2\Big]"
    ),
    source="F",
    hypotheses=(ON_THE_GRID, POSITIVE_SPECTRUM, WHITE_NOISE),
    formulas={
        "approximation": algebra.APPROXIMATION,
        "estimation": algebra.ESTIMATION,
        "risk": risk,
    },
    legs=(
        derivation_leg(
            "derivation", algebra.derive_risk, ("approximation", "estimation"), whole=True
        ),
        digits_leg(
            "small systems",
            _small_systems(sympy.Integer(0)),
            ("approximation", "estimation"),
            digits=25,
        ),
        digits_leg("brute force", _against_quadrature(0.0), ("risk",), digits=8),
        digits_leg("ill-conditioned", _ill_conditioned, ("risk",), digits=12),
        monte_carlo_leg(
            ("risk",),
            Profile("matern", nu=2.5),
            0.8,
            lambda found, c: found(Matern(2.5), 64, c / 64, {}, 1.0).estimation,
        ),
    ),
    mutants=RISK_MUTANTS,
    uses=("ridgeless.spectrum",),
)

RIDGE = Claim(
    id="ridgeless.ridge",
    title="exact risk with ridge λ",
    statement=r"r_k = \frac{\hat g_k}{S_{[k]}+\lambda/N},\quad S_l \to S_l + \lambda/N",
    source="F",
    hypotheses=(ON_THE_GRID, POSITIVE_SPECTRUM, WHITE_NOISE),
    formulas={
        "approximation": algebra.RIDGE_APPROXIMATION,
        "estimation": algebra.RIDGE_ESTIMATION,
        "risk": risk,
    },
    legs=(
        derivation_leg(
            "derivation", algebra.derive_ridge, ("approximation", "estimation"), whole=True
        ),
        digits_leg(
            "small systems",
            _small_systems(sympy.Rational(3, 7)),
            ("approximation", "estimation"),
            digits=25,
        ),
        digits_leg("brute force", _against_quadrature(0.3), ("risk",), digits=8),
    ),
    mutants=(
        *RISK_MUTANTS,
        Mutant("ridge forgotten", {"risk": _with_arguments(
            lambda k, n, h, f, noise, ridge=0.0: (k, n, h, f, noise, 0.0))}),
        Mutant("ridge not divided by N", {"risk": _with_arguments(
            lambda k, n, h, f, noise, ridge=0.0: (k, n, h, f, noise, ridge * n**k.dimension))}),
        Mutant("ridge × 1.00001", {"risk": _with_arguments(
            lambda k, n, h, f, noise, ridge=0.0: (k, n, h, f, noise, ridge * 1.00001))}),
    ),
    uses=("ridgeless.spectrum",),
)  # fmt: skip


# ── conservation ─────────────────────────────────────────────────────────────────────────────────


def _learnabilities(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Σ_k r_k, k up to 300·n, from kernels whose spectrum has ended by then."""
    for kernel, n, h in ((Gaussian(), 6, 0.2), (Cauchy(), 5, 0.3), (Gaussian(2), 4, 0.2)):
        d = kernel.dimension
        line = np.arange(-300 * n, 300 * n) if d == 1 else np.arange(-10 * n, 10 * n)
        k = np.stack(np.meshgrid(*[line] * d, indexing="ij"), axis=-1)
        spectrum = np.exp(kernel.log_density(np.asarray(h * k, dtype=np.float64)))
        folded = spectrum.reshape([side for _ in range(d) for side in (len(line) // n, n)])
        sums = folded.sum(axis=tuple(range(0, 2 * d, 2)))
        learned = float(np.sum(spectrum / np.tile(sums, [len(line) // n] * d)))
        claimed = formula(formulas, "conserved").subs(algebra.POINTS, n**d)
        yield f"{kernel!r}, n = {n}, h = {h}", claimed, learned


CONSERVATION = Claim(
    id="ridgeless.conservation",
    title="learnabilities sum to the number of points",
    statement=r"\sum_{k\in\mathbb{Z}^d} r_k = N",
    source="K, here",
    hypotheses=(ON_THE_GRID, POSITIVE_SPECTRUM),
    formulas={"conserved": algebra.CONSERVED},
    legs=(
        derivation_leg("derivation", algebra.derive_conservation, ("conserved",), whole=True),
        digits_leg("summed", _learnabilities, ("conserved",), digits=11),
    ),
    uses=("ridgeless.spectrum",),
)


# ── limit ────────────────────────────────────────────────────────────────────────────────────────


def _large_grids(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The exact risk on large grids against the limit, with one low target frequency."""
    sides = {1: 2**16, 2: 1024, 3: 64}  # in d = 2 the Cauchy density's cone costs n^-3
    kernels = (Laplace(), Cauchy(), Gaussian(), Matern(1.5), Laplace(2), Cauchy(2), Gaussian(3))
    for kernel in (*kernels, Laplace(3)):
        n = sides[kernel.dimension]
        for c in (0.4,) if kernel.dimension == 3 else (0.4, 1.1):
            found: LimitRisk = formula(formulas, "limit_risk")(kernel, c)
            exact = _on_large_grid(kernel, n, c)
            yield f"{kernel!r}, c = {c}, n = {n}: V", found.estimation, exact.estimation
            yield f"{kernel!r}, c = {c}, n = {n}: B", found.approximation, exact.approximation


@lru_cache(maxsize=32)
def _on_large_grid(kernel: Kernel, n: int, c: float) -> Risk:
    return risk(kernel, n, c / n, {(0,) * kernel.dimension: 1.0}, 1.0)


def _changed_limit(change: Callable[[LimitRisk], dict[str, float]]) -> Callable[..., LimitRisk]:
    def mutant(kernel: Kernel, c: float) -> LimitRisk:
        found = limit_risk(kernel, c)
        return dataclasses.replace(found, **change(found))

    return mutant


LIMIT = Claim(
    id="ridgeless.limit",
    title="limit of the risk at fixed bandwidth in grid spacings",
    statement=(
        r"\mathrm{estimation}/\sigma^2 \to V(c) = \int_{[0,1]^d}\sum_l r_l(\theta)^2\,d\theta,\quad"
        r" \mathrm{approximation}/\|f^*\|^2 \to B(c) = 1 - 2r_0(0) + \sum_l r_l(0)^2"
    ),
    source="F, here",
    hypotheses=(ON_THE_GRID, POSITIVE_SPECTRUM, WHITE_NOISE),
    formulas={
        "approximation": algebra.LIMIT_APPROXIMATION,
        "integrand": algebra.LIMIT_ESTIMATION,
        "limit_risk": limit_risk,
    },
    legs=(
        derivation_leg(
            "derivation", algebra.derive_limit, ("approximation", "integrand"), whole=True
        ),
        digits_leg("large grids", _large_grids, ("limit_risk",), digits=8),
    ),
    mutants=(
        Mutant("V × 1.000001", {"limit_risk": _changed_limit(
            lambda r: {"estimation": r.estimation * 1.000001})}),
        Mutant("B × 1.000001", {"limit_risk": _changed_limit(
            lambda r: {"approximation": r.approximation * 1.000001})}),
        Mutant("c × 1.00001", {"limit_risk": lambda kernel, c: limit_risk(kernel, c * 1.00001)}),
        Mutant("parts exchanged", {"limit_risk": _changed_limit(
            lambda r: {"estimation": r.approximation, "approximation": r.estimation})}),
        Mutant("B without its aliases", {"limit_risk": _changed_limit(
            lambda r: {"approximation": (1 - math.sqrt(max(1 - r.approximation, 0))) ** 2})}),
    ),
    uses=("ridgeless.risk",),
)  # fmt: skip

CLAIMS = (SPECTRUM, RISK, RIDGE, CONSERVATION, LIMIT)
