"""How small alignment can be, who attains it, and when NFM and AGOP agree."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx
from scipy.optimize import minimize

from theory.alignment import bound, reversal
from theory.closed_form import ClosedForm
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula, joined
from . import bounds_matrices as exact
from .bounds_agreement import COUNTEREXAMPLE, EQUIVALENCE
from .bounds_networks import attained_by_data, flows, rational_networks

POSITIVE_SEMIDEFINITE = Hypothesis("K ⪰ 0, symmetric")
NOT_ZERO = Hypothesis("W ≠ 0, and K ≠ 0 on the range of W, so that ρ is defined")
CONDITION_NUMBER = Hypothesis("κ ≥ 1 is the condition number of UᵀKU", lambda kappa: kappa >= 1)

# ── lower bound ──────────────────────────────────────────────────────────────────────────────────


def _bound_derivation(claimed: ClosedForm, singular: sympy.Expr) -> Derivation:
    form = claimed.expression
    return joined(
        "2√κ/(1 + κ) is a bound, and sharp",
        bound.derive_sharpness(form, singular),
        bound.derive_bound(form),
    )


# κ and the two multiplicities, once with a rational singular value and once without.
EXTREMES = ((Fraction(81, 16), 1, 1), (Fraction(32), 1, 2), (Fraction(7, 3), 2, 1))


def _attained(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed bound against ρ of the claimed extremal pair, rotated by rational rotations."""
    rng = setting.generator("extremal pairs")
    for kappa, a, b in EXTREMES:
        values: dict[sympy.Symbol, Fraction | int] = {
            bound.CONDITION_NUMBER: kappa,
            bound.FIRST_COUNT: a,
            bound.SECOND_COUNT: b,
        }
        singular = exact.value(formula(formulas, "extremal"), values)
        U, V = (exact.frame(size, a + b, rng) for size in (a + b + 1, a + b + 2))
        with ctx.workprec(exact.PRECISION):
            W = exact.in_balls(U) * exact.diagonal([singular] * a + [arb(1)] * b)
            W = W * exact.in_balls(V.transpose())
        C = exact.diagonal([kappa] * a + [1] * b)
        K = exact.in_balls(U * C * U.transpose())
        claimed = formula(formulas, "bound").ball(kappa, exact.PRECISION)
        yield f"κ = {kappa}, blocks {a}, {b}", claimed, exact.correlation(W, K)


def _never_below(formulas: Formulas, setting: Setting) -> Evidence:
    """ρ of rational matrices against the claimed bound, decided in balls."""
    rng = setting.generator("random pairs")
    least, pairs = float("inf"), 0
    for W, K, kappa in _rational_pairs(rng):
        claimed = formula(formulas, "bound").ball(kappa, exact.PRECISION)
        with ctx.workprec(exact.PRECISION):
            slack = exact.correlation(W, K) / claimed - 1
        pairs, least = pairs + 1, min(least, float(slack.mid()))
        if not slack > 0:
            detail = f"κ = {kappa}: ρ exceeds the bound by the factor 1 + ({slack})"
            return Evidence(False, {"pairs": pairs, "least_relative_slack": least}, detail)
    return Evidence(True, {"pairs": pairs, "least_relative_slack": least})


def _rational_pairs(rng: np.random.Generator) -> Iterator[tuple[Any, Any, Fraction]]:
    """W (k, d), K ≻ 0 with eigenvalues λ on the range of W; every second one nearly extremal."""
    shapes = ((2, 2, 2), (3, 4, 2), (5, 3, 3), (4, 6, 3), (6, 6, 4), (7, 5, 5))
    for k, d, r in shapes * 4:
        rotation, V = exact.frame(k, k, rng), exact.frame(d, r, rng)
        eigenvalues = [Fraction(int(x), 4) for x in rng.integers(1, 60, r)]
        eigenvalues[0] = max(eigenvalues) + 1
        basis = exact.frame(r, r, rng)
        C = basis * exact.diagonal(eigenvalues) * basis.transpose()
        K = exact.ptk_around(C, rotation, rng)
        U = exact.frame_columns(rotation, r)
        kappa = max(eigenvalues) / min(eigenvalues)
        yield U * exact.drawn(r, r, rng) * V.transpose(), K, kappa
        yield U * basis * _nearly_extremal(eigenvalues) * V.transpose(), K, kappa


def _nearly_extremal(eigenvalues: list[Fraction]) -> Any:
    """Singular values near λ^{-1/4} at the largest and the least eigenvalue, tiny elsewhere."""
    ends = eigenvalues.index(max(eigenvalues)), eigenvalues.index(min(eigenvalues))
    near = [Fraction(round(1000 * float(x) ** -0.25), 1000) for x in eigenvalues]
    values = [x if i in ends else Fraction(1, 40) for i, x in enumerate(near)]
    return exact.diagonal(values)


def _search(formulas: Formulas, setting: Setting) -> Evidence:
    """The least ρ that a minimiser over W finds, K generic: at the claimed bound, never below."""
    rng = setting.generator("search")
    slacks = []
    for kappa, size in ((3.0, 2), (20.0, 3), (60.0, 4)):
        K = _random_ptk(kappa, size, rng)
        found = min(_least(K, rng.standard_normal((size, size))) for _ in range(3))
        slacks.append(found / formula(formulas, "bound")(kappa) - 1)
    holds = bool(min(slacks) > -1e-12 and max(slacks) < 1e-6)
    figures = {"least_relative_slack": min(slacks), "largest_relative_slack": max(slacks)}
    return Evidence(holds, figures, "" if holds else f"least ρ over the bound, less 1: {slacks}")


def _random_ptk(kappa: float, size: int, rng: np.random.Generator) -> Any:
    Q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    inside = np.exp(rng.uniform(0, np.log(kappa), size - 2))
    return (Q * np.concatenate([[1.0, kappa], inside])) @ Q.T


def _least(K: Any, start: Any) -> float:
    """A local minimum of ρ over W, by a quasi-Newton method with the exact gradient."""

    def objective(flat: Any) -> tuple[float, Any]:
        W = flat.reshape(start.shape)
        A, B = W.T @ W, W.T @ K @ W
        a, b = np.linalg.norm(A), np.linalg.norm(B)
        rho = np.sum(A * B) / (a * b)
        to_A, to_B = B / (a * b) - rho * A / a**2, A / (a * b) - rho * B / b**2
        return float(rho), (2 * W @ to_A + 2 * K @ W @ to_B).ravel()

    options = {"maxiter": 3000, "ftol": 1e-13, "gtol": 1e-9}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return float(found.fun)


LOWER_BOUND = Claim(
    id="alignment.lower_bound",
    title="the least alignment",
    statement=(
        r"\rho(W^\top W, W^\top KW) \ge \frac{2\sqrt\kappa}{1+\kappa},\quad "
        r"\kappa = \mathrm{cond}(U^\top KU),\ U \text{ an orthonormal basis of range } W; "
        r"\text{ attained by } K = (\kappa I_a, I_b),\ "
        r"W = ((b/a\kappa)^{1/4} I_a, I_b)"
    ),
    source="here",
    hypotheses=(POSITIVE_SEMIDEFINITE, NOT_ZERO, CONDITION_NUMBER),
    formulas={"bound": bound.BOUND, "extremal": bound.EXTREMAL_SINGULAR_VALUE},
    legs=(
        derivation_leg("all sizes", _bound_derivation, ("bound", "extremal"), whole=True),
        digits_leg("extremal pairs", _attained, ("bound", "extremal"), 40),
        Leg("rational pairs", Kind.DIRECT, _never_below, ("bound",)),
        Leg("search", Kind.DIRECT, _search, ("bound",)),
    ),
    notes=(
        "Equality if and only if WWᵀ commutes with K on the range of W, K has no other "
        "eigenvalues there than m and M, and M‖P_M‖² = m‖P_m‖² for the parts of P = WWᵀ in the "
        "two eigenspaces. If K is singular on the range of W (κ = ∞), the bound 0 is the infimum "
        "and is not attained: tr(KP²) = 0 only if the AGOP is 0. W̄ or Ẇ in the place of W gives "
        "the bound for centred correlations."
    ),
)

# ── reversal ─────────────────────────────────────────────────────────────────────────────────────

REVERSAL = Claim(
    id="alignment.reversal",
    title="data that reverse the alignment",
    statement=(
        r"x_\alpha = \sigma_\alpha Qe_\alpha \text{ in two blocks},\ \varphi(z) = z^p,\ "
        r"\kappa = (\sigma_1/\sigma_2)^{2(p-1)}:\ "
        r"\lim_{t\to0^+}\rho = \frac{\kappa+u}{\sqrt{(1+u)(\kappa^2+u)}},\quad "
        r"u = \frac{n_2}{n_1}\Big(\frac{y_2}{y_1}\Big)^4\kappa^{-2p/(p-1)}; "
        r"\text{ least, } \frac{2\sqrt\kappa}{1+\kappa}, \text{ at } "
        r"\frac{y_2}{y_1} = \Big(\frac{n_1}{n_2}\kappa^{(3p-1)/(p-1)}\Big)^{1/4}"
    ),
    source="C (that data can reverse it), here",
    hypotheses=(
        Hypothesis("p is 2 or 3; W₀ = (Qᵀ; Qᵀ), readout (1, …, 1, -1, …, -1)"),
        Hypothesis("gradient flow on ½Σ(f - y)²; the readout may move, too"),
    ),
    formulas={
        "alignment": reversal.TWO_BLOCK_ALIGNMENT,
        "share": reversal.WEIGHT_RATIO_OF_DATA,
        "label_ratio": reversal.REVERSING_LABEL_RATIO,
    },
    legs=(
        derivation_leg(
            "any blocks",
            reversal.derive_reversal,
            ("alignment", "share", "label_ratio"),
            whole=True,
        ),
        digits_leg("rational networks", rational_networks, ("alignment", "share"), 40),
        digits_leg("the bound attained", attained_by_data, ("label_ratio",), 40),
        digits_leg("flows", flows, ("alignment", "share"), 5),
    ),
    uses=("alignment.early_time", "alignment.lower_bound"),
    equivalents={
        "label_ratio: everything negated": "only y⁴ enters: the sign of a label does not matter"
    },
    notes=(
        "K itself is singular, of rank n on 2n units: the bound's κ is that of K on the range of "
        "Ẇ. For a rational p ≥ 2 the formulas hold as well; the networks checked have p = 2, 3."
    ),
)

CLAIMS = (EQUIVALENCE, LOWER_BOUND, REVERSAL, COUNTEREXAMPLE)
