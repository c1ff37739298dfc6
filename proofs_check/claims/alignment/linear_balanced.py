"""Deep linear networks: exponents under balance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
import torch
from flint import ctx

from numerics.alignment import LayerMatrices, gradient_flow, layer_matrices, matrix_power_psd
from theory.alignment import balanced

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from .linear_common import (
    DIGITS,
    Floats,
    balanced_rationals,
    eigenvalues,
    frame,
    gram,
    integers,
    linear_model,
    log_slope,
    mp_context,
    product,
    seeds,
    trace,
)
from .linear_flow import PRECISION, Problem, flow

LINEAR = Hypothesis("layers without activations between them and without biases")
FLOW = Hypothesis("gradient flow of a differentiable loss, all layers at the same speed")
BALANCED = Hypothesis("W_{j+1}ᵀW_{j+1} = W_jW_jᵀ at t = 0 for the layers from ℓ up")

WIDTHS = {1: (3, 2), 2: (3, 4, 2), 3: (4, 2, 3, 3), 4: (3, 3, 2, 4, 2)}
SIGMA = (Fraction(3, 2), Fraction(2, 3))


def _exponent(formulas: Formulas, depth: int, layer: int) -> sympy.Expr:
    formula: Any = formulas["exponent"]
    return formula.subs({balanced.DEPTH: depth, balanced.LAYER: layer})


# ── exact instances ──────────────────────────────────────────────────────────────────────────────


def _agop(weights: Sequence[Any], layer: int) -> Any:
    """The gradient of f = W_L…W_ℓ h by h is the same for all samples: (W_L…W_ℓ)ᵀ(W_L…W_ℓ)."""
    return gram(product(weights[layer - 1 :]))


def _instances() -> Iterator[tuple[int, int, list[Any]]]:
    """Depth, layer, weights; the layers below ℓ are not balanced."""
    for depth, widths in WIDTHS.items():
        weights = balanced_rationals(widths, SIGMA, seed=depth)
        for layer in range(1, depth + 1):
            below = [integers(w.nrows(), w.ncols(), 7 * depth) for w in weights[: layer - 1]]
            yield depth, layer, below + weights[layer - 1 :]


def _rational(formulas: Formulas, setting: Setting) -> Evidence:
    """AGOP = NFM^{1/e} in exact rational arithmetic."""
    count = 0
    for depth, layer, weights in _instances():
        power = 1 / _exponent(formulas, depth, layer)
        point = f"L = {depth}, layer {layer}"
        if not (power.is_Integer and power > 0):
            return Evidence(False, {}, f"{point}: 1/e = {power} is no whole number")
        if gram(weights[layer - 1]) ** int(power) != _agop(weights, layer):
            return Evidence(False, {}, f"{point}: AGOP is not NFM^{power}")
        count += 1
    return Evidence(True, {"residual": 0, "instances": count})


def _without_balance(formulas: Formulas, setting: Setting) -> Evidence:
    """With unbalanced weights the law fails, at every layer but the last."""
    count = 0
    for depth, widths in WIDTHS.items():
        pairs = itertools.pairwise(widths)
        weights = [integers(up, low, depth + place) for place, (low, up) in enumerate(pairs)]
        for layer in range(1, depth):
            power = depth - layer + 1
            if gram(weights[layer - 1]) ** power == _agop(weights, layer):
                return Evidence(False, {}, f"L = {depth}, layer {layer}: holds without balance")
            count += 1
    return Evidence(True, {"counterexamples": count})


@lru_cache(maxsize=4)
def _flowed(depth: int) -> list[Any]:
    weights = balanced_rationals(WIDTHS[depth], SIGMA, seed=10 + depth)
    d, o = WIDTHS[depth][0], WIDTHS[depth][-1]
    return flow(Problem(integers(4, d, 1), integers(4, o, 2)), weights, Fraction(1, 100), 20)


def _along_the_flow(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """tr NFM^{1/e} against tr AGOP at t = 1/100, the flow integrated to 40 digits."""
    mp = mp_context()
    for depth in (2, 3):
        for layer in range(1, depth + 1):
            nfm, total = _nfm_and_trace(_flowed(depth), layer)
            power = mp.mpf(1) / _number(_exponent(formulas, depth, layer))
            claimed = mp.fsum(x**power for x in eigenvalues(nfm))
            yield f"L = {depth}, layer {layer}", claimed, total


def _number(constant: sympy.Expr) -> Any:
    return mp_context().mpf(constant.evalf(DIGITS + 25))


def _nfm_and_trace(weights: Sequence[Any], layer: int) -> tuple[Any, Any]:
    """A layer's NFM, and the trace of its AGOP."""
    with ctx.workprec(PRECISION):
        return gram(weights[layer - 1]), trace(_agop(weights, layer))


@lru_cache(maxsize=1)
def _frozen_flow() -> list[Any]:
    readout = frame(3, 2, 5).transpose() * 2  # AAᵀ = 4
    start = integers(3, 3, 0) * 0
    problem = Problem(integers(4, 3, 1), integers(4, 2, 2), frozen=(1,))
    return flow(problem, [start, readout], Fraction(1, 40), 10)


def _frozen(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """AGOP against NFM, readout with AAᵀ = 4 I frozen, W from 0."""
    nfm, total = _nfm_and_trace(_frozen_flow(), 1)
    formula: Any = formulas["frozen"]
    law = sympy.lambdify(balanced.EIGENVALUE, formula.subs(balanced.READOUT, 4), "mpmath")
    claimed = mp_context().fsum(law(value) for value in eigenvalues(nfm))
    yield "c = 4, t = 1/40", claimed, total


def _frozen_general(formulas: Formulas, setting: Setting) -> Evidence:
    """A readout with two different singular values: AGOP and NFM are not proportional."""
    A, M = integers(2, 3, 4), integers(2, 3, 6)
    W = A.transpose() * M
    nfm, agop = gram(W), gram(A * W)
    minor = nfm[0, 0] * agop[1, 1] - nfm[1, 1] * agop[0, 0]
    return Evidence(bool(minor != 0), {"minor": str(minor)}, f"the minor is {minor}")


# ── trained ──────────────────────────────────────────────────────────────────────────────────────

TRAINED_WIDTHS = {2: (6, 5, 3), 3: (6, 5, 4, 3), 4: (6, 5, 4, 5, 3)}
TRAINED_SIGMA = (1.1, 0.8, 0.5)
LOSSES = {2: "mse", 3: "logistic", 4: "mse"}
EXPONENT_TOLERANCE = 1e-6

Maker = Callable[..., Sequence[Floats]]


@lru_cache(maxsize=64)
def _trained(make: Maker, depth: int, seed: int, loss: str) -> tuple[Any, float]:
    """Matrices of a deep linear network after gradient flow, and by how much its loss fell."""
    rng = np.random.default_rng(seed)
    weights = make(TRAINED_WIDTHS[depth], TRAINED_SIGMA, rng)
    X = rng.standard_normal((20, 6))
    Y = X @ rng.standard_normal((6, 3)) / 2
    targets = np.sign(Y) if loss == "logistic" else Y
    path = gradient_flow(linear_model(weights), X, targets, [0.0, 0.2], loss=loss, rtol=1e-9)
    measured = layer_matrices(path.at(1), X, agop="gradient")
    return tuple(measured.values()), float(path.losses[1] / path.losses[0])


def _distance(found: LayerMatrices, e: float) -> float:
    """‖NFM^{1/e} − AGOP‖/‖AGOP‖. Not AGOP^e, which makes 1e-4 of a 1e-16."""
    gap = matrix_power_psd(found.nfm, 1 / e) - found.agop
    return float(torch.linalg.norm(gap) / torch.linalg.norm(found.agop))


def _trained_networks(formulas: Formulas, setting: Setting) -> Evidence:
    """Slopes of log eigenvalues after training from balance, five seeds, two losses."""
    make: Any = formulas["weights"]
    cases = [(depth, seed, loss) for depth, loss in LOSSES.items()
             for seed in seeds(setting, "balanced networks")]  # fmt: skip
    worst, left = [0.0], []
    for depth, seed, loss in cases:
        layers, kept = _trained(make, depth, seed, loss)
        exponents = [float(_exponent(formulas, depth, n)) for n in range(1, depth + 1)]
        worst.append(max(map(_error, layers, exponents)))
        left.append(kept)
        if worst[-1] > EXPONENT_TOLERANCE:
            break
    figures = {
        "networks": len(left),
        "worst_error_of_slope_and_matrix": max(worst),
        "loss_left_median": float(np.median(left)),
        "loss_left_worst": max(left),
        "threshold": EXPONENT_TOLERANCE,
    }
    holds = bool(max(worst) < EXPONENT_TOLERANCE and max(left) < 1 and float(np.median(left)) < 0.5)
    return Evidence(holds, figures, f"{cases[len(left) - 1]}: off by {max(worst):.3g}")


def _error(found: LayerMatrices, e: float) -> float:
    """The larger of the slope's error and the matrices' distance."""
    return max(abs(log_slope(found, len(TRAINED_SIGMA)) - e), _distance(found, e))


def gaussian_weights(widths: Sequence[int], scale: Any, rng: np.random.Generator) -> list[Floats]:
    """Independent Gaussian weights of variance 1/fan-in: not balanced."""
    pairs = itertools.pairwise(widths)
    return [rng.standard_normal((up, low)) / np.sqrt(low) for low, up in pairs]


def _small_weights(widths: Sequence[int], scale: Any, rng: np.random.Generator) -> list[Floats]:
    return [W / 20 for W in gaussian_weights(widths, scale, rng)]


@lru_cache(maxsize=32)
def _nearly_balanced(small: bool, seed: int) -> Any:
    """Two layers trained to the end from an unbalanced start, small or standard."""
    rng = np.random.default_rng(seed)
    weights = (_small_weights if small else gaussian_weights)(TRAINED_WIDTHS[2], None, rng)
    X = rng.standard_normal((20, 6))
    Y = X @ rng.standard_normal((6, 3)) / 2
    end = gradient_flow(linear_model(weights), X, Y, [0.0, 1.0], rtol=1e-8).at(1)
    return tuple(layer_matrices(end, X).values())


def _unbalanced_starts(formulas: Formulas, setting: Setting) -> Evidence:
    """Near the law from a small start, far from it from a standard one."""
    e = float(_exponent(formulas, 2, 1))
    chosen = seeds(setting, "unbalanced networks")
    small, standard = (
        [_distance(_nearly_balanced(is_small, seed)[0], e) for seed in chosen]
        for is_small in (True, False)
    )
    figures = {
        "seeds": len(chosen),
        "small_start_worst": max(small),
        "standard_start_best": min(standard),
    }
    holds = bool(max(small) < 0.02 and min(standard) > 0.1)
    return Evidence(holds, figures, f"distances {max(small):.3g} and {min(standard):.3g}")


@lru_cache(maxsize=2)
def _digits_networks(make: Maker, chosen: tuple[int, ...]) -> list[tuple[int, Any]]:
    from sklearn.datasets import load_digits

    from numerics.alignment.data import centred_onehot

    images, labels = load_digits(return_X_y=True)
    X = (images - images.mean(axis=0))[:600] / 60
    Y = centred_onehot(labels[:600], 10)
    found = []
    for depth, widths in {2: (64, 12, 10), 3: (64, 12, 12, 10)}.items():
        for seed in chosen:
            weights = make(widths, np.geomspace(0.8, 0.3, 10), np.random.default_rng(seed))
            end = gradient_flow(linear_model(weights), X, Y, [0.0, 0.05]).at(1)
            found += [(depth, tuple(layer_matrices(end, X).values()))]
    return found


def _digits(formulas: Formulas, setting: Setting) -> Evidence:
    """The same on scikit-learn's digits, 64 inputs and 10 classes."""
    make: Any = formulas["weights"]
    distances = [
        _distance(found, float(_exponent(formulas, depth, layer)))
        for depth, layers in _digits_networks(make, tuple(seeds(setting, "digits")))
        for layer, found in enumerate(layers, 1)
    ]
    figures = {"layers": len(distances), "worst_distance": max(distances)}
    return Evidence(bool(max(distances) < EXPONENT_TOLERANCE), figures, f"{max(distances):.3g}")


BALANCED_CLAIM = Claim(
    id="alignment.balanced",
    title="balanced deep linear networks: NFM is a power of AGOP",
    statement=(
        r"W_{j+1}^\top W_{j+1} = W_jW_j^\top\ (j\ge\ell,\ t=0) \Rightarrow "
        r"\mathrm{NFM}_\ell = \mathrm{AGOP}_\ell^{1/(L-\ell+1)}\ \forall t;\quad "
        r"W_2W_2^\top = cI \text{ frozen},\ W_1(0)=0 \Rightarrow "
        r"\mathrm{AGOP}_1 = c\,\mathrm{NFM}_1"
    ),
    source="E, T",
    hypotheses=(LINEAR, FLOW, BALANCED),
    formulas={
        "exponent": balanced.EXPONENT,
        "frozen": balanced.FROZEN_AGOP,
        "weights": balanced.balanced_weights,
    },
    legs=(
        derivation_leg("powers", balanced.derive_exponent, ("exponent",), whole=True),
        derivation_leg("frozen readout", balanced.derive_frozen, ("frozen",), whole=True),
        Leg("rational instances", Kind.EXACT, _rational, ("exponent",)),
        Leg("without balance", Kind.EXACT, _without_balance, on_mutants=False),
        Leg("unequal frozen readout", Kind.EXACT, _frozen_general, on_mutants=False),
        digits_leg("flow", _along_the_flow, ("exponent",), DIGITS),
        digits_leg("flow under a frozen readout", _frozen, ("frozen",), DIGITS),
        Leg("trained networks", Kind.TRAINED, _trained_networks, ("exponent", "weights")),
        Leg("unbalanced starts", Kind.TRAINED, _unbalanced_starts, ("exponent",)),
        Leg("digits", Kind.TRAINED, _digits, ("exponent", "weights"), budget=Budget.FULL),
    ),
    mutants=(
        Mutant("weights: Gaussian, not balanced", {"weights": gaussian_weights}),
        Mutant("weights: small Gaussian, not balanced", {"weights": _small_weights}),
        Mutant("exponent: 1/L at every layer", {"exponent": 1 / balanced.DEPTH}),
        Mutant("exponent: counted from the output", {"exponent": 1 / balanced.LAYER}),
    ),
    notes=(
        "The AGOP sums over outputs and averages over samples; then there is no constant. Only "
        "the layers from ℓ up need be balanced. With one output every frozen readout a will do, "
        "c = ‖a‖²."
    ),
)
