"""Hidden states of one token at every block of a transformer, without keeping the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..alignment.checks import check_deterministic, check_separate
from ..alignment.forward import leaving_no_trace
from ..validation import integer
from .block_outputs import hidden_state
from .blocks import Layer, chosen_blocks, original
from .eager_runs import eagerly
from .token_batches import TokenBatch, Tokens, check_token, read_tokens, token_positions


def collect_hidden_states(
    model: nn.Module,
    tokens: Tokens,
    layers: Sequence[Layer] | None = None,
    token: int | str = -1,
    *,
    batch_size: int = 64,
) -> dict[str, Tensor]:
    """Hidden states of one token of each sample at the chosen blocks.

    A block's hidden state is what the next block is given: its output after every hook on it, those
    of `Steering` and the user's own, and before any final norm. A framework's own last hidden state
    may be after that norm. If the block returns a tuple, list, dict or dataclass, it is the first
    tensor in it. Samples go through the model in chunks without gradients; of each block's output
    (batch, t, d) only one vector a sample is kept. Modes, buffers, hooks and generators are left as
    they were. To spare a language model's head, hand over the model below it, such as
    `model.base_model` of Hugging Face models.

    Args:
        model: Any module, in a mode in which nothing is random and samples do not mix. Blocks
            return (batch, t, d), batch first, or (batch, d), which counts as a single token.
            Compiled models run eagerly here.
        tokens: Token ids (n, t); or a mapping with `input_ids` (n, t), perhaps `attention_mask`
            (n, t) of ones and of zeros at padding, on whichever side, and more that the model is
            called with by name: arrays with a row for each sample, other things as they are. They
            are moved to the model's device chunk by chunk. A model without `nn.Embedding` also
            takes floating inputs (n, …).
        layers: Names as in `model.named_modules()`, or integers that count the blocks found by
            `block_stack`; None for all blocks.
        token: Which of the tokens that are not padding: 0 the first, −1 the last; "mean" the mean
            over them.
        batch_size: Samples per forward pass: memory against speed.

    Returns:
        By the module's name, in the order asked for: shape (n, d), in the dtype that the block puts
        out, on the device of the tokens.

    Raises:
        TypeError: If the model is not a module, ids are not integers, another argument has the
            wrong type, or a block returns no floating tensor.
        ValueError: If there is no such layer, it is not called once in each forward pass, its
            output has another shape, text is empty or too short, an id is out of range, dropout or
            batch normalisation is in training mode, or hidden states are NaN or infinite.
    """
    modules = chosen_blocks(model, layers)
    which, size = check_token(token), integer("batch_size", batch_size, 1)
    _check_model(model)
    batch = read_tokens(original(model), tokens)
    select = _selection(batch, which)
    readers = {name: _Reader(name, batch, select) for name in modules}
    with leaving_no_trace(model), torch.no_grad(), _reading(model, modules, readers):
        for part in batch.chunks(size):
            for reader in readers.values():
                reader.start(part)
            batch.call(model, part)
            _check_called(readers)
    return {name: reader.result() for name, reader in readers.items()}


Selection = Callable[[Tensor, slice], Tensor]
"""From a block's output (batch, t, d) for some of the samples to their states (batch, d)."""


def _selection(batch: TokenBatch, token: int | str) -> Selection:
    if isinstance(token, str):
        return lambda states, part: _mean(states, None if batch.mask is None else batch.mask[part])
    positions = token_positions(batch, token)

    def select(states: Tensor, part: slice) -> Tensor:
        if positions is None or states.shape[1] != batch.length:
            return _at(states, token)
        rows = torch.arange(len(states), device=states.device)
        return states[rows, positions[part].to(states.device)]

    return select


def _at(states: Tensor, token: int) -> Tensor:
    count = states.shape[1]
    if not -count <= token < count:
        raise ValueError(f"there is no token {token} in a layer's output of {count} tokens")
    return states[:, token]


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """Half precision is summed in single; padding may hold anything, NaN as well."""
    exact = torch.promote_types(states.dtype, torch.float32)
    if mask is None or states.shape[1] != mask.shape[1] or bool(mask.all()):
        return states.mean(1, dtype=exact).to(states.dtype)
    at = mask.to(states.device)[:, :, None]
    return (states.masked_fill(~at, 0).sum(1, dtype=exact) / at.sum(1)).to(states.dtype)


@dataclass(eq=False)
class _Reader:
    """Forward hook on one block that keeps the chosen token's states."""

    name: str
    batch: TokenBatch
    select: Selection
    part: slice = field(default_factory=lambda: slice(0, 0))
    calls: int = 0
    states: Tensor | None = None

    def start(self, part: slice) -> None:
        self.part, self.calls = part, 0

    def __call__(self, _: nn.Module, __: Any, output: Any) -> None:
        self.calls += 1
        states = self.select(self._with_tokens(hidden_state(output, self.name)), self.part)
        if self.states is None:
            shape = (self.batch.count, states.shape[1])
            self.states = torch.empty(shape, dtype=states.dtype, device=self.batch.device)
        self.states[self.part] = states.detach().to(self.states.device)

    def _with_tokens(self, states: Tensor) -> Tensor:
        rows, length = self.part.stop - self.part.start, self.batch.length
        wanted = (rows,) if length is None else (rows, length)
        if states.ndim == 2 and len(states) == rows:
            return states[:, None]
        if states.ndim != 3 or states.shape[: len(wanted)] != wanted:
            raise ValueError(
                f"layer {self.name!r} returns shape {tuple(states.shape)} for {rows} samples"
                + (f" of {length} tokens" if length is not None else "")
                + ", must be (batch, tokens, d) or (batch, d)"
            )
        return states

    def result(self) -> Tensor:
        assert self.states is not None
        bad = (~torch.isfinite(self.states).all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"hidden states of layer {self.name!r} are NaN or infinite in {bad[:10]}"
            )
        return self.states


@contextmanager
def _reading(
    model: nn.Module, modules: Mapping[str, nn.Module], readers: Mapping[str, _Reader]
) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(eagerly())
        for name, module in original(model).named_modules():
            if isinstance(module, nn.Embedding):
                check = _check_rows(name)
                stack.callback(module.register_forward_pre_hook(check, with_kwargs=True).remove)
        for name, module in modules.items():
            # appended, so that it sees what the next block is given, steered or not
            stack.callback(module.register_forward_hook(readers[name]).remove)
        yield


def _check_rows(name: str) -> Callable[[nn.Module, Any, Any], None]:
    """An id beyond the table ends the whole process's use of a GPU, and says nothing of which."""

    def check(table: nn.Module, args: Any, named: Mapping[str, Any]) -> None:
        rows = getattr(table, "num_embeddings", None)
        ids = args[0] if args else named.get("input")
        if isinstance(ids, Tensor) and ids.numel() and rows is not None:
            low, high = (int(bound) for bound in ids.aminmax())
            if low < 0 or high >= rows:
                raise ValueError(
                    f"token or position {low if low < 0 else high} is out of range: the embedding "
                    f"{name!r} has rows 0 to {rows - 1}"
                )

    return check


def _check_called(readers: Mapping[str, _Reader]) -> None:
    missing = [name for name, reader in readers.items() if not reader.calls]
    if missing:
        raise ValueError(f"layers {missing} are not called in the forward pass")
    for name, reader in readers.items():
        if reader.calls > 1:
            raise ValueError(
                f"layer {name!r} is called {reader.calls} times in one forward pass, must be once: "
                "it has no one hidden state"
            )


def _check_model(model: nn.Module) -> None:
    check_separate(model)
    check_deterministic(model)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(value):
            raise ValueError(f"{name!r} is not initialised: call the model once")
        if value.is_meta:
            raise ValueError(f"{name!r} is on the device meta: it has no values")
