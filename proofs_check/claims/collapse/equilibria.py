"""The fixed points of the Gram recursion, and NC1 and NC2 at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy
from flint import arb, arb_mat, ctx, fmpq

from numerics.collapse.linearised import linearised_deep_rfm
from theory.collapse import fixed_points
from theory.collapse.fixed_point_derivation import derive_fixed_point
from theory.collapse.metrics import SIMPLEX_COSINE
from theory.collapse.setting import CLASSES, EIGENVALUE, FEATURE_RIDGE, KERNEL_RIDGE

from ...claim import Claim, Evidence, Formulas, Kind, Leg, Mutant, Setting
from ...legs import Case as Digits
from ...legs import derivation_leg, digits_leg
from ..shared import formula
from . import gram_brute as brute
from .gram_brute import Case
from .gram_cases import (
    CASES,
    LABELS,
    POSITIVE,
    THREE_ROOTS,
    ball_value,
    integral,
    measured_eigenvalue,
    mixture,
)


@lru_cache(maxsize=32)
def _settled(case: Case, seed: int) -> Any:
    """The Gram matrix after 240 layers from a generic start."""
    return brute.last_layers(brute.start(case, np.random.default_rng(seed)), case, 240)[0]


def _root_near(equation: sympy.Expr, case: Case, start: Any) -> Any:
    """The root of the claimed equation nearest to a start, to 40 digits."""
    mp = mpmath.MPContext()
    mp.dps = 50
    at = sympy.lambdify(EIGENVALUE, integral(equation.subs(case.values)), modules=[{}])
    root = mp.findroot(at, mp.mpf(start), tol=mp.mpf(10) ** -80)
    return Fraction(mp.nstr(root, 48))


def _near(ball: Any) -> str:
    return str(ball.str(60, radius=False))


def _eigenvalues(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """The label eigenvalue after many layers against the root of the claimed equation."""
    for case in CASES:
        found = brute.label_eigenvalue(_settled(case, setting.seed), case)
        yield str(case), _root_near(formula(formulas, "equation"), case, _near(found)), found


def _variability(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """NC1 and the cosine of class means after many layers, from their definitions."""
    for case in CASES:
        G = _settled(case, setting.seed)
        sizes = [case.samples] * case.classes
        with ctx.workprec(brute.PRECISION):
            within, between = _spread_of_ball(G, sizes)
            observed, g = within / between, brute.label_eigenvalue(G, case)
            claimed = ball_value(formula(formulas, "nc1"), case, g)
            yield f"{case}, NC1", claimed, observed
            yield (
                f"{case}, cosine",
                ball_value(formula(formulas, "cosine"), case, g),
                _cosine(G, case),
            )


def _numerics_run(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """NC1 and the label eigenvalue after 200 layers in doubles, from features and AGOPs."""
    rng = setting.generator("numerics run")
    for case in CASES:
        index = np.repeat(range(case.classes), case.samples)
        parameters = (case.kernel_ridge, case.feature_ridge, case.scale)
        ridge, shift, scale = (float(x) for x in parameters)
        run = linearised_deep_rfm(
            rng.standard_normal((case.size, case.size)), index,
            kernel_ridge=ridge, feature_ridge=shift, scale=scale, depth=200,
        )  # fmt: skip
        g = measured_eigenvalue(run.gram, index)
        yield f"{case}, g", _root_near(formula(formulas, "equation"), case, repr(g)), g
        values = {**case.values, EIGENVALUE: sympy.Rational(g)}
        yield f"{case}, NC1", float(formula(formulas, "nc1").subs(values)), float(run.nc1[-1])


def _spread_of_ball(G: Any, sizes: Sequence[int]) -> tuple[Any, Any]:
    """`class_spread` for balls: sums of entries of G with rational weights."""
    N, n, K = sum(sizes), sizes[0], len(sizes)
    same = np.equal.outer(np.repeat(range(K), sizes), np.repeat(range(K), sizes))
    entries = [(i, j) for i in range(N) for j in range(N)]
    diagonal = sum((G[i, i] for i in range(N)), arb(0))
    block = sum((G[i, j] for i, j in entries if same[i, j]), arb(0))
    everything = sum((G[i, j] for i, j in entries), arb(0))
    # Σ_i ‖x_i - μ_c‖² = Σ‖x_i‖² - n Σ‖μ_c‖², Σ_c ‖μ_c - μ‖² = Σ‖μ_c‖² - K‖μ‖².
    means, centre = block / n**2, everything / N**2
    return (diagonal - n * means) / N, (means - K * centre) / K


def _cosine(G: Any, case: Case) -> Any:
    size, n, K = case.size, case.samples, case.classes
    means = [brute.average(range(c * n, (c + 1) * n), size) for c in range(K)]
    centre = sum(means[1:], means[0]) * fmpq(1, K)
    a, b = (arb_mat(mean - centre) for mean in means[:2])
    product = (a.transpose() * G * b)[0, 0]
    lengths = [(v.transpose() * G * v)[0, 0] for v in (a, b)]
    return product / (lengths[0] * lengths[1]).sqrt()


def _roots_counted(formulas: Formulas, setting: Setting) -> Evidence:
    """Sturm's count of the cubic's real roots against the sign of the claimed discriminant."""
    g, counted = sympy.Symbol("g"), {1: 0, 3: 0}
    for case in _grid():
        values = list(case.values.values())
        n, _, ridge, shift, scale = values
        cubic = sympy.Poly((g - shift) * (g + ridge) ** 2 - scale * n * g**2, g)
        count, above = cubic.count_roots(), cubic.count_roots(shift, None)
        sign = formula(formulas, "discriminant").subs(case.values)
        if above != count or (sign > 0) != (count == 3) or (sign < 0) != (count == 1):
            return Evidence(False, {"roots": count}, f"{case}: {count} roots, discriminant {sign}")
        counted[count] += 1
    return Evidence(min(counted.values()) > 0, {"one_root": counted[1], "three_roots": counted[3]})


def _grid() -> Iterator[Case]:
    """Around the border of the region with three roots."""
    for ridge in (Fraction(6), Fraction(17, 2), Fraction(10), Fraction(40)):
        for strength in (1, 20, 25, 28, 30, 33, 36, 38, 60, 160, 165, 170, 400, 900):
            yield Case(1, 2, ridge, Fraction(1), Fraction(strength))


def _several(formulas: Formulas, setting: Setting) -> Evidence:
    """λ_k = 10, λ_Φ = 1, κn = 36: 2, 5, 10 solve the equation; each and mixtures are fixed."""
    equation, case = formula(formulas, "equation"), THREE_ROOTS
    for eigenvalues in ((2, 2, 2), (5, 5, 5), (10, 10, 10), (2, 10, 10), (2, 5, 10)):
        G = mixture(case, eigenvalues)
        if brute.layer(G, case) != G:
            return Evidence(False, {}, f"{eigenvalues}: not fixed")
        for g in eigenvalues:
            if equation.subs({**case.values, EIGENVALUE: sympy.Integer(g)}) != 0:
                return Evidence(False, {}, f"{case}: {g} does not solve the claimed equation")
    return Evidence(True, {"residual": 0, "q": "720/121"})


FIXED_POINT = Claim(
    id="collapse.fixed_point",
    title="the fixed points of the Gram recursion",
    statement=(
        r"T(G)=G \iff G = \lambda_\Phi(I-\Pi) + \textstyle\sum_i g_i\Pi_i,\ \sum_i\Pi_i = \Pi = "
        r"\tfrac1n Y^\top Y,\ g_i = \frac{\kappa n g_i^2}{(g_i+\lambda_k)^2}+\lambda_\Phi;\quad "
        r"\text{one root (as for } q<1 \text{ or } \lambda_k\le8\lambda_\Phi\text{): } "
        r"G^* = \tfrac snY^\top Y+\lambda_\Phi I,\ s = g-\lambda_\Phi,\ "
        r"\mathrm{NC1} = \frac{\lambda_\Phi(n-1)}{(s+\lambda_\Phi)(1-1/K)},\ \mathrm{NC2} = 0"
    ),
    source="here",
    hypotheses=(LABELS, POSITIVE),
    formulas={
        "equation": fixed_points.EQUATION,
        "discriminant": fixed_points.DISCRIMINANT,
        "nc1": fixed_points.NC1,
        "cosine": SIMPLEX_COSINE,
    },
    legs=(
        derivation_leg(
            "all fixed points",
            derive_fixed_point,
            ("equation", "discriminant", "nc1", "cosine"),
            whole=True,
        ),
        digits_leg("many layers", _eigenvalues, ("equation",), 30),
        digits_leg("metrics after many layers", _variability, ("nc1", "cosine"), 30),
        digits_leg("numerics' own run", _numerics_run, ("equation", "nc1"), 9),
        Leg("roots counted", Kind.EXACT, _roots_counted, ("discriminant",)),
        Leg("three roots and mixtures", Kind.EXACT, _several, ("equation",)),
    ),
    mutants=(
        Mutant("nc1: as if Σ_B were not centred", {
            "nc1": fixed_points.NC1 * (1 - 1 / CLASSES)}),
        Mutant("nc1: with s in the place of g", {
            "nc1": fixed_points.NC1.subs(EIGENVALUE, EIGENVALUE - FEATURE_RIDGE)}),
        Mutant("discriminant: λ_k - 8λ_Φ alone", {
            "discriminant": KERNEL_RIDGE - 8 * FEATURE_RIDGE}),
    ),
    uses=("collapse.gram_map", "collapse.metrics"),
    notes=(
        "q < 1 is sufficient and not necessary. With n = 4, λ_k = 5, λ_Φ = 1, κ = 2, q = 20/9, and "
        "the fixed point is the only one. With λ_k = 10, λ_Φ = 1, κn = 36 there are collapsed ones "
        "with g = 2, 5, 10, and mixtures, which have NC2 ≠ 0; every positive G_0 leads to g's "
        "among the roots (collapse.rate). NC1* is positive, and small only where λ_Φ/g is."
    ),
)  # fmt: skip

CLAIMS = (FIXED_POINT,)
