"""Concepts in the layers of a network: probes that detect them, shifts that steer them (paper A).

The names below are imported when first used, so that importing this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .blocks import block_stack, chosen_blocks
    from .character_training import Schedule, train
    from .character_transformer import CharacterTransformer
    from .characters import CharacterVocabulary
    from .detector import ConceptDetector, ConceptRegressor
    from .encoder import SentenceEncoder
    from .generation import generate
    from .grammar import Grammar, Parse, Tally, Text
    from .hidden_states import collect_hidden_states
    from .lexicon import Lexicon, Noun, Topic, Verb
    from .rates import Rate
    from .saving import load, load_directions, save
    from .sentences import Half, LabelledText, halves
    from .shifts import along_covariance, in_deviations
    from .short_words import SHORT_WORDS
    from .steer import Steering
    from .sweeps import Sweep, Writer, sweep, train_writer
    from .text_states import SplitStates, split_states

_HOMES = {
    "CharacterTransformer": "character_transformer",
    "CharacterVocabulary": "characters",
    "ConceptDetector": "detector",
    "ConceptRegressor": "detector",
    "Grammar": "grammar",
    "Half": "sentences",
    "LabelledText": "sentences",
    "Lexicon": "lexicon",
    "Noun": "lexicon",
    "Parse": "grammar",
    "Rate": "rates",
    "SHORT_WORDS": "short_words",
    "Schedule": "character_training",
    "SentenceEncoder": "encoder",
    "SplitStates": "text_states",
    "Steering": "steer",
    "Sweep": "sweeps",
    "Tally": "grammar",
    "Text": "grammar",
    "Topic": "lexicon",
    "Verb": "lexicon",
    "Writer": "sweeps",
    "along_covariance": "shifts",
    "block_stack": "blocks",
    "chosen_blocks": "blocks",
    "collect_hidden_states": "hidden_states",
    "generate": "generation",
    "halves": "sentences",
    "in_deviations": "shifts",
    "load": "saving",
    "load_directions": "saving",
    "save": "saving",
    "split_states": "text_states",
    "sweep": "sweeps",
    "train": "character_training",
    "train_writer": "sweeps",
}

__all__ = [
    "SHORT_WORDS",
    "CharacterTransformer",
    "CharacterVocabulary",
    "ConceptDetector",
    "ConceptRegressor",
    "Grammar",
    "Half",
    "LabelledText",
    "Lexicon",
    "Noun",
    "Parse",
    "Rate",
    "Schedule",
    "SentenceEncoder",
    "SplitStates",
    "Steering",
    "Sweep",
    "Tally",
    "Text",
    "Topic",
    "Verb",
    "Writer",
    "along_covariance",
    "block_stack",
    "chosen_blocks",
    "collect_hidden_states",
    "generate",
    "halves",
    "in_deviations",
    "load",
    "load_directions",
    "save",
    "split_states",
    "sweep",
    "train",
    "train_writer",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
