"""One step from zero filters with an independent readout at every position."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from theory.alignment.activations import Activation
from theory.convolution import expected_filters as theory
from theory.convolution import gaussian_filters as gaussian
from theory.convolution import wide_filters as wide

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, agreement, derivation_leg, digits_leg
from ..rationals import differ, evaluated
from ..shared import formula
from . import one_step_brute as brute
from .distance import beside

EXPECTED = ("covariance_own", "covariance_shared", "agop_own", "agop_shared")
UNITS = ("unit_along", "unit_mixed", "unit_across", "unit_own")
WIDE = ("wide_own", "wide_along", "cubic_1", "cubic_2")

ENUMERATED = (
    ("±1", 2, 3, 2, 3),
    ("sparse", 2, 2, 3, 2),
    ("lopsided", 2, 3, 2, 2),
    ("lopsided", 3, 1, 2, 3),
    ("constant", 2, 3, 2, 2),
)
"""Law, n, P, d, k."""


def _at(law: str, positions: int, width: int) -> dict[sympy.Symbol, Any]:
    moments = dict(zip(theory.MOMENTS, brute.law_moments(law), strict=True))
    return {**moments, theory.WIDTH: Fraction(width), theory.POSITIONS: Fraction(positions)}


def _directions(n: int, positions: int, dimension: int) -> Any:
    X, y = brute.images(n, positions, dimension)
    return np.tensordot(y, X, axes=1).astype(object)


def _combined(V: Any, own: Any, shared: Any) -> Any:
    v = V.sum(axis=0)
    return V.T @ V * own + np.outer(v, v) * shared


def _every_readout(formulas: Formulas, setting: Setting) -> Evidence:
    """All networks of a law on integers, stepped one by one: the exact means."""
    networks = 0
    for law, n, positions, dimension, width in ENUMERATED:
        values, V = _at(law, positions, width), _directions(n, positions, dimension)
        claimed = [evaluated(formula(formulas, name), values) for name in EXPECTED]
        found = brute.enumerated(law, n, positions, dimension, width)
        point = f"{law}, n, P, d, k = {n}, {positions}, {dimension}, {width}"
        pairs = ((claimed[:2], found.covariance), (claimed[2:], found.agop))
        for (own, shared), reference in pairs:
            matrix = _combined(V, own, shared)
            if not (matrix == reference).all():
                return differ(point, matrix, reference)
        networks += found.networks
    return Evidence(True, {"networks": networks, "residual": 0})


def _spreads(formulas: Formulas, setting: Setting) -> Evidence:
    """E‖WᵀW − E WᵀW‖² over all readouts of a centred law."""
    count = 0
    for law, n, positions, dimension, width in ENUMERATED[:2]:
        V = _directions(n, positions, dimension)
        values = {**_at(law, positions, width), **_traces(V)}
        claimed = evaluated(formula(formulas, "spread"), values)
        found = brute.enumerated(law, n, positions, dimension, width).spread
        if claimed != found:
            return differ(f"{law}, P, d, k = {positions}, {dimension}, {width}", claimed, found)
        count += 1
    return Evidence(True, {"laws": count, "residual": 0})


def _traces(V: Any) -> dict[sympy.Symbol, Any]:
    S = V @ V.T
    numbers = (S.trace(), (S @ S).trace(), sum(S.diagonal() ** 2))
    symbols = (theory.TRACE, theory.TRACE_OF_SQUARE, theory.DIAGONAL_SQUARES)
    return {s: Fraction(int(value)) for s, value in zip(symbols, numbers, strict=True)}


SYMBOLIC = ((2, 2, 2), (3, 1, 2), (1, 3, 2))
"""P, k, d."""


def _every_law(formulas: Formulas, setting: Setting) -> Evidence:
    """Symbolic expectation over the readout's entries, moments left as symbols."""
    for positions, width, dimension in SYMBOLIC:
        V, covariance, agop, square = brute.symbolic(positions, width, dimension, theory.MOMENTS)
        at = {theory.WIDTH: width, theory.POSITIONS: positions}
        claimed = [formula(formulas, name).subs(at) for name in EXPECTED]
        v = V.T * sympy.ones(positions, 1)
        point = f"P, k = {positions}, {width}"
        for (own, shared), reference in (((claimed[0], claimed[1]), covariance),
                                         ((claimed[2], claimed[3]), agop)):  # fmt: skip
            difference = own * V.T * V + shared * v * v.T - reference
            if left := [e for entry in difference if (e := sympy.expand(entry)) != 0]:
                return differ(point, left[0], 0)
        traces = {s: sympy.Rational(f.numerator) for s, f in _traces(_array(V)).items()}
        mean = (width * theory.M2) ** 2 * traces[theory.TRACE_OF_SQUARE]
        spread = formula(formulas, "spread").subs({**at, **traces})
        if sympy.simplify(mean * (1 + spread) - square) != 0:
            return differ(f"{point}: E‖WᵀW‖²", mean * (1 + spread), square)
    return Evidence(True, {"sizes": len(SYMBOLIC), "residual": 0})


def _array(matrix: sympy.Matrix) -> Any:
    return np.array([[int(entry) for entry in row] for row in matrix.tolist()], dtype=object)


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _convolutions() -> tuple[Any, ...]:
    """All ±1 readouts of conv2d networks on 3 × 3 images, filters 2 × 2, k = 2: 256 networks.

    Patches, targets, mean WᵀW of linear and of erf networks, mean patch-AGOP of linear ones.
    """
    import torch

    rng = torch.Generator().manual_seed(64)
    images = torch.randn(3, 1, 3, 3, generator=rng, dtype=torch.float64)
    y = torch.randn(3, generator=rng, dtype=torch.float64)
    patches = torch.nn.functional.unfold(images, 2).transpose(1, 2)
    readouts = brute.signs(4 * 2).reshape(-1, 4, 2)
    covariance, curved, agop = np.zeros((3, 4, 4))
    for a in readouts:
        W = torch.zeros(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
        maps = torch.nn.functional.conv2d(images, W).flatten(2).transpose(1, 2)
        steps = []
        for z in (maps, torch.erf(maps)):
            loss = ((z * a).sum(dim=(1, 2)) - y).square().sum() / 2
            steps.append(-torch.autograd.grad(loss, W, retain_graph=True)[0].flatten(1))
        linear, erf = steps
        covariance += (linear.T @ linear).numpy()
        curved += (erf.T @ erf).numpy()
        agop += brute.agop(brute.patch_gradients(_readout(a), linear, patches))
    N = len(readouts)
    return patches.numpy(), y.numpy(), covariance / N, curved / N, agop / N, N


def _readout(a: Any) -> Any:
    return lambda z: (z * a).sum(dim=(1, 2))


def _library(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The library functions against convolutions in PyTorch, and against all readouts of a law."""
    covariance, agop = formula(formulas, "covariance"), formula(formulas, "agop")
    X, y, *references, networks = _convolutions()
    yield f"WᵀW, {networks} networks", *beside(covariance(X, y, 2, "rademacher"), references[0])
    bent = covariance(X, y, 2, "rademacher", activation="erf")
    yield "WᵀW, φ = erf", *beside(bent, references[1])
    yield "patch-AGOP, the linear ones", *beside(agop(X, y, 2, "rademacher"), references[2])
    for law, n, positions, dimension, width in ENUMERATED[1:4]:
        images, targets = brute.images(n, positions, dimension)
        moments = [float(m) for m in brute.law_moments(law)]
        found = brute.enumerated(law, n, positions, dimension, width)
        call = (images, targets, width, moments, 0.5)
        yield f"WᵀW, {law}", *beside(covariance(*call), _floats(found.covariance) / 4)
        yield f"patch-AGOP, {law}", *beside(agop(*call), _floats(found.agop) / 4)
    law, n, positions, dimension, width = ENUMERATED[1]
    images, targets = brute.images(n, positions, dimension)
    spread = formula(formulas, "spread_of")(
        images, targets, width, [float(m) for m in brute.law_moments(law)]
    )
    yield "spread", spread, brute.enumerated(*ENUMERATED[1]).spread


def _floats(fractions: Any) -> Any:
    return fractions.astype(float)


# ── other activations ────────────────────────────────────────────────────────────────────────────

CUBIC = Activation("z + z³/3", lambda z: z + z**3 / 3, lambda z: 1 + z**2, lambda z: 2 * z)


@lru_cache(maxsize=1)
def _exact_wide() -> tuple[Any, Any, Any]:
    """The limit for the cubic with three positions, h_p from Gaussian moments of fourth order.

    E β_qβ_p(1 + (u·β)²) = δ_qp + Σ_rs u_ru_s E β_qβ_pβ_rβ_s, the last by Isserlis' three pairings.
    """
    X, y = brute.images(2, 3, 2)
    V, total, eta = _directions(2, 3, 2), np.zeros((2, 2), dtype=object), Fraction(1, 4)
    one = np.eye(3, dtype=int).astype(object)
    for image in X.astype(object):
        for p, x in enumerate(image):
            u = V @ x * eta
            pairings = sum(u**2) * one[p] + 2 * u[p] * u
            g = (one[p] + pairings) @ V * eta
            total = total + np.outer(g, g)
    return X, y, total / Fraction(2)


def _wide_library(formulas: Formulas, setting: Setting) -> Evidence:
    X, y, reference = _exact_wide()
    found = formula(formulas, "wide_agop")(X, y, CUBIC, 0.25)
    return agreement(*beside(found, _floats(reference)), 11)


def _gaussian_library(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Cubic networks of one and two units, averaged in symbols."""
    X, y = brute.cubic_images()
    for width in (1, 2):
        reference = brute.cubic_network(width, Fraction(1, 4))
        found = formula(formulas, "gaussian_agop")(X, y, width, CUBIC, 0.25)
        yield f"k = {width}", *beside(found, np.array(reference.tolist(), dtype=float))


def _no_fourth_moment(X: Any, y: Any, width: int, *args: Any) -> Any:
    """As if E a⁴ were (E a²)² + …: the readout taken for ±1."""
    moments = list(theory.readout_moments(args[0]))
    return theory.expected_patch_agop(X, y, width, [0, moments[1], 0, moments[1] ** 2], *args[1:])


def _limit_only(X: Any, y: Any, width: int, *args: Any) -> Any:
    return width * theory.expected_filter_covariance(X, y, width, *args)


def _narrow(X: Any, y: Any, width: int, *args: Any, **options: Any) -> Any:
    return theory.expected_filter_covariance(X, y, 1, *args, **options)


def _any_slope(X: Any, y: Any, width: int, *args: Any, activation: str = "linear") -> Any:
    """As if WᵀW did not see φ'(0)."""
    return theory.expected_filter_covariance(X, y, width, *args)


def _gaussian_spread(X: Any, y: Any, width: int, readout: Any) -> float:
    return theory.filter_covariance_spread(X, y, width, "gaussian")


def _pairs_of_units(X: Any, y: Any, width: int, act: Any, rate: float) -> Any:
    """Every unit paired with every unit as if they were independent."""
    return width**2 * wide.wide_patch_agop(X, y, act, rate)


def _linear_wide(X: Any, y: Any, act: Any, rate: float) -> Any:
    return wide.wide_patch_agop(X, y, "linear", rate)


ONE_STEP_INDEPENDENT = Claim(
    id="convolution.one_step_independent",
    title="one step from zero filters, independent readouts",
    statement=(
        r"f(x) = \sum_p a_p^\top W x_p,\ W_0 = 0,\ a_{pj} \text{ iid with moments } m_1, \dots, "
        r"m_4,\ v_p = \sum_i y_i x_{ip},\ v = \sum_p v_p; \text{ at every width } k: "
        r"\tfrac{1}{\eta^2}\mathbb{E} W_1^\top W_1 = k(m_2 - m_1^2) \sum_p v_pv_p^\top "
        r"+ k m_1^2 vv^\top;\ \tfrac{1}{\eta^2}\mathbb{E}\,\mathrm{AGOP} = "
        r"\alpha \sum_p v_pv_p^\top + \beta vv^\top,\ "
        r"\beta = k(2m_1m_3 + (P-2)m_1^2m_2) + k(k-1)(2m_1^2m_2 + (P-2)m_1^4),\ "
        r"\alpha + \beta = k(m_4 + (P-1)m_2^2) + k(k-1)(m_2^2 + (P-1)m_1^4);\ "
        r"m_1 = 0:\ \alpha = k[(k+P-2)m_2^2 + m_4] = k(k+P+1)\ (\mathcal N(0,1)),\ "
        r"k(k+P-1)\ (\pm1),\ \beta = 0;\ "
        r"\tfrac{\mathbb{E}\|W_1^\top W_1 - \mathbb{E}W_1^\top W_1\|^2}"
        r"{\|\mathbb{E}W_1^\top W_1\|^2} = "
        r"\tfrac1k\Big[1 + \tfrac{(\mathrm{tr} S)^2 + (m_4/m_2^2 - 3) \sum_p S_{pp}^2}"
        r"{\mathrm{tr} S^2}\Big],\ S = VV^\top;\ k \to \infty:\ "
        r"W_1^\top W_1/k \to \eta^2 m_2 \sum_p v_pv_p^\top,\ "
        r"\mathrm{AGOP}/k^2 \to \eta^2 m_2^2 \sum_p v_pv_p^\top"
    ),
    source="D (the limit), here",
    hypotheses=(
        Hypothesis("linear activation; loss Σ ½(f − y)²; the readout rests"),
        Hypothesis("for the limit: m_1 = 0, m_2 > 0, m_4 < ∞, and V ≠ 0"),
        Hypothesis("WᵀW with another activation: φ(0) = 0, and a factor φ'(0)²"),
    ),
    formulas={
        "covariance_own": theory.COVARIANCE_OWN,
        "covariance_shared": theory.COVARIANCE_SHARED,
        "agop_own": theory.AGOP_OWN,
        "agop_shared": theory.AGOP_SHARED,
        "spread": theory.SPREAD,
        "wide_own": wide.WIDE_OWN,
        "wide_along": wide.WIDE_ALONG,
        "cubic_1": wide.CUBIC_EXAMPLE[0],
        "cubic_2": wide.CUBIC_EXAMPLE[1],
        "unit_along": gaussian.UNIT_ALONG,
        "unit_mixed": gaussian.UNIT_MIXED,
        "unit_across": gaussian.UNIT_ACROSS,
        "unit_own": gaussian.UNIT_OWN,
        "covariance": theory.expected_filter_covariance,
        "agop": theory.expected_patch_agop,
        "spread_of": theory.filter_covariance_spread,
        "wide_agop": wide.wide_patch_agop,
        "gaussian_agop": gaussian.gaussian_patch_agop,
    },
    legs=(
        derivation_leg(
            "every width and law",
            theory.derive_independent_step,
            (*EXPECTED, "spread"),
            whole=True,
        ),
        Leg("every readout of a law", Kind.EXACT, _every_readout, EXPECTED),
        Leg("spread over every readout", Kind.EXACT, _spreads, ("spread",)),
        Leg("every law, in symbols", Kind.EXACT, _every_law, (*EXPECTED, "spread")),
        derivation_leg("other activations", wide.derive_wide_step, WIDE),
        derivation_leg("other activations, every width", gaussian.derive_gaussian_step, UNITS),
        digits_leg("library functions", _library, ("covariance", "agop", "spread_of"), 11),
        Leg("other activations, library", Kind.DIRECT, _wide_library, ("wide_agop",)),
        digits_leg("cubic networks", _gaussian_library, ("gaussian_agop",), 11),
    ),
    mutants=(
        Mutant("E a⁴ as for ±1", {"agop": _no_fourth_moment}),
        Mutant("AGOP as k times WᵀW", {"agop": _limit_only}),
        Mutant("WᵀW without the width", {"covariance": _narrow}),
        Mutant("WᵀW as if φ'(0) = 1", {"covariance": _any_slope}),
        Mutant("spread as for Gaussian readouts", {"spread_of": _gaussian_spread}),
        Mutant("k² times the wide limit", {"gaussian_agop": _pairs_of_units}),
        Mutant("wide networks taken for linear ones", {"wide_agop": _linear_wide}),
    ),
    notes=(
        "With centred readouts both expectations are multiples of Σ v_pv_pᵀ at every width; the "
        "limit is needed for the single network: A = (1 1; 1 1; 1 −1), V = I has WᵀW, its square "
        "AGOP and VᵀV in three different directions (k = 2), and for k = 1 both have rank one. "
        "Readouts of a common mean stand between independent (m_1 = 0) and shared (no variance) "
        "ones. For k → ∞ with a non-linear activation the pre-activations do not shrink, and "
        "AGOP/k² → η²c²Vᵀ[mean of Σ_p h_ph_pᵀ]V with h_p = E[αα_pφ'(ηcαᵀVx_p)], c = φ'(0): on the "
        "span of the v_p, but no multiple of Σ v_pv_pᵀ; the exact expectation at finite width, for "
        "Gaussian readouts, is gaussian_patch_agop. φ = z + z³/3, one image of the patches e_1 "
        "and 2e_2, y = 1: diag((1 + 3η²)², 4(1 + 48η²)²) against diag(1, 4). So the linear "
        "activation, or η → 0 after k → ∞, is a hypothesis."
    ),
)

CLAIMS = (ONE_STEP_INDEPENDENT,)
