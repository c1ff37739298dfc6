"""Texts drawn from a character transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from ..validation import integer, nonnegative
from .character_transformer import CharacterTransformer
from .characters import MARK, CharacterVocabulary


def generate(
    model: CharacterTransformer,
    vocabulary: CharacterVocabulary,
    n: int,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    prefix: str = "",
    longest: int | None = None,
) -> list[str]:
    """Draw texts, each until its end mark.

    Every token of every text has its own uniform number, drawn beforehand: neither the other texts
    nor their ends change which token it gives.

    Args:
        model: Hooks on its blocks, as those of `Steering`, are called.
        vocabulary: The model's.
        n: How many.
        generator: Draws the numbers; the same seed gives the same texts.
        temperature: Scores are divided by it; 0 takes the likeliest token.
        prefix: What all texts begin with.
        longest: Characters at most, the prefix included; by default what the model takes.

    Raises:
        TypeError: If a number or the generator has the wrong type.
        ValueError: If a number is out of range, the vocabulary is of another size than the model's,
            or the prefix has unknown characters or is too long.
        ArithmeticError: If scores are NaN or infinite, under a large shift for instance.
    """
    count = integer("n", n, 1)
    if len(vocabulary) != model.embedding.num_embeddings:
        raise ValueError(
            f"vocabulary has {len(vocabulary)} tokens, the model {model.embedding.num_embeddings}"
        )
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator = {generator!r} must be a torch.Generator")
    heat = nonnegative("temperature", temperature)
    start = vocabulary.encode([prefix])["input_ids"].expand(count, -1)
    limit = min(model.length, integer("longest", model.length if longest is None else longest, 1))
    new = limit + 1 - start.shape[1]
    if new < 1:
        raise ValueError(f"prefix = {prefix!r} leaves no room within {limit} characters")
    uniform = torch.rand(count, new, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        drawn = _drawn(model, start, uniform, heat)
    return [prefix + text for text in vocabulary.decode(drawn)]


def _drawn(model: CharacterTransformer, start: Tensor, uniform: Tensor, heat: float) -> Tensor:
    """The new tokens, shape (n, new); the mark from each text's end on."""
    device = model.embedding.weight.device
    cache = model.cache(len(start))
    token, ended = start.to(device), torch.zeros(len(start), dtype=torch.bool, device=device)
    found = torch.full(uniform.shape, MARK, device=device)
    for step in range(uniform.shape[1]):
        scores = model(token, cache=cache)[:, -1]
        if not bool(scores.isfinite().all()):
            raise ArithmeticError(f"scores of new token {step} are NaN or infinite")
        chosen = next_tokens(scores, uniform[:, step].to(device), heat).masked_fill(ended, MARK)
        found[:, step] = chosen
        ended |= chosen == MARK
        if bool(ended.all()):
            break
        token = chosen[:, None]
    return found


def next_tokens(scores: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """The first token at which the distribution function exceeds a uniform number, shape (n,).

    Args:
        scores: Shape (n, tokens).
        uniform: In [0, 1), shape (n,).
        temperature: Scores are divided by it; 0 takes the likeliest token, the first of equals.
    """
    if temperature == 0:
        return scores.argmax(-1)
    exact = scores.double()
    # the largest score is 0, so that a tiny temperature makes no other infinite one beside it
    shares = ((exact - exact.amax(-1, keepdim=True)) / temperature).softmax(-1).cumsum(-1)
    shares = shares / shares[:, -1:]
    return torch.searchsorted(shares, uniform[:, None].contiguous(), right=True)[:, 0]
