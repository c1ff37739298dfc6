"""Training a character transformer to predict the next character."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..validation import RealArray, integer, nonnegative, positive
from .character_transformer import CharacterTransformer

IGNORED = -100


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: Batches.
        batch_size: Texts of each.
        lr: The largest learning rate, which is reached after the warm-up and falls to 0 as half a
            cosine.
        warm_up: Share of the steps over which it rises from 0 in a line.
        weight_decay: Of AdamW.

    Raises:
        TypeError: If a number has the wrong type.
        ValueError: If one is out of range.
    """

    steps: int = 1000
    batch_size: int = 16
    lr: float = 5e-3
    warm_up: float = 0.05
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        integer("steps", self.steps, 1)
        integer("batch_size", self.batch_size, 1)
        positive("lr", self.lr)
        nonnegative("weight_decay", self.weight_decay)
        if nonnegative("warm_up", self.warm_up) > 1:
            raise ValueError(f"warm_up = {self.warm_up!r} must be in [0, 1]")

    def rate(self, step: int) -> float:
        """The learning rate of a step, the first being 0.

        >>> Schedule(steps=10, lr=1.0, warm_up=0.2).rate(0)
        0.5
        """
        rising = max(1.0, self.warm_up * self.steps)
        falling = max(1.0, self.steps - rising)
        if step + 1 < rising:
            return self.lr * (step + 1) / rising
        return self.lr * (1 + math.cos(math.pi * min(1.0, (step + 1 - rising) / falling))) / 2


def train(
    model: CharacterTransformer,
    tokens: dict[str, Tensor],
    schedule: Schedule,
    *,
    generator: torch.Generator,
    callback: Callable[[int, float], None] | None = None,
) -> RealArray:
    """Train in place by AdamW, with the gradient's norm cut at 1.

    Args:
        model: It stays on its device, and the tokens follow it.
        tokens: What `CharacterVocabulary.encode` gives with `end=True`.
        schedule: See there.
        generator: Draws the batches, with replacement; the same seed gives the same weights.
        callback: Called as callback(step, loss) after each step.

    Returns:
        The mean cross entropy of a token in nats, of every batch before its step, shape (steps,).

    Raises:
        TypeError: If `generator` is no generator, or `schedule` no schedule.
        ValueError: If a text has a single token, or tokens are unknown to the model or too many.
        ArithmeticError: If the loss leaves the finite numbers.
    """
    _check(schedule, generator)
    _check_tokens(model, tokens)
    device = model.embedding.weight.device
    optimizer = torch.optim.AdamW(
        model.parameters(), schedule.lr, (0.9, 0.98), weight_decay=schedule.weight_decay, fused=True
    )
    losses = np.empty(schedule.steps)
    with torch.inference_mode(False), torch.enable_grad():
        # copies, since tokens made in inference mode cannot be saved for a backward pass
        inputs, targets = (part.to(device, copy=True) for part in shifted(tokens))
        for step in range(schedule.steps):
            at = torch.randint(len(inputs), (schedule.batch_size,), generator=generator).to(device)
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            losses[step] = _step(model, optimizer, inputs[at], targets[at], step)
            if callback is not None:
                callback(step, float(losses[step]))
    return losses


def shifted(tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """All tokens but the last, and behind each the next one, `IGNORED` where that is padding."""
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    short = (mask.sum(1) < 2).nonzero().flatten().tolist()
    if short:
        raise ValueError(f"texts {short[:10]} have a single token, must be two at least in each")
    return ids[:, :-1], ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED)


def mean_loss(model: CharacterTransformer, tokens: dict[str, Tensor]) -> Tensor:
    """The mean cross entropy of a token in nats, over all tokens that are not padding."""
    inputs, targets = (part.to(model.embedding.weight.device) for part in shifted(tokens))
    return _loss(model, inputs, targets)


def _loss(model: CharacterTransformer, inputs: Tensor, targets: Tensor) -> Tensor:
    scores = model(inputs)
    return cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def _step(
    model: CharacterTransformer,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    step: int,
) -> float:
    loss = _loss(model, inputs, targets)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ArithmeticError(f"training diverged: the loss is {value} at step {step}; lower lr")
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return value


def _check(schedule: Schedule, generator: torch.Generator) -> None:
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule = {schedule!r} must be a Schedule")
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator = {generator!r} must be a torch.Generator")


def _check_tokens(model: CharacterTransformer, tokens: dict[str, Tensor]) -> None:
    largest, known = int(tokens["input_ids"].max()), model.embedding.num_embeddings
    if largest >= known:
        raise ValueError(f"tokens hold {largest}, the model knows 0 to {known - 1}")
