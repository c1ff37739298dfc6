"""A character transformer's forward pass in NumPy, token by token, with vectors added to blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Floats: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = Mapping[str, Floats]

PERIOD = 100.0


def steered_scores(
    weights: Weights, tokens: list[int], heads: int, vectors: Mapping[int, Floats], epsilon: float
) -> Floats:
    """Scores of the token behind each of one text's tokens, shape (t, tokens).

    Args:
        weights: By name, as the model lists them.
        tokens: The text.
        heads: Of each block.
        vectors: By the number of the block to whose output ε times it is added, at every token.
        epsilon: ε.
    """
    x = [weights["embedding.weight"][token] for token in tokens]
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    for number in range(blocks):
        own = {
            name.removeprefix(f"blocks.{number}."): value
            for name, value in weights.items()
            if name.startswith(f"blocks.{number}.")
        }
        x = _block(own, x, heads)
        if number in vectors:
            x = [row + epsilon * vectors[number] for row in x]
    rows = [_norm(row, weights["norm.weight"], weights["norm.bias"]) for row in x]
    return np.array([weights["head.weight"] @ row + weights["head.bias"] for row in rows])


def _block(weights: Weights, x: list[Floats], heads: int) -> list[Floats]:
    inside = [_norm(r, weights["attention_norm.weight"], weights["attention_norm.bias"]) for r in x]
    mixed = _attention(weights, inside, heads)
    x = [
        row + weights["attention.output.weight"] @ more for row, more in zip(x, mixed, strict=True)
    ]
    found = []
    for row in x:
        inner = _norm(row, weights["network_norm.weight"], weights["network_norm.bias"])
        risen = weights["rise.weight"] @ inner + weights["rise.bias"]
        bent = risen * (1 + erf(risen / math.sqrt(2))) / 2
        found.append(row + weights["fall.weight"] @ bent + weights["fall.bias"])
    return found


def _attention(weights: Weights, x: list[Floats], heads: int) -> list[Floats]:
    parts = [np.split(weights["attention.inputs.weight"] @ row, 3) for row in x]
    e = len(x[0]) // heads
    found = []
    for last in range(len(x)):
        mixed = []
        for head in range(heads):
            own = slice(head * e, (head + 1) * e)
            q = _turned(parts[last][0][own], last)
            keys = [_turned(parts[j][1][own], j) for j in range(last + 1)]
            scores = np.array([q @ k for k in keys]) / math.sqrt(e)
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            mixed.append(sum(s * parts[j][2][own] for j, s in enumerate(shares)))
        found.append(np.concatenate(mixed))
    return found


def _turned(vector: Floats, place: int) -> Floats:
    """The complex numbers x_i + i x_{i + e/2}, turned by place·PERIOD^{−i/(e/2)}."""
    half = len(vector) // 2
    turned = (vector[:half] + 1j * vector[half:]) * np.exp(
        1j * place * PERIOD ** (-np.arange(half) / half)
    )
    return np.concatenate([turned.real, turned.imag])


def _norm(x: Floats, weight: Floats, bias: Floats) -> Floats:
    scaled: Floats = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias
    return scaled
