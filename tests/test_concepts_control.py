"""The character transformer: what it computes, learns and writes, steered and not; refusals."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from numerics.concepts.character_training import Schedule, mean_loss, shifted, train
from numerics.concepts.character_transformer import CharacterTransformer
from numerics.concepts.characters import MARK, CharacterVocabulary
from numerics.concepts.generation import generate, next_tokens
from numerics.concepts.grammar import Grammar, Parse, Tally
from numerics.concepts.shifts import along_covariance, in_deviations
from numerics.concepts.short_words import SHORT_WORDS
from numerics.concepts.steer import Steering
from numerics.concepts.sweeps import Sweep, Writer, sweep, train_writer
from proofs_check.claims.concepts.control import complaint

VOCABULARY = CharacterVocabulary("abc .")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def small(seed=0, dtype=torch.float64, **changes):
    sizes = {"width": 16, "blocks": 2, "heads": 2, "length": 20} | changes
    return CharacterTransformer(len(VOCABULARY), **sizes, generator=seeded(seed), dtype=dtype)


# The model


def test_parameters_are_counted():
    model = small(hidden=24)
    block = 4 * 16 + 4 * 16**2 + (16 + 1) * 24 + (24 + 1) * 16
    assert sum(p.numel() for p in model.parameters()) == 6 * 16 + 2 * block + 2 * 16 + 17 * 6
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


def test_weights_and_turns_are_as_documented():
    model = small(width=64, hidden=96, blocks=4)
    wanted = {"embedding": 0.5, "inputs": 0.7 / 8, "rise": 0.7 / 8, "head": 0.7 / 8,
              "output": 0.25 / 8, "fall": 0.25 / 96**0.5}  # fmt: skip
    for name, deviation in wanted.items():
        found = [p for key, p in model.named_parameters() if f"{name}.weight" in key]
        assert all(float(p.detach().std()) == pytest.approx(deviation, rel=0.15) for p in found)
    angles = np.outer(np.arange(20), 100.0 ** -(np.arange(16) / 16))
    np.testing.assert_allclose(model.turns, [np.cos(angles), np.sin(angles)], atol=1e-12)


def by_hand(model, tokens):
    """Scores of one text, token by token, with turns as complex numbers."""
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    x, half = weights["embedding.weight"][tokens], model.embedding.weight.shape[1] // 4
    turn = np.exp(1j * np.outer(np.arange(len(tokens)), 100.0 ** -(np.arange(half) / half)))
    for i in range(len(model.blocks)):
        w = {name[9:]: p for name, p in weights.items() if name.startswith(f"blocks.{i}.")}
        parts = normed(x, w, "attention_norm") @ w["attention.inputs.weight"].T
        q, k, v = parts.reshape(len(tokens), 3, model.heads, 2 * half).transpose(1, 2, 0, 3)
        q, k = ((z[..., :half] + 1j * z[..., half:]) * turn for z in (q, k))
        mixed = np.empty((len(tokens), model.heads, 2 * half))
        for head in range(model.heads):
            for t in range(len(tokens)):
                logits = (q[head, t] * k[head, : t + 1].conj()).real.sum(-1) / np.sqrt(2 * half)
                shares = np.exp(logits) / np.exp(logits).sum()
                mixed[t, head] = shares @ v[head, : t + 1]
        x = x + mixed.reshape(x.shape) @ w["attention.output.weight"].T
        inner = normed(x, w, "network_norm") @ w["rise.weight"].T + w["rise.bias"]
        x = x + inner * ndtr(inner) @ w["fall.weight"].T + w["fall.bias"]
    return normed(x, weights, "norm") @ weights["head.weight"].T + weights["head.bias"]


def normed(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def test_scores_are_those_by_hand():
    model, tokens = small(3), [0, 1, 4, 2, 2, 3, 5, 1]
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=seeded(1), dtype=p.dtype)
    found = model(torch.tensor([tokens]))[0].detach().numpy()
    np.testing.assert_allclose(found, by_hand(model, tokens), atol=1e-10)


def test_no_token_sees_a_later_one():
    model, tokens = small(), torch.randint(6, (3, 12), generator=seeded(1))
    scores = model(tokens)
    for place in range(11):
        changed = tokens.clone()
        changed[:, place + 1 :] = torch.randint(6, (3, 11 - place), generator=seeded(place))
        torch.testing.assert_close(model(changed)[:, : place + 1], scores[:, : place + 1])
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 6
    assert ((model(changed) - scores).abs().amax(-1) > 1e-6).all()  # each sees all before it


def test_order_matters_and_padding_on_the_right_does_not():
    model = small()
    assert not torch.allclose(
        model(torch.tensor([[1, 2, 3]]))[0, -1], model(torch.tensor([[2, 1, 3]]))[0, -1]
    )
    short, long = (VOCABULARY.encode(texts) for texts in (["ab"], ["ab", "abcabcab"]))
    torch.testing.assert_close(model(**long)[0, :3], model(**short)[0])
    with pytest.raises(ValueError, match="must have padding on the right"):
        model(torch.tensor([[0, 1]]), attention_mask=torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="must have padding on the right"):
        model(torch.tensor([[0, 1]]), attention_mask=torch.tensor([[False, True]]))


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1, 1, 1), (5, 3), (3, 1, 4), (1, 7)])
def test_scores_with_a_cache_are_those_without(cuts):
    model, tokens = small(), torch.randint(6, (3, 8), generator=seeded(2))
    cache = model.cache(3)
    parts = [model(part, cache=cache) for part in tokens.split(list(cuts), dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens), rtol=1e-12, atol=1e-12)


def test_torch_s_own_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = small(dtype=torch.float32)
    train(model, VOCABULARY.encode(["ab."], end=True), Schedule(2, 2), generator=seeded(1))
    generate(model, VOCABULARY, 2, generator=seeded(1))
    assert torch.equal(before, torch.get_rng_state())


# Writing


def naive(model, uniform, temperature, start):
    """One token at a time, every text anew from its beginning."""
    texts = []
    for row in uniform.tolist():
        tokens = list(start)
        for u in row:
            shares = model(torch.tensor([tokens]))[0, -1]
            if temperature == 0:
                token = int(shares.argmax())
            else:
                weights = np.exp((shares / temperature).double().detach().numpy())
                token = int(np.sum(np.cumsum(weights) <= u * weights.sum()))
            if token == MARK:
                break
            tokens.append(token)
        texts.append(VOCABULARY.decode([tokens[1:]])[0])
    return texts


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("prefix", ["", "ab"])
def test_texts_are_drawn_as_one_would_naively(temperature, prefix):
    model = small(7)
    found = generate(
        model, VOCABULARY, 6, generator=seeded(3), temperature=temperature, prefix=prefix
    )
    uniform = torch.rand(6, 20 - len(prefix), generator=seeded(3), dtype=torch.float64)
    start = [MARK, *(VOCABULARY.characters.index(c) + 1 for c in prefix)]
    assert found == naive(model, uniform, temperature, start)


def test_steered_texts_are_those_of_a_steered_forward_pass():
    model = small(7)
    vectors = {f"blocks.{i}": torch.randn(16, generator=seeded(i)).double() for i in (0, 1)}
    with Steering(model, vectors, 2.0):
        found = generate(model, VOCABULARY, 6, generator=seeded(3))
        uniform = torch.rand(6, 20, generator=seeded(3), dtype=torch.float64)
        assert found == naive(model, uniform, 1.0, [MARK])
    assert found != generate(model, VOCABULARY, 6, generator=seeded(3))


def test_tokens_have_their_probabilities():
    scores = torch.tensor([0.1, -1.0, 2.0, 0.5])
    uniform = torch.rand(20000, generator=seeded(0), dtype=torch.float64)
    drawn = next_tokens(scores.expand(20000, -1), uniform, 0.7)
    shares = torch.bincount(drawn, minlength=4) / 20000
    assert (shares - (scores / 0.7).softmax(0)).abs().max() < 0.015
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert next_tokens(scores.expand(2, -1), ends, 1.0).tolist() == [0, 3]


def test_a_tiny_temperature_takes_the_likeliest_token():
    scores = torch.tensor([[0.1, 2.0, 2.0 - 1e-6, -3.0]]).expand(2, -1)
    uniform = torch.tensor([0.0, 0.999], dtype=torch.float64)
    assert next_tokens(scores, uniform, 1e-310).tolist() == [1, 1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_that_are_not_finite_end_the_writing(temperature):
    model = small(dtype=torch.float32)
    with (
        Steering(model, {0: torch.ones(16) + torch.arange(16)}, 1e30),
        pytest.raises(ArithmeticError, match="scores of new token 0 are NaN or infinite"),
    ):
        generate(model, VOCABULARY, 2, generator=seeded(0), temperature=temperature)


def test_the_end_of_one_text_does_not_change_another():
    model = small(7)
    several = generate(model, VOCABULARY, 12, generator=seeded(3))
    uniform = torch.rand(12, 20, generator=seeded(3), dtype=torch.float64)
    assert len(set(map(len, several))) > 3
    assert several == naive(model, uniform, 1.0, [MARK])


def test_writing_is_by_seed_and_stops_where_told():
    model = small(4, torch.float32)
    first, second = (generate(model, VOCABULARY, 9, generator=seeded(8)) for _ in range(2))
    assert first == second != generate(model, VOCABULARY, 9, generator=seeded(9))
    assert max(map(len, generate(model, VOCABULARY, 50, generator=seeded(1), longest=4))) == 4
    assert max(map(len, first)) <= 20


# Training


def texts(n=400, seed=0):
    grammar = Grammar(SHORT_WORDS)
    return grammar, [t.text for t in grammar.sample(n, np.random.default_rng(seed))]


def test_it_learns_more_than_the_frequencies_of_characters():
    grammar, known = texts()
    schedule = Schedule(steps=120, lr=8e-3)
    writer = train_writer(grammar, known, schedule, width=32, heads=2, seed=3)
    again = train_writer(grammar, known, schedule, width=32, heads=2, seed=3)
    for p, q in zip(writer.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(p, q)
    fresh = writer.vocabulary.encode(texts(100, 1)[1], end=True)
    tokens = torch.cat([row[row >= 0] for row in shifted(fresh)[1]])
    shares = torch.bincount(tokens) / len(tokens)
    entropy = -float(torch.special.xlogy(shares, shares).sum())
    with torch.no_grad():
        assert float(mean_loss(writer.model, fresh)) < 0.4 * entropy


def test_the_schedule_and_the_decay_reach_the_weights():
    """Two steps of AdamW as in its definition, with the gradient's norm cut."""
    tokens, schedule = VOCABULARY.encode(["ab.c a"], end=True), Schedule(3, 2, 0.1, 0.0, 0.5)
    model, twin = small(), small()
    train(model, tokens, schedule, generator=seeded(0))
    weights = list(twin.parameters())
    first = [torch.zeros_like(p) for p in weights]
    second = [torch.zeros_like(p) for p in weights]
    for step in range(3):
        found = torch.autograd.grad(mean_loss(twin, tokens), weights)
        norm = torch.sqrt(sum(g.square().sum() for g in found))
        assert norm > 1 or step
        rate, k = schedule.rate(step), step + 1
        with torch.no_grad():
            for p, g, m, v in zip(weights, found, first, second, strict=True):
                g = g / max(1.0, float(norm) + 1e-6)
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.98).add_(0.02 * g.square())
                p.mul_(1 - rate * 0.5)
                p.sub_(rate * (m / (1 - 0.9**k)) / ((v / (1 - 0.98**k)).sqrt() + 1e-8))
    for p, q in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-8)


def test_training_within_other_modes_of_autograd():
    model, twin = small(), small()
    wanted = train(twin, VOCABULARY.encode(["ab"], end=True), Schedule(2, 2), generator=seeded(0))
    with torch.inference_mode():
        tokens = VOCABULARY.encode(["ab"], end=True)
        found = train(model, tokens, Schedule(2, 2), generator=seeded(0))
    np.testing.assert_array_equal(found, wanted)


def test_losses_fall_and_are_reported():
    model, seen = small(dtype=torch.float32), []
    tokens = VOCABULARY.encode(["abc.", "ab.", "a b c."], end=True)
    losses = train(
        model, tokens, Schedule(60, 8), generator=seeded(0), callback=lambda *x: seen.append(x)
    )
    assert [loss for _, loss in seen] == losses.tolist()
    assert [step for step, _ in seen] == list(range(60))
    assert losses[0] > 1.5
    assert losses[-5:].mean() < 0.8


def test_padding_has_no_part_in_the_loss():
    model = small()
    one, two = VOCABULARY.encode(["ab"], end=True), VOCABULARY.encode(["ab", "cabcab"], end=True)
    other = VOCABULARY.encode(["cabcab"], end=True)
    with torch.no_grad():
        expected = (3 * mean_loss(model, one) + 7 * mean_loss(model, other)) / 10
        torch.testing.assert_close(mean_loss(model, two), expected)


def test_the_schedule_rises_and_falls():
    schedule = Schedule(steps=100, lr=2.0, warm_up=0.1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) * 0.2)
    assert (np.diff(rates[9:]) < 0).all()
    assert (rates[54], rates[-1]) == pytest.approx((1.0, 0.0))


# Sweeps


def test_vectors_are_as_long_as_the_states_deviate():
    states = {"a": torch.randn(50, 3, generator=seeded(0)) * torch.tensor([1.0, 2.0, 3.0])}
    double = {"a": states["a"].double()}
    assert in_deviations({"a": [0.0, 0.6, 0.8]}, double)["a"].dtype == torch.float64
    found = in_deviations({"a": [0.0, 0.6, 0.8]}, states)["a"]
    assert found.dtype == torch.float32
    length = np.sqrt(np.cov(states["a"].numpy().T, ddof=0).trace())
    np.testing.assert_allclose(found.numpy(), [0, 0.6 * length, 0.8 * length], rtol=1e-6)


def test_shifts_along_the_covariance_within_classes():
    rng = np.random.default_rng(4)
    y = np.arange(60) % 3
    X = rng.standard_normal((60, 4)) @ np.diag([1, 2, 3, 4]) + 5 * y[:, None]
    v = rng.standard_normal(4)
    within = sum((y == k).sum() * np.cov(X[y == k].T, ddof=0) for k in range(3))
    expected = within @ v / np.linalg.norm(within @ v)
    found = along_covariance({"a": v}, {"a": torch.from_numpy(X)}, y)["a"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert abs(expected @ v) < 0.99 * np.linalg.norm(v)
    np.testing.assert_allclose(X, X.copy())


@pytest.mark.parametrize(
    ("directions", "labels", "message"),
    [
        ({"b": [1.0, 0.0]}, [0, 1, 0], "states lack the layer 'b', there are"),
        ({"a": [1.0]}, [0, 1, 0], r"directions\['a'\] has shape \(1,\), must have \(2,\)"),
        ({"a": [0.0, 0.0]}, [0, 1, 0], r"directions\['a'\] must be finite and not zero"),
        ({"a": [1.0, 0.0]}, [0, 1], r"labels have shape \(2,\), must have \(3,\)"),
        ({"a": [1.0, 0.0]}, [0, 1, 0], "states of layer 'a' do not vary along its direction"),
    ],
)
def test_shifts_refuse(directions, labels, message):
    with pytest.raises(ValueError, match=message):
        along_covariance(directions, {"a": torch.zeros(3, 2)}, labels)


@pytest.mark.parametrize(
    ("direction", "states", "error", "message"),
    [
        ([np.nan, 0.0], torch.randn(3, 2), ValueError, "must be finite and not zero"),
        ([np.inf, 0.0], torch.randn(3, 2), ValueError, "must be finite and not zero"),
        (["a", "b"], torch.randn(3, 2), TypeError, r"directions\['a'\] have dtype <U1"),
        ([1.0, 0.0], torch.ones(3, 2), ValueError, "states of layer 'a' do not vary"),
        ([1.0, 0.0], torch.ones(3, 2).long(), TypeError, "have dtype torch.int64, must be float"),
        ([1.0, 0.0], torch.ones(0, 2), ValueError, r"have shape \(0, 2\), must be \(n, d\)"),
        ([1.0, 0.0], torch.ones(3, 2, 2), ValueError, r"have shape \(3, 2, 2\), must be \(n, d\)"),
        ([1.0, 0.0], torch.ones(3, 2) / 0, ValueError, "'a' hold NaN or infinite entries"),
    ],
)
def test_lengths_refuse(direction, states, error, message):
    with pytest.raises(error, match=message):
        in_deviations({"a": direction}, {"a": states})


def test_directions_of_any_length_and_states_of_any_kind():
    X = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    for states in (X, torch.from_numpy(X)):
        for size in (1e-200, 1.0, 1e200):
            found = in_deviations({"a": [3 * size, 4 * size]}, {"a": states})["a"]
            expected = np.array([0.6, 0.8]) * np.sqrt(X.var(0).sum())
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    before = torch.from_numpy(X.copy()).double()
    along_covariance({"a": [1.0, 0.0]}, {"a": before}, [0, 1, 0] * 3)
    assert torch.equal(before, torch.from_numpy(X).double())


def test_a_sweep_reads_what_each_coefficient_writes():
    grammar, known = texts(100)
    writer = train_writer(grammar, known, Schedule(steps=40), width=16, heads=2)
    vectors = {"blocks.1": torch.ones(16)}
    found = sweep(writer, vectors, (0.0, 9.0, 0.0), 20, seed=1)
    assert found.coefficients == (0.0, 9.0, 0.0)
    assert [t.total for t in found.tallies] == [20, 20, 20]
    assert not any(m._forward_hooks for m in writer.model.modules())
    assert found.tallies == sweep(writer, vectors, (0.0, 9.0, 0.0), 20, seed=1).tallies
    states = writer.states(grammar.sample(5, np.random.default_rng(0)))
    assert {name: tuple(s.shape) for name, s in states.items()} == {
        "blocks.0": (5, 16),
        "blocks.1": (5, 16),
    }


def test_each_coefficient_has_a_stream_of_its_own():
    writer = Writer(SimpleNamespace(tally=tuple), VOCABULARY, small(7))
    vectors, coefficients = {1: torch.arange(16).double()}, (-2.0, 0.0, 2.0, 0.0)
    found = sweep(writer, vectors, coefficients, 5, seed=1, temperature=0.5).tallies
    seeds = torch.randint(2**62, (4,), generator=seeded(1)).tolist()
    for epsilon, own, texts in zip(coefficients, seeds, found, strict=True):
        with Steering(writer.model, vectors, epsilon):
            written = generate(writer.model, VOCABULARY, 5, generator=seeded(own), temperature=0.5)
        assert texts == tuple(written)
    assert found[1] != found[3]


def test_writers_differ_by_seed():
    grammar, known = texts(4)
    sizes = {"schedule": Schedule(1, 2), "width": 8, "heads": 1}
    one, two, again = (train_writer(grammar, known, **sizes, seed=s).model for s in (1, 2, 1))
    assert not torch.equal(one.head.weight, two.head.weight)
    assert torch.equal(one.head.weight, again.head.weight)


def swept(*hits, total=200, grammatical=200):
    good, bad = Parse("positive", "past", "food"), Parse("negative", "past", "food")
    tallies = [Tally(total, (good,) * k + (bad,) * (grammatical - k)) for k in hits]
    return Sweep(tuple(np.linspace(-1, 1, len(hits))), tuple(tallies))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (swept(20, 60, 100, 140, 180), ""),
        (swept(20, 100, 95, 100, 180), ""),
        (swept(20, 100, 40, 100, 180), "falls from -0.5 to 0.0: z = -6"),
        (swept(20, 160, 150, 120, 90), "falls from -0.5 to 1.0"),
        (swept(60, 60, 60, 60, 118), "moves by 0.29, 0.3 required"),
        (swept(180, 140, 100, 60, 20), "moves by -0.8"),
        (swept(0, 40, 80, 120, 160, grammatical=179), "0.895 are grammatical at -1.0, 0.9"),
        (swept(0, 40, 80, 120, 160, grammatical=190), "0.95 are grammatical at 0.0, 0.97"),
        (swept(0, 0, 0, 0, 0, grammatical=0), "0 are grammatical"),
    ],
)
def test_sweeps_are_judged(found, message):
    text = complaint(found, "sentiment", 0.3, 1e-6)
    assert message in text
    assert bool(message) == bool(text)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 18, "heads": 4}, ValueError, "width = 18 must be a multiple of 2 heads = 8"),
        ({"blocks": 0}, ValueError, "blocks = 0 must be an integer >= 1"),
        ({"length": 0}, ValueError, "length = 0"),
        ({"heads": 1.0}, TypeError, "heads = 1.0 must be an integer"),
        ({"generator": 3}, TypeError, "generator = 3 must be a torch.Generator"),
    ],
)
def test_bad_models_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        CharacterTransformer(5, **({"generator": seeded(0)} | arguments))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps = 0 must be an integer >= 1"),
        ({"batch_size": 1.5}, TypeError, "batch_size = 1.5 must be an integer"),
        ({"lr": 0.0}, ValueError, "lr = 0.0 must be a finite number > 0"),
        ({"warm_up": 1.5}, ValueError, r"warm_up = 1.5 must be in \[0, 1\]"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay = -1.0"),
    ],
)
def test_bad_schedules_are_refused(change, error, message):
    tokens = VOCABULARY.encode(["ab"], end=True)
    with pytest.raises(error, match=message):
        train(small(), tokens, Schedule(**({"steps": 2} | change)), generator=seeded(0))


def test_bad_calls_are_refused():
    model = small()
    with pytest.raises(ValueError, match="there are 21 tokens, allowed are at most length = 20"):
        model(torch.zeros(1, 21, dtype=torch.long))
    with pytest.raises(ValueError, match="a single token, must be two at least"):
        train(model, VOCABULARY.encode([""]), Schedule(2), generator=seeded(0))
    with pytest.raises(TypeError, match=r"generator = 0 must be a torch.Generator"):
        train(model, VOCABULARY.encode(["a"]), Schedule(2), generator=0)
    with pytest.raises(TypeError, match=r"generator = None must be a torch.Generator"):
        generate(model, VOCABULARY, 1, generator=None)
    with pytest.raises(ValueError, match="n = 0 must be an integer >= 1"):
        generate(model, VOCABULARY, 0, generator=seeded(0))
    with pytest.raises(ValueError, match="temperature = -1 must be"):
        generate(model, VOCABULARY, 1, generator=seeded(0), temperature=-1)
    with pytest.raises(ValueError, match="'z' is no character of"):
        generate(model, VOCABULARY, 1, generator=seeded(0), prefix="z")
    with pytest.raises(ValueError, match="leaves no room within 20 characters"):
        generate(model, VOCABULARY, 1, generator=seeded(0), prefix="a" * 20, longest=99)
    for other in ("ab", "abc .d"):
        with pytest.raises(ValueError, match=r"vocabulary has [37] tokens, the model 6"):
            generate(model, CharacterVocabulary(other), 1, generator=seeded(0))
    with pytest.raises(TypeError, match="schedule = 3 must be a Schedule"):
        train(model, VOCABULARY.encode(["a"]), 3, generator=seeded(0))
    with pytest.raises(ValueError, match="tokens hold 7, the model knows 0 to 5"):
        train(model, CharacterVocabulary("abc .de").encode(["e"]), Schedule(2), generator=seeded(0))
    with pytest.raises(ValueError, match=r"texts \[1\] have a single token"):
        train(model, VOCABULARY.encode(["a", ""]), Schedule(2), generator=seeded(0))
    for shape in [(3, 2), (2, 2)]:
        with pytest.raises(ValueError, match=r"attention_mask has shape \([32], 2\), must be that"):
            model(torch.ones(2, 3, dtype=torch.long), torch.ones(shape))
    with pytest.raises(ValueError, match="leaves no room within 3 characters"):
        generate(model, VOCABULARY, 1, generator=seeded(0), prefix="abc", longest=3)
    diverging = small(dtype=torch.float32)
    with torch.no_grad():
        diverging.head.weight.fill_(float("nan"))
    with pytest.raises(ArithmeticError, match="the loss is nan at step 0"):
        train(diverging, VOCABULARY.encode(["a"]), Schedule(2), generator=seeded(0))


@pytest.mark.parametrize(
    ("characters", "error", "message"),
    [
        ("", ValueError, "must be one or more, each once"),
        ("aba", ValueError, "'aba' must be one or more, each once"),
        (3, TypeError, "must be a string"),
    ],
)
def test_bad_vocabularies_are_refused(characters, error, message):
    with pytest.raises(error, match=message):
        CharacterVocabulary(characters)


def test_texts_are_encoded_and_read_back():
    vocabulary = CharacterVocabulary.of(["the cook.", "äß→"])
    assert json.loads(json.dumps(vocabulary.characters)) == "".join(sorted(set("the cook.äß→")))
    given = ["", "the cook.", "→ä"]
    encoded = vocabulary.encode(given, end=True)
    assert encoded["attention_mask"].sum(1).tolist() == [2, 11, 4]
    assert vocabulary.decode(encoded["input_ids"][:, 1:]) == given
    with pytest.raises(TypeError, match="must be a sequence of strings"):
        vocabulary.encode("the")
    with pytest.raises(TypeError, match="texts hold 3, must be strings"):
        vocabulary.encode(["the", 3])
    with pytest.raises(ValueError, match="texts are empty"):
        vocabulary.encode([])
    with pytest.raises(ValueError, match=r"'x' is no character"):
        vocabulary.encode(["x"])
    for wrong in (99, -1, len(vocabulary)):
        with pytest.raises(ValueError, match=f"token {wrong} must be in"):
            vocabulary.decode([[1, wrong]])
    assert vocabulary.decode([[1, MARK, 1]]) == vocabulary.decode([[1]])


def test_training_without_gradients_around_it():
    with torch.no_grad():
        losses = train(
            small(), VOCABULARY.encode(["ab"], end=True), Schedule(2, 2), generator=seeded(0)
        )
    assert np.isfinite(losses).all()
