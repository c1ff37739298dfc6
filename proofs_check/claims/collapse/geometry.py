"""NC1 and NC2 from Gram matrices, and what of a layer's weights can change them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import fmpq

import numerics.collapse.metrics as measured
from theory.collapse import metrics, singular
from theory.collapse.setting import CLASSES, SAMPLES

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case as Digits
from ...legs import derivation_leg, digits_leg
from ..rationals import number
from ..shared import formula
from . import gram_brute as brute

FEATURES = Hypothesis("features x_i as columns of X, G = XᵀX, K >= 2 classes, none empty")
CLASS_MEANS = Hypothesis(
    "tr Σ_W = (1/N) Σ_i ‖x_i - μ_c(i)‖², tr Σ_B = (1/K) Σ_c ‖μ_c - μ‖², μ the mean of the μ_c"
)
EQUAL_SIZES = Hypothesis("the formula in a, b, m: equally many samples in each class")

# ── metrics ──────────────────────────────────────────────────────────────────────────────────────

SHAPES = ((2, 2, 3), (3, 3, 2), (2, 4, 5), (4, 2, 1))
"""Samples per class, classes, dimension."""


def _feature_ratio(X: Any, n: int, K: int) -> Any:
    """NC1 by its definition, from the features themselves, in fractions."""
    columns = [list(column) for column in X.transpose().tolist()]
    groups = [columns[c * n : (c + 1) * n] for c in range(K)]
    means = [[sum(coordinates[1:], coordinates[0]) / n for coordinates in zip(*group, strict=True)]
             for group in groups]  # fmt: skip
    centre = [sum(coordinates[1:], coordinates[0]) / K for coordinates in zip(*means, strict=True)]
    within = [_distance(x, mean) for group, mean in zip(groups, means, strict=True) for x in group]
    between = [_distance(mean, centre) for mean in means]
    return (sum(within, fmpq(0)) / (n * K)) / (sum(between, fmpq(0)) / K)


def _distance(x: Sequence[Any], y: Sequence[Any]) -> Any:
    return sum(((a - b) ** 2 for a, b in zip(x, y, strict=True)), fmpq(0))


def _entry_means(G: Any, n: int, K: int) -> dict[sympy.Symbol, Any]:
    size = n * K
    pairs = [(i, j) for i in range(size) for j in range(size)]
    same = sum((G[i, j] for i, j in pairs if i // n == j // n), fmpq(0))
    everything = sum((G[i, j] for i, j in pairs), fmpq(0))
    found = {
        metrics.DIAGONAL_MEAN: brute.trace(G) / size,
        metrics.WITHIN_MEAN: same / (K * n**2),
        metrics.TOTAL_MEAN: everything / size**2,
    }
    numbers = {name: number(brute.fraction(x)) for name, x in found.items()}
    return {**numbers, CLASSES: K, SAMPLES: n}


def _from_features(formulas: Formulas, setting: Setting) -> Evidence:
    """Both NC1 in fractions, from features and from the means of G's entries."""
    rng, count = setting.generator("features"), 0
    for n, K, d in SHAPES * 2:
        X = brute.integers(d, n * K, rng)
        ratio, values = _feature_ratio(X, n, K), _entry_means(X.transpose() * X, n, K)
        expected = number(brute.fraction(ratio))
        for name, over in (("standard", 1), ("released", K)):
            found = formula(formulas, name).subs(values)
            if found != expected / over:
                return Evidence(False, {"cases": count}, f"{(n, K, d)}, {name}: {found}")
        count += 1
    return Evidence(True, {"residual": 0, "cases": count})


def _simplices(formulas: Formulas, setting: Setting) -> Evidence:
    """Centred orthogonal class means of one length have the claimed cosine."""
    for K in range(2, 8):
        centred = brute.identity(K) - brute.matrix([[Fraction(1, K)] * K] * K)
        gram = centred.transpose() * centred
        cosine = gram[0, 1] / gram[0, 0]
        claimed = formula(formulas, "cosine").subs(CLASSES, K)
        if claimed != number(brute.fraction(cosine)):
            return Evidence(False, {"K": K}, f"K = {K}: {claimed} against {cosine}")
    return Evidence(True, {"residual": 0, "classes": "2 to 7"})


UNEQUAL = ((2, 3, 4), (1, 2), (5, 1, 2, 2))


def _functions(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """theory's functions of G against numerics' of X, with classes of unequal sizes."""
    rng = setting.generator("functions")
    for sizes in UNEQUAL:
        X = rng.standard_normal((6, sum(sizes))) + 1.0
        Y, index = np.repeat(np.eye(len(sizes)), sizes, axis=1), np.repeat(range(len(sizes)), sizes)
        G, first = X.T @ X, formula(formulas, "nc1")
        for kind in ("standard", "released"):
            reference = measured.nc1(X.T, index, normalisation=kind)
            yield f"NC1 {kind}, {sizes}", first(G, Y, kind), reference
        if len(sizes) > 2:
            second = formula(formulas, "nc2")(G, Y)
            yield f"NC2, {sizes}", second, measured.nc2(X.T, index)


def _wrong_nc1(between: str) -> Callable[[Any, Any, str], float]:
    def wrong(G: Any, Y: Any, kind: str) -> float:
        average = Y / Y.sum(axis=1, keepdims=True)
        weights = Y.sum(axis=1) / len(G)
        M = average @ G @ average.T
        within = np.trace(G) / len(G) - weights @ np.diag(M)
        uniform = np.full(len(Y), 1 / len(Y))
        weights = {"samples": weights, "classes": uniform}.get(between, uniform)
        centre = 0.0 if between == "uncentred" else float(weights @ M @ weights)
        found = within / (weights @ np.diag(M) - centre)
        return float(found if kind == "standard" else found / len(Y))

    return wrong


def _wrong_nc2(G: Any, Y: Any) -> float:
    return metrics.nc2(G, Y, "frobenius")


METRICS = Claim(
    id="collapse.metrics",
    title="NC1 and NC2 from the Gram matrix",
    statement=(
        r"\mathrm{NC1} = \frac{\mathrm{tr}\,\Sigma_W}{\mathrm{tr}\,\Sigma_B} = \frac{a-b}{b-m},"
        r"\ \text{the released script's } = \frac1K\mathrm{NC1};\ a, b, m \text{ the means of } G "
        r"\text{'s diagonal, of its entries within classes, of all entries};\quad "
        r"\mathrm{NC2} = \text{mean squared entry of } C - E,\ E_{ij} = -\tfrac1{K-1}\ (i\ne j)"
    ),
    source="B, here",
    hypotheses=(FEATURES, CLASS_MEANS, EQUAL_SIZES),
    formulas={
        "standard": metrics.STANDARD_NC1,
        "released": metrics.RELEASED_NC1,
        "cosine": metrics.SIMPLEX_COSINE,
        "nc1": metrics.nc1,
        "nc2": metrics.nc2,
    },
    legs=(
        derivation_leg(
            "means of entries",
            metrics.derive_metrics,
            ("standard", "released", "cosine"),
            whole=True,
        ),
        Leg("from features", Kind.EXACT, _from_features, ("standard", "released")),
        Leg("simplices", Kind.EXACT, _simplices, ("cosine",)),
        digits_leg("functions of G and of X", _functions, ("nc1", "nc2"), 11),
    ),
    mutants=(
        Mutant("nc1: Σ_B not centred", {"nc1": _wrong_nc1("uncentred")}),
        Mutant("nc1: Σ_B weighted by samples", {"nc1": _wrong_nc1("samples")}),
        Mutant("nc2: Frobenius distance of Gram matrices", {"nc2": _wrong_nc2}),
        Mutant("released: without 1/K", {"released": metrics.STANDARD_NC1}),
    ),
    notes=(
        "At G* NC1 is λ_Φ(n - 1)/(g(1 - 1/K)), in the released normalisation over K, and both NC2 "
        "are 0. Of two classes NC2 is always 0. Σ_B over samples instead of classes is the same "
        "for equal classes only."
    ),
)  # fmt: skip

# ── singular structure ───────────────────────────────────────────────────────────────────────────

DECOMPOSED = Hypothesis("W = USVᵀ with UᵀU = I, VᵀV = I, S diagonal, S ⪰ 0")


def _decomposed(rng: np.random.Generator) -> tuple[dict[sympy.Symbol, Any], Any]:
    """Numbers for the letters of the words, and WX, not by way of its decomposition."""
    W, X = rng.standard_normal((5, 4)), rng.standard_normal((4, 9)) + 1.0
    _, S, Vt = np.linalg.svd(W, full_matrices=False)
    letters = (singular.SINGULAR, singular.RIGHT, singular.FEATURES)
    return dict(zip(letters, (np.diag(S), Vt.T, X), strict=True)), W @ X


def _word_value(word: sympy.Expr, values: dict[sympy.Symbol, Any]) -> Any:
    """A word in letters, their transposes and powers, as a product of arrays."""
    scalars, letters = word.args_cnc()
    product: Any = None
    for factor in letters:
        base, exponent = factor.as_base_exp()
        turned = isinstance(base, sympy.transpose)
        letter = values[base.args[0]].T if turned else values[base]
        power = letter if exponent == 1 else np.linalg.matrix_power(letter, int(exponent))
        product = power if product is None else product @ power
    return float(sympy.prod(scalars)) * product


def _layers(formulas: Formulas, setting: Setting) -> Iterator[Digits]:
    """NC1 and NC2 of WX, of SVᵀX and of NFM^{1/2}X, measured on the features."""
    rng, index = setting.generator("layers"), np.repeat(range(3), 3)
    for network in range(3):
        values, WX = _decomposed(rng)
        SVX, nfm = (_word_value(formula(formulas, name), values) for name in ("invariant", "nfm"))
        eigenvalues, vectors = np.linalg.eigh(nfm)
        root = (vectors * np.sqrt(np.clip(eigenvalues, 0, None))) @ vectors.T
        moved = WX + rng.standard_normal((len(WX), 1))
        for name, metric in (("NC1", measured.nc1), ("NC2", measured.nc2)):
            reference = metric(moved.T, index)
            yield f"{name} of SVᵀX, network {network}", metric(SVX.T, index), reference
            rooted = (root @ values[singular.FEATURES]).T
            yield f"{name} of NFM^½X, network {network}", metric(rooted, index), reference


def _boundary(formulas: Formulas, setting: Setting) -> Evidence:
    """Exactly: U matters after a ReLU, and before it if its columns are not orthonormal."""
    Z = brute.matrix([[1, 2, -1, -2], [1, -1, 2, 1]])
    turned = brute.matrix([[Fraction(3, 5), Fraction(-4, 5)], [Fraction(4, 5), Fraction(3, 5)]])
    stretched = brute.matrix([[1, 1], [0, 1]])
    before = _feature_ratio(Z, 2, 2)
    ratios = {
        "turned": _feature_ratio(turned * Z, 2, 2) == before,
        "turned, ReLU": _feature_ratio(_relu(turned * Z), 2, 2) != _feature_ratio(_relu(Z), 2, 2),
        "not orthonormal": _feature_ratio(stretched * Z, 2, 2) != before,
    }
    wrong = next((name for name, holds in ratios.items() if not holds), "")
    return Evidence(not wrong, {"cases": len(ratios)}, wrong)


def _relu(A: Any) -> Any:
    return brute.matrix([[max(x, fmpq(0)) for x in row] for row in A.tolist()])


SINGULAR = Claim(
    id="collapse.singular",
    title="only SVᵀ and the nonlinearity can change NC1",
    statement=(
        r"W = USV^\top,\ U^\top U = I:\quad \mathrm{NC}_i(WX + b1^\top) = \mathrm{NC}_i(SV^\top X) "
        r"= \mathrm{NC}_i\big((W^\top W)^{1/2}X\big),\ i = 1, 2"
    ),
    source="B, here",
    hypotheses=(DECOMPOSED, FEATURES),
    formulas={"invariant": singular.INVARIANT, "nfm": singular.NFM},
    legs=(
        derivation_leg(
            "Gram matrices", singular.derive_invariance, ("invariant", "nfm"), whole=True
        ),
        digits_leg("layers", _layers, ("invariant", "nfm"), 9),
        Leg("where it ends", Kind.EXACT, _boundary, on_mutants=False),
    ),
    mutants=(
        Mutant("invariant: VᵀX", {
            "invariant": sympy.transpose(singular.RIGHT) * singular.FEATURES}),
        Mutant("invariant: S²VᵀX", {
            "invariant": singular.SINGULAR * singular.INVARIANT}),
    ),
    uses=("collapse.metrics",),
    equivalents={"invariant: everything negated": "-SVᵀX has the distances of SVᵀX"},
    notes=(
        "So U and the bias change NC1 and NC2 only through what the nonlinearity makes of WX + b. "
        "With NFM^{1/2} ∝ AGOP^{1/2} the same number is NC1 of Deep RFM's M^{1/2}X."
    ),
)  # fmt: skip

CLAIMS = (METRICS, SINGULAR)
