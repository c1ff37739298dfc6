"""FACT: exact at critical points, known everywhere else, and what kinks make of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from flint import fmpq
from scipy import optimize
from torch import Tensor, nn

from numerics.alignment import gradient_flow, layer_matrices, mlp
from theory.alignment import fact

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from .linear_common import Floats, gram, integers, seeds

OBJECTIVE = Hypothesis("objective (1/n)Σℓ_i + (λ/2)‖W‖² + terms without W, λ > 0")
LAYER = Hypothesis("z = Wh (+ b) used once per sample; ∇_hℓ_i = Wᵀ∂ℓ_i/∂z_i through it alone")
CRITICAL = Hypothesis("a critical point, where the objective is differentiable")

Record = tuple[Floats, Floats, Floats]
"""W, the gradients g_i by the layer's input as rows, the inputs h_i as rows."""


# ── exact critical points ────────────────────────────────────────────────────────────────────────


def _critical_points(formulas: Formulas, setting: Setting) -> Evidence:
    """Critical points by construction: h_i, W and λ given, targets such that the gradient is 0.

    ℓ_i = ½|Wh_i − y_i|² with y = Wh − δ, Δ = −nλ W(HHᵀ)⁻¹H, is stationary in W.
    """
    formula: Any = formulas["coefficient"]
    for n, lam in ((4, Fraction(1, 3)), (7, Fraction(5, 2))):
        W, H = integers(2, 3, n), integers(3, n, n + 1)
        penalty = fmpq(lam.numerator, lam.denominator)
        targets = W * H + W * (H * H.transpose()).inv() * H * penalty * n
        errors = W * H - targets
        if any((errors * H.transpose() + W * penalty * n).entries()):
            return Evidence(False, {}, "the construction is not stationary")
        claimed = formula.subs({fact.SAMPLES: n, fact.WEIGHT_DECAY: lam})
        if not claimed.is_Rational:
            return Evidence(False, {}, f"the coefficient {claimed} is not rational")
        F = (W.transpose() * errors) * H.transpose() * fmpq(int(claimed.p), int(claimed.q))
        if gram(W) != F:
            return Evidence(False, {}, f"n = {n}, λ = {lam}: F is not WᵀW")
    return Evidence(True, {"residual": 0, "critical_points": 2})


# ── anywhere ─────────────────────────────────────────────────────────────────────────────────────


class _Block(nn.Module):
    """Normalisation, a residual connection around the inner layer, biases, three outputs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(4, 5)
            self.norm = nn.LayerNorm(5)
            self.inner = nn.Linear(5, 5)
            self.last = nn.Linear(5, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(torch.nn.functional.gelu(self.first(x)))
        out: Tensor = self.last(torch.tanh(self.inner(h)) + h)
        return out


def _records(model: nn.Module, X: Tensor, loss: Callable[[Tensor], Tensor]) -> list[Record]:
    """Every layer's W, g, h from autograd: g by a copy of the input that only the layer sees."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    copies: list[Tensor] = []

    def tap(_: nn.Module, arguments: Any) -> Any:
        h = arguments[0]
        copies.append(h.clone() if h.requires_grad else h.clone().requires_grad_())
        return (copies[-1],)

    hooks = [layer.register_forward_pre_hook(tap) for layer in layers]
    gradients = torch.autograd.grad(loss(model(X)), copies)
    for hook in hooks:
        hook.remove()
    triples = zip(layers, gradients, copies, strict=True)
    return [(layer.weight.detach().numpy(), g.numpy(), h.detach().numpy())
            for layer, g, h in triples]  # fmt: skip


def _networks() -> Iterator[tuple[str, nn.Module, Tensor, Callable[[Tensor], Tensor]]]:
    rng = np.random.default_rng(5)
    X = torch.tensor(rng.standard_normal((9, 4)))
    classes = torch.tensor(rng.integers(0, 3, 9))

    def entropy(outputs: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, classes, reduction="sum")

    def squares(outputs: Tensor) -> Tensor:
        return (outputs - X[:, :3]).square().sum() / 2

    yield "residual block, cross-entropy", _Block(1), X, entropy
    yield "ReLU, squares", mlp([4, 6, 5, 3], "relu", bias=True, generator=2), X, squares


def _objective_gradients(
    model: nn.Module, X: Tensor, loss: Callable[[Tensor], Tensor], lam: float
) -> list[Floats]:
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    penalty = sum((w.square().sum() for w in weights), torch.zeros((), dtype=X.dtype))
    total = loss(model(X)) / len(X) + lam / 2 * penalty
    return [g.numpy() for g in torch.autograd.grad(total, weights)]


def _anywhere(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """F = WᵀW − (1/λ)Wᵀ∇(objective) at random weights, entries weighted at random."""
    make: Any = formulas["fact"]
    mask = np.random.default_rng(8)
    for name, model, X, loss in _networks():
        for lam in (0.3, 2.0):
            gradients = _objective_gradients(model, X, loss, lam)
            layers = zip(_records(model, X, loss), gradients, strict=True)
            for layer, ((W, g, h), gradient) in enumerate(layers, 1):
                weights = mask.standard_normal((W.shape[1], W.shape[1]))
                truth = W.T @ W - W.T @ gradient / lam
                point = f"{name}, λ = {lam}, layer {layer}"
                yield (
                    point,
                    float(np.sum(weights * make(g, h, lam))),
                    float(np.sum(weights * truth)),
                )


def _mean_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum() / 2 / len(targets)


SPACING = 0.01


@lru_cache(maxsize=2)
def _around(lam: float) -> tuple[list[Floats], list[Record]]:
    """The NFM of every layer at five times h apart along a flow, and the records in the middle."""
    rng = np.random.default_rng(6)
    X, Y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    model = mlp([4, 5, 2], "tanh", generator=3)
    times = 0.5 + SPACING * np.arange(-2, 3)
    path = gradient_flow(
        model, X, Y, times, loss=_mean_squares, weight_decay=lam, rtol=1e-12, atol=1e-14
    )
    found = [list(layer_matrices(path.at(i), X).values()) for i in range(5)]
    stacks = [np.stack([at[layer].nfm.numpy() for at in found]) for layer in range(2)]
    targets = torch.tensor(Y)

    def loss(outputs: Tensor) -> Tensor:
        return (outputs - targets).square().sum() / 2

    return stacks, _records(path.at(2), torch.tensor(X), loss)


def _relaxation(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """DELAY · d/dt NFM by differences along the flow against the symmetric part of F − NFM."""
    formula: Any = formulas["delay"]
    for lam in (0.25, 1.5):
        stacks, records = _around(lam)
        delay = float(formula.subs(fact.WEIGHT_DECAY, lam))
        for layer, (nfm, (_, g, h)) in enumerate(zip(stacks, records, strict=True), 1):
            rate = (nfm[0] - 8 * nfm[1] + 8 * nfm[3] - nfm[4]) / (12 * SPACING)
            F = -np.einsum("ia,ib->ab", g, h) / (len(h) * lam)
            mask = np.random.default_rng(layer).uniform(0.5, 1.5, rate.shape)
            truth = float(np.sum(mask * ((F + F.T) / 2 - nfm[2])))
            yield f"λ = {lam}, layer {layer}", delay * float(np.sum(mask * rate)), truth


# ── trained to convergence ───────────────────────────────────────────────────────────────────────

DECAY = 0.01
THRESHOLD = 1e-3

Activation = tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]
"""φ and its derivative."""

SOFTPLUS: Activation = (lambda z: np.logaddexp(z, 0), lambda z: 1 / (1 + np.exp(-z)))
RELU: Activation = (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(np.float64))


def _product_data(seed: int) -> tuple[Floats, Floats]:
    """Twenty samples of 2x_1x_2 of four Gaussian inputs."""
    X = np.random.default_rng(seed).standard_normal((20, 4))
    return X, 2 * X[:, :1] * X[:, 1:2]


def _forward(W: list[Floats], X: Floats, phi: Activation) -> tuple[list[Floats], list[Floats]]:
    """Inputs h and pre-activations z of every layer, as rows."""
    inputs, outputs = [X], [X @ W[0].T]
    for w in W[1:]:
        inputs.append(phi[0](outputs[-1]))
        outputs.append(inputs[-1] @ w.T)
    return inputs, outputs


def _backward(W: list[Floats], outputs: list[Floats], top: Floats, phi: Activation) -> list[Floats]:
    """Gradients by every layer's z as rows, from those by the network's output."""
    deltas = [top]
    for w, z in zip(reversed(W[1:]), reversed(outputs[:-1]), strict=True):
        deltas.append((deltas[-1] @ w) * phi[1](z))
    return deltas[::-1]


def _errors(
    W: list[Floats], X: Floats, Y: Floats, phi: Activation
) -> tuple[list[Floats], list[Floats]]:
    """∂ℓ_i/∂z_i and h_i of every layer for ℓ = ½(f − y)²."""
    inputs, outputs = _forward(W, X, phi)
    return _backward(W, outputs, outputs[-1] - Y, phi), inputs


def _network_records(W: list[Floats], X: Floats, Y: Floats, phi: Activation) -> list[Record]:
    layers = zip(W, *_errors(W, X, Y, phi), strict=True)
    return [(w, delta @ w, h) for w, delta, h in layers]


def _nfa(W: list[Floats], X: Floats, phi: Activation) -> list[float]:
    """Cosine of NFM and AGOP in every layer."""
    _, outputs = _forward(W, X, phi)
    jacobians = _backward(W, outputs, np.ones_like(outputs[-1]), phi)
    pairs = [(w.T @ w, (k @ w).T @ (k @ w)) for w, k in zip(W, jacobians, strict=True)]
    return [float(np.sum(A * B) / np.linalg.norm(A) / np.linalg.norm(B)) for A, B in pairs]


def _start(seed: int, hidden: int) -> list[Floats]:
    rng = np.random.default_rng((seed, hidden))
    widths = (4, *[6] * hidden, 1)
    pairs = itertools.pairwise(widths)
    return [1.4 * rng.standard_normal((up, low)) / np.sqrt(low) for low, up in pairs]


def _minimised(W: list[Floats], X: Floats, Y: Floats, phi: Activation) -> list[Floats]:
    """A critical point of the mean loss with weight decay, by BFGS."""
    ends = np.cumsum([w.size for w in W])[:-1]

    def unflatten(flat: Floats) -> list[Floats]:
        parts = np.split(flat, ends)
        return [part.reshape(w.shape) for part, w in zip(parts, W, strict=True)]

    def objective(flat: Floats) -> tuple[float, Floats]:
        here = unflatten(flat)
        inputs, outputs = _forward(here, X, phi)
        deltas = _backward(here, outputs, outputs[-1] - Y, phi)
        slopes = [(d.T @ h).ravel() / len(X) for d, h in zip(deltas, inputs, strict=True)]
        value = np.sum((outputs[-1] - Y) ** 2) / 2 / len(X) + DECAY / 2 * float(flat @ flat)
        return float(value), np.concatenate(slopes) + DECAY * flat

    start = np.concatenate([w.ravel() for w in W])
    options = {"gtol": 1e-7, "maxiter": 5000}
    return unflatten(
        optimize.minimize(objective, start, jac=True, method="BFGS", options=options).x
    )


@lru_cache(maxsize=16)
def _converged(seed: int, hidden: int) -> tuple[tuple[list[Record], list[float]], ...]:
    """At the start and at the critical point: records, and the NFA's correlations."""
    X, Y = _product_data(seed)
    W = _start(seed, hidden)
    end = _minimised(W, X, Y, SOFTPLUS)
    return tuple((_network_records(w, X, Y, SOFTPLUS), _nfa(w, X, SOFTPLUS)) for w in (W, end))


def _defects(make: Any, records: list[Record], lam: float) -> list[float]:
    return [
        float(np.linalg.norm(W.T @ W - make(g, h, lam)) / np.linalg.norm(W.T @ W))
        for W, g, h in records
    ]


def _smooth(formulas: Formulas, setting: Setting) -> Evidence:
    """Softplus networks with two and three hidden layers: FACT at the end, not at the start."""
    make: Any = formulas["fact"]
    early, late = [], []
    nfa: tuple[list[float], list[float]] = ([], [])
    for hidden, seed in itertools.product((2, 3), seeds(setting, "softplus networks")):
        before, after = _converged(seed, hidden)
        early += _defects(make, before[0], DECAY)
        late.append(max(_defects(make, after[0], DECAY)))
        for kept, found in zip(nfa, (before, after), strict=True):
            kept.extend(found[1][:-1])
    figures = {
        "networks": len(late),
        "early_defect_least": min(early),
        "late_defect_median": float(np.median(late)),
        "late_defect_worst": max(late),
        "threshold": THRESHOLD,
        "nfa_early_median": float(np.median(nfa[0])),
        "nfa_late_median": float(np.median(nfa[1])),
        "nfa_late_least": min(nfa[1]),
    }
    holds = bool(max(late) < THRESHOLD and min(early) > 0.5)
    return Evidence(holds, figures, f"defects {max(late):.3g} late, {min(early):.3g} early")


RELU_DECAY = 0.04
RELU_THRESHOLD = 0.05
"""For the median over the networks: about one in fifty still moves when the steps are over."""
STEPS, TAIL = 16000, 4000


@lru_cache(maxsize=8)
def _relu_descent(seed: int) -> tuple[list[Record], list[Record]]:
    """Gradient descent on a ReLU network with two hidden layers.

    Returns:
        Records of the last step, and of the last 4000 stacked, so that F is their mean; the NFM
        hardly moves meanwhile.
    """
    X, Y = _product_data(seed)
    W = _start(seed, 2)
    kept: list[list[Record]] = []
    for step in range(STEPS):
        rate = 0.05 if step < STEPS / 2 else 0.02
        deltas, inputs = _errors(W, X, Y, RELU)
        layers = list(zip(W, deltas, inputs, strict=True))
        if step >= STEPS - TAIL:
            kept.append([(w, delta @ w, h) for w, delta, h in layers])
        W = [w - rate * (delta.T @ h / len(X) + RELU_DECAY * w) for w, delta, h in layers]
    return kept[-1], [_stacked(records) for records in zip(*kept, strict=True)]


def _stacked(records: Sequence[Record]) -> Record:
    W, g, h = zip(*records, strict=True)
    return W[-1], np.concatenate(g), np.concatenate(h)


def _relu(formulas: Formulas, setting: Setting) -> Evidence:
    """ReLU rests on kinks, where no gradient vanishes: FACT holds for the mean over steps."""
    make: Any = formulas["fact"]
    single, mean, nfa = [], [], []
    for seed in seeds(setting, "ReLU networks"):
        last, stacked = _relu_descent(seed)
        nfa += _nfa([W for W, _, _ in last], _product_data(seed)[0], RELU)[:-1]
        single.append(max(_defects(make, last, RELU_DECAY)))
        mean.append(max(_defects(make, stacked, RELU_DECAY)))
    figures = {
        "seeds": len(mean),
        "single_step_defect_median": float(np.median(single)),
        "single_step_defect_least": min(single),
        "mean_defect_median": float(np.median(mean)),
        "mean_defect_worst": max(mean),
        "threshold": RELU_THRESHOLD,
        "nfa_median": float(np.median(nfa)),
        "nfa_least": min(nfa),
    }
    one, all_steps = float(np.median(single)), float(np.median(mean))
    holds = bool(all_steps < RELU_THRESHOLD and one > 2 * RELU_THRESHOLD)
    return Evidence(holds, figures, f"median defects {all_steps:.3g} of means, {one:.3g} of steps")


def _scaled(change: Callable[[Floats, int, float], Floats]) -> Any:
    def mutant(g: Floats, h: Floats, lam: float) -> Floats:
        return change(fact.fact_matrix(g, h, lam), len(h), lam)

    return mutant


MUTANTS = (
    Mutant("fact: sign", {"fact": _scaled(lambda F, n, lam: -F)}),
    Mutant("fact: not divided by n", {"fact": _scaled(lambda F, n, lam: F * n)}),
    Mutant("fact: divided by n twice", {"fact": _scaled(lambda F, n, lam: F / n)}),
    Mutant("fact: λ forgotten", {"fact": _scaled(lambda F, n, lam: F * lam)}),
    Mutant("fact: penalty λ‖W‖²", {"fact": _scaled(lambda F, n, lam: F / 2)}),
    Mutant("fact: transposed", {"fact": _scaled(lambda F, n, lam: F.T)}),
    Mutant("fact: symmetrised", {"fact": _scaled(lambda F, n, lam: (F + F.T) / 2)}),
    Mutant("fact: × 1.000001", {"fact": _scaled(lambda F, n, lam: F * 1.000001)}),
)

FACT_CLAIM = Claim(
    id="alignment.fact",
    title="FACT: the NFM at a critical point with weight decay",
    statement=(
        r"W^\top W = F := -\frac1{n\lambda}\sum_i(\nabla_h\ell_i)h_i^\top\ \text{at critical "
        r"points};\quad F = W^\top W - \tfrac1\lambda W^\top\nabla_W\mathcal L\ \text{everywhere};"
        r"\quad \tfrac1{2\lambda}\tfrac{d}{dt}W^\top W = \tfrac12(F+F^\top) - W^\top W\ "
        r"\text{along the flow}"
    ),
    source="FACT, here",
    hypotheses=(OBJECTIVE, LAYER, CRITICAL),
    formulas={
        "coefficient": fact.COEFFICIENT,
        "delay": fact.DELAY,
        "fact": fact.fact_matrix,
    },
    legs=(
        derivation_leg("critical points", fact.derive_coefficient, ("coefficient",), whole=True),
        derivation_leg("relaxation", fact.derive_delay, ("delay",), whole=True),
        Leg("rational critical points", Kind.EXACT, _critical_points, ("coefficient",)),
        digits_leg("anywhere", _anywhere, ("fact",), 11),
        digits_leg("along the flow", _relaxation, ("delay",), 6),
        Leg("softplus to convergence", Kind.TRAINED, _smooth, ("fact",)),
        Leg("ReLU at rest on kinks", Kind.TRAINED, _relu, ("fact",), budget=Budget.FULL),
    ),
    mutants=MUTANTS,
    notes=(
        "A ReLU network mostly comes to rest on kinks, where no gradient vanishes and the F of one "
        "step is off by tens of per cent; the mean of F over steps, an element of Clarke's "
        "subdifferential, obeys FACT."
    ),
)
