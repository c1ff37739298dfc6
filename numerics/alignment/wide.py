"""Initial alignment of wide networks by brute force: sampled data matrices, sampled networks.

Nothing here knows a limit. Random numbers come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..validation import RealArray, choice, integer

if TYPE_CHECKING:
    import torch

RESIDUAL_LAWS: dict[str, Callable[[np.random.Generator, int], RealArray]] = {
    "rademacher": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "gaussian": lambda rng, n: rng.standard_normal(n),
    "constant": lambda _, n: np.ones(n),
}


def draw_data(
    samples: int, dimension: int, residuals: str, rng: np.random.Generator
) -> tuple[RealArray, RealArray]:
    """Return rows from N(0, I_d), shape (n, d), and independent residuals, shape (n,).

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is less than 1, or the law of the residuals is unknown.
    """
    n, d = integer("samples", samples, 1), integer("dimension", dimension, 1)
    law = choice("residuals", residuals, list(RESIDUAL_LAWS))
    return rng.standard_normal((n, d)), RESIDUAL_LAWS[law](rng, n)


def matrix_alignment(
    samples: int, dimension: int, residuals: str, rng: np.random.Generator
) -> float:
    """Return the correlation of A² and AΣA for one draw of the data, A = Xᵀ diag(r) X, Σ = XᵀX.

    These are ẆᵀẆ and ẆᵀKẆ of quadratic units when the width is infinite.

    Arguments and errors are those of `draw_data`.
    """
    X, r = draw_data(samples, dimension, residuals, rng)
    if samples < dimension:
        return alignment_by_samples(X, r)
    return alignment_by_coordinates(X, r)


def alignment_by_coordinates(X: RealArray, residuals: RealArray) -> float:
    """Return the correlation of A² and AΣA from these d × d matrices."""
    A = X.T @ (residuals[:, None] * X)
    return cosine(A @ A, A @ (X.T @ X) @ A)


def alignment_by_samples(X: RealArray, residuals: RealArray) -> float:
    """Return the same from n × n matrices: tr A⁴ = tr (RG)⁴ with G = XXᵀ, and so on."""
    gram = X @ X.T
    square = np.linalg.matrix_power(residuals[:, None] * gram, 2)
    once = square @ gram
    cross, nfm, agop = np.sum(square.T * once), np.sum(square.T * square), np.sum(once.T * once)
    return float(cross / np.sqrt(nfm * agop))


def cosine(first: RealArray, second: RealArray) -> float:
    """Return the cosine of two matrices."""
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / scale)


def network_alignment(
    X: RealArray,
    residuals: RealArray,
    width: int,
    activation: str,
    rng: np.random.Generator,
    *,
    weight_scale: float = 1.0,
) -> float:
    """Return the correlation of ẆᵀẆ and ẆᵀKẆ of one random two-layer network, by autograd.

    The entries of W are N(0, weight_scale²), those of the readout ±1 at random. The targets are
    the network's outputs plus the given residuals.

    Args:
        X: Samples, shape (n, d).
        residuals: y − f, shape (n,).
        width: Units k.
        activation: "relu", "erf", "linear", "quadratic", "cubic" or "hermite3".
        rng: Draws the weights, then the readout.
        weight_scale: τ, the standard deviation of the entries of W.

    Raises:
        TypeError: If the width is not an integer.
        ValueError: If it is less than 1, or the activation is unknown.
    """
    import torch

    k = integer("width", width, 1)
    phi = _activations()[choice("activation", activation, list(_activations()))]
    inputs = torch.as_tensor(X, dtype=torch.float64)
    W = torch.as_tensor(weight_scale * rng.standard_normal((k, inputs.shape[1])))
    readout = torch.as_tensor(rng.choice([-1.0, 1.0], k))
    flow, features = _flow_and_features(inputs, torch.as_tensor(residuals), W, readout, phi)
    half = features @ flow  # K = kᵀk/n is k × k: it is not formed
    return cosine((flow.T @ flow).numpy(), (half.T @ half).numpy())


def _flow_and_features(
    inputs: torch.Tensor,
    residuals: torch.Tensor,
    W: torch.Tensor,
    readout: torch.Tensor,
    phi: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Ẇ = −∂/∂W of ½Σ(f − y)², and ∂f/∂z of every sample."""
    import torch

    W = W.clone().requires_grad_(True)
    preactivations = inputs @ W.T
    outputs = phi(preactivations) @ readout
    targets = outputs.detach() + residuals
    loss = ((outputs - targets) ** 2).sum() / 2
    (gradient,) = torch.autograd.grad(loss, W, retain_graph=True)
    (features,) = torch.autograd.grad(outputs.sum(), preactivations)
    return -gradient, features


def _activations() -> dict[str, Callable[[Any], Any]]:
    import torch

    return {
        "relu": torch.relu,
        "erf": torch.erf,
        "linear": lambda z: z,
        "quadratic": lambda z: z**2,
        "cubic": lambda z: z**3,
        "hermite3": lambda z: (z**3 - 3 * z) / 6**0.5,
    }
