"""One target, four matrices: a network's features, a machine's M, and the exact AGOP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import canvas, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {
    "NFM": "NFM, network",
    "network AGOP": "AGOP, network",
    "M": "$M$, machine",
    "population AGOP": "AGOP, population",
}
EXACT = "population AGOP"


def features(
    n: int = 1000, d: int = 8, width: int = 64, epochs: int = 40, rounds: int = 5, seed: int = 1
) -> Plot:
    """Features of y = x₁(x₀ + x₂)/√2: learned by a network, by a machine, and exact.

    (a) WᵀW of the first layer of a ReLU network with one hidden layer, trained by SGD from small
    weights; (b) its AGOP, both as paper E's ansatz compares them; (c) M of a recursive feature
    machine (Laplace's kernel, L = 10, λ = 1e-3) on the same data; (d) the population AGOP of the
    target itself under N(0, I), exact by Isserlis' theorem: its range is the central subspace,
    spanned by e₁ and e₀ + e₂. Each matrix is divided by its largest entry; the numbers are cosines
    with (d).

    Args:
        n: Training samples.
        d: Dimension, at least 3.
        width: Hidden units.
        epochs: Passes through the data.
        rounds: Rounds of the machine.
        seed: Of data, weights and batches.
    """
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((n, d))
    targets = inputs[:, 1] * (inputs[:, 0] + inputs[:, 2]) / np.sqrt(2)
    nfm, agop = _network(inputs, targets, width, epochs, seed)
    matrices = {
        "NFM": nfm,
        "network AGOP": agop,
        "M": _machine(inputs, targets, rounds),
        EXACT: _exact(d),
    }
    data: dict[str, Series] = {}
    for name, matrix in matrices.items():
        data[name] = _entries(matrix / np.abs(matrix).max())
        cosine = np.sum(matrix * matrices[EXACT]) / (
            np.linalg.norm(matrix) * np.linalg.norm(matrices[EXACT])
        )
        data[f"{name}: cosine"] = Series(np.zeros(1), np.array([float(cosine)]))
    return Plot("rfm.features", data, _paint)


def _entries(matrix: Floats) -> Series:
    """The matrix, row after row."""
    return Series(np.arange(matrix.size, dtype=np.float64), matrix.ravel())


def _network(
    inputs: Floats, targets: Floats, width: int, epochs: int, seed: int
) -> tuple[Floats, Floats]:
    """NFM and AGOP of the first layer of a trained network."""
    import torch

    from numerics.alignment import layer_matrices, mlp, train_sgd
    from numerics.alignment.training import mean_squared_error

    draws = torch.Generator().manual_seed(seed)
    model = mlp((inputs.shape[1], width, 1), scale=0.1, generator=draws)
    train_sgd(
        model, inputs, targets[:, None], epochs=epochs, batch_size=100,
        loss=mean_squared_error, lr=0.1, generator=draws, layers=["0"],
    )  # fmt: skip
    found = layer_matrices(model, inputs, ["0"])["0"]
    return found.nfm.numpy(), found.agop.numpy()


def _machine(inputs: Floats, targets: Floats, rounds: int) -> Floats:
    from numerics.rfm.estimators import RFMRegressor

    machine = RFMRegressor(rounds=rounds, fit_intercept=False, progress=False)
    M: Floats = np.asarray(machine.fit(inputs, targets).M_, dtype=np.float64)
    return M


def _exact(d: int) -> Floats:
    import sympy

    from theory.rfm.population import population_agop

    x = sympy.symbols(f"x:{d}")
    agop = population_agop(x[1] * (x[0] + x[2]) / sympy.sqrt(2), x)
    exact: Floats = np.array(agop.tolist(), dtype=np.float64)
    return exact


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.1, 4)
    for index, (axes, (name, text)) in enumerate(zip(panels, PANELS.items(), strict=True)):
        size = round(len(data[name].y) ** 0.5)
        shown = _paint_matrix(axes, data[name].y.reshape(size, size))
        axes.set_xlabel(f"cosine {data[f'{name}: cosine'].y[0]:.3f}")
        title(axes, index, text)
    bar = figure.colorbar(shown, ax=panels, location="bottom", shrink=0.4, aspect=30, pad=0.04)
    bar.ax.set_title("colours of a–d", fontsize=7)
    bar.ax.set_xlabel("share of the largest entry", fontsize=7)
    return figure


def _paint_matrix(axes: Axes, matrix: Floats) -> Any:
    from matplotlib.ticker import NullLocator

    axes.grid(visible=False)
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    # One direction of lightness, so that grey keeps the order; entries below zero are the darkest.
    return axes.imshow(matrix, cmap="cividis", vmin=-0.2, vmax=1, interpolation="nearest")
