"""Hidden states against blocks called one by one, and against what Hugging Face models record."""

import copy
import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from numerics.concepts.block_outputs import hidden_state
from numerics.concepts.hidden_states import collect_hidden_states

VOCABULARY, WIDTH, LONGEST = 20, 6, 12

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
    """Causal: a token's state is made of the mean over those up to it."""

    def __init__(self, packing="tensor"):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.packing = packing

    def forward(self, h):
        past = h.cumsum(1) / torch.arange(1, h.shape[1] + 1, dtype=h.dtype)[:, None]
        return PACKED[self.packing](h + self.inner(past))


class Tiny(nn.Module):
    def __init__(self, depth=3, packing="tensor", dtype=torch.float64, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.blocks = nn.ModuleList(Block(packing) for _ in range(depth))
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, VOCABULARY)
        self.to(dtype)

    def forward(self, input_ids, attention_mask=None, scale=1.0):
        h = self.embedding(input_ids) * scale
        if attention_mask is not None:
            h = h * attention_mask[:, :, None]
        for block in self.blocks:
            h = hidden_state(block(h), "")
        return self.head(self.norm(h))


def ids(n=7, t=5, seed=0, vocabulary=VOCABULARY):
    return torch.randint(vocabulary, (n, t), generator=torch.Generator().manual_seed(seed))


def by_hand(model, tokens):
    """Every token's states after each block, with the blocks called one by one."""
    h, found = model.embedding(tokens), []
    for block in model.blocks:
        h = hidden_state(block(h), "")
        found.append(h)
    return found


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_states_are_those_of_blocks_called_one_by_one(packing, batch_size):
    model, tokens = Tiny(packing=packing), ids()
    with torch.no_grad():
        wanted = by_hand(model, tokens)
    found = collect_hidden_states(model, tokens, batch_size=batch_size)
    assert list(found) == ["blocks.0", "blocks.1", "blocks.2"]
    for states, every in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(states, every[:, -1], rtol=1e-13, atol=1e-14)
        assert not states.requires_grad
    for token, pick in [(0, 0), (3, 3), (-2, -2), (-5, 0)]:
        found = collect_hidden_states(model, tokens, [-1], token, batch_size=batch_size)
        torch.testing.assert_close(found["blocks.2"], wanted[2][:, pick], rtol=1e-13, atol=1e-14)
    mean = collect_hidden_states(model, tokens, ["blocks.1"], "mean", batch_size=batch_size)
    torch.testing.assert_close(mean["blocks.1"], wanted[1].mean(1), rtol=1e-13, atol=1e-14)


def test_layers_by_name_number_and_in_the_order_asked_for():
    model, tokens = Tiny(), ids()
    every = collect_hidden_states(model, tokens)
    found = collect_hidden_states(model, tokens, [np.int64(2), "blocks.0", -2])
    assert list(found) == ["blocks.2", "blocks.0", "blocks.1"]
    for name, states in found.items():
        assert torch.equal(states, every[name])
    inner = collect_hidden_states(model, tokens, ["blocks.1.inner", "embedding", ""])
    assert inner["blocks.1.inner"].shape == inner["embedding"].shape == (7, WIDTH)
    assert torch.equal(inner[""], model(tokens)[:, -1].detach())


def padded(side, lengths, t=5):
    mask = torch.zeros(len(lengths), t, dtype=torch.int64)
    for row, length in zip(mask, lengths, strict=True):
        row[slice(length) if side == "right" else slice(t - length, t)] = 1
    return mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float32])
def test_padding_on_either_side_is_no_token(side, kind):
    model, tokens, lengths = Tiny(), ids(), [5, 2, 3, 4, 2, 5, 3]
    mask = padded(side, lengths)
    wanted = []
    with torch.no_grad():
        h = model.embedding(tokens) * mask[:, :, None]
        for block in model.blocks:
            h = block(h)
            wanted.append(h)
    given = {"input_ids": tokens, "attention_mask": mask.to(kind)}
    for token in (-1, -2, 0, 1, "mean"):
        found = collect_hidden_states(model, given, token=token, batch_size=3)
        for states, every in zip(found.values(), wanted, strict=True):
            for row, sentence, here in zip(states, every, mask, strict=True):
                real = sentence[here == 1]
                one = real.mean(0) if token == "mean" else real[token]
                torch.testing.assert_close(row, one, rtol=1e-13, atol=1e-14)


def test_padding_may_hold_anything():
    model, mask = Tiny(), padded("right", [5, 2])
    hook = model.blocks[0].register_forward_hook(
        lambda *a: a[-1].masked_fill((mask == 0)[:, :, None], torch.nan)
    )
    given = {"input_ids": ids(2), "attention_mask": mask}
    for token in ("mean", -1, 0):
        states = collect_hidden_states(model, given, [0], token)["blocks.0"]
        assert torch.isfinite(states).all()
    hook.remove()


def test_lists_arrays_and_further_arguments_reach_the_model():
    model, tokens = Tiny(), ids()
    wanted = collect_hidden_states(model, tokens)
    for given in (
        tokens.tolist(),
        tokens.numpy().astype(np.uint16),
        tokens.int(),
        {"input_ids": tokens.tolist(), "attention_mask": None},
        {"input_ids": tokens.numpy(), "attention_mask": np.ones((7, 5), int), "scale": 1.0},
        {"input_ids": tokens, "scale": torch.ones(7, 1, 1, dtype=torch.float64)},
        OrderedDict(input_ids=tokens, scale=torch.tensor(1.0)),
    ):
        found = collect_hidden_states(model, given, batch_size=3)
        for name, states in wanted.items():
            torch.testing.assert_close(found[name], states, rtol=1e-13, atol=1e-14)
    twice = collect_hidden_states(model, {"input_ids": tokens, "scale": 2.0}, ["embedding"])
    assert twice["embedding"].shape == (7, WIDTH)


def test_one_state_for_each_sample_counts_as_a_single_token():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)))
    inputs = torch.randn(6, 4)
    found = collect_hidden_states(model, inputs, batch_size=4)
    assert list(found) == ["0", "1", "2"]
    torch.testing.assert_close(found["1"], model[1](model[0](inputs)).detach())
    for token in (0, "mean"):
        again = collect_hidden_states(model, inputs, token=token, batch_size=4)
        assert all(torch.equal(again[name], found[name]) for name in found)
    with pytest.raises(ValueError, match="there is no token 1 in a layer's output of 1 tokens"):
        collect_hidden_states(model, inputs, token=1)
    pooled = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 4))
    mask = {"input": None, "input_ids": ids(6, 3, vocabulary=9)}
    states = collect_hidden_states(pooled, mask["input_ids"], ["2"], "mean")["2"]
    assert states.shape == (6, 4)


def test_half_precision_stays_and_its_mean_is_summed_in_single():
    for dtype in (torch.bfloat16, torch.float16):
        model = Tiny(depth=1, dtype=dtype)
        tokens = ids(3, 12)
        with torch.no_grad():
            every = model.blocks[0](model.embedding(tokens))
        mean = collect_hidden_states(model, tokens, token="mean")["blocks.0"]
        assert mean.dtype == dtype
        assert torch.equal(mean, every.float().mean(1).to(dtype))


def test_a_model_is_left_as_it_was():
    model = Tiny()
    model.blocks[1].eval()
    model.register_buffer("table", torch.arange(3.0))
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    state, count = torch.get_rng_state(), hook_count(model)
    collect_hidden_states(model, ids())
    with pytest.raises(ValueError, match="out of range"):
        collect_hidden_states(model, ids() + VOCABULARY)
    assert torch.equal(torch.get_rng_state(), state)
    assert hook_count(model) == count == 0
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def hook_count(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
