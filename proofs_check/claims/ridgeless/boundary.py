"""Where the risk's floor comes from and where it ends: splines, null threshold, counterexamples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import sympy
from flint import arb, ctx

from numerics.ridgeless import fit, predict
from theory.derivation import Derivation, Step
from theory.ridgeless import gaussian, spiky, spline_quadrature, splines, tail_needed, threshold
from theory.ridgeless.finite import risk
from theory.ridgeless.kernels import (
    Cauchy,
    Gaussian,
    Kernel,
    Laplace,
    Matern,
    Product,
    RadialKernel,
)
from theory.ridgeless.limit import limit_risk
from theory.ridgeless.null_predictor import derive_null_predictor, null_proof
from theory.ridgeless.threshold import exact_ball

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Setting
from ...legs import Case, ball, derivation_leg, digits_leg
from ..shared import formula
from .common import ON_THE_GRID, POSITIVE_SPECTRUM, WHITE_NOISE

# ── splines ──────────────────────────────────────────────────────────────────────────────────────

EVEN = (2, 4, 6, 8)


@lru_cache(maxsize=8)
def _spline_enclosure(alpha: int) -> arb:
    return spline_quadrature.spline_enclosure(alpha, 1, digits=25)


def _enclosed(formulas: Formulas, setting: Setting) -> Evidence:
    """Certified quadrature of the definition, which never factors, contains the claimed numbers."""
    radius = 0.0
    for alpha in EVEN:
        enclosure = _spline_enclosure(alpha)
        claimed = formula(formulas, f"C_{alpha}")
        with ctx.workprec(256):
            value, width = ball(claimed.evalf(60)), float(enclosure.rad())
        if not enclosure.contains(value.mid()):
            return Evidence(False, {}, f"α = {alpha}: {claimed.evalf(30)} is not in {enclosure}")
        radius = max(radius, width)
    return Evidence(radius < 1e-20, {"radius": radius}, f"radius {radius} is not below 1e-20")


def _wide_kernels(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """V at c = 10⁵ of kernels whose density decays like |ξ|^{−α}."""
    for alpha in EVEN:
        kernel = Matern((alpha - 1) / 2)
        value = formula(formulas, f"C_{alpha}").evalf(20)
        yield f"{kernel!r}, c = 1e5", value, limit_risk(kernel, 1e5).estimation


HIGHER: dict[str, tuple[int, int, int]] = {"C_3_2": (3, 2, 12), "C_4_3": (4, 3, 8)}
"""α, d and the digits certified: the Laplace kernels in d = 2 and 3."""


@lru_cache(maxsize=4)
def _higher_enclosure(name: str) -> arb:
    return spline_quadrature.spline_enclosure(*HIGHER[name])


def _higher(name: str) -> Callable[[Formulas, Setting], Evidence]:
    """Certified quadrature of the definition in d = 2 or 3 agrees with the claimed decimals."""

    def run(formulas: Formulas, setting: Setting) -> Evidence:
        enclosure, digits = _higher_enclosure(name), HIGHER[name][2]
        with ctx.workprec(128):
            gap = float((enclosure - ball(formula(formulas, name))).abs_upper())
        radius = float(enclosure.rad())
        holds = gap < 2 * 10.0**-digits and radius < 10.0**-digits
        return Evidence(holds, {"radius": radius, "gap": gap}, f"{name} is {enclosure}")

    return run


def _wide_planes(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed C(d+1, d) against Laplace kernels at c = 1000, where V − C = O(c^{−d−1})."""
    for d, name in ((2, "C_3_2"), (3, "C_4_3")):
        yield name, formula(formulas, name), limit_risk(Laplace(d), 1000.0).estimation


def _gaussian_limit(limit: sympy.Expr, rate: sympy.Expr) -> Derivation:
    """V → 1 as k → 1: K' → π/2, (K − E)/K = 1 − π/(2KK') − (K' − E')/K' → 1, K = 2πc²K'."""
    k, prime, c = sympy.symbols("k K' c", positive=True)

    def estimation(deficit: sympy.Expr) -> sympy.Expr:
        return sympy.sqrt(sympy.pi / ((1 + k) * prime)) / 2 * (1 + deficit / k)

    def value() -> sympy.Expr:
        at_end = estimation(sympy.Integer(1)).subs({k: 1, prime: sympy.pi / 2})
        return sympy.simplify(at_end - limit)

    def next_order() -> sympy.Expr:
        deficit = 1 - sympy.pi / (2 * (2 * sympy.pi * c**2 * prime) * prime)
        slope = (limit - estimation(deficit).subs({k: 1, prime: sympy.pi / 2})) * c**2
        return sympy.simplify(slope - rate)

    return Derivation(
        "The Gaussian's V tends to 1, and (1 − V) c² tends to a constant.",
        (
            Step("(1 − V) c² from Legendre's relation; k' is exponentially small.", next_order),
            Step("The limit.", value),
        ),
        ("Legendre's relation EK' + E'K − KK' = π/2",),
    )


def _gaussian_wide(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    with ctx.workprec(256):
        value = gaussian.ESTIMATION.ball("1e6", 256)
        yield (
            "V at c = 1e6",
            formula(formulas, "gaussian"),
            value + 1 / (2 * (arb.pi() * 10**6) ** 2),
        )
        yield "(1 − V) c² at c = 1e6", formula(formulas, "gaussian_rate"), (1 - value) * 10**12


SPLINES = Claim(
    id="ridgeless.splines",
    title="wide-bandwidth limit of the noise term",
    statement=(
        r"\hat\varphi\sim|\xi|^{-\alpha}:\ V\to C(\alpha,d)="
        r"\int_{[0,1]^d}\frac{\zeta_{2\alpha}(\theta)}{\zeta_\alpha(\theta)^2}d\theta;\quad "
        r"C(2,1)=\tfrac23,\ C(4,1)=\tfrac45+\tfrac{3\sqrt3}{70},\ "
        r"C(3,2)=0.453416666335\ldots,\ C(4,3)=0.33131396\ldots;\quad \text{Gaussian: } V\to1"
    ),
    source="here",
    hypotheses=(POSITIVE_SPECTRUM, Hypothesis("α > d", lambda alpha, d: alpha > d)),
    formulas={
        **{f"C_{alpha}": splines.CLOSED_FORMS[alpha] for alpha in EVEN},
        "C_3_2": sympy.Rational("0.4534166663353"),
        "C_4_3": sympy.Rational("0.331313961"),
        "gaussian": sympy.Integer(1),
        "gaussian_rate": 1 / (2 * sympy.pi**2),
    },
    legs=(
        *(
            derivation_leg(
                f"C({alpha},1) by residues",
                lambda claimed, alpha=alpha: splines.derive_constant(alpha, claimed),
                (f"C_{alpha}",),
                whole=True,
            )
            for alpha in EVEN
        ),
        derivation_leg("Gaussian", _gaussian_limit, ("gaussian", "gaussian_rate"), whole=True),
        Leg("enclosures", Kind.CERTIFIED, _enclosed, tuple(f"C_{alpha}" for alpha in EVEN)),
        digits_leg("wide kernels", _wide_kernels, tuple(f"C_{alpha}" for alpha in EVEN), 9),
        digits_leg("wide Gaussian", _gaussian_wide, ("gaussian", "gaussian_rate"), 12),
        Leg("C(3,2)", Kind.CERTIFIED, _higher("C_3_2"), ("C_3_2",)),
        Leg("C(4,3)", Kind.CERTIFIED, _higher("C_4_3"), ("C_4_3",), budget=Budget.FULL),
        digits_leg("d = 2, 3", _wide_planes, tuple(HIGHER), 6, budget=Budget.FULL),
    ),
    uses=("ridgeless.limit", "ridgeless.gaussian"),
    notes=(
        "C(6,1) = 496/693 + √(210(58095 + 2782√30))/19404 and C(8,1), a root of a polynomial of "
        "degree 8 that no real radicals express, were not known to us from elsewhere."
    ),
)  # fmt: skip


# ── null threshold ───────────────────────────────────────────────────────────────────────────────

THRESHOLDS: dict[str, RadialKernel | Product] = {
    "laplace_1": Laplace(),
    "laplace_2": Laplace(2),
    "laplace_3": Laplace(3),
    "gaussian_1": Gaussian(),
    "gaussian_2": Gaussian(2),
    "gaussian_3": Gaussian(3),
    "cauchy_1": Cauchy(),
    "cauchy_2": Cauchy(2),
    "cauchy_3": Cauchy(3),
    "matern_3_2": Matern(1.5),
    "matern_5_2": Matern(2.5),
    "laplace_product": Product(Laplace(), 2),
}


def _narrow_risks(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The threshold is where SNR·B + V − SNR changes sign at a small c, linear in the SNR."""
    for name, kernel in THRESHOLDS.items():
        c = 1e-3 if kernel.dimension == 1 else 0.02
        yield f"{kernel!r}, c = {c}", formula(formulas, name).evalf(20), _crossing(kernel, c)


@lru_cache(maxsize=16)
def _crossing(kernel: Kernel, c: float) -> float:
    """The SNR at which bandwidth c is exactly as good as the zero function."""
    found = limit_risk(kernel, c)
    return found.estimation / (1 - found.approximation)


def _both_directions(formulas: Formulas, setting: Setting) -> Evidence:
    """“If”: every step of the kernel's derivation; “only if”: the numbers of its proof, for s*."""
    least, boxes, radius = math.inf, 0, 0.0
    for name, kernel in THRESHOLDS.items():
        proof, claimed = null_proof(kernel), formula(formulas, name)
        least = min(least, *(float(q) for q in proof.coefficients))
        boxes += max(0, len(proof.boxes) - 1)
        radius = max(radius, float(proof.threshold.rad()))
        with ctx.workprec(128):
            gap = (proof.threshold - exact_ball(claimed)).abs_upper()
        # The polynomial inequality belongs to s* = ρ/(2 − ρ) and to no other number.
        if not (gap < 1e-30 and proof.holds and _sign_changes(name, claimed)):
            return Evidence(False, {"least_coefficient": least}, f"{kernel!r}: s* = {claimed}")
    figures = {"least_coefficient": least, "boxes": boxes, "radius": radius}
    return Evidence(True, figures)


@lru_cache(maxsize=64)
def _sign_changes(name: str, claimed: sympy.Expr) -> bool:
    derivation = threshold.derive_threshold(THRESHOLDS[name], claimed)
    return all(step.holds for step in derivation.check())


NULL_THRESHOLD = Claim(
    id="ridgeless.null_threshold",
    title="when interpolation can beat the zero function",
    statement=(
        r"\inf_c\,[\mathrm{SNR}\,B(c)+V(c)] < \mathrm{SNR} \iff \mathrm{SNR} > s^* = "
        r"\Big(\frac{2\hat\varphi(0)\varphi(0)}{\int\varphi^2}-1\Big)^{-1}"
    ),
    source="here",
    hypotheses=(
        POSITIVE_SPECTRUM,
        WHITE_NOISE,
        Hypothesis("a kernel listed under the formulas (“if” needs only φ ≥ 0, decreasing in |x|)"),
    ),
    formulas={name: threshold.null_threshold(kernel) for name, kernel in THRESHOLDS.items()},
    legs=(
        derivation_leg(
            "narrow-bandwidth expansion", threshold.derive_expansion, (), on_mutants=False
        ),
        *(
            derivation_leg(
                f"if: {kernel!r}",
                lambda claimed, kernel=kernel: threshold.derive_threshold(kernel, claimed),
                (name,),
            )
            for name, kernel in THRESHOLDS.items()
        ),
        digits_leg("narrow bandwidths", _narrow_risks, tuple(THRESHOLDS), 2),
        derivation_leg("only if", derive_null_predictor, (), on_mutants=False),
        Leg("both directions", Kind.CERTIFIED, _both_directions, tuple(THRESHOLDS), whole=True),
    ),
    uses=("ridgeless.limit", "ridgeless.adaptive"),
    notes=(
        "“If”: the narrow-bandwidth expansion with explicit remainders. “Only if”: Jensen's bound "
        "of V, a polynomial inequality up to a bandwidth c₀, and V ≥ s* beyond it."
    ),
)


# ── tail_needed ──────────────────────────────────────────────────────────────────────────────────

SIZES = (2, 3, 10, 100, 10**4, 10**20, 10**100, 10**1000)


@lru_cache(maxsize=16)
def _variance(n: int) -> arb:
    return tail_needed.variance_enclosure(n)


def _between(formulas: Formulas, setting: Setting) -> Evidence:
    """lower ≤ V_n log n ≤ upper in balls, from n = 2 to 10^1000."""
    widest, last = 0.0, arb(0)
    with ctx.workprec(128):
        lower, upper = (ball(formula(formulas, name)) for name in ("lower", "upper"))
        for n in SIZES:
            last = _variance(n) * arb(n).log()
            widest = max(widest, float(last.rad() / last.mid()))
            if not lower <= last <= upper:
                return Evidence(False, {"n": str(n)}, f"n = {n}: V log n = {last}")
    return Evidence(True, {"relative_radius": widest, "V_log_n_at_1e1000": float(last.mid())})


def _approach(formulas: Formulas, setting: Setting) -> Evidence:
    """Certified bounds of |V_n log n − limit| shrink from n = 10^20 on, to 1/10 at n = 10^1000."""
    with ctx.workprec(128):
        limit = ball(formula(formulas, "limit"))
        gaps = [abs(_variance(n) * arb(n).log() - limit).abs_upper() for n in SIZES[-3:]]
        holds = bool(gaps[0] > gaps[1] > gaps[2]) and bool(gaps[2] < arb("0.1"))
    names = ("gap_1e20", "gap_1e100", "gap_1e1000")
    figures = {name: float(gap) for name, gap in zip(names, gaps, strict=True)}
    return Evidence(holds, figures, f"gaps {figures}")


TAIL_NEEDED = Claim(
    id="ridgeless.tail_needed",
    title="a kernel whose interpolant is consistent",
    statement=(
        r"d=1,\ \hat g_k = \frac1{(e+|k|)\log^2(e+|k|)}:\ "
        r"\frac1{16\log n}\le V_n\le\frac7{\log n}\ (n\ge2),\ V_n\log n\to1,\ \text{bias}\to0"
    ),
    source="here",
    hypotheses=(ON_THE_GRID, WHITE_NOISE),
    formulas={
        "limit": tail_needed.LIMIT,
        "lower": tail_needed.LOWER,
        "upper": tail_needed.UPPER,
    },
    legs=(
        derivation_leg("limit", tail_needed.derive_limit, ("limit",), whole=True),
        derivation_leg("bounds for all n", tail_needed.derive_bounds, ("lower", "upper"), True),
        Leg("enclosures", Kind.CERTIFIED, _between, ("lower", "upper")),
        Leg("approach", Kind.CERTIFIED, _approach, ("limit",)),
    ),
    equivalents={
        f"{name}: {mutant}": "a weaker inequality, true as well"
        for name, mutants in {
            "lower": ("everything negated", "1/16 -> -15/16"),
            "upper": ("everything * 51/50", "everything * (1 + 1e-6)", "7 -> 8"),
        }.items()
        for mutant in mutants
    }
    | {
        f"lower: everything * {factor}": "a slightly stronger inequality, true as well: "
        "V_2 log 2 = 0.0666 leaves room above 1/16"
        for factor in ("51/50", "(1 + 1e-6)")
    },
    refutes="kernel ridgeless regression is inconsistent for every translation-invariant kernel",
    uses=("ridgeless.risk",),
    notes=(
        "The theorem needs a bounded tail ratio: Σ_{k∈[l], k≠l} ĝ_k ≤ A ĝ_l for |l| ≤ n/2, as for "
        "every spectral density that decays regularly and at least like |ξ|^{−α} with α > d."
    ),
)


# ── spiky ────────────────────────────────────────────────────────────────────────────────────────


def _bumps(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """‖f_spiky − f_ridge‖² from solved systems, Simpson's rule on the triangles, against the claim.

    The sum kernel's interpolant is evaluated as K_smooth(x, X)α + ρ ψ_w(x − X)α with the α that
    solves (K + ρI)α = y: on the grid the kernel matrix of the sum is just that.
    """
    n, h, rho = 8, 0.3, 0.4
    for w in (0.02, 0.05):
        points = np.arange(n) / n
        y = setting.generator("spiky").normal(size=n)
        ridge = fit("laplace", points, y, h, rho)
        offsets = np.linspace(-w, w, 9)
        x = np.add.outer(points, offsets)
        gap = np.abs(x[..., None] - points)
        spike = np.maximum(0, 1 - np.minimum(gap, 1 - gap) / w)
        alpha = (y - predict(ridge, points)) / rho
        difference = rho * spike @ alpha
        simpson = np.array([1, 4, 2, 4, 2, 4, 2, 4, 1]) * (2 * w / 8) / 3
        energy = float(np.sum((np.abs(difference) ** 2) @ simpson))
        claimed = formula(formulas, "energy").subs({spiky.W: w, spiky.D: 1})
        residual = float(np.sum(np.abs(y - predict(ridge, points)) ** 2))
        yield f"w = {w}", float(claimed) * residual, energy


@lru_cache(maxsize=64)
def _ridge_estimation(n: int, h: float, rho: float) -> float:
    return risk(Laplace(), n, h, {}, 1.0, rho).estimation


def _rates(formulas: Formulas, setting: Setting) -> Evidence:
    """Exact ridge risk of Laplace at fixed h and ρ, below the claimed bound, for n up to 2^20."""
    bound, worst, last = formula(formulas, "bound"), 0.0, 0.0
    for h, rho in ((0.1, 1.0), (0.5, 0.2)):
        for exponent in range(2, 21, 3):
            n = 2**exponent
            values = {spiky.N_SIDE: n, spiky.H: h, spiky.RHO: rho}
            last = _ridge_estimation(n, h, rho) / float(bound.subs(values))
            worst = max(worst, last)
    figures = {"worst_ratio": worst, "last_ratio": last}
    return Evidence(worst <= 1 and last > 0.1, figures, f"estimation/bound up to {worst}")


SPIKY = Claim(
    id="ridgeless.spiky",
    title="interpolation that is ridge regression in disguise",
    statement=(
        r"\|f_{k+\rho\psi_w}-f_{\mathrm{ridge}\,\rho}\|^2 = \Big(\frac{2w}3\Big)^d"
        r"|y-f_{\mathrm{ridge}}(X)|^2\ \Big(w\le\frac1{2n}\Big);\quad "
        r"\text{Laplace, fixed } h,\rho:\ "
        r"\frac{\mathrm{estimation}}{\sigma^2}\le\frac1n+\frac83(8h\rho n)^{-1/2}\to0"
    ),
    source="S, here",
    hypotheses=(ON_THE_GRID, WHITE_NOISE, Hypothesis("ρ > 0 and 0 < w ≤ 1/(2n)")),
    formulas={"energy": spiky.SPIKE_ENERGY, "bound": spiky.ESTIMATION_BOUND},
    legs=(
        derivation_leg("spike", spiky.derive_spike, ("energy",), whole=True),
        derivation_leg("consistency", spiky.derive_consistency, ("bound",), whole=True),
        digits_leg("solved systems", _bumps, ("energy",), 9),
        Leg("exact risks", Kind.DIRECT, _rates, ("bound",)),
    ),
    uses=("ridgeless.ridge",),
)

CLAIMS = (SPLINES, NULL_THRESHOLD, TAIL_NEEDED, SPIKY)
