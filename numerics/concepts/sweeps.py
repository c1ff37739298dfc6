"""What steering does to the texts that a character transformer writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .character_training import Schedule, train
from .character_transformer import CharacterTransformer
from .characters import CharacterVocabulary
from .generation import generate
from .grammar import Grammar, Tally, Text
from .hidden_states import collect_hidden_states
from .rates import Rate
from .steer import Steering


@dataclass(frozen=True, eq=False)
class Writer:
    """A transformer that was trained on a grammar's texts."""

    grammar: Grammar
    vocabulary: CharacterVocabulary
    model: CharacterTransformer

    def states(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Each block's hidden states at the texts' last tokens, shape (n, d)."""
        tokens = self.vocabulary.encode([text.text for text in texts])
        return collect_hidden_states(self.model, tokens, batch_size=256)


def train_writer(
    grammar: Grammar,
    texts: Sequence[str],
    schedule: Schedule,
    *,
    width: int = 64,
    blocks: int = 2,
    heads: int = 4,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Writer:
    """Train a transformer on some of a grammar's texts.

    Args:
        grammar: Of the texts.
        texts: To train on.
        schedule: How long.
        width: Of the hidden states.
        blocks: Number of blocks.
        heads: Of each block.
        seed: Of weights and batches.
        device: Where to train.
    """
    vocabulary = CharacterVocabulary.of(texts)
    tokens = vocabulary.encode(texts, end=True)
    generator = torch.Generator().manual_seed(seed)
    model = CharacterTransformer(
        len(vocabulary), width=width, blocks=blocks, heads=heads,
        length=tokens["input_ids"].shape[1], generator=generator,
    ).to(device)  # fmt: skip
    train(model, tokens, schedule, generator=generator)
    return Writer(grammar, vocabulary, model)


@dataclass(frozen=True)
class Sweep:
    """What was written at each of several coefficients.

    Attributes:
        coefficients: ε.
        tallies: What the recogniser found in the texts of each.
    """

    coefficients: tuple[float, ...]
    tallies: tuple[Tally, ...]

    def grammatical(self) -> tuple[Rate, ...]:
        """Shares of grammatical texts."""
        return tuple(tally.grammatical() for tally in self.tallies)

    def rates(self, concept: str, value: str) -> tuple[Rate, ...]:
        """Shares of a concept's value among the grammatical texts."""
        return tuple(tally.rate(concept, value) for tally in self.tallies)


def sweep(
    writer: Writer,
    vectors: Mapping[str, Tensor],
    coefficients: Sequence[float],
    n: int,
    *,
    seed: int,
    temperature: float = 1.0,
) -> Sweep:
    """Steer with each coefficient, and read what is written.

    Args:
        writer: Who writes.
        vectors: By layer, see `Steering`.
        coefficients: ε.
        n: Texts for each.
        seed: Of the texts; those of different coefficients are independent.
        temperature: See `generate`.
    """
    # A stream of its own for every coefficient, however many there are.
    source = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (len(coefficients),), generator=source)
    tallies = []
    for epsilon, own in zip(coefficients, seeds.tolist(), strict=True):
        with Steering(writer.model, vectors, epsilon):
            texts = generate(
                writer.model, writer.vocabulary, n,
                generator=torch.Generator().manual_seed(own), temperature=temperature,
            )  # fmt: skip
        tallies.append(writer.grammar.tally(texts))
    return Sweep(tuple(map(float, coefficients)), tuple(tallies))
