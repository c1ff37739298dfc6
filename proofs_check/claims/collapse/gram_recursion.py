"""The Gram recursion of linearised Deep RFM and its contraction."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from theory.collapse import recursion
from theory.collapse.setting import SHRINKAGE

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case as Digits
from ...legs import derivation_leg, digits_leg
from ..shared import formula
from . import gram_brute as brute
from .gram_brute import Case
from .gram_cases import CASES, LABELS, POSITIVE, exact_value

NORM = Hypothesis("the operator norm; the same constants hold in every unitarily invariant one")


def _one_layer(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """T(XᵀX) against the Gram matrix after a layer made of features, ridge regression and AGOP."""
    rng, mapped = setting.generator("one layer"), formula(formulas, "map")
    for case in CASES:
        X = brute.integers(case.size - 1, case.size, rng)
        Y = brute.labels([case.samples] * case.classes)
        expected = brute.layer_from_features(X, Y, case)
        G, one_hot = (_floats(A) for A in (X.transpose() * X, Y))
        parameters = (float(x) for x in (case.kernel_ridge, case.feature_ridge, case.scale))
        found = np.asarray(mapped(G, one_hot, *parameters))
        size = float(np.abs(_floats(expected)).max())
        for i in range(case.size):
            for j in range(i, case.size):
                value = Fraction(float(found[i, j])) + Fraction(size)
                yield (
                    f"{case}, entry {i, j}",
                    value,
                    expected[i, j] + brute.rational(Fraction(size)),
                )


def _floats(A: Any) -> Any:
    return np.array([[float(brute.fraction(x)) for x in row] for row in A.tolist()])


def _pair(case: Case, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """G, G' between λ_Φ and λ_Φ + κn, and the norm of their difference, all exact."""
    width = case.scale * case.samples
    Q, turned = brute.rotation(case.size, rng), brute.rotation(case.size, rng)
    spectrum = [Fraction(int(x), 24) for x in rng.integers(4, 17, case.size)]
    change = [Fraction(int(x), 24) for x in rng.integers(-3, 4, case.size)]
    change[0] = Fraction(1, 6)
    at = brute.diagonal([case.feature_ridge + width * x for x in spectrum])
    step = brute.diagonal([width * x for x in change])
    G = Q * at * Q.transpose()
    return G, G + turned * step * turned.transpose(), brute.rational(width / 6)


def _between(smaller: Any, larger: Any) -> bool:
    return brute.positive_definite(larger - smaller)


def _exact_pairs(formulas: Formulas, setting: Setting) -> Evidence:
    """-qδ < T(G) - T(G') < qδ with δ = ‖G - G'‖, and λ_Φ ≤ T ≤ the claimed bound."""
    rng, count = setting.generator("exact pairs"), 0
    for case in CASES * 3:
        G, other, distance = _pair(case, rng)
        moved = [brute.layer(x, case) for x in (G, other)]
        one = brute.identity(case.size)
        for name in ("constant", "on_image"):
            most = one * (exact_value(formula(formulas, name), case.values) * distance)
            change = moved[0] - moved[1]
            if not (_between(change, most) and _between(change * -1, most)):
                return Evidence(False, {"pairs": count}, f"{case}: {name} is too small")
        upper = one * exact_value(formula(formulas, "upper"), case.values)
        if not all(_between(x, upper) for x in moved):
            return Evidence(False, {"pairs": count}, f"{case}: T(G) is not below the bound")
        count += 1
    return Evidence(True, {"residual": 0, "pairs": count})


SHARP = Case(3, 2, Fraction(1, 10**9), Fraction(1, 2), Fraction(7, 3))
"""λ_k ≪ λ_Φ: there q is the best constant but for 2e-9."""

TINY = Fraction(1, 10**12)


def _sharpness(formulas: Formulas, setting: Setting) -> Evidence:
    """A step along Π from λ_ΦI changes T by the claimed constants times it, to 1e-8."""
    worst = Fraction(0)
    checks = [(case, "at_least") for case in CASES]
    for case, name in [*checks, (SHARP, "constant"), (SHARP, "on_image"), (SHARP, "at_least")]:
        G = brute.identity(case.size) * brute.rational(case.feature_ridge)
        step = brute.label_projection(case) * brute.rational(TINY)
        change = brute.layer(G + step, case) - brute.layer(G, case)
        quotient = brute.trace(change) / brute.trace(step)
        ratio = quotient / exact_value(formula(formulas, name), case.values)
        off = abs(brute.fraction(ratio) - 1)
        worst = max(worst, off)
        if off > Fraction(1, 10**8):
            return Evidence(
                False, {"off": float(off)}, f"{case}: {name} is off by {float(off):.3g}"
            )
    return Evidence(True, {"worst_off": float(worst), "cases": len(CASES) + 3})


def _mapped(power: int, shift: float, squared: bool) -> Any:
    """A wrong T: another power of P, λ_Φ shifted, or (YᵀY)² for YᵀY."""

    def wrong(G: Any, Y: Any, kernel_ridge: float, feature_ridge: float, scale: float) -> Any:
        P = np.linalg.solve(G + kernel_ridge * np.eye(len(G)), G)
        inner = Y.T @ Y
        moved = np.linalg.matrix_power(P, power) @ (inner @ inner if squared else inner)
        moved = moved @ np.linalg.matrix_power(P, power)
        return scale * moved + (feature_ridge + shift) * np.eye(len(G))

    return wrong


GRAM_MAP = Claim(
    id="collapse.gram_map",
    title="the Gram recursion and its contraction",
    statement=(
        r"T(G) = \kappa P Y^\top Y P + \lambda_\Phi I,\ P = G(G+\lambda_k I)^{-1}:\quad "
        r"\lambda_\Phi I \preceq T(G) \preceq (\lambda_\Phi+\kappa n) I \text{ for all } G\succeq0,"
        r"\quad \|T(G)-T(G')\| \le q\,\|G-G'\| \text{ for } G,G'\succeq\lambda_\Phi I,\quad "
        r"q = \frac{2\kappa n\lambda_k}{(\lambda_\Phi+\lambda_k)^2}"
    ),
    source="B, here",
    hypotheses=(LABELS, POSITIVE, NORM),
    formulas={
        "shrinkage": SHRINKAGE,
        "upper": recursion.UPPER,
        "constant": recursion.LIPSCHITZ,
        "on_image": recursion.LIPSCHITZ_ON_IMAGE,
        "at_least": recursion.LIPSCHITZ_AT_LEAST,
        "map": recursion.gram_map,
    },
    legs=(
        derivation_leg(
            "norm by norm",
            recursion.derive_contraction,
            ("shrinkage", "upper", "constant", "on_image", "at_least"),
            whole=True,
        ),
        digits_leg("one layer from features", _one_layer, ("map",), 12),
        Leg("exact pairs", Kind.EXACT, _exact_pairs, ("constant", "on_image", "upper")),
        Leg("sharpness", Kind.EXACT, _sharpness, ("constant", "on_image", "at_least")),
    ),
    mutants=(
        Mutant("map: P on one side more", {"map": _mapped(2, 0.0, squared=False)}),
        Mutant("map: without P", {"map": _mapped(0, 0.0, squared=False)}),
        Mutant("map: YᵀY squared", {"map": _mapped(1, 0.0, squared=True)}),
        Mutant("map: λ_Φ + 1e-3", {"map": _mapped(1, 1e-3, squared=False)}),
        Mutant("constant: without the 2", {"constant": recursion.LIPSCHITZ / 2}),
        Mutant("constant: half, smaller than the derivative", {
            "constant": recursion.LIPSCHITZ_AT_LEAST / 2}),
    ),
    notes=(
        "T leads the set λ_ΦI ⪯ G ⪯ (λ_Φ + κn)I into itself, and q λ_Φ/(λ_Φ + λ_k) ≤ best constant "
        "≤ q(λ_Φ + κn)/(λ_Φ + κn + λ_k) on it: q is sharp as λ_k/λ_Φ → 0, and need not be "
        "otherwise. For classes of unequal sizes n is the largest."
    ),
)  # fmt: skip

CLAIMS = (GRAM_MAP,)
