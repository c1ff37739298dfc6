"""Infinitely wide networks: derivative kernels and the alignment on given data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy

from numerics.alignment.wide import network_alignment
from theory.alignment.activation_kernel_derivations import derive_kernel
from theory.alignment.activation_kernels import UU, UV, VV, activation_kernel
from theory.alignment.infinite_width import Traces, correlation_traces, derive_limit
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..shared import BETA

NAMES = ("relu", "erf", "linear", "quadratic", "cubic", "hermite3", "hermite6")

# ── the kernels from their definition ────────────────────────────────────────────────────────────

DIGITS = 22
POINTS = (("0.8", "0.31", "1.3"), ("1.7", "-0.9", "0.6"))

SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "erf": lambda mp, z: 2 / mp.sqrt(mp.pi) * mp.exp(-(z**2)),
    "linear": lambda mp, z: mp.mpf(1),
    "quadratic": lambda mp, z: 2 * z,
    "cubic": lambda mp, z: 3 * z**2,
    "hermite3": lambda mp, z: (3 * z**2 - 3) / mp.sqrt(6),
    "hermite6": lambda mp, z: (6 * z**5 - 60 * z**3 + 90 * z) / mp.sqrt(720),
}
"""φ' as it is written in a table."""


@lru_cache(maxsize=32)
def _quadrature(name: str, point: tuple[str, str, str]) -> Any:
    """E φ'(u) φ'(v) by quadrature in the plane, without any formula for it."""
    mp = mpmath.MPContext()
    mp.dps = DIGITS + 8
    uu, uv, vv = (mp.mpf(x) for x in point)
    if name == "relu":
        return _quadrant(mp, uv / mp.sqrt(uu * vv))
    return _plane(mp, SLOPES[name], uu, uv, vv)


def _quadrant(mp: Any, rho: Any) -> Any:
    """P(u > 0, v > 0) by Gauss–Legendre; beyond 14 the density is below e^{−98/(1 + |ρ|)}."""

    def density(u: Any, v: Any) -> Any:
        return mp.exp(-(u * u - 2 * rho * u * v + v * v) / (2 * (1 - rho**2)))

    nodes = [0, 5, 14]
    total = mp.quad(density, nodes, nodes, method="gauss-legendre")
    return total / (2 * mp.pi * mp.sqrt(1 - rho**2))


def _plane(mp: Any, slope: Callable[[Any, Any], Any], uu: Any, uv: Any, vv: Any) -> Any:
    """The trapezoidal rule in independent coordinates.

    Its error is about e^{−2π²/(h²λ)}, λ the largest curvature of the exponent: 1 for polynomials,
    below 6 with the exponentials of erf at these points.
    """
    h, reach = (mp.mpf("0.2"), 65) if slope is SLOPES["erf"] else (mp.mpf("0.4"), 33)
    density = [mp.exp(-((h * i) ** 2) / 2) for i in range(-reach, reach + 1)]
    lower, rest = uv / mp.sqrt(uu), mp.sqrt(vv - uv**2 / uu)
    first = [slope(mp, mp.sqrt(uu) * h * i) for i in range(-reach, reach + 1)]

    def row(i: int) -> Any:
        values = (
            slope(mp, lower * h * (i - reach) + rest * h * j) for j in range(-reach, reach + 1)
        )
        return first[i] * density[i] * mp.fdot(values, density)

    return mp.fsum(row(i) for i in range(2 * reach + 1)) * h**2 / (2 * mp.pi)


def _kernel_cases(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for name in NAMES:
        formula: Any = formulas[name]
        for point in POINTS[: 1 if name == "relu" else 2]:
            values = dict(zip((UU, UV, VV), map(sympy.Rational, point), strict=True))
            claimed = formula.subs(values, simultaneous=True).evalf(DIGITS + 10)
            yield f"{name} at {point}", claimed, _quadrature(name, point)


def _derive_all(*claimed: sympy.Expr) -> Derivation:
    """The kernels, and the limit in which they appear."""
    kernels = [derive_kernel(name, formula) for name, formula in zip(NAMES, claimed, strict=True)]
    parts = (derive_limit(), *kernels)
    steps = tuple(step for part in parts for step in part.steps)
    cites = tuple(dict.fromkeys(cite for part in parts for cite in part.cites))
    return Derivation("The alignment of infinitely wide networks on given data.", steps, cites)


# ── the correlation from index sums ──────────────────────────────────────────────────────────────


def _index_sums(formulas: Formulas, setting: Setting) -> Evidence:
    """The claimed traces at generic rational data, against sums over all indices."""
    traces: Any = formulas["traces"]
    checked = 0
    for n, d in ((2, 3), (3, 2)):
        X, r, kernel = _rational_data(n, d)
        found = traces(X, r, kernel)
        wanted = _summed(X, r, kernel)
        if (found.cross, found.nfm, found.agop) != (wanted.cross, wanted.nfm, wanted.agop):
            return Evidence(False, {"sizes": checked}, f"n = {n}, d = {d}: {found}, not {wanted}")
        checked += 1
    return Evidence(True, {"sizes": checked, "residual": 0})


def _rational_data(n: int, d: int) -> tuple[Any, Any, Any]:
    entries = iter(
        Fraction(p, 7) for p in (2, -3, 5, 11, -13, 17, 19, 23, -29, 31, 37, -41, 43, 47)
    )
    X = np.array([[next(entries) for _ in range(d)] for _ in range(n)])
    r = np.array([next(entries) for _ in range(n)])
    kernel = np.array([[Fraction(2, 1 + i + j) + (i == j) for j in range(n)] for i in range(n)])
    return X, r, kernel


def _summed(X: Any, r: Any, kernel: Any) -> Traces:
    """N_ab = Σ_αβ x_αa r_α κ_αβ r_β x_βb; G_ab has Σ_γ κ_αγ κ_γβ in place of κ_αβ."""
    n, d = X.shape

    def form(weights: Any) -> dict[tuple[int, int], Fraction]:
        return {
            (a, b): sum(
                (
                    X[i, a] * r[i] * weights(i, j) * r[j] * X[j, b]
                    for i, j in product(range(n), repeat=2)
                ),
                Fraction(0),
            )
            for a, b in product(range(d), repeat=2)
        }

    nfm = form(lambda i, j: kernel[i, j])
    agop = form(lambda i, j: sum(kernel[i, m] * kernel[m, j] for m in range(n)))
    inner = ((nfm, agop), (nfm, nfm), (agop, agop))
    return Traces(*(sum((p[ab] * q[ab] for ab in p), Fraction(0)) for p, q in inner))


def _wrong_traces() -> tuple[Mutant, ...]:
    def once(X: Any, r: Any, kernel: Any) -> Traces:
        t = correlation_traces(X, r, kernel)
        return Traces(t.nfm, t.nfm, t.nfm)

    def without_residuals(X: Any, r: Any, kernel: Any) -> Traces:
        return correlation_traces(X, r * 0 + 1, kernel)

    def cubed(X: Any, r: Any, kernel: Any) -> Traces:
        weighted = r[:, None] * X
        nfm, agop = weighted.T @ kernel @ weighted, weighted.T @ kernel @ kernel @ kernel @ weighted
        return Traces(np.sum(nfm * agop), np.sum(nfm * nfm), np.sum(agop * agop))

    def residuals_once_more(X: Any, r: Any, kernel: Any) -> Traces:
        weighted = r[:, None] * X
        nfm = weighted.T @ kernel @ weighted
        agop = weighted.T @ kernel @ (r[:, None] ** 2 * kernel) @ weighted
        return Traces(np.sum(nfm * agop), np.sum(nfm * nfm), np.sum(agop * agop))

    wrong = {
        "κ in place of κ² in the AGOP": once,
        "no residuals": without_residuals,
        "κ³ in place of κ² in the AGOP": cubed,
        "residuals between the kernels of the AGOP": residuals_once_more,
    }
    return tuple(Mutant(name, {"traces": function}) for name, function in wrong.items())


# ── actual networks ──────────────────────────────────────────────────────────────────────────────

MEASURED = ("relu", "erf", "quadratic")
WIDTHS = 512, 2048
DRAWS = 1000
TAU = 0.5


@lru_cache(maxsize=1)
def network_data() -> tuple[Any, Any]:
    """Six samples off the origin with unequal residuals, the same in every run."""
    rng = np.random.default_rng(20)
    X = rng.standard_normal((6, 3)) * [1.5, 1, 0.5] + 0.4
    return X, np.array([1.0, -2.0, 0.5, 1.5, -0.7, 0.3])


@lru_cache(maxsize=16)
def _measured(name: str, width: int, seed: int) -> Any:
    """Angles arccos ρ, whose spread is more symmetric than that of ρ."""
    rng = np.random.default_rng([seed, width])
    X, r = network_data()
    draws = [network_alignment(X, r, width, name, rng, weight_scale=TAU) for _ in range(DRAWS)]
    return np.arccos(draws)


def _claimed_angle(formulas: Formulas, name: str) -> float:
    """Arccos ρ on the networks' data from the claimed kernel and the claimed traces."""
    X, r = network_data()
    gram = TAU**2 * X @ X.T
    formula: Any = formulas[name]
    kernel_of = sympy.lambdify((UU, UV, VV), formula, "numpy")
    squares = np.diag(gram)
    # Rounding makes the determinant of a sample with itself negative; its square root is 0.
    gram = gram - 1e-15 * np.diag(squares)
    kernel = kernel_of(squares[:, None], gram, squares[None, :]) + 0.0 * gram
    traces: Any = formulas["traces"]
    found = traces(X, r, kernel)
    return float(np.arccos(found.cross / np.sqrt(found.nfm * found.agop)))


def _networks(formulas: Formulas, setting: Setting) -> Evidence:
    """Mean angle at two widths, extrapolated in 1/k, and the spread's fall like k^{−1/2}."""
    figures: dict[str, int | float | str] = {"samples": DRAWS, "beta": BETA}
    for name in MEASURED:
        seed = int(setting.generator(f"networks {name}").integers(2**31))
        narrow, wide = (_measured(name, width, seed) for width in WIDTHS)
        claimed, alpha = _claimed_angle(formulas, name), setting.alpha / (2 * len(MEASURED))
        mean = compare_samples((4 * wide - narrow) / 3, claimed, alpha, BETA)
        spread = np.abs(narrow - claimed) - 2 * np.abs(wide - claimed)
        rate = compare_samples(spread, 0.0, alpha, BETA)
        figures |= {
            f"z_{name}": mean.z,
            f"z_rate_{name}": rate.z,
            f"discrepancy_{name}": mean.smallest_discrepancy,
            f"discrepancy_rate_{name}": rate.smallest_discrepancy / np.abs(narrow - claimed).mean(),
        }
        for comparison, what in ((mean, "extrapolated mean"), (rate, "spread × √k")):
            if not comparison.holds:
                return Evidence(False, figures, comparison.evidence(f"{name}, {what}").detail)
    return Evidence(True, figures)


INFINITE_WIDTH = Claim(
    id="alignment.infinite_width",
    title="initial alignment of infinitely wide two-layer networks",
    statement=(
        r"\frac{\mathcal K_{\alpha\beta}}{k}\to \mathbb E[a^2]\,\kappa(x_\alpha,x_\beta),\quad "
        r"\kappa=\mathbb E\,\varphi'(u)\varphi'(v),\quad "
        r"\rho(\dot W^\top\dot W,\dot W^\top K\dot W)\to"
        r"\rho(X^\top R\kappa RX,\ X^\top R\kappa^2RX)"
    ),
    source="C",
    hypotheses=(
        Hypothesis("rows of W iid N(0, τ² I), readout iid with 0 < E a² < ∞, independent of W"),
        Hypothesis("no sample is 0 if φ is relu, whose φ'(0) is not defined"),
        Hypothesis("residuals, up to scale, keep XᵀRκRX away from 0"),
        Hypothesis("φ is relu, erf, linear, quadratic, cubic or a Hermite polynomial"),
    ),
    formulas={
        **{name: activation_kernel(name).expression for name in NAMES},
        "traces": correlation_traces,
    },
    legs=(
        derivation_leg("kernels and limit", _derive_all, NAMES, whole=True),
        digits_leg("quadrature", _kernel_cases, NAMES, DIGITS),
        Leg("index sums", Kind.EXACT, _index_sums, ("traces",)),
        Leg("networks", Kind.SIMULATED, _networks, (*MEASURED, "traces")),
    ),
    mutants=_wrong_traces(),
    uses=("alignment.early_time",),
    notes=(
        "The bias in 1/k is removed by extrapolation from two widths; what is left is of order "
        "1/k². The spread is compared with its fall by 2 from k to 4k."
    ),
)
