"""Texts as numbers, one for each character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MARK = 0
"""The token before the first and after the last character of a text, and at padding."""


@dataclass(frozen=True)
class CharacterVocabulary:
    """Characters and their numbers: 0 marks a text's start and end, characters count from 1.

    Attributes:
        characters: Each once.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is empty, or a character stands in it twice.

    >>> vocabulary = CharacterVocabulary.of(["ab", "ba", "a"])
    >>> vocabulary.encode(["ab", "a"])["input_ids"].tolist()
    [[0, 1, 2], [0, 1, 0]]
    >>> vocabulary.decode([[1, 2, 0, 1], [2, 1, 1, 1]])
    ['ab', 'baaa']
    """

    characters: str

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str):
            raise TypeError(f"characters = {self.characters!r} must be a string")
        if not self.characters or len(set(self.characters)) < len(self.characters):
            raise ValueError(f"characters = {self.characters!r} must be one or more, each once")

    @classmethod
    def of(cls, texts: Iterable[str]) -> CharacterVocabulary:
        """The characters of some texts, sorted."""
        return cls("".join(sorted(set().union(*map(set, texts)))))

    def __len__(self) -> int:
        """Number of tokens, the mark included."""
        return len(self.characters) + 1

    def encode(self, texts: Sequence[str], *, end: bool = False) -> dict[str, Tensor]:
        """Token ids behind the mark, padded on the right, with the mask of what is not padding.

        Args:
            texts: Each may be empty.
            end: Whether the mark stands at the end of each text, too.

        Returns:
            `input_ids` and `attention_mask`, both (n, t).

        Raises:
            TypeError: If `texts` is one string, or holds something else.
            ValueError: If there are none, or a character is unknown.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts = {texts!r} must be a sequence of strings")
        if not len(texts):
            raise ValueError("texts are empty, must be one at least")
        rows = [[MARK, *self._numbers(text), *[MARK] * end] for text in texts]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), MARK)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def decode(self, tokens: Tensor | Sequence[Sequence[int]]) -> list[str]:
        """The texts up to their first mark; there is none before their first character.

        Raises:
            ValueError: If a token is unknown.
        """
        rows = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        return [self._text(row) for row in rows]

    def _numbers(self, text: object) -> list[int]:
        if not isinstance(text, str):
            raise TypeError(f"texts hold {text!r}, must be strings")
        return [self._number(character) for character in text]

    def _number(self, character: str) -> int:
        number = self.characters.find(character)
        if number < 0:
            raise ValueError(f"{character!r} is no character of {self.characters!r}")
        return number + 1

    def _text(self, row: Sequence[int]) -> str:
        found = []
        for token in row:
            if token == MARK:
                break
            if not 0 < token < len(self):
                raise ValueError(f"token {token} must be in [0, {len(self)})")
            found.append(self.characters[token - 1])
        return "".join(found)
