"""Fixed points of lin-RFM, and the AGOP as a gradient of the optimal ridge value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import fmpq

from theory.rfm import lin_rfm, ridge_value
from theory.rfm.lin_rfm_derivation import derive_depth, derive_exponent, derive_rank_deficient

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula
from . import lin_rfm_brute as brute

BETAS = (Fraction(1), Fraction(1, 2))

# ── lin-RFM ──────────────────────────────────────────────────────────────────────────────────────

ROUND = Hypothesis("a round: least ‖W‖_F with ⟨A_i M^β, W⟩ = y_i, X = WM^β, M = (XᵀX + εI)^α")
CONVENTION = Hypothesis("β = 1: data times M (paper L); β = ½: M a Mahalanobis metric")
REGULAR = Hypothesis("ε > 0, or X of full column rank")

ROOTS = (Fraction(2), Fraction(3, 2), Fraction(1))


def _power(base: Fraction, exponent: sympy.Expr) -> Fraction | None:
    """A rational power of a fraction, None where it is irrational."""
    found = sympy.Rational(base.numerator, base.denominator) ** exponent
    return Fraction(int(found.p), int(found.q)) if found.is_Rational else None


def _scaled(U: Any, singular: Sequence[Fraction], exponent: sympy.Expr, V: Any) -> Any:
    """U Σ^exponent Vᵀ, None where it is irrational."""
    powers = [_power(value, exponent) for value in singular]
    if None in powers:
        return None
    return U * brute.diagonal([x for x in powers if x is not None]) * V.transpose()


def _spanning(multiplier: Any, count: int, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Generic measurements A_i and multipliers λ_i with Σ λ_iA_i given."""
    rows, columns = multiplier.nrows(), multiplier.ncols()
    others = [brute.integers(rows, columns, rng) for _ in range(count - 1)]
    weights = [2, *(int(w) for w in rng.choice([-3, -1, 1, 2], count - 1))]
    first = multiplier
    for A, weight in zip(others, weights[1:], strict=True):
        first = first - A * weight
    return [first * fmpq(1, 2), *others], weights


def _is_fixed(X: Any, multiplier: Any, features: Any, rng: np.random.Generator) -> bool:
    measurements, _ = _spanning(multiplier, 3, rng)
    values = [brute.inner(A, X) for A in measurements]
    return bool(brute.exact_round(measurements, values, features) == X)


def _exact_rounds(formulas: Formulas, setting: Setting) -> Evidence:
    """X critical by construction, with the claimed p: one exact round must return it."""
    rng, count = setting.generator("rounds"), 0
    exponent, multiplier = formula(formulas, "exponent"), formula(formulas, "multiplier")
    singular = [root**8 for root in ROOTS]
    for beta, power in itertools.product(BETAS, (Fraction(1, 4), Fraction(3, 8), Fraction(3, 4))):
        values = _values(power, beta)
        U, V = brute.frame(4, 3, rng), brute.frame(3, 3, rng)
        X, features = (_scaled(U, singular, sympy.Integer(1), V),
                       _scaled(V, singular, 2 * values[lin_rfm.POWER] * _sym(beta), V))  # fmt: skip
        gradient = _scaled(U, singular, exponent.subs(values) - 1, V)
        law = multiplier.subs({**values, lin_rfm.SMOOTHING: 0})
        point = f"α = {power}, β = {beta}"
        if gradient is None or not _is_fixed(X, gradient, features, rng):
            return Evidence(False, {"rounds": count}, f"{point}: the critical point is not fixed")
        if any(_of(law, s) != _power(s, exponent.subs(values) - 1) for s in singular):
            return Evidence(False, {"rounds": count}, f"{point}: the multiplier is another")
        count += 1
    return Evidence(True, {"residual": 0, "rounds": count})


def _sym(value: Fraction) -> sympy.Rational:
    return sympy.Rational(value.numerator, value.denominator)


def _values(power: Fraction, beta: Fraction) -> dict[sympy.Symbol, sympy.Rational]:
    return {lin_rfm.POWER: _sym(power), lin_rfm.PLACEMENT: _sym(beta)}


def _of(law: sympy.Expr, singular: Fraction) -> Fraction | None:
    found = sympy.powdenest(law.subs(lin_rfm.SINGULAR, _sym(singular)), force=True)
    return Fraction(int(found.p), int(found.q)) if found.is_Rational else None


ITERATED = (
    (3, 7, Fraction(1, 4), Fraction(1), Fraction(1, 2), 1),
    (3, 7, Fraction(3, 8), Fraction(1), Fraction(1), 2),
    (2, 2, Fraction(1, 2), Fraction(1), Fraction(3), 3),
    (2, 2, Fraction(3, 4), Fraction(1), Fraction(20), 4),
    (2, 2, Fraction(1, 2), Fraction(1, 2), Fraction(1), 5),
)
"""Size of X, measurements, α, β, ε, seed: p = 1, ½, 0 (the logarithm), -1 and, for a metric, 1."""


def _iterated(formulas: Formulas, setting: Setting) -> Evidence:
    """lin-RFM run until it rests: the claimed penalty has no slope along feasible directions."""
    mp, worst, steepest = brute.context(), 0.0, 1.0
    for case in ITERATED:
        found, (_, _, power, beta, smoothing, _) = brute.iterated(*case), case
        p = mp.mpf(formula(formulas, "exponent").subs(_values(power, beta)).evalf(45))
        slopes, epsilon = [], mp.mpf(smoothing.numerator) / smoothing.denominator
        for direction in brute.feasible_directions(mp, found):
            slopes.append(abs(brute.slope(mp, found.X, direction, p, epsilon)))
        across = [abs(brute.slope(mp, found.X, A / mp.norm(A), p, epsilon))
                  for A in found.measurements]  # fmt: skip
        worst, steepest = max(worst, float(max(slopes))), min(steepest, float(max(across)))
        if max(slopes) > mp.mpf(10) ** -18 * max(across) or max(across) == 0:
            detail = f"α, β, ε = {power}, {beta}, {smoothing}: slope {mp.nstr(max(slopes), 5)}"
            return Evidence(False, {"worst_slope": worst}, detail)
    figures = {"worst_slope": worst, "least_slope_across": steepest, "cases": len(ITERATED)}
    return Evidence(True, figures)


def _deep_networks(formulas: Formulas, setting: Setting) -> Evidence:
    """Stationary deep linear networks, also of lower rank: with the claimed α, X is fixed."""
    rng, count = setting.generator("deep networks"), 0
    cases = itertools.product((2, 3, 4), BETAS, (3, 2))
    for depth, beta, rank in cases:
        U, V = brute.frame(4, rank, rng), brute.frame(3, rank, rng)
        layers, X, multiplier = _network(depth, U, V, rng)
        point = f"L = {depth}, β = {beta}, rank {rank}"
        if not _stationary(layers, multiplier):
            return Evidence(False, {}, f"{point}: the network is not stationary")
        power = formula(formulas, "depth_power").subs(
            {lin_rfm.DEPTH: depth, lin_rfm.PLACEMENT: _sym(beta)}
        )
        singular = [root**depth for root in ROOTS[:rank]]
        features = _scaled(V, singular, 2 * power * _sym(beta), V)
        if features is None or not _is_fixed(X, multiplier, features, rng):
            return Evidence(False, {"networks": count}, f"{point}: not fixed with α = {power}")
        count += 1
    return Evidence(True, {"residual": 0, "networks": count})


def _network(depth: int, U: Any, V: Any, rng: np.random.Generator) -> tuple[list[Any], Any, Any]:
    """Balanced layers, their product, and a multiplier, generic beside U and V."""
    rank = U.ncols()
    middle = [brute.frame(rank + 1, rank, rng) for _ in range(depth - 1)]
    frames, D = [V, *middle, U], brute.diagonal(ROOTS[:rank])
    layers = [up * D * low.transpose() for low, up in itertools.pairwise(frames)]
    beside_U = brute.fractions(np.eye(4, dtype=int).tolist()) - U * U.transpose()
    beside_V = brute.fractions(np.eye(3, dtype=int).tolist()) - V * V.transpose()
    free = beside_U * brute.integers(4, 3, rng) * beside_V
    powers = (_power(root, sympy.Integer(2 - depth)) for root in ROOTS[:rank])
    S = brute.diagonal([x for x in powers if x is not None])
    return layers, _product(layers), U * S * V.transpose() + free


def _product(layers: Sequence[Any]) -> Any:
    total = layers[0]
    for W in layers[1:]:
        total = W * total
    return total


def _stationary(layers: Sequence[Any], multiplier: Any) -> bool:
    """The gradient of ½Σ‖W_ℓ‖² - ⟨Λ, W_L…W_1⟩ by each layer, by its definition."""
    for place, W in enumerate(layers):
        pull = multiplier
        if place + 1 < len(layers):
            pull = _product(layers[place + 1 :]).transpose() * pull
        if place:
            pull = pull * _product(layers[:place]).transpose()
        if pull != W:
            return False
    return True


def _not_critical(formulas: Formulas, setting: Setting) -> Evidence:
    """Rank one, no smoothing: fixed for every α, but the penalty falls along a feasible curve."""
    A, X = brute.fractions([[1, 3], [0, 0]]), brute.fractions([[1, 0], [0, 0]])
    fixed = brute.exact_round([A], [brute.inner(A, X)], X) == X
    t = Fraction(1, 10)
    nearby = brute.fractions([[1 - 3 * t, t], [0, 0]])
    feasible = brute.inner(A, nearby) == brute.inner(A, X)
    lower = brute.inner(nearby, nearby) < brute.inner(X, X)
    norms = (str(brute.inner(matrix, matrix)) for matrix in (X, nearby))
    figures = dict(zip(("squared_norm", "squared_norm_nearby"), norms, strict=True))
    return Evidence(bool(fixed and feasible and lower), figures)


LIN_FIXED_POINTS = Claim(
    id="rfm.lin_fixed_points",
    title="fixed points of lin-RFM",
    statement=(
        r"X \text{ fixed under } M = (X^\top X+\varepsilon I)^\alpha \iff X \text{ critical for } "
        r"\textstyle\sum_i(\sigma_i^2+\varepsilon)^{p/2} \text{ under } \langle A_i,X\rangle = y_i,"
        r"\ p = 2-4\alpha\beta;\quad \alpha = \frac{1}{2\beta}\big(1-\frac1L\big) \Rightarrow "
        r"p = \frac2L: \text{ stationary linear networks of depth } L \text{ are fixed}"
    ),
    source="L, here",
    hypotheses=(ROUND, CONVENTION, REGULAR),
    formulas={
        "exponent": lin_rfm.EXPONENT,
        "multiplier": lin_rfm.MULTIPLIER,
        "depth_power": lin_rfm.DEPTH_POWER,
    },
    legs=(
        Leg("exact rounds", Kind.EXACT, _exact_rounds, ("exponent", "multiplier")),
        Leg("deep networks", Kind.EXACT, _deep_networks, ("depth_power",)),
        Leg("lower rank, not critical", Kind.EXACT, _not_critical, on_mutants=False),
        derivation_leg("exponent", derive_exponent, ("exponent", "multiplier"), whole=True),
        derivation_leg("depth", derive_depth, ("depth_power",), whole=True),
        derivation_leg("lower rank", derive_rank_deficient, ("exponent",)),
        Leg("iterated", Kind.DIRECT, _iterated, ("exponent",)),
    ),
    mutants=(
        Mutant("exponent: of the other convention", {"exponent": 2 - 2 * lin_rfm.POWER}),
        Mutant("depth_power: of data times M, for both", {
            "depth_power": sympy.Rational(1, 2) - 1 / (2 * lin_rfm.DEPTH)}),
    ),
    refutes=(
        "every fixed point of lin-RFM with M = (XᵀX)^α is a critical point of Σσ_i^{2-4α}: "
        "X = e₁e₁ᵀ with the measurement e₁(1, b)ᵀ, b ≠ 0, is not"
    ),
    notes=(
        "p = 2 - 4α belongs to data multiplied by M. For M as a Mahalanobis metric p = 2 - 2α, and "
        "depth L has α = 1 - 1/L. p = 0 stands for Σ log(σ² + ε). With a ridge μ in the round, "
        "½Σ(⟨A_i, X⟩ - y_i)² + (μ/p)Σ(σ² + ε)^{p/2} is stationary. With ε = 0 below full column "
        "rank, fixed means critical with the row space held; critical on the matrices of that rank "
        "if XᵀΛ is symmetric as well, which limits for ε → 0 with bounded multipliers satisfy. "
        "Which of these hypotheses the paper makes could not be checked."
    ),
)  # fmt: skip

# ── ridge value ──────────────────────────────────────────────────────────────────────────────────

LINEAR_KERNEL = Hypothesis("k(x, z) = xᵀMz, M ⪰ 0 symmetric; Y with any number of outputs")
WEIGHTS = Hypothesis("Q(M) = min_f aΣ|f(x_i) - y_i|² + b‖f‖²_k; a = ½, b = μ/2 as printed")
INNER = Hypothesis("∇Q by the inner product tr(AᵀB), all entries of M free")

RIDGE_CASES = ((4, 2, 1, "1/2", "3/4"), (3, 3, 2, "2/3", "5/4"), (5, 3, 2, "7/2", "1/3"))
"""n, d, outputs, a, b."""


def _primal(mp: Any, X: Any, Y: Any, root: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The least a‖XRw - Y‖² + b‖w‖², M = RRᵀ, by its normal equations, and the weights Rw."""
    moved = X * root
    normal = moved.T * moved * a + mp.eye(moved.cols) * b
    w = mp.inverse(normal) * (moved.T * Y) * a
    error = moved * w - Y
    value = a * mp.fsum(e * e for e in error) + b * mp.fsum(e * e for e in w)
    return value, root * w


def _ridge_data(case: tuple[int, int, int, str, str], rng: np.random.Generator) -> tuple[Any, ...]:
    mp, (n, d, outputs, a, b) = brute.context(), case
    X, Y, R = (
        mp.matrix(rng.integers(-5, 6, shape).tolist()) / 3
        for shape in ((n, d), (n, outputs), (d, d))
    )
    M = R * R.T + mp.eye(d) / 2
    weights = (mp.mpf(Fraction(q).numerator) / Fraction(q).denominator for q in (a, b))
    return mp, X, Y, M, *weights


def _symbols_at(mp: Any, expression: sympy.Expr, a: Any, b: Any) -> Any:
    symbols = (ridge_value.LOSS_WEIGHT, ridge_value.NORM_WEIGHT)
    return sympy.lambdify(symbols, expression, modules=[{"sqrt": mp.sqrt}])(a, b)


def _differences(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """AGOP from the minimiser against c M∇QM, ∇Q by differences of the minimum itself."""
    rng = setting.generator("differences")
    for case in RIDGE_CASES:
        mp, X, Y, M, a, b = _ridge_data(case, rng)
        _, linear = _primal(mp, X, Y, mp.cholesky(M), a, b)
        agop = linear * linear.T
        gradient = _numerical_gradient(mp, X, Y, M, a, b)
        claimed = M * gradient * M * _symbols_at(mp, formula(formulas, "factor"), a, b)
        for i, k in itertools.product(range(M.rows), repeat=2):
            yield f"{case}, entry {i, k}", claimed[i, k], agop[i, k]


def _numerical_gradient(mp: Any, X: Any, Y: Any, M: Any, a: Any, b: Any) -> Any:
    """Along eᵢeₖᵀ + eₖeᵢᵀ the derivative is twice the entry."""
    step, gradient = mp.mpf(10) ** -13, mp.zeros(M.rows)
    for i, k in itertools.product(range(M.rows), repeat=2):
        E = mp.zeros(M.rows)
        E[i, k] += step
        E[k, i] += step
        ends = [_primal(mp, X, Y, mp.cholesky(M + E * s), a, b)[0] for s in (1, -1)]
        gradient[i, k] = (ends[0] - ends[1]) / (4 * step)
    return gradient


def _values_of(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The minimum over weights against the claimed multiple of tr(Yᵀ(K + μ)^{-1}Y)."""
    rng = setting.generator("values")
    for case in RIDGE_CASES:
        mp, X, Y, M, a, b = _ridge_data(case, rng)
        value, _ = _primal(mp, X, Y, mp.cholesky(M), a, b)
        ridge, factor = (_symbols_at(mp, formula(formulas, name), a, b)
                         for name in ("ridge", "value"))  # fmt: skip
        alpha = mp.inverse(X * M * X.T + mp.eye(X.rows) * ridge) * Y
        total = factor * mp.fsum(p * q for p, q in zip(Y, alpha, strict=True))
        yield f"n, d, outputs, a, b = {case}", total, value


def _entrywise(formulas: Formulas, setting: Setting) -> Evidence:
    """All of n = d = 2 in symbols: Q as a rational function of M's four entries, differentiated."""
    X = sympy.Matrix([[2, 1], [-1, 3]])
    y, M = sympy.Matrix(sympy.symbols("y1:3")), sympy.Matrix(2, 2, sympy.symbols("m1:5"))
    a, b = sympy.Rational(2, 3), sympy.Rational(5, 4)
    weights = {ridge_value.LOSS_WEIGHT: a, ridge_value.NORM_WEIGHT: b}
    ridge, value, factor = (
        formula(formulas, name).subs(weights) for name in ("ridge", "value", "factor")
    )
    inverse = (X * M * X.T + ridge * sympy.eye(2)).inv()
    Q = value * (y.T * inverse * y)[0]
    symmetric = {M[1, 0]: M[0, 1]}
    gradient = M.applyfunc(lambda entry: sympy.diff(Q, entry)).subs(symmetric)
    M, alpha = M.subs(symmetric), (inverse * y).subs(symmetric)
    jacobian = M * X.T * alpha
    residuals = (jacobian * jacobian.T - factor * M * gradient * M).applyfunc(sympy.cancel)
    left = next((str(r) for r in residuals if r != 0), "")
    return Evidence(not left, {"residual": left[:100] or 0}, left[:200])


AGOP_AS_GRADIENT = Claim(
    id="rfm.agop_as_gradient",
    title="the AGOP is a gradient of the optimal ridge value",
    statement=(
        r"k(x,z) = x^\top Mz,\ Q(M) = \min_f a\sum_i|f(x_i)-y_i|^2 + b\|f\|_k^2 "
        r"= b\,\mathrm{tr}\,Y^\top(XMX^\top+\mu I)^{-1}Y,\ \mu = b/a:\quad "
        r"\mathrm{AGOP} = -\tfrac1b\,M\,\nabla Q(M)\,M "
        r"= -\tfrac2\mu\,M\,\nabla Q(M)\,M \text{ for } a = \tfrac12"
    ),
    source="B, here",
    hypotheses=(LINEAR_KERNEL, WEIGHTS, INNER),
    formulas={
        "ridge": ridge_value.RIDGE,
        "value": ridge_value.VALUE_FACTOR,
        "factor": ridge_value.AGOP_FACTOR,
    },
    legs=(
        derivation_leg(
            "all sizes", ridge_value.derive_agop_factor, ("ridge", "value", "factor"), whole=True
        ),
        Leg("two samples in symbols", Kind.EXACT, _entrywise, ("value", "factor")),
        digits_leg("minimum over weights", _values_of, ("ridge", "value"), 25),
        digits_leg("differences of the minimum", _differences, ("factor",), 18),
    ),
    mutants=(
        Mutant("factor: -2/μ whatever the weights", {
            "factor": -2 * ridge_value.LOSS_WEIGHT / ridge_value.NORM_WEIGHT}),
    ),
    notes=(
        "-2/μ is -1/b for b = μ/2. Without the halves (a = 1, b = μ) it is -1/μ. With the mean "
        "over n samples, a = 1/(2n) and b = μ/2, it is -2/μ again, the ridge being nμ. If entries "
        "M_ik = M_ki are tied, ∂Q/∂M_ik off the diagonal is twice the entry of ∇Q. Where "
        "∇Q = -cI, that is, at critical points of Q + c tr M, AGOP = (2c/μ)M², and M is fixed "
        "under M ∝ AGOP^{1/2}. A fixed M ≻ 0 has ∇Q = -cI in turn; a singular one only on its "
        "range. With one output and d ≥ 2 none has: ∇Q is of rank one, while M = ββᵀ/‖β‖ with "
        "β = M Xᵀα is fixed up to scale."
    ),
)  # fmt: skip

CLAIMS = (LIN_FIXED_POINTS, AGOP_AS_GRADIENT)
