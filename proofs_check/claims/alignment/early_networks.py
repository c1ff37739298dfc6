"""Networks on which the early-time expansion is judged: with exact entries, and in doubles."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from theory.alignment.early_symbolic import MOMENTS, Network
from theory.alignment.expansion import EarlyTime, early_time

from .flow_series import Case, Table

# ── networks with exact entries ──────────────────────────────────────────────────────────────────

POLYNOMIALS: Mapping[str, tuple[Callable[[Any], Any], ...]] = {
    "linear": (lambda z: z, lambda z: 0 * z + 1, lambda z: 0 * z),
    "quadratic": (lambda z: z**2, lambda z: 2 * z, lambda z: 0 * z + 2),
    "cubic": (lambda z: z**3, lambda z: 3 * z**2, lambda z: 6 * z),
}


def _table(rng: np.random.Generator, *shape: int) -> Table:
    numbers = rng.integers(-40, 41, size=shape)
    return tuple(tuple(Fraction(int(v), 37) for v in row) for row in numbers)


def exact_case(
    seed: int, o: int, activation: str, loss: str = "mse", trained: bool = False
) -> Case:
    """Three samples in two dimensions, three units."""
    rng = np.random.default_rng(seed)
    X, W, a, y = (_table(rng, *shape) for shape in ((3, 2), (3, 2), (o, 3), (3, o)))
    if loss == "logistic":
        y = tuple((Fraction(sign),) for sign in (1, -1, 1))
    return Case(X, y, W, a, activation, loss, trained)


RATIONAL = (
    exact_case(5, 1, "quadratic"),
    exact_case(8, 2, "cubic", trained=True),
    exact_case(4, 2, "linear"),
)

SMOOTH_AND_KINKED = (
    exact_case(31, 1, "relu"),
    exact_case(27, 2, "erf", trained=True),
    exact_case(28, 1, "tanh", "logistic", trained=True),
    exact_case(3, 2, "hermite3"),
    exact_case(9, 1, "softplus"),
    exact_case(3, 1, "gelu", "logistic"),
)


def rational_network(case: Case) -> Network:
    """The same network in rational arithmetic for the formulas; only polynomial activations."""
    X, y, W, a = (np.array(t, dtype=object) for t in (case.X, case.y, case.W, case.a))
    value, first, second = (phi(X @ W.T) for phi in POLYNOMIALS[case.activation])
    curvature = np.full(y.shape, Fraction(1), dtype=object)
    return Network(X, W, a, value, first, second, y - value @ a.T, curvature)


def _doubles(table: Table) -> Any:
    return np.array([[float(v) for v in row] for row in table])


def expanded(expand: Callable[..., EarlyTime], case: Case) -> EarlyTime:
    """The expansion of a case in doubles, by early_time or a mutant of it."""
    arrays = (_doubles(t) for t in (case.X, case.y, case.W, case.a))
    return expand(*arrays, case.activation, case.loss, train_readout=case.train_readout)


# ── networks that follow the flow ────────────────────────────────────────────────────────────────

FOLLOWED = ("relu", "erf", "tanh", "softplus", "gelu", "linear", "quadratic", "cubic", "hermite3")
INSTANT = 1e-6
NODES = 5
SMALLEST_SLOPE = 1e-5
"""In units of the network's own rate. A measured slope below it is compared with the floor added
to both sides: no network is left out for being flat, and 0 has digits to agree in."""


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A random network in doubles, X (n, d), y (n, o), W (k, d), a (o, k)."""

    X: Any
    y: Any
    W: Any
    a: Any
    activation: str
    loss: str
    trained: bool

    def __str__(self) -> str:
        sizes = f"n, d, k, o = {len(self.X)}, {self.W.shape[1]}, {len(self.W)}, {len(self.a)}"
        return f"{self.activation}, {self.loss}, {sizes}{', readout trained' * self.trained}"

    def expand(self, function: Callable[..., EarlyTime]) -> EarlyTime:
        """The expansion by early_time or a mutant of it."""
        arguments = self.X, self.y, self.W, self.a, self.activation, self.loss
        return function(*arguments, train_readout=self.trained)


@lru_cache(maxsize=4)
def drawn(count: int, seed: int) -> tuple[Drawn, ...]:
    """Random networks with all activations in turn, whose kinks are far enough from t = 0."""
    rng = np.random.default_rng(seed)
    found: list[Drawn] = []
    while len(found) < count:
        net = _draw(rng, FOLLOWED[len(found) % len(FOLLOWED)])
        early = net.expand(early_time)
        if early.kink_time > 20 * _instant(net, early):
            found.append(net)
    return tuple(found)


def _draw(rng: np.random.Generator, activation: str) -> Drawn:
    n, d, k, o = (int(rng.integers(low, 7)) for low in (2, 2, 2, 1))
    loss = "logistic" if o == 1 and rng.random() < 0.4 else "mse"
    y = rng.normal(size=(n, o))
    return Drawn(
        rng.normal(size=(n, d)),
        np.sign(y) if loss == "logistic" else y,
        rng.normal(size=(k, d)) / np.sqrt(d),
        rng.normal(size=(o, k)) / np.sqrt(k),
        activation,
        loss,
        bool(rng.random() < 0.4),
    )


def _rate(net: Drawn, early: EarlyTime) -> float:
    """How fast the network and its matrices change, in inverse units of t."""
    pairs = [
        (early.velocity, early.acceleration),
        (net.W, early.velocity),
        (net.a, early.readout_velocity),
    ]
    for nfm, agop, nfm_dot, agop_dot in MOMENTS.values():
        pairs += [(getattr(early, nfm), getattr(early, nfm_dot))]
        pairs += [(getattr(early, agop), getattr(early, agop_dot))]
    return sum(float(np.linalg.norm(change) / np.linalg.norm(of)) for of, change in pairs)


def _instant(net: Drawn, early: EarlyTime) -> float:
    """1e-6, in the network's own time where that is faster."""
    return INSTANT / max(1.0, _rate(net, early))


def floor(net: Drawn, measured: float) -> float:
    """What is added to both sides when slopes are compared: nothing, unless there is no slope."""
    least = SMALLEST_SLOPE * _rate(net, net.expand(early_time))
    return 0.0 if abs(measured) >= least else math.copysign(least, measured)


@lru_cache(maxsize=256)
def followed(net: Drawn) -> tuple[float, tuple[float, float]]:
    """Measured along the flow: the centred correlation at once, and both slopes at 0."""
    from numerics.alignment import two_layer
    from numerics.alignment.early_flow import at_zero, early_correlations

    early = net.expand(early_time)  # its time scale only
    step = min(0.01 / _rate(net, early), early.kink_time / (2 * NODES))
    instant = _instant(net, early)
    times = np.union1d([instant], step * np.arange(1, NODES + 1))
    names = ["0.weight", "2.weight"] if net.trained else ["0.weight"]
    model = two_layer(net.W, net.a, net.activation)
    flow = early_correlations(model, net.X, net.y, times, loss=net.loss, trained=names)
    nodes = times >= step
    centred, uncentred = (
        at_zero(times[nodes], values[nodes])[1] for values in (flow.centred, flow.uncentred)
    )
    return float(flow.centred[times == instant][0]), (centred, uncentred)
