"""The patch-AGOP of convolutional kernel machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy

from theory.convolution import kernel_patches as theory
from theory.rfm import kernel_profiles as profiles

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..rationals import differ, evaluated
from ..shared import formula
from . import kernel_brute as brute
from .distance import beside

Function = Callable[..., Any]
READS = ("prefactor", "patch_distance", "joint_distance")

# ── fractions ────────────────────────────────────────────────────────────────────────────────────


def _quadratic(formulas: Formulas, setting: Setting) -> Evidence:
    """k = (b + τ)² in fractions: the claimed gradients against differences, which are exact."""
    data, entries = brute.problem(3, 3, 2, 2), 0
    before = evaluated(formula(formulas, "prefactor"), {profiles.BANDWIDTH: data.bandwidth})
    for combination in brute.COMBINATIONS:
        references = brute.exact_gradients(combination)
        for x, reference in zip(data.inputs, references, strict=True):
            claimed = _inner_gradients(combination, data, x, before)
            if not (claimed == reference).all():
                return differ(combination, claimed, reference)
            entries += claimed.size
    return Evidence(True, {"entries": entries, "residual": 0})


def _inner_gradients(combination: str, data: brute.Problem, x: Any, before: Any) -> Any:
    """prefactor Σ_i α_ic Σ_q g'(τ) M z_iq, with the q and the τ of the combination."""
    n, positions, _ = data.centres.shape
    total = np.zeros((data.coefficients.shape[1], *x.shape), dtype=object)
    for p in range(positions):
        for i in range(n):
            for q in range(positions) if combination == "pairs" else (p,):
                pairs = range(positions) if combination == "joint" else (None,)
                tau = sum(
                    x[p if r is None else r] @ data.metric @ data.centres[i, q if r is None else r]
                    for r in pairs
                )
                slope = 2 * (brute.OFFSET + tau / data.bandwidth**2)
                pull = before * slope * data.metric @ data.centres[i, q]
                total[:, p] += np.outer(data.coefficients[i], pull)
    return total


# ── many digits ──────────────────────────────────────────────────────────────────────────────────


def _radial(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Radial kernels, ρ as claimed, against central differences in 60 digits.

    A patch that coincides with its counterpart (ρ = 0) is among them: its own term is 0.
    """
    mp, data = brute.context(), brute.digits_problem()
    symbols = (profiles.BANDWIDTH, theory.OWN, theory.OTHERS)
    functions = {
        name: sympy.lambdify(symbols, formula(formulas, name), modules=[{"sqrt": mp.sqrt}])
        for name in READS
    }
    for name in brute.RADIAL:
        for combination in brute.COMBINATIONS:
            references = brute.radial_gradients(name, combination)
            for x, reference in zip(data.inputs, references, strict=True):
                claimed = _radial_gradients(mp, functions, name, combination, x)
                for place, value in np.ndenumerate(reference):
                    yield f"{name}, {combination} {place}", claimed[place], value


def _radial_gradients(mp: Any, functions: Any, name: str, combination: str, x: Any) -> Any:
    data = brute.digits_problem()
    total = np.zeros((1, *x.shape), dtype=object)
    L = data.bandwidth
    for i, z in enumerate(data.centres):
        squares = [(u - w) @ data.metric @ (u - w) for u, w in zip(x, z, strict=True)]
        for p, u in enumerate(x):
            for q in range(len(z)) if combination == "pairs" else (p,):
                away = u - z[q]
                own = away @ data.metric @ away
                others = sum(squares) - squares[p]
                kind = "joint_distance" if combination == "joint" else "patch_distance"
                rho = functions[kind](L, own, others)
                if own == 0:
                    continue
                slope = mp.diff(lambda r: brute.profile(mp, name, r), rho)
                factor = functions["prefactor"](L, own, others) * slope / rho
                total[0, p] = total[0, p] + data.coefficients[i, 0] * factor * data.metric @ away
    return total


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────


def _machines(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Seven images of five patches, a singular M, three outputs: reverse mode."""
    Z, alpha, X, M = brute.arrays()
    for name in brute.NAMES:
        for combination in brute.COMBINATIONS:
            options = {"combination": combination, "bandwidth": 1.5, "metric": M}
            reference = brute.automatic(name, combination)
            found = formula(formulas, "gradients")(name, Z, alpha, X, **options)
            yield f"{name}, {combination}", *beside(found, reference)
            matrix = formula(formulas, "agop")(name, Z, alpha, X, **options)
            yield f"AGOP: {name}, {combination}", *beside(matrix, brute.outer_mean(reference))


def _transformed(formulas: Formulas, setting: Setting) -> Evidence:
    """Two convolutional layers of arc-cosine kernels: ∇_p = R∇̃_p, which is in the range of M."""
    by_patch, carried = brute.transformed()
    difference = np.abs(by_patch - carried).max() / np.abs(carried).max()
    M = brute.arrays()[3]
    outside = np.eye(4) - np.linalg.pinv(M, rcond=1e-10) @ M
    leak = np.abs(by_patch @ outside).max() / np.abs(carried).max()
    figures = {"difference": float(difference), "outside_range": float(leak)}
    return Evidence(bool(max(difference, leak) < 1e-7), figures, str(figures))


def _without_metric(function: Function) -> Function:
    def wrong(*args: Any, combination: Any, bandwidth: float, metric: Any) -> Any:
        return function(*args, combination=combination, bandwidth=bandwidth, metric=None)

    return wrong


def _another(function: Function, given: str, taken: str) -> Function:
    def wrong(*args: Any, combination: Any, **options: Any) -> Any:
        other = taken if combination == given else combination
        return function(*args, combination=other, **options)

    return wrong


def _by_transformed(*args: Any, metric: Any, **options: Any) -> Any:
    """Gradients by the transformed patches x̃ = M^{1/2}x, which are M^{1/2} short of the others."""
    values, vectors = np.linalg.eigh(metric)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    Z, alpha, X = args[1:]
    return theory.patch_gradients(args[0], Z @ root, alpha, X @ root, **options)


def _images_summed(*args: Any, **options: Any) -> Any:
    return theory.patch_agop(*args, **options) * len(args[3])


def _positions_averaged(*args: Any, **options: Any) -> Any:
    return theory.patch_agop(*args, **options) / args[3].shape[1]


def _positions_added_first(*args: Any, **options: Any) -> Any:
    G = theory.patch_gradients(*args, **options).sum(axis=2)
    return brute.outer_mean(list(G))


def _outputs_added_first(*args: Any, **options: Any) -> Any:
    G = theory.patch_gradients(*args, **options).sum(axis=1)
    return brute.outer_mean(list(G))


PATCH_AGOP = Claim(
    id="convolution.patch_agop",
    title="the patch-AGOP of convolutional kernel machines",
    statement=(
        r"f_c = \sum_i \alpha_{ic} K(\cdot, x_i):\ "
        r"K = \sum_p k(x_p, z_p):\ \nabla_p K = \tfrac{1}{L^2} \omega(\rho_{pp}) M(x_p - z_p);\ "
        r"K = \sum_{p,q} k(x_p, z_q):\ "
        r"\nabla_p K = \tfrac{1}{L^2} \sum_q \omega(\rho_{pq}) M(x_p - z_q);\ "
        r"K = \varphi\big(\tfrac1L \sqrt{\textstyle\sum_p \|x_p - z_p\|_M^2}\big):\ "
        r"\nabla_p K = \tfrac{1}{L^2} \omega(\rho) M(x_p - z_p);\ "
        r"\text{for } g(\tau),\ \tau = x^\top M z/L^2:\ \omega M(x_p - z_q) \to g'(\tau) M z_q;\ "
        r"\mathrm{AGOP} = \frac1n \sum_{x,p,c} \nabla_p f_c \nabla_p f_c^\top = M[\dots]M;\ "
        r"K \text{ of } x_p^\top M z_q, x_p^\top M x_q \text{ alone},\ M = RR^\top:\ "
        r"\nabla_p = R \tilde\nabla_p \text{ with } \tilde\nabla_p \text{ by } R^\top x_p"
    ),
    source="D, here",
    hypotheses=(
        Hypothesis("M symmetric positive semidefinite, L > 0; ω = φ'(ρ)/ρ"),
        Hypothesis("patches are free variables, also where they share pixels"),
        Hypothesis(
            "Laplace: where patches coincide (ρ_pq = 0; for the joint kernel, whole images) no "
            "gradient exists unless the α cancel; the formula, with that term 0, is the central "
            "difference in every direction"
        ),
    ),
    formulas={
        "prefactor": theory.PREFACTOR,
        "patch_distance": theory.PATCH_DISTANCE,
        "joint_distance": theory.JOINT_DISTANCE,
        "gradients": theory.patch_gradients,
        "agop": theory.patch_agop,
    },
    legs=(
        derivation_leg("chain rule", theory.derive_patch_gradients, READS, whole=True),
        Leg("quadratic kernels", Kind.EXACT, _quadratic, ("prefactor",)),
        digits_leg("central differences", _radial, READS, 30),
        digits_leg("automatic differentiation", _machines, ("gradients", "agop"), 11),
        Leg("kernel of two layers", Kind.DIRECT, _transformed, on_mutants=False),
    ),
    mutants=(
        Mutant("M left out", {"gradients": _without_metric(theory.patch_gradients)}),
        Mutant("M left out of the AGOP", {"agop": _without_metric(theory.patch_agop)}),
        Mutant("by the transformed patch", {"gradients": _by_transformed}),
        Mutant("pairs taken for additive", {
            "gradients": _another(theory.patch_gradients, "pairs", "additive")}),
        Mutant("joint taken for additive", {
            "gradients": _another(theory.patch_gradients, "joint", "additive")}),
        Mutant("AGOP summed over images", {"agop": _images_summed}),
        Mutant("AGOP averaged over positions", {"agop": _positions_averaged}),
        Mutant("positions added before squaring", {"agop": _positions_added_first}),
        Mutant("outputs added before squaring", {"agop": _outputs_added_first}),
    ),
    notes=(
        "The gradient by a pixel is the sum of the patch gradients over the patches that hold it, "
        "so that the AGOP of images is another matrix. Images with a blank ground have many equal "
        "patches: additive and pair kernels of Laplace's profile meet their kink there, whole "
        "images only at training points. The pair kernel is that of a machine on all patches, "
        "f(x) = Σ_p h(x_p) with h = Σ_i α_i Σ_q k(·, z_iq); its patch-AGOP is P times the AGOP of "
        "h over the patches. The joint kernel is the ordinary one with the metric I ⊗ M."
    ),
)  # fmt: skip

CLAIMS = (PATCH_AGOP,)
