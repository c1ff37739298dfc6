"""Predicted and observed alignment at the start of training, over data and initialisations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from numerics.alignment import two_layer
from numerics.alignment.data import power_law_spectrum
from numerics.alignment.early_flow import at_zero, early_correlations
from theory.alignment.expansion import EarlyTime, early_time

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    GREEN,
    ORANGE,
    SOLID,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = {
    "relu": Look(BLUE, SOLID, "o"),
    "erf": Look(ORANGE, DASHED, "s"),
    "quadratic": Look(GREEN, DASH_DOT, "^"),
}
CENTRED_LOOK, UNCENTRED_LOOK = LOOKS["erf"], Look(BLACK, DOTTED, "D")
SPREAD = ": over networks"
"""Ending of the series whose errors are those of the mean over networks."""

DECAYS, SCALES = (0.0, 3.0), (0.03, 10.0)
OWN_TIME = 1e-3
"""The last time of the flow, in the time in which the network changes by its own size."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One random network on random data: all draws share them across decays and scales.

    Attributes:
        normal: Isotropic Gaussian inputs, shape (n, d); the target is the product of the first two.
        weights: Isotropic Gaussian entries, shape (k, d).
        readout: Gaussian entries, shape (k,).
        decay: α: coordinate i of the inputs has the variance (1 + i)^{-α}.
        scale: Of W, whose entries have the variance scale²/d.
        activation: By name.
    """

    normal: Floats
    weights: Floats
    readout: Floats
    activation: str
    decay: float = 1.0
    scale: float = 1.0

    @property
    def inputs(self) -> Floats:
        """X with its spectrum."""
        spectrum = power_law_spectrum(self.normal.shape[1], self.decay)
        return np.asarray(self.normal * np.sqrt(spectrum))

    @property
    def targets(self) -> Floats:
        """y, the same for every decay."""
        return np.asarray(self.normal[:, 0] * self.normal[:, 1])

    @property
    def start(self) -> Floats:
        """W_0."""
        return np.asarray(self.scale * self.weights / np.sqrt(self.weights.shape[1]))

    def predicted(self) -> EarlyTime:
        """What theory says."""
        return early_time(self.inputs, self.targets, self.start, self.readout, self.activation)

    def observed(self) -> tuple[float, float]:
        """Centred and uncentred correlation along the flow itself, extrapolated to t = 0."""
        times = self._last_time() * np.array([0.25, 0.5, 1.0])
        model = two_layer(self.start, self.readout, self.activation)
        flow = early_correlations(model, self.inputs, self.targets, times)
        return at_zero(times, flow.centred)[0], at_zero(times, flow.uncentred)[0]

    def _last_time(self) -> float:
        early = self.predicted()
        speed = float(np.linalg.norm(early.velocity))
        rate = float(np.linalg.norm(early.acceleration)) / speed
        rate += speed / float(np.linalg.norm(self.start))
        return min(OWN_TIME / rate, early.kink_time / 2)


def initial(
    activations: Sequence[str] = ("relu", "erf", "quadratic"),
    n: int = 40,
    d: int = 10,
    k: int = 24,
    networks: int = 8,
    count: int = 5,
    resolution: int = 25,
    seed: int = 8,
) -> Plot:
    """Alignment at t → 0⁺: (a) centred, against the decay of the spectrum, (b) against the scale.

    Inputs have the variances (1 + i)^{-α}; y is the product of two coordinates. Every line is the
    mean of the predictions for the very networks whose flows are the points: the two must coincide,
    so the error of the points is 0. The bars, in series of their own, are the standard errors of
    that mean over random networks and data.

    Args:
        activations: In (a), among "relu", "erf", "quadratic"; (b) is for "erf" and α = 1.
        n: Samples.
        d: Input dimension.
        k: Units.
        networks: Random networks, each on data of its own; at least 2.
        count: Abscissas at which flows are run.
        resolution: Abscissas on the lines.
        seed: Of networks and data.

    Raises:
        ValueError: If an activation has no look, or there are fewer than 2 networks.

    Source: paper C.
    """
    unknown = [name for name in activations if name not in LOOKS]
    if unknown or networks < 2:
        raise ValueError(
            f"activations = {activations!r}, networks = {networks!r}; allowed: {', '.join(LOOKS)}, "
            "and at least 2 networks"
        )
    draws = list(_draws(networks, n, d, k, np.random.default_rng(seed)))
    return Plot("alignment.initial", _against_decay(draws, activations, count, resolution)
                | _against_scale(draws, count, resolution), _paint)  # fmt: skip


def _draws(networks: int, n: int, d: int, k: int, rng: np.random.Generator) -> Iterator[Draw]:
    for _ in range(networks):
        X, W, a = (rng.standard_normal(shape) for shape in ((n, d), (k, d), k))
        yield Draw(X, W, a / np.sqrt(k), "erf")


def _against_decay(
    draws: Sequence[Draw], activations: Sequence[str], count: int, resolution: int
) -> dict[str, Series]:
    decays = np.linspace(*DECAYS, count)
    fine = np.union1d(np.linspace(*DECAYS, resolution), decays)
    data: dict[str, Series] = {}
    for name in activations:
        own = [replace(draw, activation=name) for draw in draws]

        def at(decay: float, own: Sequence[Draw] = own) -> list[Draw]:
            return [replace(draw, decay=decay) for draw in own]

        data[f"{name}{THEORY}"] = _line(fine, at, "centred_correlation")
        data |= _named(name, _points(decays, at)[0])
    return data


def _against_scale(draws: Sequence[Draw], count: int, resolution: int) -> dict[str, Series]:
    scales = np.geomspace(*SCALES, count)
    fine = np.union1d(np.geomspace(*SCALES, resolution), scales)

    def at(scale: float) -> list[Draw]:
        return [replace(draw, scale=scale) for draw in draws]

    centred, uncentred = _points(scales, at)
    return {
        f"centred{THEORY}": _line(fine, at, "centred_correlation"),
        f"uncentred{THEORY}": _line(fine, at, "uncentred_correlation"),
        **_named("centred", centred),
        **_named("uncentred", uncentred),
    }


def _named(name: str, means: Series) -> dict[str, Series]:
    paired = Series(means.x, means.y, np.zeros(len(means.x)))
    return {f"{name}{NUMERICS}": paired, f"{name}{SPREAD}": means}


def _line(x: Floats, at: Callable[[float], list[Draw]], quantity: str) -> Series:
    means = [np.mean([getattr(draw.predicted(), quantity) for draw in at(float(v))]) for v in x]
    return Series(x, np.array(means))


def _points(x: Floats, at: Callable[[float], list[Draw]]) -> tuple[Series, Series]:
    """Means over the networks, centred and uncentred, with their standard errors."""
    observed = np.array([[draw.observed() for draw in at(float(value))] for value in x])
    means = observed.mean(axis=1)
    errors = observed.std(axis=1, ddof=1) / np.sqrt(observed.shape[1])
    return Series(x, means[:, 0], errors[:, 0]), Series(x, means[:, 1], errors[:, 1])


def _paint(data: Data) -> Figure:
    figure, (left, right) = canvas(2.6, 2)
    shown = [name for name in LOOKS if name + THEORY in data]
    for name in shown:
        line(left, data[name + THEORY], LOOKS[name])
        points(left, data[name + SPREAD], LOOKS[name])
    for name, look in (("centred", CENTRED_LOOK), ("uncentred", UNCENTRED_LOOK)):
        line(right, data[name + THEORY], look)
        points(right, data[name + SPREAD], look)
    left.set(xlabel=r"decay $\alpha$ of the spectrum $(1+i)^{-\alpha}$")
    left.set(ylabel=r"correlation, $t \to 0^+$", ylim=(0.7, 1.02))
    right.set(xscale="log", ylim=(0, 1.06), xlabel=r"scale of $W_0$")
    title(left, 0, "centred")
    title(right, 1, r"erf, $\alpha = 1$")
    labels = {"relu": "ReLU", "erf": "erf, centred", "quadratic": "quadratic"}
    looks = [handle(LOOKS[name], labels[name]) for name in shown]
    legend_above(figure, [*looks, handle(UNCENTRED_LOOK, "erf, uncentred")], len(looks) + 1)
    return figure
