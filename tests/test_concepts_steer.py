"""Steered networks against the shift put in by hand, and what contexts leave behind: nothing."""

import dataclasses
from collections import OrderedDict, namedtuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from numerics.concepts.block_outputs import hidden_state
from numerics.concepts.hidden_states import collect_hidden_states
from numerics.concepts.steer import Steering

VOCABULARY, WIDTH, DEPTH = 20, 6, 3
LAYERS = [f"blocks.{i}" for i in range(DEPTH)]

Named = namedtuple("Named", ["number", "state", "rest"])


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int
    state: torch.Tensor
    rest: str = "rest"


PACKED = {
    "tensor": lambda h: h,
    "tuple": lambda h: (h, None, "rest"),
    "late": lambda h: (None, h, h + 1),
    "list": lambda h: [h, 1],
    "named": lambda h: Named(1, h, h + 1),
    "dict": lambda h: {"number": 1, "state": h},
    "ordered": lambda h: OrderedDict(state=h, rest=None),
    "dataclass": lambda h: Frozen(1, h),
}


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
