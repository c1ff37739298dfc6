"""The modes of a two-layer linear network on whitened inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import ctx, fmpq_mat

from numerics.alignment import correlation, gradient_flow, layer_matrices, two_layer
from theory.alignment import modes

from ...claim import Claim, Formulas, Hypothesis, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from .linear_common import DIGITS, diagonal, frame, gram, in_digits, mp_context, product, trace
from .linear_flow import PRECISION, Problem, flow

WHITENED = Hypothesis("XᵀX = n I")
SQUARED = Hypothesis("½Σ‖f − y‖² + (λ/2)(‖W_1‖² + ‖W_2‖²), gradient flow")
DECOUPLED = Hypothesis("W_1(0) = Q√u Vᵀ, W_2(0) = A√u Qᵀ, the modes of the data, u > 0")

SAMPLES = 9
SINGULAR = (Fraction(5, 4), Fraction(3, 5))
ROOTS = (Fraction(1, 3), Fraction(1, 2))
"""Square roots of the strengths at t = 0."""
TIMES = (Fraction(1, 30), Fraction(1, 5))


# ── the matrix flow to 25 digits ─────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Instance:
    """Whitened data of nine samples with given modes, exact."""

    inputs: fmpq_mat
    targets: fmpq_mat
    left: fmpq_mat
    right: fmpq_mat


@lru_cache(maxsize=1)
def _instance() -> Instance:
    """YᵀX/9 = A diag(s) Vᵀ and XᵀX = 9 I, with noise in Y that X does not see."""
    whole = frame(SAMPLES, 5, 3)
    columns = whole.tolist()
    whitened = fmpq_mat([row[:3] for row in columns]) * 3
    left, right = frame(2, 2, 4), frame(3, 2, 5)
    unseen = fmpq_mat([row[3:] for row in columns])
    targets = whitened * right * diagonal(SINGULAR) * left.transpose() + unseen
    return Instance(whitened, targets, left, right)


@lru_cache(maxsize=32)
def _strengths(time: Fraction, decay: Fraction) -> tuple[list[Any], Any]:
    """u_i = a_iᵀ W_2W_1 v_i after the flow of the matrices, and ρ² of NFM and AGOP."""
    found = _instance()
    middle = frame(3, 2, 6)
    first = middle * diagonal(ROOTS) * found.right.transpose()
    second = found.left * diagonal(ROOTS) * middle.transpose()
    problem = Problem(found.inputs, found.targets, decay)
    weights = flow(problem, [first, second], time, max(4, int(60 * time)))
    return _read_off(found, weights)


def _read_off(found: Instance, weights: list[Any]) -> tuple[list[Any], Any]:
    with ctx.workprec(PRECISION):
        P = product(weights)
        core = found.left.transpose() * P * found.right
        nfm, agop = gram(weights[0]), gram(P)
        cosine = trace(nfm * agop) / (trace(nfm * nfm) * trace(agop * agop)).sqrt()
        return [core[0, 0], core[1, 1]], cosine


def _at(form: sympy.Expr, **values: Any) -> Any:
    """A formula at exact arguments, to 50 digits."""
    symbols = {symbol.name: symbol for symbol in form.free_symbols}
    exact = {symbols[name]: sympy.Rational(str(value))
             for name, value in values.items() if name in symbols}  # fmt: skip
    return mp_context().mpf(form.subs(exact).evalf(DIGITS + 25))


def _mode(form: sympy.Expr, i: int, time: Fraction, decay: Fraction) -> Any:
    values = {"s": SINGULAR[i], "u_0": ROOTS[i] ** 2, "n": SAMPLES, "lambda": decay, "t": time}
    return _at(form, **values)


# λ = 27/5 makes s_2 − λ/n = 0, λ = 9 makes it negative.
DECAYS = (Fraction(0), Fraction(7, 3), Fraction(9))
CRITICAL = Fraction(27, 5)


def _strength(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Both modes, with and without weight decay, also where it wins."""
    formula: Any = formulas["strength"]
    for decay in DECAYS:
        for time in TIMES:
            for i, reference in enumerate(_strengths(time, decay)[0]):
                point = f"mode {i + 1}, λ = {decay}, t = {time}"
                yield point, _mode(formula, i, time, decay), reference


def _critical(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The mode with s = λ/n."""
    formula: Any = formulas["critical"]
    for time in TIMES:
        reference = _strengths(time, CRITICAL)[0][1]
        yield f"λ = {CRITICAL}, t = {time}", _mode(formula, 1, time, CRITICAL), reference


def _correlations(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """ρ(NFM, AGOP) of the matrices against the formula at the strengths that they show."""
    formula: Any = formulas["correlation"]
    mp = mp_context()
    for time in TIMES:
        u, cosine = _strengths(time, DECAYS[1])
        shown = [in_digits(mp, strength) for strength in u]
        sums = [sympy.Float(str(mp.fsum(x**m for x in shown)), DIGITS + 25) for m in (2, 3, 4)]
        claimed = formula.subs(dict(zip(modes.POWER_SUMS, sums, strict=True)))
        yield f"t = {time}", mp.mpf(claimed.evalf(DIGITS + 20)), cosine


@lru_cache(maxsize=4)
def _frozen_strengths(decay: Fraction) -> list[Any]:
    """Modes of W_2W_1 with W_2 = 2Q'ᵀ frozen: c = 4."""
    found = _instance()
    readout = frame(3, 2, 8).transpose() * 2
    start = frame(3, 3, 1) * 0
    problem = Problem(found.inputs, found.targets, decay, frozen=(1,))
    with ctx.workprec(PRECISION):
        P = product(flow(problem, [start, readout], TIMES[0], 8))
        core = found.left.transpose() * P * found.right
        return [core[0, 0], core[1, 1]]


def _frozen(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """A frozen readout, W_1 decayed or not. W_2 does not feel its own."""
    formula: Any = formulas["frozen"]
    for decay in (Fraction(0), Fraction(7, 3)):
        for i, reference in enumerate(_frozen_strengths(decay)):
            values = {"s": SINGULAR[i], "c": 4, "n": SAMPLES, "lambda": decay, "t": TIMES[0]}
            yield f"mode {i + 1}, λ = {decay}", _at(formula, **values), reference


# ── networks ─────────────────────────────────────────────────────────────────────────────────────

START = 0.01


@lru_cache(maxsize=4)
def _network(decay: float) -> tuple[Any, Any, list[tuple[float, Any]]]:
    """Whitened data, and the first layer's matrices along the flow of a network of width 7."""
    rng = np.random.default_rng(4)
    n, d, o, k = 30, 5, 3, 7
    X = np.linalg.qr(rng.standard_normal((n, d)))[0] * np.sqrt(n)
    Y = X @ rng.standard_normal((d, o)) / 2 + 0.3 * rng.standard_normal((n, o))
    left, _, right = np.linalg.svd(Y.T @ X, full_matrices=False)
    middle = np.linalg.qr(rng.standard_normal((k, o)))[0]
    root = np.sqrt(START)
    model = two_layer(root * middle @ right, root * left @ middle.T, "linear")
    times = np.array([0.02, 0.06, 0.2])
    path = gradient_flow(model, X, Y, times, weight_decay=decay, rtol=1e-11)
    measured = [(float(t), layer_matrices(path.at(i), X, agop="gradient")["0"])
                for i, t in enumerate(times)]  # fmt: skip
    return X, Y, measured


def _networks(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Entries of NFM and AGOP, and ρ, of a torch network against theory's `modes`."""
    make: Any = formulas["modes"]
    for decay in (0.0, 2.5):
        X, Y, measured = _network(decay)
        found = make(X, Y, START, decay)
        for time, layer in measured:
            point = f"λ = {decay}, t = {time}"
            yield f"{point}: NFM", float(found.nfm(time)[0, 0]), float(layer.nfm[0, 0])
            yield f"{point}: AGOP", float(found.agop(time)[0, 1]), float(layer.agop[0, 1])
            yield f"{point}: ρ", found.correlation(time), correlation(layer.nfm, layer.agop)


def _changed(change: Any) -> Any:
    return lambda X, Y, start, decay: modes.linear_modes(*change(X, Y, start, decay))


MUTANTS = (
    Mutant("modes: start × 1.00001", {"modes": _changed(
        lambda X, Y, u, lam: (X, Y, u * 1.00001, lam))}),
    Mutant("modes: no weight decay", {"modes": _changed(lambda X, Y, u, lam: (X, Y, u, 0.0))}),
    Mutant("modes: targets × 1.00001", {"modes": _changed(
        lambda X, Y, u, lam: (X, Y * 1.00001, u, lam))}),
    Mutant("modes: outputs for inputs", {"modes": lambda X, Y, u, lam: dataclasses.replace(
        (found := modes.linear_modes(X, Y, u, lam)), inputs=found.inputs[:, ::-1])}),
)  # fmt: skip

MODES_CLAIM = Claim(
    id="alignment.modes",
    title="two-layer linear network on whitened inputs: logistic modes",
    statement=(
        r"u_i(t) = \frac{m_i}{1 + (m_i/u_i(0) - 1)e^{-2nm_it}},\ m_i = s_i - \lambda/n\ne0;\quad "
        r"u_i(t) = \frac{u_i(0)}{1 + 2nu_i(0)t},\ m_i = 0;\quad "
        r"\mathrm{NFM} = \sum u_iv_iv_i^\top,\ \mathrm{AGOP} = \sum u_i^2v_iv_i^\top,\ "
        r"\rho = \frac{\sum u_i^3}{\sqrt{\sum u_i^2\sum u_i^4}};\quad \text{readout frozen: }"
        r"\tfrac{ncs}{nc+\lambda}(1 - e^{-(nc+\lambda)t})"
    ),
    source="here",
    hypotheses=(WHITENED, SQUARED, DECOUPLED),
    formulas={
        "strength": modes.STRENGTH,
        "critical": modes.CRITICAL_STRENGTH,
        "correlation": modes.CORRELATION,
        "frozen": modes.FROZEN_STRENGTH,
        "modes": modes.linear_modes,
    },
    legs=(
        derivation_leg("strength", modes.derive_strength, ("strength", "critical"), whole=True),
        derivation_leg("correlation", modes.derive_correlation, ("correlation",), whole=True),
        derivation_leg("frozen readout", modes.derive_frozen_strength, ("frozen",), whole=True),
        digits_leg("matrix flow", _strength, ("strength",), DIGITS),
        digits_leg("matrix flow, s = λ/n", _critical, ("critical",), DIGITS),
        digits_leg("matrices' correlation", _correlations, ("correlation",), DIGITS),
        digits_leg("matrix flow, frozen readout", _frozen, ("frozen",), DIGITS),
        digits_leg("networks", _networks, ("modes",), 8),
    ),
    mutants=MUTANTS,
    uses=("alignment.balanced",),
    notes=(
        "Inputs scaled to XᵀX = I have n = 1 in the rates. From equal strengths ρ starts at 1 and "
        "tends to Σm³/√(Σm²Σm⁴) over the positive m: learning lowers it."
    ),
)
