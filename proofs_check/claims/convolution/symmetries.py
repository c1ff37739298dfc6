"""The patch-AGOP of retrained machines: translations of the images, changes of the patch basis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat

from theory.convolution import symmetries as theory

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..rationals import differ, objects, rational
from ..shared import formula
from . import kernel_brute as brute
from .distance import beside

if TYPE_CHECKING:
    from torch import Tensor

RULES = ("metric", "agop")
RIDGE, LENGTH, SIDE = Fraction(5, 7), 4, 2
ONE = np.eye(SIDE, dtype=int).astype(object) * Fraction(1)

# ── machines on signals, in fractions ────────────────────────────────────────────────────────────


def _signals() -> tuple[Any, Any]:
    """Three signals around a circle of four points, and their targets."""
    signals, targets = objects(rational(3, LENGTH, 91)), objects(rational(3, 1, 92))
    return signals, targets[:, 0]


def _circular(signals: Any, stride: int = 1) -> Any:
    """Every patch of two neighbours around the circle."""
    starts = range(0, LENGTH, stride)
    return np.stack([signals[:, [s, (s + 1) % LENGTH]] for s in starts], axis=1)


def _valid(signals: Any) -> Any:
    """The patches that fit."""
    return np.stack([signals[:, s : s + 2] for s in range(LENGTH - 1)], axis=1)


def _zeros(signals: Any) -> Any:
    """Zeros beyond both ends."""
    zero = np.zeros((len(signals), 1), dtype=int) * Fraction(0)
    padded = np.concatenate([zero, signals, zero], axis=1)
    return np.stack([padded[:, s : s + 2] for s in range(LENGTH + 1)], axis=1)


def _moved(signals: Any, shifts: Sequence[int]) -> Any:
    """Each signal translated around the circle by its own shift."""
    return np.stack([np.roll(s, shift) for s, shift in zip(signals, shifts, strict=True)])


def _kernel(combination: str, metric: Any) -> brute.Product:
    if combination == "coordinates":  # Σ_p Σ_i (u_i w_i)², which sees the axes of patches
        return lambda x, z: np.sum((x * z) ** 2)
    blank = np.zeros((1, 1))
    return brute.quadratic_kernel(
        combination, brute.Problem(blank, blank, blank, metric, Fraction(3, 2))
    )


def _trained(patches: Any, targets: Any, combination: str, metric: Any) -> Any:
    """α of (K + λ)α = y, shape (n, 1)."""
    kernel = _kernel(combination, metric)
    gram = fmpq_mat(
        [
            [_flint(kernel(x, z) + (RIDGE if i == j else 0)) for j, z in enumerate(patches)]
            for i, x in enumerate(patches)
        ]
    )
    found = gram.solve(fmpq_mat([[_flint(t)] for t in targets]))
    return objects([[Fraction(int(v.p), int(v.q))] for v in found.entries()])


def _flint(value: Any) -> fmpq:
    exact = Fraction(value)
    return fmpq(exact.numerator, exact.denominator)


def _agop(
    patches: Any, targets: Any, combination: str, metric: Any = ONE, images: Any = None
) -> Any:
    """The patch-AGOP of the machine trained on these patches, at them or at other images.

    The kernels are quadratic in each patch, so that central differences are gradients.
    """
    alpha = _trained(patches, targets, combination, metric)
    at = patches if images is None else images
    data = brute.Problem(patches, alpha, at, metric, RIDGE)
    kernel = _kernel(combination, metric)
    gradients = [brute.central_gradients(kernel, data, x, Fraction(1)) for x in at]
    return brute.outer_mean(gradients)


def _value(word: Any, letters: dict[sympy.Symbol, Any]) -> Any:
    """A word at matrices of fractions."""
    if word.is_Symbol:
        return letters[word]
    if word.is_Rational:
        return Fraction(int(word.p), int(word.q)) * ONE
    parts = [_value(part, letters) for part in word.args]
    if isinstance(word, sympy.transpose):
        return parts[0].T
    if word.is_Add:
        return sum(parts)
    if word.is_Pow:
        return np.linalg.matrix_power(parts[0], int(word.exp))
    total = ONE
    for part in parts:
        total = total @ part
    return total


BASES = (
    ("invertible", objects([[Fraction(2), Fraction(1)], [Fraction(-1), Fraction(3)]]) / 2),
    ("orthogonal", objects([[Fraction(3), Fraction(4)], [Fraction(-4), Fraction(3)]]) / 5),
)


def _inverse(B: Any) -> Any:
    adjugate = objects([[B[1, 1], -B[0, 1]], [-B[1, 0], B[0, 0]]])
    return adjugate / (B[0, 0] * B[1, 1] - B[0, 1] * B[1, 0])


@lru_cache(maxsize=8)
def _plain(combination: str) -> tuple[Any, Any, Any, Any]:
    """Patches, targets, a metric, and the patch-AGOP with it."""
    signals, y = _signals()
    root = objects(rational(SIDE, SIDE, 93))
    M, patches = root.T @ root, _circular(signals)
    return patches, y, M, _agop(patches, y, combination, M)


def _bases(formulas: Formulas, setting: Setting) -> Evidence:
    """Machines retrained on patches Bx_p with the claimed metric, against the claimed AGOP."""
    count = 0
    for label, B in BASES:
        for combination in brute.COMBINATIONS:
            patches, y, M, agop = _plain(combination)
            letters = {theory.METRIC: M, theory.INVERSE: _inverse(B), theory.AGOP: agop}
            metric, claimed = (_value(formula(formulas, name), letters) for name in RULES)
            found = _agop(patches @ B.T, y, combination, metric)
            if not (found == claimed).all():
                return differ(f"{label}, {combination}", claimed, found)
            count += 1
    return Evidence(True, {"machines": count, "residual": 0})


def _translations(formulas: Formulas, setting: Setting) -> Evidence:
    """One shift for all signals and every kernel; a shift for each, and the kernel of pairs."""
    signals, y = _signals()
    count = 0
    for combination in brute.COMBINATIONS:
        _, _, M, agop = _plain(combination)
        shifts = [(s, s, s) for s in range(1, LENGTH)]
        shifts += [(1, 3, 0), (2, 1, 3)] if combination == "pairs" else []
        for shift in shifts:
            found = _agop(_circular(_moved(signals, shift)), y, combination, M)
            if not (found == agop).all():
                return differ(f"{combination}, shifts {shift}", found, agop)
            count += 1
    return Evidence(True, {"machines": count, "residual": 0})


def _same(left: Any, right: Any) -> bool:
    return bool((left == right).all())


def _counterexamples(formulas: Formulas, setting: Setting) -> Evidence:
    """Where an assumption is dropped the patch-AGOP changes; beside it, that else it does not."""
    signals, y = _signals()
    shifted, apart = _moved(signals, (1, 1, 1)), _moved(signals, (1, 3, 0))
    found = {
        "zeros beyond the border": _same(
            _agop(_zeros(signals), y, "pairs"), _agop(_zeros(shifted), y, "pairs")
        ),
        "patches that fit": _same(
            _agop(_valid(signals), y, "pairs"), _agop(_valid(shifted), y, "pairs")
        ),
        "stride 2, shift 1": _same(
            _agop(_circular(signals, 2), y, "pairs"), _agop(_circular(shifted, 2), y, "pairs")
        ),
        **{f"another shift for each, {kind}": _same(
            _agop(_circular(signals), y, kind), _agop(_circular(apart), y, kind)
        ) for kind in ("additive", "joint")},
        "not retrained, additive": _same(
            _agop(_circular(signals), y, "additive"),
            _agop(_circular(signals), y, "additive", images=_circular(shifted)),
        ),
        "M = I stays, B not orthogonal": _basis_holds("pairs", BASES[0][1]),
        "a kernel of coordinates": _basis_holds("coordinates", BASES[1][1]),
    }  # fmt: skip
    controls = {
        "stride 2, shift 2": _same(
            _agop(_circular(signals, 2), y, "pairs"),
            _agop(_circular(_moved(signals, (2, 2, 2)), 2), y, "pairs"),
        ),
        "not retrained, pairs": _same(
            _agop(_circular(signals), y, "pairs"),
            _agop(_circular(signals), y, "pairs", images=_circular(shifted)),
        ),
        "M = I stays, B orthogonal": _basis_holds("pairs", BASES[1][1]),
    }
    holds = not any(found.values()) and all(controls.values())
    wrong = [name for name, alike in {**found, **controls}.items() if alike == (name in found)]
    figures = {"counterexamples": len(found), "controls": len(controls)}
    return Evidence(holds, figures, ", ".join(wrong))


def _basis_holds(combination: str, B: Any) -> bool:
    """Whether AGOP' = B^{-T}AGOP B^{-1} with the metric 1 before and after."""
    signals, y = _signals()
    patches, C = _circular(signals), _inverse(B)
    carried = C.T @ _agop(patches, y, combination) @ C
    return _same(_agop(patches @ B.T, y, combination), carried)


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────


def _unfolded(images: Tensor) -> Tensor:
    import torch

    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="circular")
    return torch.nn.functional.unfold(padded, 3).transpose(1, 2)


def _torch_agop(combination: str, patches: Tensor, y: Tensor, M: Tensor) -> Any:
    """Laplace machine of two outputs with a ridge, patch gradients by reverse mode.

    Sums of e^{−ρ} over pairs that coincide have no gradient: the square root is kept off 0.
    """
    import torch

    def gram(x: Tensor, z: Tensor) -> Tensor:
        away = x[:, None, :, None] - z[None, :, None]
        squares = torch.einsum("qnpri,ij,qnprj->qnpr", away, M, away) / 9
        chosen = squares.diagonal(dim1=2, dim2=3) if combination == "additive" else squares
        return (-(chosen.flatten(2) + 1e-2).sqrt()).exp().sum(dim=2)

    alpha = torch.linalg.solve(gram(patches, patches) + torch.eye(len(y)).double() / 10, y)
    x = patches.clone().requires_grad_()
    f = gram(x, patches) @ alpha
    rows = [torch.autograd.grad(f[:, c].sum(), x, retain_graph=True)[0] for c in range(2)]
    G = torch.stack(rows).reshape(-1, patches.shape[2])
    return (G.T @ G / len(patches)).numpy()


@lru_cache(maxsize=1)
def _image_cases() -> tuple[tuple[Any, ...], ...]:
    """Label, AGOP, metric, basis, metric after, AGOP after; images 4 × 4 of two channels."""
    import torch

    rng = torch.Generator().manual_seed(94)
    images = torch.randn(4, 2, 4, 4, generator=rng, dtype=torch.float64)
    y = torch.randn(4, 2, generator=rng, dtype=torch.float64)
    R, B = (torch.randn(18, 18, generator=rng, dtype=torch.float64) for _ in range(2))
    M, one = R @ R.T / 18, torch.eye(18, dtype=torch.float64)
    B = one + B / 8
    turn = one.reshape(18, 2, 3, 3).rot90(1, (2, 3)).reshape(18, 18).T
    C = torch.linalg.inv(B)
    cases: list[tuple[str, Any, Any, Any, Any, Any]] = []
    for kind in ("additive", "pairs"):
        patches = _unfolded(images)
        before = _torch_agop(kind, patches, y, M)
        shifted = _unfolded(images.roll((1, 2), (2, 3)))
        turned = _unfolded(images.rot90(1, (2, 3)))
        after = turn @ M @ turn.T
        carried = C.T @ M @ C
        cases += [
            (f"{kind}, shift", before, M, one, M, _torch_agop(kind, shifted, y, M)),
            (f"{kind}, quarter turn", before, M, turn, after,
             _torch_agop(kind, turned, y, after)),
            (f"{kind}, basis", before, M, B, carried,
             _torch_agop(kind, patches @ B.T, y, carried)),
        ]  # fmt: skip
    return tuple((case[0], *(np.asarray(part) for part in case[1:])) for case in cases)


def _images(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Images around a torus: shifted, turned by a quarter, and patches in another basis."""
    for label, before, M, B, metric, after in _image_cases():
        yield f"{label}: M", *beside(formula(formulas, "carried_metric")(M, B), metric)
        yield f"{label}: AGOP", *beside(formula(formulas, "carried_agop")(before, B), after)


def _conjugated(function: Callable[..., Any]) -> Callable[..., Any]:
    """B A Bᵀ also for B that are not orthogonal."""
    return lambda matrix, B: np.asarray(B) @ matrix @ np.asarray(B).T


def _turned_back(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda matrix, B: function(matrix, np.linalg.inv(B))


EQUIVARIANCE = Claim(
    id="convolution.equivariance",
    title="symmetries of the patch-AGOP",
    statement=(
        r"\text{images } x \in \mathbb{R}^{P \times d},\ x \mapsto \Pi x B^\top,\ "
        r"\Pi \text{ a permutation of positions, } B \text{ invertible},\ "
        r"K_{M'}(\Pi xB^\top, \Pi zB^\top) = K_M(x, z) \text{ with } M' = B^{-\top} M B^{-1}:\ "
        r"\mathrm{AGOP}' = B^{-\top}\, \mathrm{AGOP}\, B^{-1} \text{ after retraining};\ "
        r"B = I,\ \Pi \text{ a circular translation}: \mathrm{AGOP}' = \mathrm{AGOP};\ "
        r"B = Q \text{ orthogonal}: M' = QMQ^\top,\ "
        r"\mathrm{AGOP}' = Q\, \mathrm{AGOP}\, Q^\top"
    ),
    source="here",
    hypotheses=(
        Hypothesis(
            "all positions around a circle (circular padding), and a shift that the stride "
            "divides: then the patches of the moved image are the old ones in another order"
        ),
        Hypothesis(
            "the machine is retrained on the moved images, all moved alike; its kernel is a sum "
            "over positions or pairs of positions, or one of their common distance"
        ),
        Hypothesis("the kernel sees x_pᵀMz_q and x_pᵀMx_q alone, and M moves along"),
        Hypothesis("each image with a shift of its own, or no retraining: K(Πx, z) = K(x, z)"),
    ),
    formulas={
        "metric": theory.METRIC_RULE,
        "agop": theory.AGOP_RULE,
        "carried_metric": theory.carried_metric,
        "carried_agop": theory.carried_agop,
    },
    legs=(
        derivation_leg("any kernel, all sizes", theory.derive_equivariance, RULES, whole=True),
        Leg("signals retrained, bases", Kind.EXACT, _bases, RULES),
        Leg("signals retrained, translations", Kind.EXACT, _translations, on_mutants=False),
        Leg("counterexamples", Kind.EXACT, _counterexamples, on_mutants=False),
        digits_leg("images retrained", _images, ("carried_metric", "carried_agop"), 9),
    ),
    mutants=(
        Mutant("BMBᵀ for any B", {"carried_metric": _conjugated(theory.carried_metric)}),
        Mutant("B AGOP Bᵀ for any B", {"carried_agop": _conjugated(theory.carried_agop)}),
        Mutant("B for its inverse", {"carried_agop": _turned_back(theory.carried_agop)}),
        Mutant("agop: B AGOP Bᵀ with B for its inverse", {
            "agop": theory.INVERSE * theory.AGOP * sympy.transpose(theory.INVERSE)}),
    ),
    refutes=(
        "the patch-AGOP is invariant under every circular translation of the data: signals of "
        "length 4 with patches of 2 and zeros beyond the border, with only the patches that fit, "
        "with stride 2 and shift 1, or each signal shifted by itself with an additive kernel, have "
        "another one"
    ),
    notes=(
        "Reflections and quarter turns of square patches are a permutation of positions and a Q at "
        "once: AGOP' = Q AGOP Qᵀ. A change of basis is one of images if it acts on the channels, "
        "or is such a turn; else the Qx_p are patches of no image, and the statement is about "
        "patches. M = I may stay for orthogonal Q only; kernels of coordinates, Σ_i (u_i w_i)² "
        "or e^{−‖·‖₁}, do not follow. Convolutional networks trained by gradient descent follow a "
        "common translation (circular padding, no flattened readout or one that moves along) and Q "
        "(from W = 0 or a law of W that does not see Q). After one step from zero filters with "
        "independent readouts, the expectations are invariant under a common translation, single "
        "networks are not."
    ),
)  # fmt: skip

CLAIMS = (EQUIVARIANCE,)
