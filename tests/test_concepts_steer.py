"""Steered networks against the shift put in by hand, and what contexts leave behind: nothing."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from numerics.concepts.block_outputs import hidden_state
from numerics.concepts.hidden_states import collect_hidden_states
from numerics.concepts.steer import Steering
from tests.packed_outputs import PACKED

VOCABULARY, WIDTH, DEPTH = 20, 6, 3
LAYERS = [f"blocks.{i}" for i in range(DEPTH)]


class Block(nn.Module):
    def __init__(self, packing="tensor"):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.packing = packing

    def forward(self, h):
        return PACKED[self.packing](h + torch.tanh(self.linear(h.cumsum(-2))))


class Tiny(nn.Module):
    def __init__(self, packing="tensor", dtype=torch.float64, depth=DEPTH, block=Block):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.blocks = nn.ModuleList(block(packing) for _ in range(depth))
            self.head = nn.Linear(WIDTH, VOCABULARY)
        self.to(dtype)

    def forward(self, input_ids):
        h = self.embedding(input_ids)
        for block in self.blocks:
            h = hidden_state(block(h), "")
        return self.head(h)


def ids(n=4, t=5):
    return torch.randint(VOCABULARY, (n, t), generator=torch.Generator().manual_seed(0))


def vector(seed=0, dtype=torch.float64, width=WIDTH):
    return torch.randn(width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def by_hand(model, tokens, shifts):
    """Blocks called one by one, with a shift after some of them."""
    h = model.embedding(tokens)
    for number, block in enumerate(model.blocks):
        h = hidden_state(block(h), "")
        if number in shifts:
            h = h + shifts[number]
    return model.head(h)


def same_bits(a, b):
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return a.dtype == b.dtype and torch.equal(a.view(kind), b.view(kind))


def hooks(model):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


@pytest.mark.parametrize("packing", PACKED)
def test_the_shift_is_added_to_the_output_of_each_chosen_block(packing):
    model, tokens = Tiny(packing), ids()
    v, w = vector(1), vector(2)
    both = torch.stack([v, w])
    with torch.no_grad():
        bare, wanted = model(tokens), by_hand(model, tokens, {0: 0.4 * v, 2: 0.4 * w})
        first, second = (by_hand(model, tokens, {1: shift}) for shift in (-1.5 * v, 3 * w))
        with Steering(model, {0: v, "blocks.2": w}):
            assert same_bits(model(tokens), wanted)
        assert same_bits(model(tokens), bare)
        with Steering(model, {-2: both}, -1.5):
            assert same_bits(model(tokens), first)
        with Steering(model, {1: both}, 3, component=1):
            assert same_bits(model(tokens), second)


@pytest.mark.parametrize("packing", PACKED)
def test_the_rest_of_an_output_is_kept_and_the_blocks_own_object_is_untouched(packing):
    block, kept = Block(packing).double(), []
    block.register_forward_hook(lambda *a: kept.append(a[-1]), prepend=True)
    h, v = torch.randn(2, 3, WIDTH).double(), vector()
    bare = block(h)
    with Steering(nn.ModuleList([block]), {"0": v}, 1.0):
        steered = block(h)
    assert type(steered) is type(bare)
    assert same_bits(hidden_state(steered, ""), hidden_state(bare, "") + v)
    if packing in ("late", "named"):
        assert same_bits(steered[2], bare[2])
    if packing == "dataclass":
        assert (steered.number, steered.rest) == (1, "rest")
    if packing == "dict":
        assert steered["number"] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_coefficient_zero_is_the_bare_model_bit_by_bit(dtype):
    class Negative(Block):
        def forward(self, h):
            return -torch.relu(-h)  # many −0.0

    model, tokens = Tiny(dtype=dtype, block=Negative), ids()
    v = vector(dtype=dtype)
    seen = []
    model.blocks[1].register_forward_hook(lambda *a: seen.append(a[-1]))
    bare, before = model(tokens), hooks(model)
    assert same_bits(seen[0][seen[0] == 0], torch.full_like(seen[0][seen[0] == 0], -0.0))
    for vectors, coefficient in [
        ({1: v}, 0), ({1: v}, 0.0), ({1: v}, -0.0), ({1: torch.zeros_like(v)}, 0.4),
        ([{1: v}, {0: v, 1: v}], [0, 0.0]), ([{1: v}, {1: v}], [0.5, -0.5]),
    ]:  # fmt: skip
        with Steering(model, vectors, coefficient):
            assert hooks(model) == before
            assert same_bits(model(tokens), bare)
            assert same_bits(seen[-1], seen[0])
    assert not same_bits(seen[0], seen[0] + 0 * v)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16), layer=st.integers(0, DEPTH - 1), packing=st.sampled_from([*PACKED]),
    epsilon=st.floats(-10, 10), token=st.sampled_from([-1, 0, 2, "mean"]),
    batch_size=st.integers(1, 6),
)  # fmt: skip
def test_collected_inside_the_states_of_the_layer_are_shifted(
    seed, layer, packing, epsilon, token, batch_size
):
    model, tokens, v = Tiny(packing), ids(), vector(seed)
    bare = collect_hidden_states(model, tokens, token=token, batch_size=batch_size)
    with Steering(model, {layer: v}, epsilon):
        found = collect_hidden_states(model, tokens, token=token, batch_size=batch_size)
    for number, name in enumerate(LAYERS):
        if number < layer:
            assert same_bits(found[name], bare[name])
        if number == layer:
            torch.testing.assert_close(found[name], bare[name] + epsilon * v, rtol=0, atol=1e-13)
        if number > layer and abs(epsilon) > 0.1:
            assert not torch.equal(found[name], bare[name])


def test_several_concepts_and_nested_contexts_add_up():
    model, tokens, u, v = Tiny(), ids(), vector(1), vector(2)
    wanted = by_hand(model, tokens, {0: 0.5 * u, 1: -2 * v, 2: 0.5 * v - 2 * u})
    outer = by_hand(model, tokens, {0: 0.5 * u, 2: 0.5 * v})
    both = by_hand(model, tokens, {0: 0.4 * u, 1: 0.4 * v, 2: 0.4 * v + 0.4 * u})
    first, second = {0: u, "blocks.2": v}, {1: v, 2: u}
    close = {"rtol": 0, "atol": 1e-13}
    with Steering(model, [first, second], [0.5, -2]):
        torch.testing.assert_close(model(tokens), wanted, **close)
    with Steering(model, first, 0.5):
        with Steering(model, second, -2):
            torch.testing.assert_close(model(tokens), wanted, **close)
        assert same_bits(model(tokens), outer)
    with Steering(model, (first, second)):
        torch.testing.assert_close(model(tokens), both, **close)
    assert not any(hooks(model))


def test_one_steering_is_used_again_but_not_while_it_is_active():
    model, tokens = Tiny(), ids()
    steering = Steering(model, {1: vector()})
    bare = model(tokens)
    with steering as entered:
        assert entered is steering
        inside = model(tokens)
        with pytest.raises(RuntimeError, match="active already"), steering:
            pass
        assert same_bits(model(tokens), inside)
    assert same_bits(model(tokens), bare)
    with steering:
        assert same_bits(model(tokens), inside)
    assert not any(hooks(model))


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted, GeneratorExit])
@pytest.mark.parametrize("place", ["body", "block", "registration", "after registration"])
@pytest.mark.parametrize("number", range(DEPTH))
def test_no_hook_is_left_wherever_an_exception_comes(monkeypatch, error, place, number):
    model, tokens = Tiny(), ids()
    bare, chosen = model(tokens), model.blocks[number]
    register = nn.Module.register_forward_hook

    def interrupted(module, hook, **options):
        if module is not chosen or place == "after registration":
            handle = register(module, hook, **options)
        if module is chosen:
            raise error("here")
        return handle

    def fail(*_):
        raise error("here")

    steering = Steering(model, {name: vector(i) for i, name in enumerate(LAYERS)})
    with monkeypatch.context() as patch:
        if place == "block":
            patch.setattr(chosen, "forward", fail)
        if "registration" in place:
            patch.setattr(nn.Module, "register_forward_hook", interrupted)
        with pytest.raises(error, match="here"), steering:
            (fail if place == "body" else model)(tokens)
    assert not any(hooks(model))
    assert same_bits(model(tokens), bare)
    with steering:
        assert not torch.equal(model(tokens), bare)
    assert not any(hooks(model))


def test_gradients_flow_through_and_into_vectors():
    model, tokens = Tiny(), ids()
    v = vector().requires_grad_()
    with Steering(model, {1: v}, 0.7):
        found = torch.autograd.grad(model(tokens).square().sum(), [v, model.embedding.weight])
        again = torch.autograd.grad(model(tokens).square().sum(), [v])
    wanted = by_hand(model, tokens, {1: 0.7 * v}).square().sum()
    for a, b in zip(found, torch.autograd.grad(wanted, [v, model.embedding.weight]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert torch.equal(again[0], found[0])


def test_other_modes_of_autograd_and_vectors_made_in_inference_mode():
    model, tokens = Tiny(), ids()
    wanted = by_hand(model, tokens, {1: 0.4 * vector()})
    with torch.inference_mode():
        steering, inside = Steering(model, {1: vector()}), vector()
        with steering:
            assert same_bits(model(tokens), wanted)
    with steering, torch.no_grad():
        assert same_bits(model(tokens), wanted)
    with Steering(model, {1: inside}):
        steered = model(tokens)
        steered.sum().backward()
    assert same_bits(steered, wanted)


def test_arrays_take_the_dtype_of_the_block():
    v = vector()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        model, tokens = Tiny(dtype=dtype), ids()
        wanted = by_hand(model, tokens, {1: 0.4 * v.to(dtype)})
        for given_ in (v.numpy(), v.tolist(), v.to(dtype)):
            with Steering(model, {1: given_}):
                assert same_bits(model(tokens), wanted)
    model = Tiny(dtype=torch.float32)
    with Steering(model, {1: v.numpy()}), torch.autocast("cpu", torch.bfloat16):
        assert model(ids()).dtype == torch.bfloat16


def test_observers_see_the_steered_output():
    model, tokens, seen = Tiny(), ids(), []
    handle = model.blocks[1].register_forward_hook(lambda *a: seen.append(a[-1]))
    model(tokens)
    with Steering(model, {1: vector()}, 2.0):
        model(tokens)
    assert same_bits(seen[1], seen[0] + 2.0 * vector())
    assert sum(hooks(model)) == 1
    handle.remove()


def test_copies_stop_being_steered_with_the_context_and_nothing_is_saved():
    model, tokens = Tiny(), ids()
    bare = model(tokens)
    with Steering(model, {1: vector()}):
        twin = copy.deepcopy(model)
        assert same_bits(twin(tokens), model(tokens))
        with pytest.raises(TypeError, match=r"layer 'blocks.1' is being steered: leave"):
            pickle.dumps(model.blocks[1])
        assert list(model.state_dict()) == list(twin.state_dict())
    assert same_bits(twin(tokens), bare)


def test_compiled_models_and_overlapping_contexts():
    model, tokens = Tiny().requires_grad_(False), ids()
    compiled = torch.compile(model, backend="eager")
    bare, wanted = compiled(tokens), by_hand(model, tokens, {1: 0.4 * vector()})
    first, second = Steering(compiled, {1: vector()}), Steering(compiled, {1: -vector()})
    first.__enter__()
    assert same_bits(compiled(tokens), wanted)
    second.__enter__()
    first.__exit__(None, None, None)
    assert same_bits(compiled(tokens), by_hand(model, tokens, {}))
    second.__exit__(None, None, None)
    assert same_bits(compiled(tokens), bare)
    assert torch._dynamo.eval_frame._stance.stance == "default"


V = vector()
WRONG = [
    ({1: V.float()}, 1, TypeError, r"'blocks.1' have dtype torch.float32, the block has "
     r"torch.float64: cast them by .to\(torch.float64\)"),
    ({1: V.long()}, 1, TypeError, "'blocks.1' have dtype torch.int64, must be floating"),
    ({1: V.to("meta")}, 1, ValueError, "'blocks.1' are on the device meta"),
    ({1: V * torch.nan}, 1, ValueError, "'blocks.1' hold NaN or infinite entries"),
    ({1: V[:0]}, 1, ValueError, r"'blocks.1' have shape \(0,\), must be \(d,\) or \(k, d\)"),
    ({1: V[None, None]}, 1, ValueError, r"'blocks.1' have shape \(1, 1, 6\)"),
    ({1: ["a"]}, 1, TypeError, "vectors of layer 'blocks.1' have dtype <U1"),
    ({"blocks.9": V}, 1, ValueError, "no layer 'blocks.9' in Tiny; its blocks are"),
    ({3: V}, 1, ValueError, "no block 3; the 3 blocks are"),
    ({0: V, "blocks.0": V}, 1, ValueError, "'blocks.0', which stands there already"),
    ({}, 1, ValueError, "vectors hold no layer"),
    ([], 1, ValueError, "vectors hold no concept"),
    (V, 1, TypeError, "must be a mapping by layer, or a sequence"),
    ([V], 1, TypeError, r"vectors hold tensor\(\[(.|\n)* must be mappings by layer"),
    ({1: V}, [1], TypeError, r"coefficient = \[1\] must be a finite number"),
    ({1: V}, "1", TypeError, "coefficient = '1' must be a finite number"),
    ({1: V}, True, TypeError, "coefficient = True must be a finite number"),
    ({1: V}, 10**400, ValueError, "coefficient = 10+ must be a finite number"),
    ({1: V}, np.inf, ValueError, "coefficient = inf must be a finite number"),
    ([{1: V}, {1: V}], [1], ValueError, "1 coefficients are given for 2 concepts"),
    ([{1: V}, {1: V}], [1, np.nan], ValueError, "coefficient = nan must be a finite number"),
    ([{1: V}, {1: V[:3]}], 1, ValueError, "layer 'blocks.1' have 6 and 3 entries"),
    ({1: 1e300 * V}, 1e300, ValueError, "layer 'blocks.1' is too large for torch.float64"),
]  # fmt: skip


@pytest.mark.parametrize(("vectors", "coefficient", "error", "match"), WRONG)
def test_what_is_wrong_is_named(vectors, coefficient, error, match):
    model = Tiny()
    with pytest.raises(error, match=match):
        Steering(model, vectors, coefficient)
    assert not any(hooks(model))


def test_what_is_wrong_with_a_model_or_an_output_is_named():
    with pytest.raises(ValueError, match=r"component = 1, but layer 'blocks.0' has 1 vectors"):
        Steering(Tiny(), {0: V}, component=1)
    with pytest.raises(ValueError, match=r"'blocks.0' are on cpu, the block is on meta: move them"):
        Steering(Tiny().to("meta"), {0: V})
    with pytest.raises(ValueError, match=r"layer 'blocks.0' is on the device meta"):
        Steering(Tiny().to("meta"), {0: V.numpy()})
    with pytest.raises(TypeError, match=r"model = 'model' must be a torch.nn.Module"):
        Steering("model", {0: V})
    model = Tiny()
    with (
        pytest.raises(ValueError, match=r"'blocks.0' puts out shape \(4, 5, 6\), its .* has 3"),
        Steering(model, {0: V[:3]}),
    ):
        model(ids())
    model.blocks[0].forward = lambda h: None
    with (
        pytest.raises(TypeError, match=r"layer 'blocks.0' returns NoneType, must be a tensor"),
        Steering(model, {0: V}),
    ):
        model(ids())
    steering = Steering(model, {0: V})
    model.float()
    with pytest.raises(TypeError, match="cast them"), steering:
        pass
    assert not any(hooks(model))


@pytest.mark.parametrize("kind", ["GPT2", "Llama"])
def test_generation_of_hugging_face_models_is_steered_at_every_token(kind):
    transformers = pytest.importorskip("transformers", reason="the extra [concepts] is missing")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=40, intermediate_size=24, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        name = {"GPT2": "GPT2LMHeadModel", "Llama": "LlamaForCausalLM"}[kind]
        model = getattr(transformers, name)(config).eval()
    prompt, v = ids(3, 4) + 3, 3 * vector(1, torch.float32, 16)

    def write(**options):
        return model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, min_new_tokens=8,
            do_sample=False, output_logits=True, return_dict_in_generate=True, **options,
        )  # fmt: skip

    bare = write()
    with Steering(model, {0: v, 1: v}, 1.0):
        cached, plain = write(), write(use_cache=False)
        with torch.no_grad():
            h = model(prompt, output_hidden_states=True).hidden_states
    with torch.no_grad():
        assert same_bits(h[1], model(prompt, output_hidden_states=True).hidden_states[1] + v)
    for a, b in zip(cached.logits, plain.logits, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert not torch.equal(cached.logits[-1], bare.logits[-1])
    with Steering(model, {0: v}, 0):
        unsteered = write()
    assert torch.equal(unsteered.sequences, bare.sequences)
    assert all(same_bits(a, b) for a, b in zip(unsteered.logits, bare.logits, strict=True))


def test_a_hook_registered_inside_stays_and_blocks_without_weights_take_the_models_dtype():
    model, tokens, seen = Tiny(), ids(), []
    with Steering(model, {1: vector()}):
        handle = model.blocks[1].register_forward_hook(lambda *a: seen.append(1), prepend=True)
    model(tokens)
    assert seen == [1]
    handle.remove()
    plain = nn.Sequential(nn.Linear(WIDTH, WIDTH).half(), nn.Tanh())
    with pytest.raises(TypeError, match=r"'1' have dtype torch\.float64, the block has"):
        Steering(plain, {"1": vector()})
