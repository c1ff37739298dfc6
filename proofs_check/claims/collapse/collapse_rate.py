"""How fast the Gram recursion collapses: the exact step, its bound and the asymptotic rates."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import ctx, fmpq

from numerics.collapse.linearised import linearised_deep_rfm
from theory.collapse import rates
from theory.collapse.setting import EIGENVALUE

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
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
    exact_value,
    measured_eigenvalue,
    mixture,
)

LAYERS = 60


@lru_cache(maxsize=32)
def _path(case: Case, seed: int) -> tuple[Any, ...]:
    """Two successive Gram matrices, many layers from a generic start."""
    return tuple(brute.last_layers(_start(case, seed), case, LAYERS, kept=2))


def _start(case: Case, seed: int) -> Any:
    return brute.start(case, np.random.default_rng(seed))


def _angles(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """tr and det of tan²Θ, one layer over the one before: ρ² and ρ^{2K}."""
    for case in CASES:
        before, after = _path(case, setting.seed)
        (trace, det), (next_trace, next_det) = (brute.tangents(G, case) for G in (before, after))
        with ctx.workprec(brute.PRECISION):
            g = brute.label_eigenvalue(after, case)
            rate = ball_value(formula(formulas, "angle"), case, g)
            yield f"{case}, sum of squares", rate**2, next_trace / trace
            yield f"{case}, product of all", rate ** (2 * case.classes), next_det / det


def _numerics_run(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """The same in doubles, from features and AGOPs: where the angle is small, but no rounding."""
    rng, case = setting.generator("numerics run"), CASES[1]
    index = np.repeat(range(case.classes), case.samples)
    X = rng.standard_normal((case.size, case.size))
    ridges = {"kernel_ridge": float(case.kernel_ridge), "feature_ridge": float(case.feature_ridge)}
    run = linearised_deep_rfm(X, index, **ridges, scale=float(case.scale), depth=40)
    layer = int(np.flatnonzero(run.sines < 1e-6)[0])
    g = measured_eigenvalue(run.gram, index)
    rate = formula(formulas, "angle").subs({**case.values, EIGENVALUE: sympy.Rational(g)})
    yield f"{case}, layer {layer}", float(rate), float(run.sines[layer + 1] / run.sines[layer])


def _label_eigenvalues(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """Started on the label space's own family, eigenvalues approach g with the claimed factor."""
    for case in CASES:
        spectrum = [2 + 3 * c for c in range(case.classes)]
        path = brute.last_layers(mixture(case, spectrum), case, LAYERS, kept=3)
        first, second, third = (brute.label_eigenvalue(G, case) for G in path)
        with ctx.workprec(brute.PRECISION):
            rate = ball_value(formula(formulas, "eigenvalue"), case, third)
            yield str(case), rate, (third - second) / (second - first)


def _plane(case: Case) -> tuple[Any, Any]:
    """λ_Φ + κn ww ᵀ with w near the label vector, K = 1 and n = 2, and tan θ of it."""
    tangent = Fraction(1, 10**7)
    u, across = brute.matrix([[1], [1]]), brute.matrix([[1], [-1]])
    w = u + across * brute.rational(tangent)
    length = (w.transpose() * w)[0, 0]
    strength = brute.rational(case.scale * case.samples)
    G = w * w.transpose() * (strength / length)
    return G + brute.identity(2) * brute.rational(case.feature_ridge), brute.rational(tangent)


def _bound_attained(formulas: Formulas, setting: Setting) -> Evidence:
    """A plane in which one layer shrinks the tangent by the bound, but for 1e-12, and not more."""
    worst = Fraction(0)
    for case in (*CASES, THREE_ROOTS):
        plane = Case(2, 1, case.kernel_ridge, case.feature_ridge, case.scale)
        G, tangent = _plane(plane)
        V = brute.layer(G, plane) - brute.identity(2) * brute.rational(plane.feature_ridge)
        moved = (V[0, 0] - V[1, 0]) / (V[0, 0] + V[1, 0])
        ratio = moved / tangent / exact_value(formula(formulas, "bound"), plane.values)
        off = 1 - brute.fraction(ratio)
        worst = max(worst, off)
        if not 0 <= off < Fraction(1, 10**12):
            return Evidence(False, {"off": float(off)}, f"{plane}: off by {float(off):.3g}")
    return Evidence(True, {"worst_off": float(worst), "planes": len(CASES) + 1})


def _eigenspace(case: Case, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """W and D, exact, between λ_Φ and the upper bound, and G = λ_Φ + W(D - λ_Φ)Wᵀ."""
    W, Y = brute.identity(case.size), brute.labels([case.samples] * case.classes)
    while (Y * (W := brute.columns(brute.rotation(case.size, rng), case.classes))).det() == 0:
        pass  # a direction at a right angle to the label space: drawn again
    width = case.scale * case.samples
    D = [
        case.feature_ridge + width * Fraction(int(x), 9) for x in rng.integers(1, 10, case.classes)
    ]
    raised = brute.diagonal([d - case.feature_ridge for d in D])
    G = W * raised * W.transpose() + brute.identity(case.size) * brute.rational(case.feature_ridge)
    return W, D, G


def _exact_step(formulas: Formulas, setting: Setting) -> Evidence:
    """tan Θ' = tan Θ H(H + p_0)^{-1} in fractions, and Σ tan² and Π tan² shrink as bounded.

    In the basis Yᵀ/n of the label space, UᵀW is YW/√n; U_⊥ᵀ is left as 1 - Π.
    """
    rng, count = setting.generator("exact step"), 0
    for case in (*CASES, THREE_ROOTS):
        W, D, G = _eigenspace(case, rng)
        Y, one = brute.labels([case.samples] * case.classes), brute.identity(case.classes)
        beside = brute.identity(case.size) - brute.label_projection(case)
        off, *on = (x / (x + case.kernel_ridge) for x in (case.feature_ridge, *D))
        before = beside * W * (Y * W).inv()
        H = Y * W * brute.diagonal([p - off for p in on]) * (Y * W).transpose()
        H = H * fmpq(1, case.samples)
        V = brute.layer(G, case) * Y.transpose() - Y.transpose() * brute.rational(
            case.feature_ridge
        )
        after = beside * V * (Y * V).inv()
        if after != before * H * (H + one * brute.rational(off)).inv():
            return Evidence(False, {"steps": count}, f"{case}: tan Θ' is another matrix")
        bound = exact_value(formula(formulas, "bound"), case.values)
        squares = [A.transpose() * A for A in (before, after)]
        power = bound ** (2 * case.classes)
        most, product = brute.trace(squares[0]) * bound**2, squares[0].det() * power
        if not (brute.trace(squares[1]) <= most and squares[1].det() <= product):
            return Evidence(False, {"steps": count}, f"{case}: the tangents shrink by less")
        count += 1
    return Evidence(True, {"residual": 0, "steps": count})


RATE = Claim(
    id="collapse.rate",
    title="how fast the Gram recursion collapses",
    statement=(
        r"\tan\Theta_{\ell+1} = \tan\Theta_\ell\,H_\ell(H_\ell+p_0)^{-1},\ "
        r"\|\tan\Theta_{\ell+1}\| \le \Big(1-\tfrac{p_0}{p(\lambda_\Phi+\kappa n)}\Big)"
        r"\|\tan\Theta_\ell\| \text{ for all parameters};\quad \text{if the fixed point is unique, "
        r"every start tends to it and each angle is asymptotically multiplied by } "
        r"1-\frac{\lambda_\Phi}{\lambda_\Phi+\lambda_k}\cdot\frac{g+\lambda_k}{g} "
        r"\text{, eigenvalues on the label space by } "
        r"\frac{2\lambda_k(g-\lambda_\Phi)}{g(g+\lambda_k)}"
    ),
    source="here",
    hypotheses=(
        LABELS,
        POSITIVE,
        Hypothesis("Θ: between the top-K eigenspace of G_ℓ, ℓ ≥ 1, and the label space; G_0 ≻ 0"),
        Hypothesis("asymptotically: for angles and deviations that are not 0 from the start"),
    ),
    formulas={
        "angle": rates.ANGLE_RATE,
        "eigenvalue": rates.EIGENVALUE_RATE,
        "bound": rates.ANGLE_BOUND,
    },
    legs=(
        derivation_leg(
            "exact step", rates.derive_rates, ("angle", "eigenvalue", "bound"), whole=True
        ),
        Leg("step in fractions", Kind.EXACT, _exact_step, ("bound",)),
        Leg("bound attained", Kind.EXACT, _bound_attained, ("bound",)),
        digits_leg("angles after many layers", _angles, ("angle",), 12),
        digits_leg("numerics' own run", _numerics_run, ("angle",), 4),
        digits_leg("eigenvalues after many layers", _label_eigenvalues, ("eigenvalue",), 12),
    ),
    mutants=(
        Mutant("angle: the eigenvalues' rate", {"angle": rates.EIGENVALUE_RATE}),
        Mutant("eigenvalue: the angles' rate", {"eigenvalue": rates.ANGLE_RATE}),
    ),
    uses=("collapse.gram_map", "collapse.fixed_point"),
    notes=(
        "The angles are not always the slowest: ‖G_ℓ - G*‖ falls with the larger of the two rates, "
        "the eigenvalues' if g < 2λ_Φ + λ_k. NC1_ℓ - NC1* falls with the larger of the "
        "eigenvalues' rate and the square of the angles'. The angles collapse for all parameters, "
        "also where T has several fixed points; ordered eigenvalues on the label space are "
        "squeezed between two increasing scalar recursions and tend to roots of the cubic."
    ),
)  # fmt: skip

CLAIMS = (RATE,)
