"""States of training and held-out sentences in the same coordinates, few enough for moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..validation import integer
from .encoder import SentenceEncoder
from .sentences import LabelledText, halves
from .states import Layer
from .targets import Numbers


@dataclass(frozen=True, eq=False)
class SplitStates:
    """One split of the words, with the states of its sentences.

    Attributes:
        train_text: Sentences to learn from.
        held_out_text: Sentences of other words.
        train: By block the states of the first, shape (n, dimension).
        held_out: By block those of the second, shape (m, dimension).
    """

    train_text: LabelledText
    held_out_text: LabelledText
    train: Mapping[Layer, Numbers]
    held_out: Mapping[Layer, Numbers]


def split_states(
    encoder: SentenceEncoder,
    rng: np.random.Generator,
    *,
    train: int,
    held_out: int,
    layers: Sequence[int] | None = None,
    token: int | str = "mean",
    dimension: int = 24,
) -> SplitStates:
    """Draw a split and its sentences, and encode them.

    States are projected onto the training states' first principal axes, about their mean, and
    divided by their root mean square norm; no label is used.

    Args:
        encoder: Of the sentences.
        rng: Cuts the words and draws the sentences.
        train: Sentences to learn from.
        held_out: Sentences of the other words.
        layers: Blocks, all of them by default.
        token: As in `SentenceEncoder.hidden_states`.
        dimension: Number of axes, less than `train`.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If there are fewer than 8 sentences, no such layer or token, or `dimension` is
            not less than `train` or larger than the states' own.
    """
    k = integer("dimension", dimension, 1)
    if k >= integer("train", train, 1):
        raise ValueError(f"dimension = {dimension} must be less than train = {train}")
    first, second = halves(rng)
    texts = first.sample(train, rng), second.sample(held_out, rng)
    states = encoder.hidden_states((*texts[0].texts, *texts[1].texts), layers, token)
    reduced = {name: _reduced(h.double().cpu().numpy(), train, k) for name, h in states.items()}
    return SplitStates(
        *texts,
        {name: pair[0] for name, pair in reduced.items()},
        {name: pair[1] for name, pair in reduced.items()},
    )


def _reduced(states: Numbers, train: int, dimension: int) -> tuple[Numbers, Numbers]:
    centred = states - states[:train].mean(axis=0)
    if dimension > states.shape[1]:
        raise ValueError(f"dimension = {dimension} must be at most {states.shape[1]}")
    _, _, axes = np.linalg.svd(centred[:train], full_matrices=False)
    found = centred @ axes[:dimension].T
    found /= np.sqrt((found[:train] ** 2).sum(axis=1).mean())
    return np.ascontiguousarray(found[:train]), np.ascontiguousarray(found[train:])
