"""A small lexicon of short words, for models that spell."""

from __future__ import annotations

from .lexicon import Lexicon, Noun, Topic, Verb

SHORT_WORDS = Lexicon(
    topics={
        "food": Topic(
            subjects=(Noun("cook", "cooks"), Noun("baker", "bakers")),
            verbs=(Verb("eat", "eats", "ate"), Verb("serve", "serves", "served")),
            objects=("soup", "bread"),
        ),
        "sport": Topic(
            subjects=(Noun("player", "players"), Noun("team", "teams")),
            verbs=(Verb("win", "wins", "won"), Verb("play", "plays", "played")),
            objects=("match", "game"),
        ),
        "music": Topic(
            subjects=(Noun("singer", "singers"), Noun("band", "bands")),
            verbs=(Verb("sing", "sings", "sang"), Verb("record", "records", "recorded")),
            objects=("song", "tune"),
        ),
    },
    adjectives={"positive": ("good", "kind", "lovely"), "negative": ("bad", "rude", "awful")},
    adverbs={"positive": ("well", "gladly"), "negative": ("badly", "sadly")},
    patterns=(
        "the {subject} {verb} the {object} {adverb}",
        "the {adjective} {subject} {verb} the {object}",
        "the {adjective} {subject} {verb} {adverb}",
    ),
)
"""Three topics, with three patterns of four slots each."""
