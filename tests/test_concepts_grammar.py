"""Texts with known concepts: the language enumerated, frequencies, the recogniser, refusals."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chisquare

from numerics.concepts.grammar import CONCEPTS, Grammar, Parse
from numerics.concepts.lexicon import Lexicon, Noun, Topic, Verb, slots_of
from numerics.concepts.rates import Rate
from numerics.concepts.short_words import SHORT_WORDS

TINY = Lexicon(
    topics={
        "a": Topic(
            (Noun("cat", "cats"), Noun("sheep", "sheep")),
            (Verb("eat", "eats", "ate"),),
            ("rat",),
        ),
        "b": Topic(
            (Noun("old man", "old men"),),
            (Verb("put", "puts", "had put"),),
            ("big cup", "jar"),
        ),
    },
    adjectives={"positive": ("good", "very good"), "negative": ("bad",)},
    adverbs={"positive": ("well",), "negative": ("badly",)},
    times={"past": ("then",), "present": ("now",)},
    patterns=(
        "the {subject} {verb} the {object} {adverb}",
        "{time} the {object} is not {opposite}",
        "the {subject} {copula} {adjective}",
    ),
)
COPULA = {("past", 0): "was", ("past", 1): "were", ("present", 0): "is", ("present", 1): "are"}


def words_of(lexicon, slot, sentiment, tense, topic, number):
    """The entries of a slot, straight from the lexicon's fields."""
    words = lexicon.topics[topic]
    other = {"positive": "negative", "negative": "positive"}[sentiment]
    present = "base" if number else "third"
    return {
        "subject": [noun.plural if number else noun.singular for noun in words.subjects],
        "verb": [getattr(v, "past" if tense == "past" else present) for v in words.verbs],
        "object": words.objects,
        "copula": [COPULA[tense, number]],
        "time": lexicon.times.get(tense),
        "adjective": lexicon.adjectives.get(sentiment),
        "opposite": lexicon.adjectives.get(other),
        "adverb": lexicon.adverbs[sentiment],
    }[slot]


def language(lexicon, sentences=1):
    """Every text with its concepts and its probability, by loops over everything."""
    found, values = {}, (("negative", "positive"), ("past", "present"), tuple(lexicon.topics))
    for concepts in itertools.product(*values):
        singles = Counter()
        for pattern, number in itertools.product(lexicon.patterns, (0, 1)):
            slots = slots_of(pattern)
            options = [words_of(lexicon, slot, *concepts, number) for slot in slots]
            for words in itertools.product(*options):
                text = pattern
                for slot, word in zip(slots, words, strict=True):
                    text = text.replace("{" + slot + "}", word, 1)
                ways = 2 * len(lexicon.patterns) * np.prod([len(o) for o in options])
                singles[text + "."] += 1 / ways
        for several in itertools.product(singles.items(), repeat=sentences):
            text = " ".join(t for t, _ in several)
            share = np.prod([p for _, p in several]) / (4 * len(lexicon.topics))
            assert text not in found
            found[text] = (Parse(*concepts), share)
    return found


@pytest.mark.parametrize(("lexicon", "sentences"), [(TINY, 1), (TINY, 2), (SHORT_WORDS, 1)])
def test_every_text_of_the_language_is_read_and_nothing_near_it(lexicon, sentences):
    grammar, every = Grammar(lexicon, sentences=sentences), language(lexicon, sentences)
    assert sum(share for _, share in every.values()) == pytest.approx(1)
    for text, (concepts, _) in every.items():
        assert grammar.parse(text) == concepts
    rng = np.random.default_rng(0)
    vocabulary = sorted({word for text in every for word in text.split(" ")})
    for text in list(every)[:: max(1, len(every) // 60)]:
        for near in neighbours(text, vocabulary, rng):
            expected = every[near][0] if near in every else None
            assert grammar.parse(near) == expected, near


def neighbours(text, vocabulary, rng):
    """Texts one edit of a word or of a character away."""
    words = text.split(" ")
    for i in range(len(words)):
        yield " ".join(words[:i] + words[i + 1 :])
        yield " ".join([*words[: i + 1], words[i], *words[i + 1 :]])
        for word in vocabulary:
            yield " ".join([*words[:i], word, *words[i + 1 :]])
    for i in rng.integers(len(text), size=6):
        yield text[:i] + text[i + 1 :]
        yield text[:i] + text[i] + text[i:]
        yield text[:i] + "x" + text[i + 1 :]
    yield from (text + " ", " " + text, text[:-1], text + ".", text + " " + text, text.upper(), "")


@pytest.mark.parametrize("sentences", [1, 2])
def test_texts_come_with_their_probabilities(sentences):
    every, grammar = language(TINY, sentences), Grammar(TINY, sentences=sentences)
    drawn = Counter(t.text for t in grammar.sample(6000, np.random.default_rng(1)))
    assert set(drawn) <= set(every)
    rare = {text for text, (_, share) in every.items() if 6000 * share < 8}
    counts = [drawn[text] for text in every if text not in rare]
    shares = [every[text][1] for text in every if text not in rare]
    if rare:
        counts.append(sum(drawn[text] for text in rare))
        shares.append(sum(every[text][1] for text in rare))
    assert chisquare(counts, 6000 * np.array(shares)).pvalue > 1e-4


def test_concepts_are_drawn_independently_with_their_probabilities():
    grammar = Grammar(TINY, positive=0.2, past=0.7, topics={"a": 0.9, "b": 0.1})
    drawn = Counter(t.concepts for t in grammar.sample(4000, np.random.default_rng(2)))
    for concepts, count in drawn.items():
        share = 0.2 if concepts.sentiment == "positive" else 0.8
        share *= 0.7 if concepts.tense == "past" else 0.3
        share *= 0.9 if concepts.topic == "a" else 0.1
        assert binomtest(count, 4000, share).pvalue > 1e-5
    assert len(drawn) == 8


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([TINY, SHORT_WORDS]))
def test_reading_undoes_generating(seed, sentences, lexicon):
    grammar = Grammar(lexicon, sentences=sentences)
    for text in grammar.sample(5, np.random.default_rng(seed)):
        assert grammar.parse(text.text) == text.concepts
        again = " ".join(text.text.split(" "))
        assert grammar.parse(again) == text.concepts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 7))
def test_sentences_that_differ_in_a_concept_are_no_text(seed, which):
    rng = np.random.default_rng(seed)
    one, two = (t for t in Grammar(SHORT_WORDS).sample(2, rng))
    joined = Grammar(SHORT_WORDS, sentences=2).parse(f"{one.text} {two.text}")
    assert joined == (one.concepts if one.concepts == two.concepts else None)
    assert Grammar(SHORT_WORDS, sentences=3).parse(f"{one.text} {two.text}") is None


def test_the_same_seed_gives_the_same_texts_and_fixed_concepts_are_kept():
    grammar = Grammar(SHORT_WORDS, sentences=2)
    first, second = (grammar.sample(20, np.random.default_rng(3)) for _ in range(2))
    assert first == second != grammar.sample(20, np.random.default_rng(4))
    fixed = grammar.sample(30, np.random.default_rng(3), tense="past", topic="music")
    assert {(t.concepts.tense, t.concepts.topic) for t in fixed} == {("past", "music")}
    assert len({t.concepts.sentiment for t in fixed}) == 2
    assert grammar.sample(0, np.random.default_rng(3)) == []
    # What is fixed takes no other draw's place.
    free = grammar.sample(30, np.random.default_rng(3))
    assert [t.concepts.sentiment for t in free] == [t.concepts.sentiment for t in fixed]


def test_confidence_is_passed_on():
    tally = Grammar(TINY).tally(["the cat eats the rat well.", "no sentence"])
    assert tally.grammatical(0.5) == Rate.of(1, 2, 0.5)
    assert tally.rate("tense", "present", 0.5) == Rate.of(1, 1, 0.5)
    assert Rate.of(3, 8).error == pytest.approx(np.sqrt(0.4 * 0.6 / 8))


def test_tallies_count_what_is_read():
    grammar = Grammar(SHORT_WORDS)
    texts = [t.text for t in grammar.sample(30, np.random.default_rng(5), sentiment="positive")]
    texts += [t.text for t in grammar.sample(10, np.random.default_rng(6), sentiment="negative")]
    tally = grammar.tally([*texts, "no sentence", ""])
    assert (tally.total, len(tally.parses)) == (42, 40)
    assert tally.grammatical().share == 40 / 42
    assert tally.rate("sentiment", "positive").share == 0.75
    assert sum(tally.rate("topic", t).hits for t in SHORT_WORDS.topics) == 40


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.5, 0.95, 0.999]))
def test_intervals_are_those_of_clopper_and_pearson(hits, total, confidence):
    hits = min(hits, total)
    rate = Rate.of(hits, total, confidence)
    expected = binomtest(hits, total).proportion_ci(confidence, "exact")
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert rate.low <= rate.share <= rate.high
    assert 0 < rate.error <= 0.5
    if 0 < hits < total:
        assert binom.sf(hits - 1, total, rate.low) == pytest.approx((1 - confidence) / 2)


# Beginnings


@pytest.mark.parametrize("concept", CONCEPTS)
def test_beginnings_end_where_the_concept_is_about_to_show(concept):
    grammar = Grammar(SHORT_WORDS, sentences=2)
    found = grammar.beginnings(concept, 96, np.random.default_rng(3))
    assert set(Counter(text.concepts for text in found).values()) == {8}
    sentences = {c: set(written(SHORT_WORDS, c)) for c in {text.concepts for text in found}}
    for text in found:
        first, second = text.text.split(". ")
        assert first + "." in sentences[text.concepts]
        others = [c for c in sentences if differ(c, text.concepts) == {concept}]
        pairs = itertools.product(
            sentences[text.concepts], set().union(*(sentences[c] for c in others))
        )
        assert any(parted(*pair, second) for pair in pairs)
        last = second.split(" ")[-1]
        if concept == "sentiment":
            assert (last, second.count(" ")) == ("", 3)
        if concept == "topic":
            assert second == "the "


def parted(a, b, shared):
    """Whether two sentences begin alike up to there, and no further."""
    k = len(shared)
    return a[:k] == b[:k] == shared and a[k : k + 1] != b[k : k + 1]


def differ(a, b):
    return {name for name in CONCEPTS if getattr(a, name) != getattr(b, name)}


def written(lexicon, concepts):
    """All sentences of a lexicon with one pattern, straight from its fields."""
    (pattern,) = lexicon.patterns
    for number in (0, 1):
        options = [
            words_of(lexicon, symbol[1:-1], *vars(concepts).values(), number)
            if symbol.startswith("{")
            else [symbol]
            for symbol in pattern.split(" ")
        ]
        yield from (" ".join(words) + "." for words in itertools.product(*options))


def test_beginnings_of_the_tense_stop_within_words():
    texts = Grammar(SHORT_WORDS, sentences=2).beginnings("tense", 400, np.random.default_rng(0))
    ends = {text.text.split(" ")[-1] for text in texts}
    assert {"", "w", "s", "bake", "train", "drum"} <= ends


def test_beginnings_are_drawn_by_seed_and_refuse():
    grammar = Grammar(SHORT_WORDS, sentences=2)
    one, two = (grammar.beginnings("tense", 9, np.random.default_rng(5)) for _ in range(2))
    assert one == two
    assert grammar.beginnings("tense", 0, np.random.default_rng(5)) == []
    with pytest.raises(ValueError, match="sentences = 1, must be 2 at least"):
        Grammar(SHORT_WORDS).beginnings("tense", 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="concept = 'mood'"):
        grammar.beginnings("mood", 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="n = -1"):
        grammar.beginnings("tense", -1, np.random.default_rng(0))


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"topics": {"a": TINY.topics["a"]}}, r"topics are \['a'\], must be two"),
        ({"adjectives": {"nice": ("good",)}}, r"adjectives has the kinds \['nice'\]"),
        ({"times": {"future": ("soon",)}}, r"times has the kinds \['future'\]"),
        ({"patterns": ()}, "patterns are empty"),
        ({"patterns": ("{subject}s {verb} {adverb}",)}, "must be words in lower case"),
        ({"patterns": ("the {x {verb} {adverb}",)}, "must be words in lower case"),
        ({"patterns": ("the {subject} {verb}",)}, "does not show the sentiment"),
        ({"patterns": ("{subject} {adverb}",)}, "does not show the tense"),
        ({"patterns": ("it {copula} {adjective}",)}, "does not show the topic"),
        ({"patterns": ("{subject} {colour}",)}, "has the slot 'colour', must be of"),
        ({"patterns": ("{subject} {verb} {subject} {adverb}",)}, "two subjects"),
        ({"patterns": ("The {subject} {verb} {adverb}",)}, "must be words in lower case"),
    ],
)
def test_bad_lexicons_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adjectives": {"positive": ("good",), "negative": ("good",)}}, "'good' is of the sentim"),
        ({"adverbs": {"positive": ("Well",), "negative": ("badly",)}}, "adverb holds 'Well'"),
        ({"adverbs": {"positive": ("well.",), "negative": ("badly",)}}, r"adverb holds 'well\.'"),
        ({"adverbs": {"positive": ("well",)}}, r"lexicon has no adverb for \('negative'"),
        ({"times": {"past": ("then",)}}, r"lexicon has no time for"),
        ({"topics": {"a": TINY.topics["a"], "c": TINY.topics["a"]}}, "of the topic 'a' and 'c'"),
    ],
)
def test_ambiguous_and_missing_words_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Grammar(replace(TINY, **change))


A = TINY.topics["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adverbs": {"positive": "well", "negative": "badly"}}, r"adverbs\['positive'\] = 'well'"),
        ({"times": {"past": "then"}}, r"times\['past'\] = 'then' must be several"),
        ({"patterns": TINY.patterns[0]}, "patterns = 'the .* must be several"),
        ({"topics": {"a": A, "b": 1}}, r"topics\['b'\] = 1 must be a Topic"),
        ({"topics": {"a": A, "b": replace(A, objects="cup")}}, "objects of the topic 'b' = 'cup'"),
        (
            {"topics": {"a": A, "b": replace(A, subjects=A.subjects[0])}},
            "subjects of the topic 'b'",
        ),
    ],
)
def test_words_without_a_comma_are_refused(change, message):
    with pytest.raises(TypeError, match=message):
        replace(TINY, **change)


def test_verbs_without_a_past_of_their_own_are_refused():
    verb = Topic((Noun("man", "men"),), (Verb("put", "puts", "put"),), ("cup",))
    with pytest.raises(ValueError, match="verb 'put' is of the tense 'present' and 'past'"):
        Grammar(replace(TINY, topics={"a": TINY.topics["a"], "b": verb}))


def test_two_readings_are_refused():
    patterns = ("the {subject} {copula} {adjective}", "the {subject} {copula} so {opposite}")
    adjectives = {"positive": ("good", "so good"), "negative": ("bad",)}
    grammar = Grammar(replace(TINY, patterns=patterns, adjectives=adjectives))
    with pytest.raises(ValueError, match=r"'the cat is so good\.' has several readings"):
        grammar.parse("the cat is so good.")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sentences": 0}, ValueError, "sentences = 0 must be an integer >= 1"),
        ({"sentences": 1.0}, TypeError, "sentences = 1.0 must be an integer"),
        ({"positive": 1.5}, ValueError, r"positive = 1\.5 must be a probability"),
        ({"positive": "0.5"}, TypeError, "positive = '0.5' must be a probability"),
        ({"past": True}, TypeError, "past = True must be a probability"),
        ({"topics": [0.5, 0.5]}, TypeError, r"topics = \[0.5, 0.5\] must be a mapping"),
        ({"topics": {"a": "1"}}, TypeError, r"topics\['a'\] = '1' must be a probability"),
        ({"past": float("nan")}, ValueError, "past = nan must be a probability"),
        ({"topics": {"a": 0.5}}, ValueError, "sum to 0.5, must sum to 1"),
        ({"topics": {"a": -0.5, "b": 1.5}}, ValueError, r"topics\['a'\] = -0.5 must be a prob"),
        ({"topics": {"x": 1.0}}, ValueError, "topic = 'x' must be one of 'a', 'b'"),
    ],
)
def test_bad_grammars_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Grammar(TINY, **arguments)


def test_bad_calls_are_refused():
    grammar, rng = Grammar(TINY), np.random.default_rng(0)
    with pytest.raises(TypeError, match="lexicon = 'words' must be a Lexicon"):
        Grammar("words")
    with pytest.raises(ValueError, match="concept = 'mood' must be one of"):
        grammar.sample(1, rng, mood="good")
    with pytest.raises(ValueError, match="tense = 'future' must be one of 'past', 'present'"):
        grammar.sample(1, rng, tense="future")
    with pytest.raises(ValueError, match="n = -1 must be an integer >= 0"):
        grammar.sample(-1, rng)
    with pytest.raises(TypeError, match="text = 3 must be a string"):
        grammar.parse(3)
    with pytest.raises(ValueError, match="texts are empty"):
        grammar.tally([])
    with pytest.raises(TypeError, match="texts = 'abc' must be a sequence of strings"):
        grammar.tally("abc")
    for draw in (grammar.sample, lambda n, rng: grammar.text(Parse("positive", "past", "a"), rng)):
        with pytest.raises(TypeError, match=r"rng = 0 must be a numpy\.random\.Generator"):
            draw(1, 0)
    with pytest.raises(TypeError, match=r"rng = None must be a numpy\.random\.Generator"):
        Grammar(TINY, sentences=2).beginnings("tense", 1, None)
    with pytest.raises(TypeError, match="concepts = 'good' must be a Parse"):
        grammar.text("good", rng)
    with pytest.raises(ValueError, match="topic = 'x' must be one of 'a', 'b'"):
        grammar.text(Parse("positive", "past", "x"), rng)
    with pytest.raises(ValueError, match="sentiment = 'happy' must be one of"):
        grammar.tally(["nothing"]).rate("sentiment", "happy")
    with pytest.raises(TypeError, match=r"confidence = '0\.9' must be"):
        Rate.of(1, 2, "0.9")
    with pytest.raises(ValueError, match="total = 0 must be an integer >= 1"):
        grammar.tally(["nothing"]).rate("tense", "past")
    with pytest.raises(ValueError, match="concept = 'mood'"):
        grammar.tally(["nothing"]).rate("mood", "good")
    with pytest.raises(ValueError, match="hits = 3 must be at most total = 2"):
        Rate.of(3, 2)
    with pytest.raises(ValueError, match="confidence = 1 must be in"):
        Rate.of(1, 2, 1)
    assert CONCEPTS == ("sentiment", "tense", "topic")
