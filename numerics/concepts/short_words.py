"""A small lexicon of short words, for models that spell."""

from __future__ import annotations

from .lexicon import Lexicon, Noun, Topic, Verb

SHORT_WORDS = Lexicon(
    topics={
        "food": Topic(
            subjects=(Noun("cook", "cooks"), Noun("chef", "chefs")),
            verbs=(Verb("eat", "eats", "ate"), Verb("bake", "bakes", "baked")),
            objects=(),
        ),
        "sport": Topic(
            subjects=(Noun("team", "teams"), Noun("runner", "runners")),
            verbs=(Verb("win", "wins", "won"), Verb("train", "trains", "trained")),
            objects=(),
        ),
        "music": Topic(
            subjects=(Noun("band", "bands"), Noun("singer", "singers")),
            verbs=(Verb("sing", "sings", "sang"), Verb("drum", "drums", "drummed")),
            objects=(),
        ),
    },
    adjectives={},
    adverbs={"positive": ("well", "nicely"), "negative": ("badly", "poorly")},
    patterns=("the {subject} {verb} {adverb}",),
)
"""Three topics and one pattern: 192 sentences, 16 of each topic, tense and sentiment."""
