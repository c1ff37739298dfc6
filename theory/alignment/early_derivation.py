r"""Derivations of the factorisation of the AGOP and of the early-time expansion.

They hold for every size. A derivative in one weight is taken with that weight split off: the
pre-activation is \zeta + w h with \zeta free of w, and the outputs are F_c + a_c \phi(\zeta + w h)
with F_c free of w. Sums over samples and outputs are linear, and identities between matrices are
identities between words in noncommutative symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import sympy

from ..derivation import Derivation, Step
from . import early_words as words
from .early_words import differentiate, evaluate, transpose

GRAM_ENTRY, INPUT_ENTRY = sympy.symbols("k·k' h·h'", real=True)

GRADIENTS = words.J * words.W
"""Rows ∂f_c(x_α)/∂h, through the layer alone."""

AGOP = words.Wt * words.K * words.W
NTK = GRAM_ENTRY * INPUT_ENTRY
"""Of the layer's weights, between output c of x and output c' of x'."""

NTK_WITH_BIAS = GRAM_ENTRY * (INPUT_ENTRY + 1)

_phi = sympy.Function("phi")
_w, _h, _zeta, _t = sympy.symbols("w h zeta t", real=True)


def _first(residuals: Iterable[sympy.Expr]) -> sympy.Expr:
    """The first residual that is not 0, or 0."""
    return next((r for r in residuals if r != 0), sympy.S.Zero)


def _word_residual(claimed: sympy.Expr, derived: sympy.Expr) -> sympy.Expr:
    """Claimed minus derived, with K and 𝒦 written out in J."""
    words_out = {words.K: words.PTK, words.GRAM: words.J * words.Jt}
    return sympy.expand((claimed - derived).subs(words_out))


# --- factorisation ----------------------------------------------------------------------------


def derive_factorisation(
    gradients: sympy.Expr = GRADIENTS,
    agop: sympy.Expr = AGOP,
    ntk: sympy.Expr = NTK,
    ntk_with_bias: sympy.Expr = NTK_WITH_BIAS,
) -> Derivation:
    """Derive AGOP = WᵀKW and the factorisation of a layer's empirical NTK.

    Args:
        gradients: The word for the rows ∂f_c(x_α)/∂h.
        agop: The word for the AGOP.
        ntk: The entry of the NTK of the weights, in ``GRAM_ENTRY`` and ``INPUT_ENTRY``.
        ntk_with_bias: The same for weights and bias together.

    Source: paper C.
    """
    mean_square = transpose(gradients) * gradients / words.SAMPLES
    steps = (
        Step(
            "f depends on h through z = Wh + b alone, so ∂f/∂h_j = Σ_i (∂f/∂z_i) W_ij.",
            partial(_chain_residual, gradients),
        ),
        Step(
            "The mean of ∇f∇fᵀ over samples, summed over outputs, is the claimed AGOP.",
            lambda: _word_residual(agop, mean_square),
        ),
        Step(
            "∂f/∂w = (∂f/∂z) h for the entry w of W, and ∂f/∂b = ∂f/∂z.",
            _weight_gradient_residual,
        ),
        Step(
            "The inner product of two gradients in W is that of the k times that of the h.",
            partial(_kernel_residual, ntk, bias=False),
        ),
        Step(
            "One more unit, or one more input, keeps the product: distributive law.",
            _one_more_residual,
        ),
        Step("The bias adds the inner product of the k.", partial(_kernel_residual, ntk_with_bias)),
    )
    return Derivation("AGOP = WᵀKW, NTK = ⟨k,k'⟩⟨h,h'⟩.", steps, ("the chain rule, for any k",))


def _chain_residual(gradients: sympy.Expr) -> sympy.Expr:
    F = sympy.Function("F")
    weights, rests = sympy.symbols("w0:3"), sympy.symbols("zeta0:3")
    z = [rest + w * _h for rest, w in zip(rests, weights, strict=True)]
    slots = sympy.symbols("u0:3")
    k = [sympy.diff(F(*slots), u).subs(dict(zip(slots, z, strict=True))) for u in slots]
    at = {words.J: np.array([k]), words.W: np.array([weights]).T}
    claimed = evaluate(gradients, at)[0, 0]
    return (sympy.diff(F(*z), _h) - claimed).doit().expand()


def _weight_gradient_residual() -> sympy.Expr:
    F, b, u = sympy.Function("F"), sympy.Symbol("b"), sympy.Symbol("u")
    z = _zeta + _w * _h + b
    k = sympy.diff(F(u), u).subs(u, z)
    return _first([(sympy.diff(F(z), _w) - k * _h).doit(), (sympy.diff(F(z), b) - k).doit()])


def _kernel_residual(ntk: sympy.Expr, bias: bool = True) -> sympy.Expr:
    k, q, h, m = (sympy.Matrix(sympy.symbols(f"{name}0:3")) for name in "kqhm")
    gradient, other = k * h.T, q * m.T
    total = sum(a * b for a, b in zip(gradient, other, strict=True)) + int(bias) * k.dot(q)
    return sympy.expand(total - ntk.subs({GRAM_ENTRY: k.dot(q), INPUT_ENTRY: h.dot(m)}))


def _one_more_residual() -> sympy.Expr:
    kernel, inputs, more = sympy.symbols("kappa eta delta")
    unit = (kernel + more) * inputs - (kernel * inputs + more * inputs)
    entry = kernel * (inputs + more) - (kernel * inputs + kernel * more)
    return _first([sympy.expand(unit), sympy.expand(entry)])


# --- leading order ----------------------------------------------------------------------------


def derive_early_time(
    jacobian: sympy.Expr = words.JACOBIAN,
    velocity: sympy.Expr = words.VELOCITY,
    nfm_leading: sympy.Expr = words.NFM_LEADING,
    agop_leading: sympy.Expr = words.AGOP_LEADING,
    correlation: sympy.Expr = words.CORRELATION,
) -> Derivation:
    """Derive Ẇ, the leading coefficients of centred NFM and AGOP, and the limit of their cosine.

    Args:
        jacobian: Entry of J in ``READOUT`` and ``FIRST``.
        velocity: The word for Ẇ.
        nfm_leading: The word for ẆᵀẆ.
        agop_leading: The word for ẆᵀKẆ.
        correlation: The cosine in ``INNER``, ``SQUARE_A`` and ``SQUARE_B``.

    Source: paper C.
    """
    V = velocity
    JV = words.J * V
    steps = (
        Step(
            "Any layer z = Wh of any network: -∂/∂w of ½ Σ_c (f_c - y_c)² is Σ_c (y_c - f_c) k_c h "
            "with k_c = ∂f_c/∂z.",
            _any_layer_residual,
        ),
        Step("k = ∂f/∂z = a φ'(z) for f = F + a φ(z).", partial(_jacobian_residual, jacobian)),
        Step(
            "-∂/∂w of ½ Σ_c (f_c - y_c)² is Σ_c (y_c - f_c) k_c h.",
            partial(_gradient_residual, jacobian, "mse"),
        ),
        Step(
            "-∂/∂w of log(1 + e^{-yf}) is y σ(-yf) k h.",
            partial(_gradient_residual, jacobian, "logistic"),
        ),
        Step(
            "R holds g_α in block α of row α: of Σ_β R_β,αc h_β the term g_αc h_α is left, for "
            "any n, and any o, k and d, which only count entries.",
            _block_residual,
        ),
        Step(
            "Summed over samples and outputs this is the word for Ẇ: n = o = k = d = 2.",
            partial(_velocity_residual, velocity),
        ),
        Step(
            "W - W_0 = tẆ + O(t²) and K(t) = K + O(t): centred matrices begin with t²ẆᵀẆ, t²ẆᵀKẆ.",
            _centred_residual,
        ),
        Step("ẆᵀẆ is the claimed word.", lambda: _word_residual(nfm_leading, transpose(V) * V)),
        Step(
            "ẆᵀKẆ is the claimed word.",
            lambda: _word_residual(agop_leading, transpose(V) * words.K * V),
        ),
        Step(
            "ẆᵀẆ = XᵀR·JẆ: if ẆᵀKẆ = (JẆ)ᵀ(JẆ)/n vanishes, Ẇ does. The limit exists iff Ẇ ≠ 0.",
            lambda: _first(
                [
                    _word_residual(transpose(V) * V, words.Xt * words.R * JV),
                    _word_residual(transpose(V) * words.K * V, transpose(JV) * JV / words.SAMPLES),
                ]
            ),
        ),
        Step(
            "The cosine does not change under positive factors: t² drops out, the limit is that of "
            "the leading coefficients.",
            partial(_limit_residual, correlation),
        ),
    )
    return Derivation("The limit t → 0⁺ of the centred correlation.", steps, _FLOW_CITES)


_FLOW_CITES = (
    "gradient flow has a unique solution, as smooth as its field (Picard, Lindelöf)",
    "Taylor's theorem",
)


def _jacobian_residual(jacobian: sympy.Expr) -> sympy.Expr:
    F, a, z = sympy.symbols("F a z", real=True)
    slope = sympy.diff(F + a * _phi(z), z)
    return sympy.expand(slope - jacobian.subs({words.READOUT: a, words.FIRST: _phi(z).diff(z)}))


def _gradient_residual(jacobian: sympy.Expr, loss: str) -> sympy.Expr:
    o = 2 if loss == "mse" else 1
    F, a, y = (sympy.symbols(f"{name}0:{o}", real=True) for name in "Fay")
    u = sympy.Symbol("u", real=True)
    z = _zeta + _w * _h
    f = [F[c] + a[c] * _phi(z) for c in range(o)]
    first = _phi(u).diff(u).subs(u, z)
    k = [jacobian.subs({words.READOUT: a[c], words.FIRST: first}) for c in range(o)]
    total, pull = _losses(f, y)[loss]
    claimed = sum(g * kc * _h for g, kc in zip(pull, k, strict=True))
    return sympy.simplify((-sympy.diff(total, _w) - claimed).doit())


def _losses(
    f: list[sympy.Expr], y: Iterable[sympy.Expr]
) -> dict[str, tuple[sympy.Expr, list[sympy.Expr]]]:
    """The loss of one sample and -∂loss/∂f."""
    pairs = list(zip(f, y, strict=True))
    return {
        "mse": (sum((a - b) ** 2 for a, b in pairs) / 2, [b - a for a, b in pairs]),
        "logistic": (
            sum(sympy.log(1 + sympy.exp(-b * a)) for a, b in pairs),
            [b / (1 + sympy.exp(b * a)) for a, b in pairs],
        ),
    }


def _any_layer_residual() -> sympy.Expr:
    """Two outputs, unknown functions of the pre-activation of the unit that w feeds."""
    F, G = sympy.Function("F"), sympy.Function("G")
    y = sympy.symbols("y0:2", real=True)
    u, z = sympy.Symbol("u", real=True), _zeta + _w * _h
    f = [F(z), G(z)]
    k = [sympy.diff(function(u), u).subs(u, z) for function in (F, G)]
    total, pull = _losses(f, y)["mse"]
    claimed = sum(g * kc * _h for g, kc in zip(pull, k, strict=True))
    return sympy.expand((-sympy.diff(total, _w) - claimed).doit())


def _block_residual() -> sympy.Expr:
    """Σ_β δ_αβ g_α h_β = g_α h_α for a symbolic α; outside of 1 … n there are only zeros."""
    alpha, beta = sympy.symbols("alpha beta", integer=True)
    g, h = sympy.Function("g"), sympy.Function("h")
    row = sympy.KroneckerDelta(alpha, beta) * g(alpha) * h(beta)
    return sympy.simplify(sympy.summation(row, (beta, -sympy.oo, sympy.oo)) - g(alpha) * h(alpha))


def _velocity_residual(velocity: sympy.Expr) -> sympy.Expr:
    n, o, k, d = 2, 2, 2, 2
    J, g, X = _table("k", n * o, k), _table("g", n, o), _table("h", n, d)
    R = np.zeros((n, n * o), dtype=object)
    for alpha in range(n):
        R[alpha, alpha * o : (alpha + 1) * o] = g[alpha]
    at = {words.J: J, words.R: R, words.X: X}
    claimed = evaluate(velocity, at | {words.TRANSPOSES[s]: M.T for s, M in at.items()})
    summed = sum(
        g[alpha, c] * np.outer(J[alpha * o + c], X[alpha]) for alpha in range(n) for c in range(o)
    )
    return _first(sympy.expand(entry) for entry in np.ravel(claimed - summed))


def _table(name: str, rows: int, columns: int) -> Any:
    symbols = sympy.symbols(f"{name}0:{rows * columns}", real=True)
    return np.array(symbols, dtype=object).reshape(rows, columns)


def _moved(order: int) -> sympy.Expr:
    """W - W_0 up to t^order."""
    return sympy.expand(sum(_t**i * c for i, c in ((1, words.V), (2, words.A / 2)) if i <= order))


def _series(power: int, *factors: sympy.Expr) -> sympy.Expr:
    """The coefficient of t^power in a product of words."""
    return sympy.expand(sympy.Mul(*factors)).coeff(_t, power)


def _ptk(t: sympy.Symbol = _t) -> sympy.Expr:
    return words.K + t * words.K_DOT


def _centred_residual() -> sympy.Expr:
    step, V = _moved(2), words.V
    return _first(
        [
            *(_series(i, transpose(step), step) for i in (0, 1)),
            *(_series(i, transpose(step), _ptk(), step) for i in (0, 1)),
            _series(2, transpose(step), step) - words.Vt * V,
            _series(2, transpose(step), _ptk(), step) - words.Vt * words.K * V,
        ]
    )


def _limit_residual(correlation: sympy.Expr) -> sympy.Expr:
    t = sympy.Symbol("t", positive=True)
    p, a, b = (sympy.symbols(f"{name}0:2", positive=True) for name in "pab")
    # Squared lengths and inner product of t² (A + t A' + …) and t² (B + t B' + …).
    inner, square_a, square_b = (t**4 * (c[0] + t * c[1]) for c in (p, a, b))
    cosine = sympy.simplify(inner / (sympy.sqrt(square_a) * sympy.sqrt(square_b)))
    at = {words.INNER: p[0], words.SQUARE_A: a[0], words.SQUARE_B: b[0]}
    return sympy.simplify(sympy.limit(cosine, t, 0, "+") - correlation.subs(at))


# --- next order -------------------------------------------------------------------------------

SERIES: tuple[str, ...] = (
    *("jacobian_dot", "readout_velocity", "output_velocity", "pull_velocity", "acceleration"),
    *("ptk", "ptk_dot", "nfm_next", "agop_next", "nfm_slope", "agop_slope", "correlation_slope"),
)
"""The formulas of the next order, in the order in which `derive_early_series` takes them."""


def derive_early_series(*claimed: sympy.Expr) -> Derivation:
    """Derive the next order in t of the centred and of the uncentred correlation.

    Args:
        claimed: The formulas named in ``SERIES``, in this order; by default those of `early_words`.

    Source: this project.
    """
    chosen = claimed or tuple(words.FORMULAS[name] for name in SERIES)
    f = dict(zip(SERIES, chosen, strict=True))
    step, W = _moved(2), words.W + _moved(1)
    rates = {words.J: words.J_DOT, words.Jt: words.J_DOT_T, words.Rt: words.R_DOT_T}
    steps = (
        Step(
            "k(t) = a(t) φ'(z(t)), by the product rule.",
            partial(_entry_rate_residual, f["jacobian_dot"], lambda a, z: a * _slope_at(z)),
        ),
        Step(
            "-∂loss/∂a = g φ(z), for one sample; samples add.",
            partial(_readout_residual, f["readout_velocity"]),
        ),
        Step(
            "f(t) is a sum of a(t) φ(z(t)) over units.",
            partial(_entry_rate_residual, f["output_velocity"], lambda a, z: a * _phi(z)),
        ),
        Step("g = -ℓ'(f) moves with -ℓ''(f) ḟ.", partial(_pull_residual, f["pull_velocity"])),
        Step("ℓ'' is 1 for mse, σ(yf)σ(-yf) for logistic, y² = 1.", _curvature_residual),
        Step(
            "Ẅ is the derivative of JᵀRᵀX, in which X stands still.",
            lambda: _word_residual(f["acceleration"], differentiate(words.VELOCITY, rates)),
        ),
        Step("K = JᵀJ/n.", lambda: sympy.expand(f["ptk"] - words.Jt * words.J / words.SAMPLES)),
        Step(
            "K̇ by the product rule.",
            lambda: _word_residual(f["ptk_dot"], differentiate(words.PTK, rates)),
        ),
        Step(
            "N_3 is the coefficient of t³ in the square of W - W_0 = tẆ + t²Ẅ/2.",
            lambda: sympy.expand(f["nfm_next"] - _series(3, transpose(step), step)),
        ),
        Step(
            "G_3 is the same with K + tK̇ between the factors.",
            lambda: sympy.expand(f["agop_next"] - _series(3, transpose(step), _ptk(), step)),
        ),
        Step(
            "The uncentred NFM: the coefficient of t in (W + tẆ)ᵀ(W + tẆ).",
            lambda: sympy.expand(f["nfm_slope"] - _series(1, transpose(W), W)),
        ),
        Step(
            "The uncentred AGOP: the same with K + tK̇ between the factors.",
            lambda: sympy.expand(f["agop_slope"] - _series(1, transpose(W), _ptk(), W)),
        ),
        Step("Inner products of A + tA' and B + tB' are bilinear.", _bilinear_residual),
        Step(
            "The derivative of the cosine at t = 0.",
            partial(_slope_residual, f["correlation_slope"]),
        ),
    )
    return Derivation("The slope of both correlations at t = 0.", steps, _FLOW_CITES)


def _slope_at(z: sympy.Expr, order: int = 1) -> sympy.Expr:
    u = sympy.Symbol("u", real=True)
    return sympy.diff(_phi(u), u, order).subs(u, z)


def _entry_rate_residual(
    claimed: sympy.Expr, entry: Callable[[sympy.Expr, sympy.Expr], sympy.Expr]
) -> sympy.Expr:
    """The derivative of an entry in t along a(t) = a + t ȧ, z(t) = z + t ż, at t = 0."""
    z = sympy.Symbol("z", real=True)
    a_t, z_t = words.READOUT + _t * words.READOUT_DOT, z + _t * words.Z_DOT
    derived = sympy.diff(entry(a_t, z_t), _t).doit().subs(_t, 0).doit()
    values: Mapping[sympy.Symbol, sympy.Expr] = {
        words.PHI: _phi(z),
        words.FIRST: _slope_at(z),
        words.SECOND: _slope_at(z, 2),
    }
    return sympy.expand((derived - claimed.subs(values)).doit())


def _readout_residual(claimed: sympy.Expr) -> sympy.Expr:
    a, F, y, value = sympy.symbols("a F y phi_z", real=True)
    residuals = []
    for total, pull in _losses([F + a * value], [y]).values():
        found = -sympy.diff(total, a) - claimed.subs({words.PULL: pull[0], words.PHI: value})
        residuals.append(sympy.simplify(found))
    return _first(residuals)


def _pull_residual(claimed: sympy.Expr) -> sympy.Expr:
    loss, f = sympy.Function("ell"), sympy.Symbol("f", real=True)
    moving = -sympy.diff(loss(f), f).subs(f, f + _t * words.OUTPUT_DOT)
    derived = sympy.diff(moving, _t).doit().subs(_t, 0).doit()
    return sympy.expand((derived - claimed.subs(words.CURVATURE, loss(f).diff(f, 2))).doit())


def _curvature_residual() -> sympy.Expr:
    f, y = sympy.symbols("f y", real=True)
    losses = _losses([f], [y])
    curvatures = {
        "mse": sympy.S.One,
        "logistic": y**2 / ((1 + sympy.exp(-y * f)) * (1 + sympy.exp(y * f))),
    }
    return _first(
        sympy.simplify(sympy.diff(total, f, 2) - curvatures[name])
        for name, (total, _) in losses.items()
    )


def _bilinear_residual() -> sympy.Expr:
    A, B, A_dot, B_dot = (sympy.Matrix(sympy.symbols(f"{name}0:3")) for name in "ABCD")
    moving_a, moving_b = A + _t * A_dot, B + _t * B_dot
    return _first(
        [
            sympy.expand(moving_a.dot(moving_b)).coeff(_t, 1)
            - sympy.expand(A_dot.dot(B) + A.dot(B_dot)),
            sympy.expand(moving_a.dot(moving_a)).coeff(_t, 1) - sympy.expand(2 * A.dot(A_dot)),
        ]
    )


def _slope_residual(claimed: sympy.Expr) -> sympy.Expr:
    inner = words.INNER + _t * words.INNER_DOT
    squares = (words.SQUARE_A + 2 * _t * words.TURN_A) * (words.SQUARE_B + 2 * _t * words.TURN_B)
    derived = sympy.diff(inner / sympy.sqrt(squares), _t).subs(_t, 0)
    return sympy.simplify(derived - claimed)
