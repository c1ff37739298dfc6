"""A small generative transformer: pre-norm blocks of causal attention with rotary positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from ..validation import integer

PERIOD = 100.0
"""The slowest rotation turns by about 1/PERIOD a token."""


@dataclass(eq=False)
class KeyValueCache:
    """Keys and values of the tokens so far, of every block.

    Attributes:
        used: How many tokens are in it.
        keys: Shape (blocks, n, heads, length, d/heads).
        values: As the keys.
    """

    used: int
    keys: Tensor
    values: Tensor

    def extend(self, block: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new tokens' keys and values behind the old, and return all of them."""
        end = self.used + keys.shape[2]
        self.keys[block, :, :, self.used : end] = keys
        self.values[block, :, :, self.used : end] = values
        return self.keys[block, :, :, :end], self.values[block, :, :, :end]


class Attention(nn.Module):
    """Causal attention of several heads, whose queries and keys are turned by their position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = _linear(width, 3 * width, bias=False)
        self.output = _linear(width, width, bias=False)

    def forward(
        self, x: Tensor, turns: Tensor, cache: KeyValueCache | None = None, block: int = 0
    ) -> Tensor:
        """From (n, t, d) to (n, t, d); the tokens follow those in the cache."""
        n, t, d = x.shape
        parts = self.inputs(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = _turned(parts[0], turns), _turned(parts[1], turns), parts[2]
        fresh = cache is None or not cache.used
        if cache is not None:
            k, v = cache.extend(block, k, v)
        mask = None if fresh or t == 1 else _behind(t, k.shape[2], x.device)
        mixed = scaled_dot_product_attention(q, k, v, mask, is_causal=fresh and t > 1)
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(n, t, d))
        return out


def _behind(t: int, total: int, device: torch.device) -> Tensor:
    """Which of all tokens each of the last t may look at."""
    return torch.ones(t, total, dtype=torch.bool, device=device).tril(total - t)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Each pair (x_i, x_{i + e/2}) of a head's e entries, turned by its angle at its position."""
    a, b = x.chunk(2, -1)
    cos, sin = turns
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class CharacterBlock(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)); it puts out the hidden state, a tensor."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.network_norm = nn.LayerNorm(width)
        self.rise = _linear(width, hidden)
        self.fall = _linear(hidden, width)

    def forward(
        self, x: Tensor, turns: Tensor, cache: KeyValueCache | None = None, block: int = 0
    ) -> Tensor:
        """From (n, t, d) to (n, t, d)."""
        x = x + self.attention(self.attention_norm(x), turns, cache, block)
        out: Tensor = x + self.fall(gelu(self.rise(self.network_norm(x))))
        return out


class CharacterTransformer(nn.Module):
    """Scores of the next token, from the tokens so far.

    Nothing in it is random or depends on the mode, and padding on the right changes nothing before
    it. Weights are Gaussian, of deviation 0.5 in the embedding, 0.5/√(blocks · fan-in) where a
    block adds to its input, and 0.7/√fan-in elsewhere; biases are 0.

    Args:
        tokens: Size of the vocabulary.
        width: d, of the hidden states.
        blocks: Number of blocks.
        heads: Heads of each; d/heads must be even.
        hidden: Width of each block's network; by default 2d.
        length: Tokens that it takes at most.
        generator: Draws the weights, and torch's global one is left alone.
        dtype: Of the weights.

    Raises:
        TypeError: If a number is not an integer, or `generator` no generator.
        ValueError: If a number is too small, or heads do not divide d into even parts.
    """

    def __init__(
        self,
        tokens: int,
        *,
        width: int = 64,
        blocks: int = 2,
        heads: int = 4,
        hidden: int | None = None,
        length: int = 128,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        size, d = integer("tokens", tokens, 2), integer("width", width, 2)
        if d % (2 * integer("heads", heads, 1)):
            raise ValueError(f"width = {d} must be a multiple of 2 heads = {2 * heads}")
        if not isinstance(generator, torch.Generator):
            raise TypeError(f"generator = {generator!r} must be a torch.Generator")
        inner = integer("hidden", 2 * d if hidden is None else hidden, 1)
        self.length = integer("length", length, 1)
        self.heads = heads
        self.embedding = nn.Embedding(size, d, device="meta").to_empty(device="cpu")
        self.blocks = nn.ModuleList(
            CharacterBlock(d, heads, inner) for _ in range(integer("blocks", blocks, 1))
        )
        self.norm = nn.LayerNorm(d)
        self.head = _linear(d, size)
        self.turns: Tensor
        self.register_buffer("turns", _turns(self.length, d // heads), persistent=False)
        self._draw(generator)
        self.to(dtype)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Scores of the token behind each token.

        Args:
            input_ids: Shape (n, t).
            attention_mask: Ones, then zeros at the padding, shape (n, t); not needed.
            cache: The tokens before these, to which these are added.

        Returns:
            Shape (n, t, tokens).

        Raises:
            ValueError: If there are too many tokens, or `attention_mask` has another shape or
                padding on the left.
        """
        _check_mask(input_ids, attention_mask)
        start = 0 if cache is None else cache.used
        end = start + input_ids.shape[1]
        if end > self.length:
            raise ValueError(f"there are {end} tokens, allowed are at most length = {self.length}")
        x = self.embedding(input_ids)
        turns = self.turns[:, start:end]
        for number, block in enumerate(self.blocks):
            x = block(x, turns, cache, number)
        if cache is not None:
            cache.used = end
        scores: Tensor = self.head(self.norm(x))
        return scores

    def cache(self, n: int) -> KeyValueCache:
        """An empty cache for n samples."""
        weight = self.embedding.weight
        shape = (len(self.blocks), n, self.heads, self.length, weight.shape[1] // self.heads)
        return KeyValueCache(0, weight.new_empty(shape), weight.new_empty(shape))

    def _draw(self, generator: torch.Generator) -> None:
        """Blocks add as much as the embeddings hold, all together."""
        added = 0.5 / math.sqrt(len(self.blocks))
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                last = name.endswith(("output.weight", "fall.weight"))
                scale = 0.5 if name == "embedding.weight" else added if last else 0.7
                fan_in = 1 if name == "embedding.weight" else weight.shape[1]
                nn.init.normal_(weight, 0, scale / math.sqrt(fan_in), generator=generator)
            elif "norm" not in name:
                nn.init.zeros_(weight)


def _check_mask(ids: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        return
    if mask.shape != ids.shape:
        raise ValueError(
            f"attention_mask has shape {tuple(mask.shape)}, must be that of input_ids: "
            f"{tuple(ids.shape)}"
        )
    if bool(((mask[:, 1:] != 0) & (mask[:, :-1] == 0)).any()):
        raise ValueError("attention_mask has zeros before ones, must have padding on the right")


def _turns(length: int, entries: int) -> Tensor:
    """Cosines and sines, shape (2, length, entries/2)."""
    pairs = entries // 2
    rates = PERIOD ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.cos(), angles.sin()])


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Without values, which would be drawn from torch's global generator."""
    return nn.Linear(inputs, outputs, bias, device="meta").to_empty(device="cpu")
