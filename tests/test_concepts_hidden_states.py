"""Hidden states against blocks called one by one, and against what Hugging Face models record."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from numerics.concepts.block_outputs import hidden_state
from numerics.concepts.blocks import block_stack, chosen_blocks
from numerics.concepts.hidden_states import collect_hidden_states
from tests.packed_outputs import PACKED

VOCABULARY, WIDTH, LONGEST = 20, 6, 12


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
    assert list(collect_hidden_states(model, tokens, [-3, 1])) == ["blocks.0", "blocks.1"]
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
    for token in ("mean", -1, 0):
        states = collect_hidden_states(pooled, mask["input_ids"], ["2"], token)["2"]
        assert torch.equal(states, pooled(mask["input_ids"]).detach())


def test_half_precision_stays_and_its_mean_is_summed_in_single():
    for dtype in (torch.bfloat16, torch.float16):
        model = Tiny(depth=1, dtype=dtype)
        tokens = ids(3, 12)
        with torch.no_grad():
            every = model.blocks[0](model.embedding(tokens))
        mean = collect_hidden_states(model, tokens, token="mean")["blocks.0"]
        assert mean.dtype == dtype
        assert torch.equal(mean, every.float().mean(1).to(dtype))


def test_a_mean_beyond_half_precision_s_sums():
    model = Tiny(depth=1, dtype=torch.float16)
    nn.init.constant_(model.embedding.weight, 3e4)
    given = {"input_ids": ids(2), "attention_mask": padded("right", [5, 3])}
    hook = model.embedding.register_forward_hook(lambda *a: a[-1])
    mean = collect_hidden_states(model, given, ["embedding"], "mean")["embedding"]
    hook.remove()
    assert torch.equal(mean, torch.full((2, WIDTH), 3e4).half())


def test_tokens_around_a_hole_are_counted_without_it():
    model, tokens = Tiny(), ids(2)
    given = {
        "input_ids": tokens,
        "attention_mask": torch.tensor([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1]]),
    }
    with torch.no_grad():
        h = model.blocks[0](model.embedding(tokens) * given["attention_mask"][:, :, None])
    for token, places in [(0, (0, 1)), (1, (2, 4)), (-1, (3, 4)), (-2, (2, 1))]:
        found = collect_hidden_states(model, given, [0], token)["blocks.0"]
        torch.testing.assert_close(found, h[[0, 1], places], rtol=1e-13, atol=1e-14)


def test_no_graph_is_built():
    model, enabled = Tiny(), []
    model.blocks[1].register_forward_hook(lambda *a: enabled.append(a[-1].requires_grad))
    with torch.enable_grad():
        collect_hidden_states(model, ids(), batch_size=4)
    assert enabled == [False, False]


def test_what_the_user_hands_over_is_never_overwritten():
    class Overwriting(Tiny):
        def forward(self, input_ids, attention_mask=None, scale=1.0):
            states = super().forward(input_ids, attention_mask, scale)
            input_ids.zero_()
            attention_mask.zero_()
            return states

    given = {"input_ids": ids(), "attention_mask": torch.ones(7, 5)}
    collect_hidden_states(Overwriting(), given, batch_size=3)
    assert torch.equal(given["input_ids"], ids())
    assert torch.equal(given["attention_mask"], torch.ones(7, 5))


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


def masked(mask, tokens=None):
    tokens = ids(2) if tokens is None else tokens
    return {"input_ids": tokens, "attention_mask": torch.as_tensor(mask)}


def twice(model):
    model.blocks.append(model.blocks[0])
    return model


class Repeating(Tiny):
    def forward(self, input_ids):
        h = self.embedding(input_ids)
        return self.blocks[1](self.blocks[1](self.blocks[0](h)))


class TimeFirst(Tiny):
    def forward(self, input_ids):
        return super().forward(input_ids.T.contiguous())


class Positions(Tiny):
    def __init__(self, first=0):
        super().__init__()
        self.positions, self.first = nn.Embedding(4, WIDTH), first

    def forward(self, input_ids):
        self.positions(input=torch.arange(input_ids.shape[1]) + self.first)
        return super().forward(input_ids)


class Returns(Tiny):
    def __init__(self, output):
        super().__init__()
        self.blocks[1].forward = lambda h: output(h)

    def forward(self, input_ids):
        h = self.blocks[0](self.embedding(input_ids))
        self.blocks[1](h)
        return self.head(h)


def training(kind):
    model = Tiny()
    model.blocks[0].inner.append(kind)
    return model


class Drawing(Tiny):
    def forward(self, input_ids):
        return super().forward(input_ids) + torch.rand(())


WRONG = [
    (Tiny(), ids().double(), {}, TypeError, "tokens have dtype torch.float64, must be integers"),
    (Tiny(), ids() == 1, {}, TypeError, "tokens have dtype torch.bool, must be integers"),
    (Tiny(), {"input_ids": ids().float()}, {}, TypeError, "input_ids have dtype torch.float32"),
    (Tiny(), ids() - 1, {}, ValueError, "tokens hold -1, must be >= 0"),
    (Tiny(), ids() + 15, {}, ValueError, "embedding 'embedding' has rows 0 to 19"),
    (Positions(-1), ids(2, 3), {}, ValueError, "position -1 is out of range: the embedding 'pos"),
    (Positions(), ids(), {}, ValueError, "position 4 is out of range: the embedding 'positions'"),
    (Tiny(), ids()[0], {}, ValueError, r"tokens have shape \(5,\), must be \(n, t\)"),
    (Tiny(), ids(0), {}, ValueError, r"tokens have shape \(0, 5\)"),
    (Tiny(), [], {}, ValueError, r"tokens have shape \(0,\), must be \(n, t\) with n >= 1"),
    (Tiny(), [[]], {}, ValueError, r"tokens have shape \(1, 0\): the text is empty"),
    (Tiny(), ids(3, 0), {}, ValueError, r"tokens have shape \(3, 0\): the text is empty"),
    (Tiny(), [[1, 2], [3]], {}, ValueError, "tokens cannot be made an array"),
    (Tiny(), [["a"]], {}, TypeError, "tokens have dtype <U1"),
    (Tiny(), {"ids": ids()}, {}, ValueError, r"tokens hold \['ids'\], there must be 'input_ids'"),
    (Tiny(), masked(np.eye(2, 5)[:, ::-1] * 0), {}, ValueError, r"samples \[0, 1\] are empty"),
    (Tiny(), masked([[1] * 5, [0] * 5]), {}, ValueError, r"samples \[1\] are empty"),
    (Tiny(), masked([[1] * 4] * 2), {}, ValueError, r"attention_mask has shape \(2, 4\), must be"),
    (Tiny(), masked([[2] * 5] * 2), {}, ValueError, "must hold only 0, at padding, and 1"),
    (Tiny(), masked([[1.0, 0.5, 1, 1, 1]] * 2), {}, ValueError, "must hold only 0"),
    (Tiny(), masked([[1.0, np.nan, 0, 0, 0]] * 2), {}, ValueError, "must hold only 0"),
    (Tiny(), {"input_ids": ids(), "scale": [1.0]}, {}, ValueError, r"scale has shape \(1,\)"),
    (Tiny(), {"input_ids": ids(), "attention_mask": 1}, {}, ValueError, "shape 1, must be that of"),
    (Tiny(), masked([[1] * 5, [0, 0, 0, 1, 1]]), {"token": 2}, ValueError,
     r"no token 2 in samples \[1\], which have \[2\] tokens"),
    (Tiny(), masked([[1] * 5, [1, 1, 0, 0, 0]]), {"token": -3}, ValueError,
     r"no token -3 in samples \[1\]"),
    (Tiny(), masked([[1] * 5, [0, 0, 0, 1, 1]]), {"token": -3}, ValueError,
     r"no token -3 in samples \[1\]"),
    (Tiny(), ids(2), {"token": 10**30}, ValueError, r"no token 1000000000000000000000000000000 in"),
    (Tiny(), ids(2), {"token": 5}, ValueError, r"no token 5 in samples \[0, 1\]"),
    (Tiny(), ids(), {"token": "last"}, ValueError, "token = 'last' must be 'mean' or an integer"),
    (Tiny(), ids(), {"token": 1.0}, TypeError, "token = 1.0 must be an integer or 'mean'"),
    (Tiny(), ids(), {"token": True}, TypeError, "token = True must be an integer or 'mean'"),
    (Tiny(), ids(), {"batch_size": 0}, ValueError, "batch_size = 0 must be an integer >= 1"),
    (Tiny(), ids(), {"layers": "blocks.0"}, TypeError, "layers = 'blocks.0' must be a sequence"),
    (Tiny(), ids(), {"layers": 1}, TypeError, "layers = 1 must be a sequence"),
    (Tiny(), ids(), {"layers": []}, ValueError, "names no layer"),
    (Tiny(), ids(), {"layers": [True]}, TypeError, "layer True must be a name or the number"),
    (Tiny(), ids(), {"layers": ["blocks.7"]}, ValueError,
     r"no layer 'blocks.7' in Tiny; its blocks are \['blocks.0', 'blocks.1', 'blocks.2'\]"),
    (Tiny(), ids(), {"layers": [3]}, ValueError, "no block 3; the 3 blocks are"),
    (Tiny(), ids(), {"layers": [-4]}, ValueError, "no block -4; the 3 blocks are"),
    (Tiny(), ids(), {"layers": [0, "blocks.0"]}, ValueError, "'blocks.0', which stands there"),
    (nn.Embedding(20, 6), ids(), {}, ValueError, "no stack of equal blocks in Embedding"),
    (twice(Tiny()), ids(), {}, ValueError, "one module stands several times in the stack 'blocks'"),
    (Repeating(), ids(), {"layers": [0, 1]}, ValueError, "'blocks.1' is called 2 times in one"),
    (Repeating(), ids(), {}, ValueError, r"layers \['blocks.2'\] are not called"),
    (TimeFirst(), ids(), {}, ValueError, r"returns shape \(5, 7, 6\) for 7 samples of 5 tokens"),
    (TimeFirst(), ids(5, 5), {}, ValueError, r"shape \(5, 4, 6\) for 4 samples of 5 tokens"),
    (Returns(lambda h: None), ids(), {}, TypeError, "layer 'blocks.1' returns NoneType, must be"),
    (Returns(lambda h: (1, "a")), ids(), {}, TypeError, "layer 'blocks.1' returns tuple, must be"),
    (Returns(lambda h: h.long()), ids(), {}, TypeError, "layer 'blocks.1' returns torch.int64"),
    (Returns(lambda h: h.sum()), ids(), {}, ValueError, r"layer 'blocks.1' returns shape \(\)"),
    (Returns(lambda h: h[0]), ids(), {}, ValueError, r"layer 'blocks.1' returns shape \(5, 6\)"),
    (Returns(lambda h: h[1:]), ids(), {}, ValueError, r"layer 'blocks.1' returns shape \(6, 5"),
    (Returns(lambda h: h / 0), ids(), {"layers": [0, 1]}, ValueError,
     "of layer 'blocks.1' are NaN or infinite"),
    (training(nn.Dropout(0.1)), ids(), {}, ValueError, "'blocks.0.inner.2' drops out at random"),
    (training(nn.BatchNorm1d(5)), ids(), {}, ValueError, "'blocks.0.inner.2' .* samples mix"),
    (Drawing(), ids(), {}, ValueError, "draws random numbers: call model.eval"),
    (Tiny().to("meta"), ids(), {}, ValueError, "'embedding.weight' is on the device meta"),
    (nn.Sequential(nn.LazyLinear(6), nn.LazyLinear(6)), [[1.0]], {}, ValueError,
     "'0.weight' is not initialised: call the model once"),
    ("model", ids(), {}, TypeError, "model = 'model' must be a torch.nn.Module"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "tokens", "options", "error", "match"), WRONG)
def test_what_is_wrong_is_named_and_leaves_no_hook(model, tokens, options, error, match):
    state = torch.get_rng_state()
    before = hook_count(model) if isinstance(model, nn.Module) else 0
    with pytest.raises(error, match=match):
        collect_hidden_states(model, tokens, **options)
    assert torch.equal(torch.get_rng_state(), state)
    if isinstance(model, nn.Module):
        assert hook_count(model) == before


def test_a_models_own_error_says_what_it_was_called_on():
    with pytest.raises(TypeError, match="unexpected") as caught:
        collect_hidden_states(Tiny(), {"input_ids": ids(), "token_type_ids": ids()})
    assert caught.value.__notes__ == [
        "while the model was called on inputs of shapes [(7, 5), (7, 5)]"
    ]


def test_scripts_are_refused():
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="ScriptModule, which calls no hooks"):
        collect_hidden_states(scripted, torch.ones(2, 2))


def layer(width=4):
    return nn.Sequential(nn.Linear(width, width), nn.Tanh())


class Parts(nn.Module):
    """Stacks by name, of as many blocks."""

    def __init__(self, **stacks):
        super().__init__()
        for name, modules in stacks.items():
            setattr(self, name, nn.ModuleList(modules))


class Expert(nn.Module):
    def __init__(self, experts):
        super().__init__()
        self.experts = nn.ModuleList(layer() for _ in range(experts))


def test_the_stack_of_blocks_is_found():
    def found(model):
        return list(block_stack(model))

    blocks = [nn.TransformerEncoderLayer(4, 2, 8, batch_first=True) for _ in range(3)]
    assert found(Parts(layers=blocks)) == ["layers.0", "layers.1", "layers.2"]
    assert found(nn.Sequential(Parts(layers=blocks))) == [f"0.layers.{i}" for i in range(3)]
    assert found(nn.ModuleList(blocks)) == ["0", "1", "2"]
    assert found(Parts(layers=[Expert(8), Expert(8)])) == ["layers.0", "layers.1"]
    assert found(Parts(layers=[Expert(8)])) == ["layers.0"]
    head = [nn.Linear(4, 4) for _ in range(5)]
    assert found(Parts(head=head, layers=blocks)) == [f"layers.{i}" for i in range(3)]
    assert found(Parts(convolution=[layer(2), layer(2)], layers=blocks)) == [
        f"layers.{i}" for i in range(3)
    ]
    acts = [nn.Tanh() for _ in range(3)]
    assert found(Parts(acts=acts, layers=head[:3])) == [f"layers.{i}" for i in range(3)]
    assert found(nn.Sequential(*head)) == [str(i) for i in range(5)]


@pytest.mark.parametrize("sizes", [(3, 3), (6, 2), (2, 6), (4, 1)])
def test_an_encoder_beside_a_decoder_is_ambiguous(sizes):
    encoder, decoder = ([layer() for _ in range(size)] for size in sizes)
    listed = rf"'encoder' \({sizes[0]} blocks\), 'decoder' \({sizes[1]} blocks\)\? Name"
    model = Parts(encoder=encoder, decoder=decoder)
    with pytest.raises(ValueError, match=f"which stack of blocks is meant: {listed}"):
        block_stack(model)
    with pytest.raises(ValueError, match=listed):
        chosen_blocks(model, [0])
    assert list(chosen_blocks(model, ["encoder.0", "decoder.0"])) == ["encoder.0", "decoder.0"]


def test_a_layer_by_its_second_name():
    model = twice(Tiny())
    assert chosen_blocks(model, ["blocks.3"]) == {"blocks.3": model.blocks[0]}
    with pytest.raises(ValueError, match=r"layer 'blocks.3' is the module 'blocks.0'"):
        chosen_blocks(model, ["blocks.0", "blocks.3"])


def test_hooks_of_the_user_come_first_and_stay():
    model, tokens = Tiny(), ids()
    bare = collect_hidden_states(model, tokens)
    hook = model.blocks[2].register_forward_hook(lambda *a: 2 * a[-1])
    found = collect_hidden_states(model, tokens)
    assert torch.equal(found["blocks.2"], 2 * bare["blocks.2"])
    assert hook_count(model) == 1
    hook.remove()


def test_inside_other_modes_of_autograd():
    model, tokens = Tiny(), ids()
    wanted = collect_hidden_states(model, tokens)
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            found = collect_hidden_states(model, tokens)
        assert all(torch.equal(found[name], states) for name, states in wanted.items())
    with torch.autocast("cpu", torch.bfloat16):
        found = collect_hidden_states(Tiny(dtype=torch.float32), tokens)
    torch.testing.assert_close(found["blocks.0"].double(), wanted["blocks.0"], rtol=0.05, atol=0.05)


def test_compiled_models_and_blocks():
    model, tokens = Tiny().requires_grad_(False), ids()
    wanted = collect_hidden_states(model, tokens)
    whole = torch.compile(model, backend="eager")
    part, place = copy.deepcopy(model), copy.deepcopy(model)
    part.blocks[1] = torch.compile(part.blocks[1], backend="eager")
    place.blocks[1].compile(backend="eager")
    for compiled in (whole, part, place):
        with torch.no_grad():  # the same guards as there
            compiled(tokens)
        found = collect_hidden_states(compiled, tokens)
        assert list(found) == list(wanted)
        assert all(torch.equal(found[name], states) for name, states in wanted.items())


def test_little_memory_is_kept():
    """Of 64 samples of 200 tokens not one layer's states of all tokens."""
    sizes = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes.append(result.numel())
            return result

    with Counting():
        found = collect_hidden_states(Tiny(), ids(64, 200), batch_size=2)
    assert max(sizes) == max(64 * 200, 2 * 200 * VOCABULARY)  # the ids; the logits of a chunk
    assert all(states.untyped_storage().nbytes() == 64 * WIDTH * 8 for states in found.values())


def hugging_face(kind):
    transformers = pytest.importorskip("transformers", reason="the extra [concepts] is missing")
    small = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 40,
        "intermediate_size": 24, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "num_key_value_heads": 2,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**small)
    name = {"Bert": "BertModel", "GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind}ForCausalLM")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, name)(config).eval()


NAMES = {"Bert": "encoder.layer", "GPT2": "transformer.h", "Llama": "model.layers",
         "GPTNeoX": "gpt_neox.layers", "Mistral": "model.layers",
         "Qwen2": "model.layers"}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_hugging_face_models_against_what_they_record(kind, side):
    model, tokens = hugging_face(kind), ids(6, 5, vocabulary=40)
    mask = padded(side, [5, 2, 3, 4, 1, 5])
    given = {"input_ids": tokens, "attention_mask": mask}
    with torch.no_grad():
        recorded = model(**given, output_hidden_states=True).hidden_states[1:]
        last = []
        hook = [*block_stack(model).values()][-1].register_forward_hook(lambda *a: last.append(a))
        model(**given)
        hook.remove()
    # The last entry that causal models record is after the final norm: a block's output is not.
    recorded = (*recorded[:-1], hidden_state(last[0][-1], ""))
    for token in (-1, 0, "mean"):
        found = collect_hidden_states(model, given, token=token)
        assert list(found) == [f"{NAMES[kind]}.{i}" for i in range(3)]
        for states, every in zip(found.values(), recorded, strict=True):
            for row, sentence, here in zip(states, every, mask, strict=True):
                real = sentence[here == 1]
                wanted = real.mean(0) if token == "mean" else real[token]
                torch.testing.assert_close(row, wanted, rtol=1e-4, atol=1e-5)


def test_an_encoder_decoder_of_hugging_face_is_ambiguous():
    transformers = pytest.importorskip("transformers", reason="the extra [concepts] is missing")
    config = transformers.T5Config(
        d_model=8, num_layers=3, num_decoder_layers=2, num_heads=2, d_ff=8, d_kv=4, vocab_size=9
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    with pytest.raises(ValueError, match=r"'encoder.block' \(3 .*'decoder.block' \(2"):
        collect_hidden_states(model, ids(2, 4, vocabulary=9))
    found = collect_hidden_states(
        model, {"input_ids": ids(2, 4, vocabulary=9), "decoder_input_ids": ids(2, 4, vocabulary=9)},
        ["encoder.block.0", "decoder.block.1"],
    )  # fmt: skip
    assert [states.shape for states in found.values()] == [(2, 8), (2, 8)]
