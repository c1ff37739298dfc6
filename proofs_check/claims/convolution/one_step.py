"""One step from zero filters with a readout that all positions share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from theory.convolution import first_filters as theory

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..rationals import differ, number, rational
from ..shared import formula
from . import one_step_brute as brute
from .distance import beside

RATE = 0.3
FACTORS = ("residual", "covariance_factor", "agop_factor")

# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _images() -> tuple[Any, Any]:
    """Patches of six images of two channels, 3 × 3 around a torus, and targets."""
    import torch

    rng = torch.Generator().manual_seed(60)
    X = torch.randn(6, 2, 4, 4, generator=rng, dtype=torch.float64)
    padded = torch.nn.functional.pad(X, (1, 1, 1, 1), mode="circular")
    patches = torch.nn.functional.unfold(padded, 3).transpose(1, 2)
    return patches, torch.randn(6, generator=rng, dtype=torch.float64)


def _rest(label: str) -> Any:
    """What stands above the first convolution: (n, P, k) -> (n,)."""
    import torch
    from torch import nn

    torch_rng = torch.Generator().manual_seed(61)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=torch_rng, dtype=torch.float64) / 2

    a, b, taps, bias = draw(5), draw(5), draw(3, 5, 3, 3), draw(3)
    if label == "tanh, one convolution":
        return lambda z: torch.tanh(z + b).sum(dim=1) @ a

    def second(z: Any) -> Any:
        h = nn.functional.softplus(z + b).transpose(1, 2).reshape(len(z), 5, 4, 4)
        h = nn.functional.pad(h, (1, 1, 1, 1), mode="circular")
        h = nn.functional.gelu(nn.functional.conv2d(h, taps, bias))
        return torch.log(1 + h.mean(dim=(2, 3)).square()) @ a[:3]

    return second


@lru_cache(maxsize=1)
def _stepped() -> tuple[tuple[str, dict[str, Any]], ...]:
    import torch

    patches, y = _images()
    found = []
    for label in ("tanh, one convolution", "softplus, two around a torus, pooled"):
        rest, zero = _rest(label), torch.zeros(5, 18, dtype=torch.float64)
        k = brute.slopes(rest, patches @ zero.T)[0, 0]
        W = brute.step_of_patches(rest, zero, patches, y, RATE)
        s = (brute.slopes(rest, patches @ W.T) @ k).numpy()
        net = {
            "f_0": float(rest(patches @ zero.T)[0]), "k": k.numpy(), "s": s,
            "covariance": (W.T @ W).numpy(),
            "agop": brute.agop(brute.patch_gradients(rest, W, patches)),
        }  # fmt: skip
        found.append((label, net))
    return tuple(found)


def _numbers(expression: Any, values: dict[sympy.Symbol, Any]) -> Any:
    """A formula at floats, entry by entry."""
    return sympy.lambdify(list(values), expression, "numpy")(*values.values())


def _networks(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Both matrices from the claimed factors, against a real step and real gradients."""
    patches, y = (tensor.numpy() for tensor in _images())
    for label, net in _stepped():
        at = {theory.TARGET: y, theory.INITIAL_OUTPUT: net["f_0"]}
        v = _numbers(formula(formulas, "residual"), at) @ patches.sum(axis=1)
        norm = {theory.RATE: RATE, theory.FEATURE_NORM: net["k"] @ net["k"]}
        terms = {theory.RATE: RATE, theory.SLOPE: net["s"]}
        factor = _numbers(formula(formulas, "covariance_factor"), norm)
        mean = _numbers(formula(formulas, "agop_factor"), terms).sum() / len(y)
        yield f"{label}: WᵀW", *beside(factor * np.outer(v, v), net["covariance"])
        yield f"{label}: patch-AGOP", *beside(mean * np.outer(v, v), net["agop"])


@lru_cache(maxsize=4)
def _library_reference(shared: bool) -> tuple[Any, ...]:
    import torch

    patches, y = _images()
    rng = torch.Generator().manual_seed(62)
    shape = (5,) if shared else (16, 5)
    a, b = (torch.randn(*s, generator=rng, dtype=torch.float64) / 2 for s in (shape, (5,)))

    def rest(z: Any) -> Any:
        return (torch.erf(z + b) * a).sum(dim=(1, 2))

    W = brute.step_of_patches(rest, torch.zeros(5, 18, dtype=torch.float64), patches, y, RATE)
    matrix = brute.agop(brute.patch_gradients(rest, W, patches))
    return *(t.numpy() for t in (patches, y, a, b, W)), matrix


def _library(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for shared in (True, False):
        X, y, a, b, W, matrix = _library_reference(shared)
        step = formula(formulas, "one_step")(X, y, a, "erf", RATE, bias=b)
        label = "shared" if shared else "independent"
        yield f"{label}: W", *beside(step.filters, W)
        yield f"{label}: WᵀW", *beside(step.filter_covariance, W.T @ W)
        yield f"{label}: patch-AGOP", *beside(step.patch_agop, matrix)


# ── fractions ────────────────────────────────────────────────────────────────────────────────────


def _cubic(z: Any) -> Any:
    return 2 + z + z**2 / 3 - z**3 / 5


def _cubic_slope(z: Any) -> Any:
    return 1 + 2 * z / 3 - 3 * z**2 / 5


@lru_cache(maxsize=1)
def _rational_network() -> dict[str, Any]:
    """f = Σ_p Σ_j a_jφ(w_j·x_p + b_j), φ a cubic with φ(0) ≠ 0, differentiated at W = 0."""
    n, positions, eta = 3, 2, sympy.Rational(1, 100)
    X = [[number(v) for v in row] for row in rational(n, 2 * positions, 71)]
    y = [number(row[0]) for row in rational(n, 1, 72)]
    a, b = ([number(row[0]) for row in rational(2, 1, seed)] for seed in (73, 74))
    W, x = sympy.symbols("w0:4"), sympy.symbols("x0:4")
    f = sum(
        a[j] * _cubic(W[2 * j] * x[2 * p] + W[2 * j + 1] * x[2 * p + 1] + b[j])
        for p in range(positions)
        for j in range(2)
    )
    at = [dict(zip(x, row, strict=True)) for row in X]
    loss = sum((f.subs(place) - t) ** 2 / 2 for place, t in zip(at, y, strict=True))
    zero = dict.fromkeys(W, 0)
    moved = {w: -eta * sympy.diff(loss, w).subs(zero) for w in W}
    filters = sympy.Matrix(2, 2, list(moved.values()))
    partials = [sympy.diff(f, v).subs(moved) for v in x]
    rows = [[partial.subs(place) for partial in partials] for place in at]
    G = sympy.Matrix([row[2 * p : 2 * p + 2] for row in rows for p in range(positions)])
    data = {"X": X, "y": y, "a": a, "b": b, "eta": eta, "f_0": f.subs(zero)}
    return {**data, "covariance": filters.T * filters, "agop": G.T * G / n}


def _rational(formulas: Formulas, setting: Setting) -> Evidence:
    """Every entry of both matrices in exact fractions, with s from the claimed summand."""
    net = _rational_network()
    eta, a, b = net["eta"], net["a"], net["b"]
    residual = formula(formulas, "residual")
    sums = [sympy.Matrix([row[0] + row[2], row[1] + row[3]]) for row in net["X"]]
    v = sympy.zeros(2, 1)
    for t, x in zip(net["y"], sums, strict=True):
        v += residual.subs({theory.TARGET: t, theory.INITIAL_OUTPUT: net["f_0"]}) * x
    k = [u * _cubic_slope(w) for u, w in zip(a, b, strict=True)]
    norm = {theory.RATE: eta, theory.FEATURE_NORM: sum(u**2 for u in k)}
    patches = [sympy.Matrix(row[2 * p : 2 * p + 2]) for row in net["X"] for p in range(2)]
    factors = [_factor(formulas, net, k, (v.T * x)[0]) for x in patches]
    claimed = {
        "covariance": formula(formulas, "covariance_factor").subs(norm),
        "agop": sum(factors) / len(net["X"]),
    }
    for name, factor in claimed.items():
        if sympy.expand(factor * v * v.T - net[name]) != sympy.zeros(2, 2):
            return differ(name, factor * v * v.T, net[name])
    return Evidence(True, {"rank": int(net["agop"].rank()), "residual": 0})


def _factor(formulas: Formulas, net: dict[str, Any], k: list[Any], along: Any) -> Any:
    """AGOP_FACTOR at one patch, s summed over the units."""
    s = sum(
        formula(formulas, "slope_term").subs(
            {
                theory.READOUT: a,
                theory.FIRST_SLOPE: _cubic_slope(b),
                theory.SECOND_SLOPE: _cubic_slope(b + net["eta"] * kj * along),
            }
        )
        for a, b, kj in zip(net["a"], net["b"], k, strict=True)
    )
    return formula(formulas, "agop_factor").subs({theory.RATE: net["eta"], theory.SLOPE: s})


# ── counterexamples ──────────────────────────────────────────────────────────────────────────────


def _border(formulas: Formulas, setting: Setting) -> Evidence:
    """Two convolutions, pooled: around a circle both matrices have rank 1, with zeros rank > 1."""
    import torch

    rng = torch.Generator().manual_seed(63)
    patches, y, taps = (
        torch.randint(-3, 4, shape, generator=rng).double()
        for shape in ((4, 6, 3), (4,), (1, 4, 3))
    )
    ranks = {}
    for mode in ("circular", "constant"):

        def rest(z: Any, mode: str = mode) -> Any:
            h = torch.nn.functional.pad(z.transpose(1, 2), (1, 1), mode=mode)
            return torch.nn.functional.conv1d(h, taps).sum(dim=(1, 2))

        W = brute.step_of_patches(rest, torch.zeros(4, 3).double(), patches, y, 1.0)
        matrix = brute.agop(brute.patch_gradients(rest, W, patches))
        ranks[mode] = [int(np.linalg.matrix_rank(m)) for m in ((W.T @ W).numpy(), matrix)]
    figures = {mode: str(found) for mode, found in ranks.items()}
    holds = ranks["circular"] == [1, 1] and min(ranks["constant"]) > 1
    return Evidence(holds, figures, "" if holds else str(figures))


def _averaged(*args: Any, **kwargs: Any) -> Any:
    step = theory.one_step_filters(*args, **kwargs)
    positions = len(step.directions)
    return theory.FilterStep(
        step.directions, step.initial_output, step.filters, step.patch_agop / positions
    )


def _targets_for_residuals(X: Any, y: Any, a: Any, act: str, rate: float, *, bias: Any) -> Any:
    f_0 = theory.one_step_filters(X, y, a, act, rate, bias=bias).initial_output
    return theory.one_step_filters(X, y + f_0, a, act, rate, bias=bias)


def _old_slopes(X: Any, y: Any, a: Any, act: str, rate: float, *, bias: Any) -> Any:
    """The patch-AGOP with the slopes before the step."""
    step = theory.one_step_filters(X, y, a, act, rate, bias=bias)
    slope = 2 / np.sqrt(np.pi) * np.exp(-(bias**2))
    G = np.broadcast_to(a * slope, (X.shape[1], len(bias))) @ step.filters
    return theory.FilterStep(step.directions, step.initial_output, step.filters, G.T @ G)


ONE_STEP_SHARED = Claim(
    id="convolution.one_step_shared",
    title="one step from zero filters, shared readout",
    statement=(
        r"f(x) = F(Wx_1 + b, \dots, Wx_P + b),\ W_0 = 0,\ \partial F/\partial z_p = k \ne 0 "
        r"\text{ for all } p:\ W_1 = \eta\, k v^\top,\ "
        r"v = \sum_i (y_i - f_0) \sum_p x_{ip};\ W_1^\top W_1 = \eta^2 \|k\|^2 vv^\top,\ "
        r"\mathrm{AGOP} = \eta^2 \Big(\frac1n \sum_{i,p} s_{ip}^2\Big) vv^\top,\ "
        r"s_{ip} = k^\top \partial F/\partial z_p(x_i) \text{ after the step};\ "
        r"k = a \circ \varphi'(b),\ s_{ip} = \sum_j a_j^2 \varphi'(b_j) \varphi'(z_{ipj}) "
        r"\text{ for } f = \sum_p a^\top \varphi(Wx_p + b)"
    ),
    source="D (for f₀ = 0), here",
    hypotheses=(
        Hypothesis("one output; loss Σ ½(f − y)²; the layers above may move, too"),
        Hypothesis("k ≠ 0 (b = 0: φ'(0) ≠ 0), the same at all positions, and v ≠ 0"),
        Hypothesis(
            "the patch-AGOP is not 0: s ≠ 0 at some patch; so for φ' > 0 and a fixed, and for any "
            "network with continuous ∇F if η is small"
        ),
    ),
    formulas={
        "residual": theory.RESIDUAL,
        "covariance_factor": theory.COVARIANCE_FACTOR,
        "agop_factor": theory.AGOP_FACTOR,
        "slope_term": theory.SLOPE_TERM,
        "one_step": theory.one_step_filters,
    },
    legs=(
        derivation_leg(
            "any network", theory.derive_shared_step, (*FACTORS, "slope_term"), whole=True
        ),
        Leg("rational network", Kind.EXACT, _rational, (*FACTORS, "slope_term")),
        digits_leg("networks stepped", _networks, FACTORS, 11),
        digits_leg("library function", _library, ("one_step",), 11),
        Leg("zeros beyond the border", Kind.DIRECT, _border, on_mutants=False),
    ),
    mutants=(
        Mutant("patch-AGOP averaged over positions", {"one_step": _averaged}),
        Mutant("targets in place of residuals", {"one_step": _targets_for_residuals}),
        Mutant("slopes before the step", {"one_step": _old_slopes}),
    ),
    notes=(
        "Exact for every activation, width and step: no limit is needed. The direction is "
        "Σ y_i Σ_p x_ip only if f₀ = 0, or if the patches of all images add up to 0: φ(z) = 1 + z, "
        "a = 1, images (1, 0; 0, 0) and (1, 1; 0, 0), y = (1, 0) has v = (−3, −2) and "
        "Σ y_i Σ_p x_ip = (1, 0). The patch-AGOP can be 0 where WᵀW is not: φ = sin, "
        "x = y = a = 1, η = π/2. 'Shared' must hold for the slopes of all that is above: a second "
        "convolution that sees zeros beyond the border has other k_p there, and W_1 = η Σ k_p v_pᵀ "
        "has rank 2 or more. In general both matrices live on the span of the v_p. ReLU with "
        "φ'(0) = 0 never leaves W = 0."
    ),
)

CLAIMS = (ONE_STEP_SHARED,)
