"""Trained convolutional recursive feature machines: a small local signal in noise is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, digits_leg
from .local_signal_brute import (
    Floats,
    Machine,
    mean_outer_product,
    patch_gradients,
    power_over_largest,
    solved,
)

if TYPE_CHECKING:
    import torch

    from numerics.convolution.cntk import ConvolutionalNTK


# What the claim is made of


def _patch_agop(machine: FastMachine) -> Floats:
    """The package's patch-AGOP, in closed form."""
    import torch

    from numerics.convolution.patch_gradients import patch_agop_of_kernel_machine

    found = patch_agop_of_kernel_machine(
        machine.kernel, machine.alpha, machine.images, machine.images, machine.metric,
        torch.arange(len(machine.images)),
    )  # fmt: skip
    return np.asarray(found.double())


def _signal(data: str) -> Floats:
    """The signal as a patch, at unit norm.

    "toy": the row that carries the label. "star": the mean of all patches that meet the star; as
    it may lie anywhere in a patch, the mean is constant, in the two channels that show it.
    """
    patch = np.ones(32) if data == "toy" else np.repeat([1.0, 1.0, 0.0], 121)
    signal: Floats = patch / np.linalg.norm(patch)
    return signal


@dataclass(frozen=True, eq=False)
class FastMachine:
    """f(x) = Σ_i α_i K_M(x, x_i)/κ, as the package's kernel gives it.

    Attributes:
        kernel: K.
        images: x_i.
        targets: ±1, shape (n, 1).
        alpha: α/κ, shape (n, 1).
        metric: M, (d, d); None is the identity.
        ridge: λ, for K/κ.
    """

    kernel: ConvolutionalNTK
    images: torch.Tensor
    targets: torch.Tensor
    alpha: torch.Tensor
    metric: torch.Tensor | None
    ridge: float

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """f, shape (m, 1)."""
        return self.kernel.matrix(images, self.images, self.metric) @ self.alpha


def _fitted(
    kernel: ConvolutionalNTK,
    images: torch.Tensor,
    targets: torch.Tensor,
    metric: Floats | None,
    ridge: float,
) -> FastMachine:
    import torch

    M = None if metric is None else torch.from_numpy(metric).to(images)
    K = kernel.matrix(images, None, M)
    scale = K.max()
    alpha = torch.linalg.solve(K / scale + ridge * torch.eye(len(K)).to(K), targets) / scale
    return FastMachine(kernel, images, targets, alpha, M, ridge)


# How it can be wrong


def _of_shuffled_targets(machine: FastMachine) -> Floats:
    order = np.random.default_rng(0).permutation(len(machine.images))
    M = None if machine.metric is None else np.asarray(machine.metric)
    shuffled = machine.targets[order.tolist()]
    return _patch_agop(_fitted(machine.kernel, machine.images, shuffled, M, machine.ridge))


def _gradients(machine: FastMachine) -> Floats:
    import torch

    from numerics.convolution.patch_gradients import gradients_of_kernel_machine

    index = torch.arange(len(machine.images))
    images = machine.images
    found = gradients_of_kernel_machine(
        machine.kernel, machine.alpha, images, images, machine.metric, index
    )
    return np.asarray(found[:, :, 0].double())


def _summed_positions(machine: FastMachine) -> Floats:
    """The outer product of the positions' sum, which is the gradient of a shift of all patches."""
    return mean_outer_product(_gradients(machine).sum(axis=1, keepdims=True))


def _without_metric(machine: FastMachine) -> Floats:
    """Gradients with respect to M^½u, pulled back no further: the factor M is forgotten twice."""
    if machine.metric is None:
        return _patch_agop(machine)
    inverse = np.linalg.pinv(np.asarray(machine.metric, dtype=float))
    return inverse @ _patch_agop(machine) @ inverse


def _with_the_norm_only(machine: FastMachine) -> Floats:
    """Raw second moment of the patches: no gradient at all."""
    cut = np.asarray(machine.kernel.patches.extract(machine.images), dtype=float)
    return mean_outer_product(cut)


def _identity(features: Floats, exponent: float) -> Floats:
    return np.eye(len(features))


def _inverse(features: Floats, exponent: float) -> Floats:
    ridge = 1e-6 * np.trace(features) * np.eye(len(features))
    return power_over_largest(np.linalg.inv(features + ridge), exponent)


def _squared(features: Floats, exponent: float) -> Floats:
    return power_over_largest(features, 2 * exponent)


def _next_channels(data: str) -> Floats:
    return np.roll(_signal(data), len(_signal(data)) // 3)


def _every_channel(data: str) -> Floats:
    d = len(_signal(data))
    return np.full(d, d**-0.5)


def _half(data: str) -> Floats:
    """The signal in half of its entries only."""
    signal = _signal(data)
    kept = signal * (np.cumsum(signal**2) <= 0.5)
    half: Floats = kept / np.linalg.norm(kept)
    return half


MUTANTS = (
    Mutant("metric: M stays I (exponent 0)", {"metric": _identity}),
    Mutant("metric: M inverted", {"metric": _inverse}),
    Mutant("metric: AGOP squared, as without the root of M", {"metric": _squared}),
    Mutant("features: patch-AGOP of shuffled targets", {"features": _of_shuffled_targets}),
    Mutant("features: positions summed before the outer product", {"features": _summed_positions}),
    Mutant("features: gradients without the factor M", {"features": _without_metric}),
    Mutant("features: second moment of the patches", {"features": _with_the_norm_only}),
    Mutant("signal: in the next channels", {"signal": _next_channels}),
    Mutant("signal: in every channel", {"signal": _every_channel}),
    Mutant("signal: in half of its entries", {"signal": _half}),
)


# The features, from complex steps


def _complex_steps(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Entries of the patch-AGOP of small machines, against the definition's."""
    features: Any = formulas["features"]
    rng = setting.generator("complex steps of patches")
    for depth, exponent in ((1, 0.0), (2, 1.0)):
        images, half = rng.standard_normal((4, 1, 3, 3)), rng.standard_normal((4, 4))
        metric = half @ half.T if exponent else np.eye(4)
        slow, fast = _both(images, rng.standard_normal(4), metric, depth)
        found, reference = features(fast), mean_outer_product(patch_gradients(slow))
        for i, j in ((0, 0), (0, 1), (3, 2)):
            yield f"depth {depth}, entry {i}, {j}", found[i, j], reference[i, j]


def _both(
    images: Floats, targets: Floats, metric: Floats, depth: int
) -> tuple[Machine, FastMachine]:
    """The same machine twice: 2 × 2 patches at 2 × 2 positions, λ = 0.1."""
    import torch

    from numerics.convolution.cntk import ConvolutionalNTK
    from numerics.convolution.patches import Patches

    kernel = ConvolutionalNTK(Patches(2), depth, 2)
    cut = [[images[:, 0, r : r + 2, c : c + 2].reshape(-1, 4) for c in (0, 1)] for r in (0, 1)]
    patches = np.array(cut).transpose(2, 0, 1, 3)
    slow = solved(patches, targets, metric, 0.1, depth, 2)
    tensors = torch.from_numpy(images), torch.from_numpy(targets)[:, None]
    return slow, _fitted(kernel, *tensors, metric, 0.1)


# The package's estimator is this machine


def _estimator(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Patch-AGOP, M and predictions of the estimator after rounds, against the loop's."""
    from numerics.convolution.cntk import ConvolutionalNTK
    from numerics.convolution.conv_estimators import ConvRFMClassifier
    from numerics.convolution.patches import Patches

    rng = setting.generator("estimator")
    images, inputs = rng.standard_normal((30, 2, 6, 6)), rng.standard_normal((3, 2, 6, 6))
    labels = np.arange(30) % 2
    images[labels == 1, 0, 2:4, 3] += 1
    kernel = ConvolutionalNTK(Patches(2), 2, 3)
    train = _Part.of(images, 2.0 * labels - 1)
    for exponent in (1.0, 0.5):
        model = ConvRFMClassifier(
            side=2, depth=2, rounds=2, exponent=exponent, ridge=0.01, normalisation="largest_entry"
        ).fit(images, labels)
        slow, agop = list(_rounds(formulas, kernel, train, exponent, 0.01, 2))[-1]
        M = np.eye(8) if slow.metric is None else np.asarray(slow.metric)
        pairs = (
            ("AGOP", model.patch_agop_, agop),
            ("M", model.M_, M),
            ("f", model.decision_function(inputs), np.asarray(slow(_tensor(inputs)))[:, 0]),
        )
        for name, value, reference in pairs:
            for place in ((0, 0), (1, 3)) if value.ndim == 2 else ((0,), (2,)):
                yield f"exponent {exponent}, {name}{place}", reference[place], value[place]


def _tensor(array: NDArray[np.floating[Any]]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


# The star


@dataclass(frozen=True)
class Thresholds:
    """What every seed, or their mean, must reach; fixed on pilot seeds, see the claim's notes.

    Attributes:
        mean_gain: Mean over the seeds of the accuracy beyond the fixed kernel's.
        gain: The same of each seed, above.
        cosine: Each seed's cosine between the top eigenvector and the signal, at least.
    """

    mean_gain: float
    gain: float
    cosine: float


@dataclass(frozen=True)
class Experiment:
    """Two classes of noisy images, told apart by a small signal.

    Attributes:
        data: "star", or "toy": rows of noise, one of which is ± the signal.
        side: Of the patches.
        stride: Pixels from one patch to the next.
        depth: Convolutions.
        exponents: Of the AGOP, to choose from.
        ridges: λ, to choose from.
        rounds: How often M is replaced, at most.
        thresholds: Fixed beforehand.
        seeds: How many data sets.
        train: Training images.
        validation: Images to choose exponent, λ and round by.
        test: Images to measure accuracy on.
    """

    data: str
    side: int
    stride: int
    depth: int
    exponents: tuple[float, ...]
    ridges: tuple[float, ...]
    rounds: int
    thresholds: Thresholds
    seeds: int = 5
    train: int = 50
    validation: int = 100
    test: int = 300


@dataclass(frozen=True, eq=False)
class _Part:
    """Images with their ±1."""

    images: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, images: Floats, targets: NDArray[np.floating[Any]]) -> _Part:
        return cls(_tensor(images), _tensor(targets)[:, None])


@dataclass(frozen=True)
class Seed:
    """Accuracy of the fixed kernel and of the machine, and what its top eigenvector is."""

    fixed: float
    learned: float
    round: int
    cosine: float

    @property
    def gain(self) -> float:
        """Accuracy won."""
        return self.learned - self.fixed


def _rounds(
    formulas: Formulas,
    kernel: ConvolutionalNTK,
    train: _Part,
    exponent: float,
    ridge: float,
    rounds: int,
) -> Iterator[tuple[FastMachine, Floats]]:
    """The machines of the rounds, each with its patch-AGOP."""
    features: Any = formulas["features"]
    metric: Any = formulas["metric"]
    M: Floats | None = None
    for _ in range(rounds + 1):
        machine = _fitted(kernel, train.images, train.targets, M, ridge)
        agop = features(machine)
        yield machine, agop
        M = metric(agop, exponent)


def _seed(formulas: Formulas, plan: Experiment, seed: int) -> Seed:
    from numerics.convolution.cntk import ConvolutionalNTK
    from numerics.convolution.patches import Patches

    kernel = ConvolutionalNTK(Patches(plan.side, plan.stride), plan.depth)
    train, validation, test = _parts(plan, seed)
    candidates = [
        (_accuracy(machine, validation), number, machine, agop)
        for exponent in plan.exponents
        for ridge in plan.ridges
        for number, (machine, agop) in enumerate(
            _rounds(formulas, kernel, train, exponent, ridge, plan.rounds)
        )
    ]
    # The first of equals, as `max` gives it; the fixed kernel chooses its λ in the same way.
    _, chosen, machine, agop = max(candidates, key=lambda c: c[0])
    fixed = max((c for c in candidates if c[1] == 0), key=lambda c: c[0])[2]
    top = np.linalg.eigh(agop)[1][:, -1]
    signal: Any = formulas["signal"]
    cosine = float(abs(top @ signal(plan.data)))
    return Seed(_accuracy(fixed, test), _accuracy(machine, test), chosen, cosine)


def _parts(plan: Experiment, seed: int) -> list[_Part]:
    import torch

    from numerics.convolution.data import patch_toy, star_images

    sizes = plan.train, plan.validation, plan.test
    draw = patch_toy if plan.data == "toy" else star_images
    whole = draw(sum(sizes), seed=seed, dtype=torch.float32)
    return [_Part(p.images, (2 * p.labels - 1).float()[:, None]) for p in whole.split(*sizes)]


def _accuracy(machine: FastMachine, part: _Part) -> float:
    right = (machine(part.images) > 0) == (part.targets > 0)
    return float(right.double().mean())


def _complaint(found: Seed, limits: Thresholds) -> str:
    """Why this seed alone speaks against the claim; empty if it does not."""
    checks = (
        (found.gain > limits.gain, f"gain {found.gain:.3g}, above {limits.gain} allowed"),
        (found.cosine >= limits.cosine, f"cosine {found.cosine:.3g} below {limits.cosine}"),
    )
    return "; ".join(text for holds, text in checks if not holds)


def _judged(formulas: Formulas, plan: Experiment, setting: Setting) -> Evidence:
    """Every seed by itself, up to the first that speaks against the claim, then the mean gain."""
    found = []
    for seed in setting.generator(f"{plan.data} {plan.stride}").integers(2**31, size=plan.seeds):
        found.append(_seed(formulas, plan, int(seed)))
        if complaint := _complaint(found[-1], plan.thresholds):
            return Evidence(False, {"seed": int(seed)}, f"seed {seed}: {complaint}")
    gains = np.array([s.gain for s in found])
    holds = bool(gains.mean() >= plan.thresholds.mean_gain)
    detail = f"mean gain {gains.mean():.3g}, {plan.thresholds.mean_gain} required"
    return Evidence(holds, _figures(found, gains), "" if holds else detail)


def _figures(found: list[Seed], gains: Floats) -> dict[str, float | int]:
    return {
        "fixed_accuracy": np.mean([s.fixed for s in found]),
        "accuracy": np.mean([s.learned for s in found]),
        "gain": gains.mean(), "gain_spread": gains.std(ddof=1), "gain_worst": gains.min(),
        "cosine_worst": min(s.cosine for s in found),
        "rounds_chosen": np.mean([s.round for s in found]), "seeds": len(found),
    }  # fmt: skip


READS = ("features", "metric", "signal")


def _leg(name: str, plan: Experiment, budget: Budget = Budget.FAST) -> Leg:
    def run(formulas: Formulas, setting: Setting) -> Evidence:
        return _judged(formulas, plan, setting)

    return Leg(name, Kind.TRAINED, run, READS, budget=budget, on_mutants=budget is Budget.FAST)


TOY = Experiment(
    "toy", 1, 1, 1, (1.0,), (1e-3, 1e-1), 2, Thresholds(0.03, -0.05, 0.75), 5, 100, 100, 400
)
COARSE = Experiment("star", 11, 4, 2, (1.0,), (1e-3,), 1, Thresholds(0.04, -0.05, 0.8), 8)
FINE = replace(
    COARSE,
    stride=1,
    exponents=(0.5, 1.0),
    rounds=2,
    thresholds=Thresholds(0.10, -0.05, 0.9),
    seeds=16,
)

LOCAL_SIGNAL = Claim(
    id="convolution.local_signal",
    title="a small local signal in noise",
    statement=(
        r"M \leftarrow \text{patch-AGOP}^s/\max:\quad \text{mean accuracy on the star data exceeds "
        r"that of } M = I \text{ by at least } 0.1, \text{ and the patch-AGOP's top eigenvector is "
        r"the mean of the signal's patches}"
    ),
    source="D",
    hypotheses=(
        Hypothesis("32 × 32 × 3 pixels, noise N(0, .3²), the star at a random offset; 50 images"),
        Hypothesis("patches of 11 × 11, convolutional NTK of depth 2; 1 or 2 rounds, s = 1 or 1/2"),
        Hypothesis("s, λ and the round, M = I among them, are chosen on 100 validation images"),
    ),
    formulas={
        "features": _patch_agop,
        "metric": power_over_largest,
        "signal": _signal,
    },
    legs=(
        digits_leg("patch-AGOP by complex steps", _complex_steps, ("features",), 9),
        digits_leg("the package's estimator", _estimator, ("features", "metric"), 9),
        _leg("rows of noise", TOY),
        _leg("star, patches 4 pixels apart", COARSE),
        _leg("star, all patches", FINE, Budget.FULL),
    ),
    mutants=MUTANTS,
    notes=(
        "Thresholds were fixed on pilot seeds that are judged nowhere. There the accuracy on the "
        "star rose from 0.780 to 0.946 (paper D reports 77.95 % to 94.83 %): a gain of "
        "0.167 ± 0.085 (standard deviation between 8 seeds) and a top eigenvector at a cosine of "
        "0.966 or more. With patches 4 pixels apart the gain was 0.133 ± 0.081 (10 seeds) after "
        "one round, the cosine at least 0.889. Most of the spread is the fixed kernel's, from 0.66 "
        "to 0.87 on 50 images, so that the mean of 5 seeds falls below 0.1 one time in twenty: 16 "
        "are judged. The eigenvector is no picture of the star: as the star may lie anywhere in a "
        "patch, the mean over its places is constant in the two channels that show it, and no "
        "single place has a cosine above 0.6. Where the signal has one place in the patch (rows "
        "of noise, of which one is ± the signal), the eigenvector is the signal itself: cosine at "
        "least 0.90 over 10 pilot seeds, gain 0.092 ± 0.037. There is no pooling, so that the "
        "fixed kernel knows nothing of what it saw elsewhere; M is what the positions share. At "
        "s = 1 a second round often hurts, at s = 1/2 it does not."
    ),
)

CLAIMS = (LOCAL_SIGNAL,)
