"""The beginning of gradient flow: factorised gradients, the first limit, and the next order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from theory.alignment import activations
from theory.alignment import early_derivation as derivation
from theory.alignment import early_words as words
from theory.alignment.early_symbolic import MOMENTS, assemble, cosine
from theory.alignment.expansion import EarlyTime, early_time

from ...claim import Budget, Claim, Formulas, Hypothesis, Mutant, Setting
from ...legs import Case as Point
from ...legs import derivation_leg, digits_leg
from ..shared import formula
from .early_networks import (
    INSTANT,
    RATIONAL,
    SMOOTH_AND_KINKED,
    drawn,
    expanded,
    floor,
    followed,
    rational_network,
)
from .flow_series import truth

if TYPE_CHECKING:
    from torch import Tensor, nn

LAYER = Hypothesis("a linear layer z = Wh + b through which h enters once per sample")
TWO_LAYERS = Hypothesis("f(x) = a φ(Wx), loss Σ ½(f − y)² or Σ log(1 + e^{−yf}), gradient flow")
ANY_LAYER = Hypothesis(
    "a layer z = Wh of any network f, loss Σ ½(f − y)²; or f = a φ(Wx), also with the loss "
    "Σ log(1 + e^{−yf}); gradient flow of W, the other parameters at rest or on the flow, too"
)
REGULAR = Hypothesis("f twice continuously differentiable in all that moves, near t = 0")
SMOOTH = Hypothesis("φ twice continuously differentiable near the pre-activations of t = 0")
MOVING = Hypothesis("Ẇ ≠ 0 at t = 0")
UNCENTRED = Hypothesis("for the uncentred correlation WᵀW ≠ 0 and WᵀKW ≠ 0 at t = 0")


def entries(point: str, claimed: Any, reference: Any) -> Iterator[Point]:
    """Every entry of a matrix; a matrix of another shape is an error."""
    left, right = np.asarray(claimed, dtype=object), np.asarray(reference, dtype=object)
    if left.shape != right.shape:
        raise ValueError(f"{point} has shape {left.shape}, not {right.shape}")
    for place, value in np.ndenumerate(left):
        yield f"{point}{list(place)}", value, right[place]


# ── factorisation ────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """One layer of a network, sample by sample and output by output, by automatic differentiation.

    J (n o, k), gradients in the layer's input (n o, d), inputs (n, d), and the empirical NTK of
    its weight alone and with its bias, (n o, n o).
    """

    W: Any
    J: Any
    gradients: Any
    inputs: Any
    agop: Any
    ntk: Any
    ntk_with_bias: Any


@lru_cache(maxsize=8)
def _networks() -> tuple[tuple[str, Measured], ...]:
    import torch

    from numerics.alignment import mlp

    rng = torch.Generator().manual_seed(20)
    X = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    deep = mlp([3, 4, 5, 2], "tanh", bias=True, generator=rng)
    kinked = mlp([3, 5, 4, 1], "relu", bias=True, generator=rng)
    return tuple(
        (f"{label}, layer {name}", _measure(model, X, name))
        for label, model in (("tanh, 2 outputs", deep), ("ReLU, 1 output", kinked))
        for name in ("0", "2")
    )


def _measure(model: nn.Sequential, X: Tensor, name: str) -> Measured:
    """Each sample passes alone; the AGOP is that of numerics, from gradients, not from K."""
    import torch

    from numerics.alignment import empirical_ntk, layer_matrices

    layer: Any = model[int(name)]
    rows: dict[str, list[Any]] = {"J": [], "h": [], "W": [], "b": [], "x": []}
    for x in X:
        h = model[: int(name)](x[None]).detach().requires_grad_()
        z = layer(h)
        for output in model[int(name) + 1 :](z)[0]:
            found = torch.autograd.grad(output, (z, h, layer.weight, layer.bias), retain_graph=True)
            for key, value in zip("JhWb", found, strict=True):
                rows[key].append(value.flatten().numpy())
        rows["x"].append(h.detach().flatten().numpy())
    J, gradients, weight, bias, inputs = (np.array(rows[key]) for key in "JhWbx")
    agop = layer_matrices(model, X, [name], agop="gradient")[name].agop.numpy()
    ntk = empirical_ntk(model, X, name).numpy()
    both = weight @ weight.T + bias @ bias.T
    return Measured(layer.weight.detach().numpy(), J, gradients, inputs, agop, ntk, both)


def _autograd(formulas: Formulas, setting: Setting) -> Iterator[Point]:
    for label, net in _networks():
        n, o = len(net.inputs), len(net.J) // len(net.inputs)
        at = {
            words.J: net.J,
            words.W: net.W,
            words.Wt: net.W.T,
            words.K: net.J.T @ net.J / n,
            derivation.GRAM_ENTRY: net.J @ net.J.T,
            derivation.INPUT_ENTRY: np.kron(net.inputs @ net.inputs.T, np.ones((o, o))),
        }
        for name in ("gradients", "agop", "ntk", "ntk_with_bias"):
            claimed = words.evaluate(formula(formulas, name), at)
            yield from entries(f"{label}: {name}", claimed, getattr(net, name))


@lru_cache(maxsize=1)
def _residual_block() -> Mapping[str, Any]:
    """Measured layers of a network with normalisation and a path around one of its layers."""
    import torch
    from torch import nn

    from numerics.alignment import layer_matrices

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4)
            self.inner = nn.Linear(4, 4)
            self.outer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.norm(x)
            out: Tensor = self.outer(torch.tanh(x + nn.functional.gelu(self.inner(h)) + h))
            return out

    rng = torch.Generator().manual_seed(21)
    block = Block().double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    X = torch.randn(7, 4, generator=rng, dtype=torch.float64)
    return layer_matrices(block, X, agop="gradient")


def _around(formulas: Formulas, setting: Setting) -> Iterator[Point]:
    for name, measured in _residual_block().items():
        W, K = measured.weight.numpy(), measured.ptk.numpy()
        at = {words.W: W, words.Wt: W.T, words.K: K}
        claimed = words.evaluate(formula(formulas, "agop"), at)
        yield from entries(f"layer {name}: AGOP", claimed, measured.agop.numpy())


FACTORISATION = Claim(
    id="alignment.factorisation",
    title="AGOP and empirical NTK of a layer factorise",
    statement=(
        r"\frac1n\sum_{\alpha,c}\nabla_hf_c(x_\alpha)\nabla_hf_c(x_\alpha)^\top = W^\top KW,\quad "
        r"\Big\langle\frac{\partial f_c}{\partial W}(x_\alpha),"
        r"\frac{\partial f_{c'}}{\partial W}(x_\beta)\Big\rangle = "
        r"\langle k_{\alpha c},k_{\beta c'}\rangle\langle h_\alpha,h_\beta\rangle"
    ),
    source="C",
    hypotheses=(LAYER,),
    formulas={
        "gradients": derivation.GRADIENTS,
        "agop": derivation.AGOP,
        "ntk": derivation.NTK,
        "ntk_with_bias": derivation.NTK_WITH_BIAS,
    },
    legs=(
        derivation_leg(
            "chain rule",
            derivation.derive_factorisation,
            ("gradients", "agop", "ntk", "ntk_with_bias"),
            whole=True,
        ),
        digits_leg(
            "automatic differentiation",
            _autograd,
            ("gradients", "agop", "ntk", "ntk_with_bias"),
            digits=9,
        ),
        digits_leg("normalisation and a path around", _around, ("agop",), digits=11),
    ),
    notes=(
        "The gradient in h is taken through the layer alone: a path around it does not count. With "
        "the layer's bias among the parameters the NTK is ⟨k,k'⟩(⟨h,h'⟩ + 1). A layer that is used "
        "several times per sample has a sum over pairs of uses instead."
    ),
)


# ── the expansion against power series, and against networks that follow the flow ────────────────


def _in_rationals(*names: str, order: int) -> Callable[[Formulas, Setting], Iterator[Point]]:
    """The formulas in rational arithmetic against the power series of the flow itself.

    Args:
        names: Matrices to compare.
        order: 0 for the limit of the centred correlation, 1 for both correlations' slopes.
    """

    def cases(formulas: Formulas, setting: Setting) -> Iterator[Point]:
        chosen: dict[str, Any] = {**words.FORMULAS, **formulas}
        for case in RATIONAL:
            found, true = assemble(rational_network(case), chosen, case.train_readout), truth(case)
            for name in names:
                yield from entries(f"{case}: {name}", found[name], true.matrices[name])
            for which in ("centred", "uncentred") if order else ("centred",):
                value = cosine(chosen, [found[name] for name in MOMENTS[which]])[order]
                yield f"{case}: {which}, order {order}", value, getattr(true, which)[order]

    return cases


def _in_doubles(*names: str, order: int) -> Callable[[Formulas, Setting], Iterator[Point]]:
    """The function early_time, in doubles, against the power series of the flow itself."""
    wanted = ("centred_correlation",), ("centred_slope", "uncentred_slope")

    def cases(formulas: Formulas, setting: Setting) -> Iterator[Point]:
        for case in (*SMOOTH_AND_KINKED, *RATIONAL):
            found, true = expanded(formula(formulas, "early_time"), case), truth(case)
            for name in names:
                matrix = getattr(found, name).tolist()
                yield from entries(f"{case}: {name}", matrix, true.matrices[name])
            for quantity in wanted[order]:
                reference = getattr(true, quantity.split("_")[0])[order]
                yield f"{case}: {quantity}", getattr(found, quantity), reference

    return cases


def _limits(count: int) -> Callable[[Formulas, Setting], Iterator[Point]]:
    def cases(formulas: Formulas, setting: Setting) -> Iterator[Point]:
        for net in drawn(count, _seed(setting)):
            found = net.expand(formula(formulas, "early_time"))
            yield f"{net}: limit", found.centred_correlation, followed(net)[0]

    return cases


@lru_cache(maxsize=1)
def _deep_layers() -> tuple[tuple[str, Mapping[Any, Any], float], ...]:
    """What autograd finds of each layer of a deep network, and where its correlation begins.

    All parameters follow the flow, for an instant.
    """
    import torch

    from numerics.alignment import mlp
    from numerics.alignment.early_flow import early_correlations

    rng = torch.Generator().manual_seed(22)
    X = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    y = torch.randn(5, 2, generator=rng, dtype=torch.float64)
    model = mlp([3, 4, 5, 2], "tanh", bias=True, generator=rng)
    moving = [name for name, _ in model.named_parameters()]
    residuals = (y - model(X)).detach().numpy()
    R = np.einsum("ab,ac->abc", np.eye(len(X)), residuals).reshape(len(X), -1)
    found = []
    for name in ("0", "2", "4"):
        layer = _measure(model, X, name)
        at = {words.X: layer.inputs, words.R: R, words.J: layer.J, words.SAMPLES: float(len(X))}
        at |= {words.Xt: layer.inputs.T, words.Rt: R.T, words.Jt: layer.J.T}
        at[words.GRAM] = layer.J @ layer.J.T
        seen = early_correlations(model, X, y, [INSTANT], layer=name, trained=moving)
        found.append((f"layer {name}", at, float(seen.centred[0])))
    return tuple(found)


def _any_layer(formulas: Formulas, setting: Setting) -> Iterator[Point]:
    """The limit by the claimed words, in a network with three layers that all move."""
    for label, at, measured in _deep_layers():
        A, B = (
            np.asarray(words.evaluate(formula(formulas, name), at), dtype=float)
            for name in ("nfm_leading", "agop_leading")
        )
        sums = {words.INNER: A * B, words.SQUARE_A: A * A, words.SQUARE_B: B * B}
        values = {symbol: float(np.sum(product)) for symbol, product in sums.items()}
        yield label, formula(formulas, "correlation").subs(values), measured


def _slopes(count: int) -> Callable[[Formulas, Setting], Iterator[Point]]:
    def cases(formulas: Formulas, setting: Setting) -> Iterator[Point]:
        for net in drawn(count, _seed(setting)):
            found = net.expand(formula(formulas, "early_time"))
            centred, uncentred = followed(net)[1]
            for which, measured in (("centred", centred), ("uncentred", uncentred)):
                least = floor(net, measured)
                claimed = getattr(found, f"{which}_slope")
                yield f"{net}: {which} slope", claimed + least, measured + least

    return cases


def _seed(setting: Setting) -> int:
    return int(setting.generator("networks that follow the flow").integers(2**31))


# ── mutants of the function ──────────────────────────────────────────────────────────────────────


def _changed(change: Callable[[EarlyTime], dict[str, Any]]) -> Callable[..., EarlyTime]:
    def mutant(*arguments: Any, **options: Any) -> EarlyTime:
        found = early_time(*arguments, **options)
        return dataclasses.replace(found, **change(found))

    return mutant


def _other_activation(
    change: Callable[[activations.Activation], dict[str, Any]],
) -> Callable[..., EarlyTime]:
    def mutant(X: Any, y: Any, W: Any, a: Any, name: str, loss: Any, **options: Any) -> EarlyTime:
        phi = activations.activation(name)
        return early_time(X, y, W, a, dataclasses.replace(phi, **change(phi)), loss, **options)

    return mutant


def _as_mse(X: Any, y: Any, W: Any, a: Any, name: str, loss: Any, **options: Any) -> EarlyTime:
    return early_time(X, y, W, a, name, "mse", **options)


def _frozen(*arguments: Any, **options: Any) -> EarlyTime:
    return early_time(*arguments, **{**options, "train_readout": False})


def _pearson(*arguments: Any, **options: Any) -> EarlyTime:
    return early_time(*arguments, **options, kind="pearson")


def _function(name: str, mutant: Callable[..., EarlyTime]) -> Mutant:
    return Mutant(name, {"early_time": mutant})


SHARED_MUTANTS = (
    _function("logistic loss taken for mse", _as_mse),
    _function("φ taken for φ'", _other_activation(lambda phi: {"first": phi.value})),
    _function("Pearson for cosine", _pearson),
)

LEADING_MUTANTS = (
    *SHARED_MUTANTS,
    _function("gradient ascent", _changed(lambda e: {"velocity": -e.velocity})),
    _function("Ẇ × 1.000001", _changed(lambda e: {"velocity": 1.000001 * e.velocity})),
    _function("N₂ × 1.000001", _changed(lambda e: {"nfm_leading": 1.000001 * e.nfm_leading})),
    _function("G₂ a sum over samples", _changed(lambda e: {"agop_leading": 3 * e.agop_leading})),
    _function("K left out", _changed(lambda e: {"agop_leading": e.nfm_leading @ e.nfm_leading})),
)

NEXT_MUTANTS = (
    *SHARED_MUTANTS,
    _function("readout frozen", _frozen),
    _function("φ'' dropped", _other_activation(lambda phi: {"second": np.zeros_like})),
    _function("N₃ without Ẅ", _changed(lambda e: {"nfm_next": 0 * e.nfm_next})),
    _function("N₃ with Ẅ for Ẅ/2", _changed(lambda e: {"nfm_next": 2 * e.nfm_next})),
    _function("N₃ × 1.000001", _changed(lambda e: {"nfm_next": 1.000001 * e.nfm_next})),
    _function("G₃ × 1.000001", _changed(lambda e: {"agop_next": 1.000001 * e.agop_next})),
    _function(
        "time reversed",
        _changed(lambda e: {"nfm_next": -e.nfm_next, "agop_next": -e.agop_next}),
    ),
    _function("Ẅ × 1.000001", _changed(lambda e: {"acceleration": 1.000001 * e.acceleration})),
    _function("NFM's slope halved", _changed(lambda e: {"nfm_slope": e.nfm_slope / 2})),
    _function(
        "AGOP's slope × 1.000001", _changed(lambda e: {"agop_slope": 1.000001 * e.agop_slope})
    ),
)


# ── the two claims ───────────────────────────────────────────────────────────────────────────────

LEADING = ("jacobian", "velocity", "nfm_leading", "agop_leading", "correlation")
LEADING_MATRICES = ("velocity", "nfm_leading", "agop_leading")
NEXT_MATRICES = ("acceleration", "nfm_next", "agop_next", "nfm_slope", "agop_slope")

EARLY_TIME = Claim(
    id="alignment.early_time",
    title="where the centred correlation begins",
    statement=(
        r"\dot W = \sum_{\alpha,c} g_{\alpha c}k_{\alpha c}h_\alpha^\top,\quad "
        r"\dot W^\top\dot W = X^\top R\,\mathcal{K}R^\top X,\quad "
        r"\dot W^\top K\dot W = \tfrac1n X^\top R\,\mathcal{K}^2R^\top X,\quad "
        r"\lim_{t\to0^+}\rho\big(\bar W^\top\bar W,\bar W^\top K\bar W\big) = "
        r"\rho\big(\dot W^\top\dot W,\dot W^\top K\dot W\big)"
    ),
    source="C",
    hypotheses=(ANY_LAYER, REGULAR, MOVING),
    formulas={**{name: words.FORMULAS[name] for name in LEADING}, "early_time": early_time},
    legs=(
        derivation_leg("derivation", derivation.derive_early_time, LEADING, whole=True),
        digits_leg("power series", _in_rationals(*LEADING_MATRICES, order=0), LEADING, digits=30),
        digits_leg(
            "power series, in doubles",
            _in_doubles(*LEADING_MATRICES, order=0),
            ("early_time",),
            digits=9,
        ),
        digits_leg("gradient flow", _limits(6), ("early_time",), digits=4),
        digits_leg(
            "layers of a deep network",
            _any_layer,
            ("nfm_leading", "agop_leading", "correlation"),
            digits=4,
        ),
        digits_leg(
            "gradient flow, 100 networks",
            _limits(100),
            ("early_time",),
            digits=4,
            budget=Budget.FULL,
            on_mutants=False,
        ),
    ),
    mutants=LEADING_MUTANTS,
    uses=("alignment.factorisation",),
    notes=(
        "Ẇ at t = 0 is that of the layer whatever else moves: h and k enter at t = 0 only. "
        "g = −∂loss/∂f. For several outputs 𝒦 is (no × no) with blocks ⟨k_αc, k_βc'⟩ and R is "
        "(n × no) with g_αᵀ in block α of row α; for one output R = diag(residuals). The limit "
        "exists if and only if Ẇ ≠ 0: ẆᵀẆ = XᵀR·JẆ, so that ẆᵀKẆ = (JẆ)ᵀ(JẆ)/n = 0 forces Ẇ = 0."
    ),
)

EARLY_SERIES = Claim(
    id="alignment.early_series",
    title="how fast both correlations change at the beginning",
    statement=(
        r"\bar W^\top\bar W = t^2N_2 + t^3N_3 + \dots,\quad "
        r"\bar W^\top K\bar W = t^2G_2 + t^3G_3 + \dots,\quad "
        r"N_3 = \tfrac12(\dot W^\top\ddot W + \ddot W^\top\dot W),\quad "
        r"G_3 = \tfrac12(\dot W^\top K\ddot W + \ddot W^\top K\dot W) + "
        r"\dot W^\top\dot K\dot W,\quad \rho'(0^+) = \frac{\langle N_3,G_2\rangle + "
        r"\langle N_2,G_3\rangle - \langle N_2,G_2\rangle(\langle N_2,N_3\rangle/\|N_2\|^2 + "
        r"\langle G_2,G_3\rangle/\|G_2\|^2)}{\|N_2\|\|G_2\|};\quad \text{uncentred: the same with }"
        r"W^\top W,\ W^\top KW \text{ for } N_2,\ G_2 \text{ and } "
        r"\dot W^\top W + W^\top\dot W,\ \dot W^\top KW + W^\top K\dot W + W^\top\dot KW "
        r"\text{ for } N_3,\ G_3"
    ),
    source="C, here",
    hypotheses=(TWO_LAYERS, SMOOTH, MOVING, UNCENTRED),
    formulas={
        **{name: words.FORMULAS[name] for name in derivation.SERIES},
        "early_time": early_time,
    },
    legs=(
        derivation_leg("derivation", derivation.derive_early_series, derivation.SERIES, whole=True),
        digits_leg(
            "power series", _in_rationals(*NEXT_MATRICES, order=1), derivation.SERIES, digits=30
        ),
        digits_leg(
            "power series, in doubles",
            _in_doubles(*NEXT_MATRICES, order=1),
            ("early_time",),
            digits=9,
        ),
        digits_leg("gradient flow", _slopes(6), ("early_time",), digits=2),
        digits_leg(
            "gradient flow, 100 networks",
            _slopes(100),
            ("early_time",),
            digits=2,
            budget=Budget.FULL,
            on_mutants=False,
        ),
    ),
    mutants=NEXT_MUTANTS,
    uses=("alignment.early_time",),
    notes=(
        "J̇ = ȧφ' + aφ''ż with ż = Ẇh, Ẅ = J̇ᵀRᵀX + JᵀṘᵀX, ġ = −ℓ''ḟ; ȧ = Σ_α g_α φ(z_α) if the "
        "readout is trained, else 0. For ReLU φ'' = 0 off the kink, and the expansion holds until "
        "a pre-activation first crosses 0. The uncentred slope has NFM, AGOP and their derivatives "
        "at t = 0 in the same formula."
    ),
)

CLAIMS = (FACTORISATION, EARLY_TIME, EARLY_SERIES)
