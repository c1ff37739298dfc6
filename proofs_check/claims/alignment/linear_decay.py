"""How weight decay restores balance, and what of it activations leave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import ctx, fmpq_mat

from numerics.alignment import gradient_flow, mlp
from theory.alignment import weight_decay

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from .linear_common import DIGITS, Floats, as_arrays, gram, integers, mp_context
from .linear_flow import PRECISION, Problem, flow

NEIGHBOURS = Hypothesis("two layers in a row without biases, in any network, under any loss")
PENALTY = Hypothesis("penalty (λ/2)‖W‖² with one λ for both layers")
BETWEEN = Hypothesis(
    "between them no activation (the whole matrix), or one homogeneous of degree p (the diagonal)"
)

DECAY = Fraction(3, 4)
TIME = Fraction(1, 20)


# ── the flow to 25 digits ────────────────────────────────────────────────────────────────────────


def _start() -> list[fmpq_mat]:
    """Three layers, not balanced."""
    shapes = ((2, 3), (3, 2), (2, 3))
    return [integers(rows, columns, 20 + i) / 3 for i, (rows, columns) in enumerate(shapes)]


def _defect(weights: Sequence[Any], layer: int) -> Any:
    """W_{j+1}ᵀW_{j+1} − W_jW_jᵀ."""
    below, above = weights[layer], weights[layer + 1]
    return gram(above) - below * below.transpose()


@lru_cache(maxsize=1)
def _flowed() -> list[Any]:
    return flow(Problem(integers(4, 3, 1), integers(4, 2, 2), DECAY), _start(), TIME, 20)


def _along_the_flow(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Entries of D(t) against the factor times those of D(0)."""
    formula: Any = formulas["factor"]
    values = {weight_decay.WEIGHT_DECAY: sympy.Rational(3, 4), weight_decay.TIME: TIME}
    factor = mp_context().mpf(formula.subs(values).evalf(DIGITS + 25))
    with ctx.workprec(PRECISION):
        later = [_defect(_flowed(), layer) for layer in (0, 1)]
    for layer, found in enumerate(later):
        start = _defect(_start(), layer)
        for i, j in ((0, 0), (0, 1), (1, 1)):
            claimed = factor * int(start[i, j].p) / int(start[i, j].q)
            yield f"layers {layer + 1}, {layer + 2}: entry {i}, {j}", claimed, found[i, j]


# ── one exact step of gradient descent ───────────────────────────────────────────────────────────


def _gradients(weights: Sequence[fmpq_mat], X: fmpq_mat, Y: fmpq_mat) -> list[fmpq_mat]:
    """Of ½Σ‖W_2W_1x − y‖² for two layers, by backpropagation."""
    below, above = weights
    hidden = X * below.transpose()
    errors = hidden * above.transpose() - Y
    return [(errors * above).transpose() * X, errors.transpose() * hidden]


def _descended(formulas: Formulas, setting: Setting) -> Evidence:
    """D⁺ = factor · D + η²(∇ᵀ∇ − ∇∇ᵀ) in exact rational arithmetic."""
    formula: Any = formulas["step_factor"]
    X, Y = integers(5, 3, 1), integers(5, 2, 2)
    for eta, lam in ((Fraction(1, 7), Fraction(3, 5)), (Fraction(2, 3), Fraction(1, 4))):
        values = {weight_decay.STEP_SIZE: eta, weight_decay.WEIGHT_DECAY: lam}
        factor = formula.subs(values)
        if not factor.is_Rational:
            return Evidence(False, {}, f"the factor {factor} is not rational")
        residual = _step_residual(X, Y, eta, lam, Fraction(int(factor.p), int(factor.q)))
        if any(residual.entries()):
            return Evidence(False, {}, f"η = {eta}, λ = {lam} leaves {residual.entries()[0]}")
    return Evidence(True, {"residual": 0, "steps": 2})


def _step_residual(
    X: fmpq_mat, Y: fmpq_mat, eta: Fraction, lam: Fraction, factor: Fraction
) -> fmpq_mat:
    step, keep, ratio = (_rational(x) for x in (eta, 1 - eta * lam, factor))
    weights = [integers(4, 3, 31), integers(2, 4, 32)]
    lower, upper = _gradients(weights, X, Y)
    after = [W * keep - g * step for W, g in zip(weights, (lower, upper), strict=True)]
    second = (gram(upper) - lower * lower.transpose()) * step**2
    residual: fmpq_mat = _defect(after, 0) - _defect(weights, 0) * ratio - second
    return residual


def _rational(value: Fraction) -> Any:
    return fmpq_mat([[value.numerator]])[0, 0] / value.denominator


# ── activations ──────────────────────────────────────────────────────────────────────────────────


def _definition(weights: Sequence[Floats], degree: int, diagonal: bool) -> list[Floats]:
    """p W_{j+1}ᵀW_{j+1} − W_jW_jᵀ, or its diagonal."""
    pairs = itertools.pairwise(weights)
    whole = [degree * up.T @ up - low @ low.T for low, up in pairs]
    return [np.diag(matrix) for matrix in whole] if diagonal else whole


@lru_cache(maxsize=16)
def _network(activation: str, loss: str, seed: int) -> tuple[list[Floats], list[Floats], float]:
    """Weights before and after gradient flow with weight decay 0.6, and the time.

    Three samples for ReLU: with more its flow soon slides along kinks, where integrators crawl.
    """
    rng = np.random.default_rng(seed)
    model = mlp([4, 5, 3, 2], activation, generator=seed)
    n, time = 3 if activation == "relu" else 8, 0.2
    X, Y = rng.standard_normal((n, 4)), rng.choice([-1.0, 1.0], (n, 2))
    path = gradient_flow(model, X, Y, [0.0, time], loss=loss, weight_decay=0.6, rtol=1e-10)
    return as_arrays(model), as_arrays(path.at(1)), time


NETWORKS = (("linear", "mse", 1), ("relu", "mse", 1), ("relu", "logistic", 1),
            ("quadratic", "logistic", 2), ("cubic", "logistic", 3))  # fmt: skip


def _networks(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The predicted imbalance against that of the network at the end, weighted at random."""
    predict: Any = formulas["imbalance"]
    for activation, loss, degree in NETWORKS:
        start, end, time = _network(activation, loss, 0)
        claimed = predict(start, 0.6, time, activation)
        found = _definition(end, degree, diagonal=activation != "linear")
        for layer, (value, truth) in enumerate(zip(claimed, found, strict=True), 1):
            mask = np.random.default_rng(layer).uniform(0.5, 1.5, truth.shape)
            point = f"{activation}, {loss}, layers {layer}, {layer + 1}"
            yield point, float(np.sum(mask * value)), float(np.sum(mask * truth))


def _relu_example() -> tuple[Fraction, Fraction, Fraction]:
    """D_12, its rate, and that of D_11 for f(x) = a·relu(Wx) on x = ±1, in exact fractions.

    W = (2, −1)ᵀ: each sample drives one neuron. λ = 1/2, a = (1, 3), y = (0, 0), ½Σ(f − y)².
    """
    W, a, lam = (Fraction(2), Fraction(-1)), (Fraction(1), Fraction(3)), Fraction(1, 2)
    x, y = (Fraction(1), Fraction(-1)), (Fraction(0), Fraction(0))
    on = [[w * xs > 0 for w in W] for xs in x]
    h = [[max(w * xs, Fraction(0)) for w in W] for xs in x]
    r = [ys - sum(ai * hi for ai, hi in zip(a, hs, strict=True))
         for hs, ys in zip(h, y, strict=True)]  # fmt: skip
    a_dot = [sum(r[s] * h[s][i] for s in (0, 1)) - lam * a[i] for i in (0, 1)]
    W_dot = [sum(r[s] * a[i] * on[s][i] * x[s] for s in (0, 1)) - lam * W[i] for i in (0, 1)]

    def rate(i: int, j: int) -> Fraction:
        upper = a_dot[i] * a[j] + a[i] * a_dot[j]
        return Fraction(upper - W_dot[i] * W[j] - W[i] * W_dot[j])

    off = a[0] * a[1] - W[0] * W[1]
    return off, rate(0, 1) + 2 * lam * off, rate(0, 0) + 2 * lam * (a[0] ** 2 - W[0] ** 2)


def _relu_off_diagonal(formulas: Formulas, setting: Setting) -> Evidence:
    """ReLU: the rate of D_12 is not −2λD_12, while that of D_11 is −2λD_11."""
    off, excess, diagonal = _relu_example()
    figures = {"D_12": str(off), "excess_rate_of_D_12": str(excess), "of_D_11": str(diagonal)}
    return Evidence(bool(excess != 0 and diagonal == 0), figures, f"excess rates {figures}")


def _not_homogeneous(formulas: Formulas, setting: Setting) -> Evidence:
    """tanh, with no weight decay: not even the diagonal is conserved."""
    model = mlp([4, 5, 2], "tanh", generator=1)
    X = np.random.default_rng(1).standard_normal((8, 4))
    end = gradient_flow(model, X, X[:, :2], [0.0, 0.25]).at(1)
    before, after = (_definition(as_arrays(m), 1, diagonal=True)[0] for m in (model, end))
    change = float(np.linalg.norm(after - before) / np.linalg.norm(before))
    return Evidence(change > 0.01, {"relative_change": change}, f"changed by {change:.3g} only")


def _whole_for_relu(weights: Any, lam: float, time: float, activation: str) -> Any:
    """The mutant that claims the diagonal's law with each neuron's column alone."""
    found = weight_decay.decayed_imbalance(weights, lam, time, activation)
    if activation == "linear":
        return found
    return tuple(np.exp(-2 * lam * time) * np.sum(W**2, axis=0) for W in weights[1:])


def _with(change: Any) -> Any:
    return lambda *arguments: weight_decay.decayed_imbalance(*change(*arguments))


MUTANTS = (
    Mutant("imbalance: rate λ", {"imbalance": _with(lambda w, lam, t, a: (w, lam / 2, t, a))}),
    Mutant("imbalance: conserved", {"imbalance": _with(lambda w, lam, t, a: (w, 0.0, t, a))}),
    Mutant("imbalance: λ × 1.00001", {"imbalance": _with(
        lambda w, lam, t, a: (w, lam * 1.00001, t, a))}),
    Mutant("imbalance: degree 1 always", {"imbalance": _with(
        lambda w, lam, t, a: (w, lam, t, a if a == "linear" else "relu"))}),
    Mutant("imbalance: no rows", {"imbalance": _whole_for_relu}),
)  # fmt: skip

WEIGHT_DECAY_CLAIM = Claim(
    id="alignment.weight_decay",
    title="weight decay forgets the imbalance of neighbouring layers",
    statement=(
        r"D = W_{j+1}^\top W_{j+1} - W_jW_j^\top:\ D(t) = e^{-2\lambda t}D(0);\quad "
        r"D^+ = (1-\eta\lambda)^2D + \eta^2(\nabla_{j+1}^\top\nabla_{j+1} - "
        r"\nabla_j\nabla_j^\top);\quad \varphi'(z)z = p\,\varphi(z) \Rightarrow "
        r"\tfrac{d}{dt}\mathrm{diag}(pW_{j+1}^\top W_{j+1} - W_jW_j^\top) = -2\lambda\,\cdot"
    ),
    source="T, here",
    hypotheses=(NEIGHBOURS, PENALTY, BETWEEN),
    formulas={
        "factor": weight_decay.FACTOR,
        "step_factor": weight_decay.STEP_FACTOR,
        "homogeneous": weight_decay.HOMOGENEOUS,
        "imbalance": weight_decay.decayed_imbalance,
    },
    legs=(
        derivation_leg("flow", weight_decay.derive_factor, ("factor",), whole=True),
        derivation_leg("descent", weight_decay.derive_step_factor, ("step_factor",), whole=True),
        derivation_leg(
            "activations", weight_decay.derive_homogeneous, ("homogeneous",), whole=True
        ),
        Leg("rational descent", Kind.EXACT, _descended, ("step_factor",)),
        Leg("ReLU off the diagonal", Kind.EXACT, _relu_off_diagonal, on_mutants=False),
        digits_leg("25 digits of the flow", _along_the_flow, ("factor",), DIGITS),
        digits_leg("networks", _networks, ("imbalance",), 8),
        Leg("tanh", Kind.DIRECT, _not_homogeneous, on_mutants=False),
    ),
    mutants=MUTANTS,
    equivalents={
        f"homogeneous: everything {change}": "a multiple of what decays by a factor decays alike"
        for change in ("* 51/50", "* (1 + 1e-6)", "negated")
    },
    notes=(
        "Off the diagonal the law fails for ReLU: f = a·relu(Wx) on x = ±1 with W = (2, −1)ᵀ, "
        "where each sample drives one neuron."
    ),
)
