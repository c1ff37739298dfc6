"""Rank one: a step from a zero first layer, and ridge regression with the linear kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat

from theory.rfm import linear_machine as linear
from theory.rfm import one_step
from theory.rfm.words import exact_value, rational_matrix

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..rationals import differ, rational
from ..shared import formula

if TYPE_CHECKING:
    from torch import Tensor, nn

# ── one step ─────────────────────────────────────────────────────────────────────────────────────

RATE = 0.3


@lru_cache(maxsize=1)
def _stepped() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Networks with W = 0 before and after one step of all their parameters."""
    import torch

    rng = torch.Generator().manual_seed(50)
    X = torch.randn(7, 4, generator=rng, dtype=torch.float64)
    y = torch.randn(7, generator=rng, dtype=torch.float64)
    cases = (("tanh, two layers", 2, torch.nn.Tanh), ("softplus, three", 3, torch.nn.Softplus),
             ("GELU, four", 4, torch.nn.GELU))  # fmt: skip
    return tuple((label, _one_step(_network(depth, act, rng), X, y)) for label, depth, act in cases)


def _network(depth: int, act: type[nn.Module], rng: Any) -> nn.Sequential:
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for level in range(depth - 1):
        layers += [nn.Linear(4 if level == 0 else 5, 5), act()]
    layer: Any = layers[0]
    model = nn.Sequential(*layers, nn.Linear(5, 1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) / 2)
        layer.weight.zero_()
    return model


def _one_step(model: nn.Sequential, X: Tensor, y: Tensor) -> dict[str, Any]:
    """f_0 and k before a step of size `RATE` on Σ ½(f − y)², and NFM, AGOP and s after it."""
    import torch

    first = _jacobian(model[1:], model[0](X))
    output = model(X)[:, 0]
    before = {"f_0": output[0].item(), "k": first[0].numpy()}
    parameters = list(model.parameters())
    slopes = torch.autograd.grad((output - y).square().sum() / 2, parameters)
    with torch.no_grad():
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.sub_(RATE * slope)
    weight = parameters[0].detach().numpy()
    gradients = _jacobian(model, X).numpy()
    after = {"nfm": weight.T @ weight, "agop": gradients.T @ gradients / len(X)}
    s = _jacobian(model[1:], model[0](X)).numpy() @ before["k"]
    return {**before, **after, "s": s, "X": X.numpy(), "y": y.numpy()}


def _jacobian(model: nn.Module, inputs: Tensor) -> Tensor:
    import torch

    x = inputs.detach().requires_grad_()
    (found,) = torch.autograd.grad(model(x).sum(), x)
    return found


def _numbers(expression: Any, values: dict[sympy.Symbol, Any]) -> Any:
    """A formula at floats, entry by entry."""
    return sympy.lambdify(list(values), expression, "numpy")(*values.values())


def _networks(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for label, net in _stepped():
        targets = {one_step.TARGET: net["y"], one_step.INITIAL_OUTPUT: net["f_0"]}
        g = _numbers(formula(formulas, "residual"), targets) @ net["X"]
        norm = {one_step.RATE: RATE, one_step.FEATURE_NORM: net["k"] @ net["k"]}
        slopes = {one_step.RATE: RATE, one_step.SLOPE: net["s"]}
        nfm = _numbers(formula(formulas, "nfm_factor"), norm) * np.outer(g, g)
        agop = np.mean(_numbers(formula(formulas, "agop_factor"), slopes)) * np.outer(g, g)
        yield f"{label}: NFM", *_beside(nfm, net["nfm"])
        yield f"{label}: AGOP", *_beside(agop, net["agop"])


def _beside(found: Any, reference: Any) -> tuple[float, float]:
    """1 + the largest difference over the largest entry, beside 1."""
    return 1 + float(np.abs(found - reference).max() / np.abs(reference).max()), 1.0


@lru_cache(maxsize=1)
def _polynomial_network() -> dict[str, Any]:
    """f = Σ_j a_jφ(w_j·x + b_j), φ a cubic with φ(0) ≠ 0, differentiated by SymPy at W = 0."""
    X, y = rational(3, 2, 61), [row[0] for row in rational(3, 1, 62)]
    a, b = ([row[0] for row in rational(2, 1, seed)] for seed in (63, 64))
    eta = Fraction(1, 100)
    W = sympy.symbols("w0:4")
    x = sympy.symbols("x0:2")
    f = sum(_q(a[j]) * _cubic(W[2 * j] * x[0] + W[2 * j + 1] * x[1] + _q(b[j])) for j in range(2))
    at = [dict(zip(x, map(_q, row), strict=True)) for row in X]
    loss = sum((f.subs(p) - _q(t)) ** 2 / 2 for p, t in zip(at, y, strict=True))
    zero = dict.fromkeys(W, 0)
    moved = {w: -_q(eta) * sympy.diff(loss, w).subs(zero) for w in W}
    weights = sympy.Matrix(2, 2, list(moved.values()))
    slopes = [sympy.diff(f, v).subs(moved) for v in x]
    gradients = sympy.Matrix([[slope.subs(p) for slope in slopes] for p in at])
    data = {"X": X, "y": y, "a": a, "b": b, "eta": eta, "f_0": f.subs(zero)}
    return {**data, "nfm": weights.T * weights, "agop": gradients.T * gradients / 3}


def _q(value: Fraction) -> sympy.Rational:
    return sympy.Rational(value.numerator, value.denominator)


def _cubic(z: Any) -> Any:
    return 2 + z + z**2 / 3 - z**3 / 5


def _cubic_slope(z: Any) -> Any:
    return 1 + 2 * z / 3 - 3 * z**2 / 5


def _rational_networks(formulas: Formulas, setting: Setting) -> Evidence:
    """Every entry of NFM and AGOP in exact fractions, with s from the claimed summand."""
    net = _polynomial_network()
    eta, a, b = _q(net["eta"]), [_q(v) for v in net["a"]], [_q(v) for v in net["b"]]
    targets = [
        formula(formulas, "residual").subs(
            {one_step.TARGET: _q(t), one_step.INITIAL_OUTPUT: net["f_0"]}
        )
        for t in net["y"]
    ]
    X = sympy.Matrix([[_q(v) for v in row] for row in net["X"]])
    g = X.T * sympy.Matrix(targets)
    k = [u * _cubic_slope(v) for u, v in zip(a, b, strict=True)]
    norm = {one_step.RATE: eta, one_step.FEATURE_NORM: sum(u**2 for u in k)}
    factors = [
        _factor(formulas, [v + eta * u * t for u, v in zip(k, b, strict=True)], a, b, eta)
        for t in X * g
    ]
    nfm, agop = formula(formulas, "nfm_factor").subs(norm), sum(factors) / len(factors)
    for name, factor in (("nfm", nfm), ("agop", agop)):
        if sympy.expand(factor * g * g.T - net[name]) != sympy.zeros(2, 2):
            return differ(name, factor * g * g.T, net[name])
    return Evidence(True, {"rank": int(net["agop"].rank()), "residual": 0})


def _factor(formulas: Formulas, z: Sequence[Any], a: Any, b: Any, eta: Any) -> Any:
    terms = [
        formula(formulas, "slope_term").subs(
            {
                one_step.READOUT: u,
                one_step.FIRST_SLOPE: _cubic_slope(v),
                one_step.SECOND_SLOPE: _cubic_slope(w),
            }
        )
        for u, v, w in zip(a, b, z, strict=True)
    ]
    return formula(formulas, "agop_factor").subs({one_step.RATE: eta, one_step.SLOPE: sum(terms)})


ONE_STEP = Claim(
    id="rfm.one_step",
    title="one step from a zero first layer",
    statement=(
        r"f(x) = F(Wx + b),\ W_0 = 0,\ k = \nabla F(b) \ne 0,\ f_0 = F(b):\ "
        r"W_1 = \eta\, k g^\top,\ g = \sum_i (y_i - f_0)\, x_i;\ "
        r"\mathrm{NFM} = \eta^2 \|k\|^2 gg^\top,\ "
        r"\mathrm{AGOP} = \eta^2 \Big(\frac1n \sum_i s(x_i)^2\Big) gg^\top,\ "
        r"s(x) = k^\top \nabla F(W_1 x + b);\ "
        r"k = a \circ \varphi'(b) \text{ for } f = a^\top \varphi(Wx + b)"
    ),
    source="E (for f₀ = 0), here",
    hypotheses=(
        Hypothesis(
            "one output; loss Σ ½(f − y)²; the layers above and b may move, too: s has the new ones"
        ),
        Hypothesis("k ≠ 0 (two layers, b = 0: φ'(0) ≠ 0) and g ≠ 0"),
        Hypothesis(
            "the AGOP is not 0: s ≠ 0 at some sample; so for two layers with φ' > 0 and a fixed, "
            "and for any network with continuous ∇F if η is small"
        ),
    ),
    formulas={
        "residual": one_step.RESIDUAL,
        "nfm_factor": one_step.NFM_FACTOR,
        "agop_factor": one_step.AGOP_FACTOR,
        "slope_term": one_step.SLOPE_TERM,
    },
    legs=(
        derivation_leg(
            "any network",
            one_step.derive_one_step,
            ("residual", "nfm_factor", "agop_factor", "slope_term"),
            whole=True,
        ),
        digits_leg("networks stepped", _networks, ("residual", "nfm_factor", "agop_factor"), 11),
        Leg(
            "rational network",
            Kind.DIRECT,
            _rational_networks,
            ("residual", "nfm_factor", "agop_factor", "slope_term"),
        ),
    ),
    notes=(
        "The direction is Σ y_i x_i only if f₀ = 0 or Σ x_i = 0: φ(z) = 1 + z, a = 1, "
        "X = (1, 0; 1, 1), y = (1, 0) has g = (−1, −1) and Σ y_i x_i = (1, 0). Nor is φ'(0) ≠ 0 "
        "enough for the AGOP: φ = sin, x = y = a = 1, η = π/2 has NFM = π²/4 and AGOP = 0."
    ),
)

# ── linear kernel ────────────────────────────────────────────────────────────────────────────────

RIDGE = Fraction(5, 7)


def _problem(n: int, d: int, outputs: int, rank: int, seed: int) -> dict[str, fmpq_mat]:
    """Rational X, y and a metric of that rank."""
    X, y, root = (
        rational_matrix(rational(*shape))
        for shape in ((n, d, seed), (n, outputs, seed + 1), (rank, d, seed + 2))
    )
    return {"X": X, "y": y, "M": root.transpose() * root}


PROBLEMS = (
    ("n > d", _problem(5, 3, 1, 3, 70)),
    ("n < d", _problem(2, 4, 1, 4, 80)),
    ("singular M", _problem(4, 4, 1, 2, 90)),
    ("two outputs", _problem(5, 4, 2, 4, 100)),
)


def _machine_agop(problem: dict[str, fmpq_mat]) -> fmpq_mat:
    """The AGOP from the definition: α from (XMXᵀ + λ)α = y, ∇f_c by differences of f_c.

    f_c is linear, so f_c(x + e) − f_c(x) is the slope along e; it is taken at every training point.
    """
    X, y, M = problem["X"], problem["y"], problem["M"]
    n, d = X.nrows(), X.ncols()
    lam = fmpq(RIDGE.numerator, RIDGE.denominator)
    alpha = (X * M * X.transpose() + lam * rational_matrix(np.eye(n, dtype=int).tolist())).solve(y)
    total = rational_matrix([[0] * d] * d)
    for row in range(n):
        here = fmpq_mat([[X[row, j] for j in range(d)] for _ in range(d)])
        there = here + rational_matrix(np.eye(d, dtype=int).tolist())
        slopes = there * M * X.transpose() * alpha - here * M * X.transpose() * alpha
        total += slopes * slopes.transpose()
    return total / n


def _ridge_vectors(formulas: Formulas, setting: Setting) -> Evidence:
    """BBᵀ for the claimed B against the AGOP of the definition; its rank."""
    ranks = []
    for label, problem in PROBLEMS:
        values = {
            linear.M: problem["M"],
            linear.X: problem["X"],
            linear.Xt: problem["X"].transpose(),
            linear.Y: problem["y"],
            linear.RIDGE: fmpq(RIDGE.numerator, RIDGE.denominator),
        }
        claimed: Any = exact_value(formula(formulas, "ridge_vector"), values)
        found = _machine_agop(problem)
        ranks.append(found.rank())
        if not isinstance(claimed, fmpq_mat) or claimed * claimed.transpose() != found:
            return differ(label, claimed, found)
    expected = [problem["y"].ncols() for _, problem in PROBLEMS]
    return Evidence(ranks == expected, {"problems": len(ranks), "ranks": str(ranks)}, str(ranks))


def _rounds(formulas: Formulas, setting: Setting) -> Evidence:
    """Three rounds M ← AGOP from M of the first problem, each against the claimed factor."""
    _, problem = PROBLEMS[0]
    agop = _machine_agop(problem)
    axis = fmpq_mat([[agop[i, 0]] for i in range(agop.nrows())])  # any multiple of β
    line = axis * axis.transpose()
    X, y = problem["X"], problem["y"]
    pull = (axis.transpose() * X.transpose() * y)[0, 0]
    spread = (axis.transpose() * X.transpose() * X * axis)[0, 0]
    for turn in range(3):
        strength = agop[0, 0] / line[0, 0]
        numbers = zip(
            (linear.STRENGTH, linear.PULL, linear.SPREAD), (strength, pull, spread), strict=True
        )
        values = {linear.RIDGE: RIDGE, **{s: Fraction(int(v.p), int(v.q)) for s, v in numbers}}
        at = {symbol: _q(Fraction(value)) for symbol, value in values.items()}
        claimed = sympy.sympify(formula(formulas, "next_strength")).subs(at)
        agop = _machine_agop({**problem, "M": agop})
        if not claimed.is_Rational or fmpq(int(claimed.p), int(claimed.q)) * line != agop:
            return differ(f"round {turn + 2}", claimed, agop)
    return Evidence(True, {"rounds": 3, "rank": int(agop.rank()), "residual": 0})


def _library(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for label, problem in PROBLEMS:
        arrays = {
            name: np.array(
                [[float(Fraction(int(v.p), int(v.q))) for v in row] for row in m.tolist()]
            )
            for name, m in problem.items()
        }
        call = formula(formulas, "agop")
        found = call(arrays["X"], arrays["y"], float(RIDGE), metric=arrays["M"])
        reference = _machine_agop(problem)
        for (i, j), value in np.ndenumerate(found):
            yield f"{label} [{i}, {j}]", float(value), reference[i, j]


def _without_ridge_scale(X: Any, y: Any, ridge: float, *, metric: Any) -> Any:
    return linear.linear_agop(X, y, ridge * len(X), metric=metric)


def _without_metric(X: Any, y: Any, ridge: float, *, metric: Any) -> Any:
    return linear.linear_agop(X, y, ridge)


LINEAR_RANK_ONE = Claim(
    id="rfm.linear_rank_one",
    title="the AGOP of linear ridge regression",
    statement=(
        r"k(x, z) = x^\top M z,\ \alpha = (XMX^\top + \lambda I)^{-1} y:\ "
        r"\nabla f = \beta = M (X^\top X M + \lambda I)^{-1} X^\top y \text{ everywhere},\ "
        r"\mathrm{AGOP} = \beta\beta^\top, \text{ of rank one unless } MX^\top y = 0;\ "
        r"\text{from } M = m\, uu^\top:\ \mathrm{AGOP} = \Big(\frac{m b}{m s + \lambda}\Big)^2 "
        r"uu^\top,\ b = u^\top X^\top y,\ s = \|Xu\|^2"
    ),
    source="here",
    hypotheses=(
        Hypothesis("M symmetric positive semidefinite, λ > 0"),
        Hypothesis("one output; with o outputs β is (d, o), and the rank is at most o"),
    ),
    formulas={
        "ridge_vector": linear.RIDGE_VECTOR,
        "next_strength": linear.NEXT_STRENGTH,
        "agop": linear.linear_agop,
    },
    legs=(
        derivation_leg(
            "all sizes",
            linear.derive_linear_machine,
            ("ridge_vector", "next_strength"),
            whole=True,
        ),
        Leg("rational problems", Kind.DIRECT, _ridge_vectors, ("ridge_vector",)),
        Leg("rational rounds", Kind.DIRECT, _rounds, ("next_strength",)),
        digits_leg("library function", _library, ("agop",), 11),
    ),
    mutants=(
        Mutant("ridge times n", {"agop": _without_ridge_scale}),
        Mutant("M left out", {"agop": _without_metric}),
    ),
    notes=(
        "So the linear machine finds its direction in round 0 and keeps it: later rounds change "
        "only the length. The fixed points of the length are those of m = (mb/(ms + λ))²."
    ),
)
