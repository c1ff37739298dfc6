"""Token ids as a user hands them over, checked by name, in chunks, and where their tokens are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..alignment.checks import as_inputs, as_tensor, model_device
from ..validation import integer

Tokens: TypeAlias = Tensor | ArrayLike | Mapping[str, Any]
"""Ids (n, t), or a mapping with `input_ids`, perhaps `attention_mask` and more for the model."""


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Checked inputs of a model.

    Attributes:
        arguments: What the model is called with by name; the name "" stands for the position.
        count: Samples n.
        length: Tokens t of each, padding included; None for inputs that are not token ids.
        mask: Which tokens are not padding, shape (n, t); None where all are.
    """

    arguments: Mapping[str, Any]
    count: int
    length: int | None
    mask: Tensor | None

    @property
    def device(self) -> torch.device:
        """Where the ids were handed over."""
        ids: Tensor = self.arguments["" if "" in self.arguments else "input_ids"]
        return ids.device

    def chunks(self, size: int) -> Iterator[slice]:
        """Parts of the samples; together they tell (n, t, d) from (t, n, d)."""
        if min(size, self.count) == self.length and size > 1:
            size = self.length - 1 or 1  # a square chunk would hide that the axes are swapped
        for start in range(0, self.count, size):
            yield slice(start, min(start + size, self.count))

    def call(self, model: nn.Module, part: slice) -> Any:
        """The model's output for some of the samples, moved to where the model is."""
        given = {k: _part(v, part, model_device(model)) for k, v in self.arguments.items()}
        positional = [given.pop("")] if "" in given else []
        try:
            return model(*positional, **given)
        except Exception as error:
            values = (*positional, *given.values())
            shapes = [tuple(value.shape) for value in values if isinstance(value, Tensor)]
            error.add_note(f"while the model was called on inputs of shapes {shapes}")
            raise


def _part(value: Any, part: slice, device: torch.device) -> Any:
    if not (isinstance(value, Tensor) and value.ndim):
        return value
    return value[part].to(device, copy=True)  # the model may overwrite what it is given


def read_tokens(model: nn.Module, tokens: Tokens) -> TokenBatch:
    """Check token ids, and the mask and the other arguments that may come with them.

    Args:
        model: What they are for.
        tokens: Ids (n, t), or a mapping with `input_ids`; a model without `nn.Embedding` also takes
            floating inputs of any shape (n, …).

    Raises:
        TypeError: If ids are not integers.
        ValueError: If there are no samples or no tokens, an id is negative, shapes do not fit, or
            a sentence is empty, all its tokens being padding.
    """
    if isinstance(tokens, Mapping):
        return _from_mapping(tokens)
    values = as_tensor("tokens", tokens)
    if values.is_floating_point() and not _embeddings(model):
        inputs = as_inputs(model, tokens)
        return TokenBatch({"": inputs}, len(inputs), None, None)
    ids = _ids("tokens", values)
    return TokenBatch({"": ids}, len(ids), ids.shape[1], None)


def _from_mapping(tokens: Mapping[str, Any]) -> TokenBatch:
    if "input_ids" not in tokens:
        raise ValueError(f"tokens hold {list(tokens)}, there must be 'input_ids'")
    ids = _ids("input_ids", as_tensor("input_ids", tokens["input_ids"]))
    arguments = {key: _argument(key, value, len(ids)) for key, value in tokens.items()}
    mask = arguments.get("attention_mask")
    return TokenBatch(
        {**arguments, "input_ids": ids}, len(ids), ids.shape[1],
        None if mask is None else _mask(mask, ids),
    )  # fmt: skip


def _ids(name: str, ids: Tensor) -> Tensor:
    if ids.ndim != 2 or not len(ids):
        raise ValueError(f"{name} have shape {tuple(ids.shape)}, must be (n, t) with n >= 1")
    if not ids.shape[1]:
        raise ValueError(f"{name} have shape {tuple(ids.shape)}: the text is empty")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} have dtype {ids.dtype}, must be integers")
    ids = ids.long()  # unsigned ones have no minimum
    if int(ids.min()) < 0:
        raise ValueError(f"{name} hold {int(ids.min())}, must be >= 0")
    return ids


def _argument(name: str, value: Any, count: int) -> Any:
    """Arrays are cut into chunks with the ids; everything else is handed to the model as it is."""
    if not (isinstance(value, Tensor | list | tuple) or hasattr(value, "__array__")):
        return value
    tensor = as_tensor(name, value)
    if tensor.ndim == 0:
        return value
    if len(tensor) != count:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, its first axis must be the {count} samples"
        )
    return tensor


def _mask(mask: Any, ids: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.shape != ids.shape:
        found = tuple(mask.shape) if isinstance(mask, Tensor) else repr(mask)
        raise ValueError(
            f"attention_mask has shape {found}, must be that of input_ids: {tuple(ids.shape)}"
        )
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("attention_mask must hold only 0, at padding, and 1")
    empty = (mask == 0).all(1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"samples {empty[:10]} are empty: their attention_mask holds no 1")
    return mask == 1


def _embeddings(model: nn.Module) -> bool:
    return any(isinstance(m, nn.Embedding) for m in model.modules())


def check_token(token: object) -> int | str:
    """Return the choice of a token: an integer, or "mean".

    Raises:
        TypeError: If it is neither an integer nor a word.
        ValueError: If it is another word.
    """
    if isinstance(token, str):
        if token != "mean":
            raise ValueError(f"token = {token!r} must be 'mean' or an integer, -1 for the last")
        return token
    try:
        return integer("token", token, -(2**31))
    except TypeError:
        raise TypeError(f"token = {token!r} must be an integer or 'mean'") from None


def token_positions(batch: TokenBatch, token: int) -> Tensor | None:
    """Where the token of each sample stands that has this number among those not padding.

    Args:
        batch: Inputs.
        token: From 0 on from the first one, from −1 down from the last one.

    Returns:
        Shape (n,); None if the inputs are not token ids, so that a block's output must tell.

    Raises:
        ValueError: If a sentence is too short.
    """
    if batch.length is None:
        return None
    present = batch.mask if batch.mask is not None else torch.ones(batch.count, batch.length) == 1
    rank = present.cumsum(1) - 1
    wanted = min(token, batch.length) if token >= 0 else rank[:, -1] + 1 + token
    at = present & (rank == torch.as_tensor(wanted, device=rank.device).reshape(-1, 1))
    missing = (~at.any(1)).nonzero().flatten().tolist()
    if missing:
        counts = present.sum(1)[missing[:10]].tolist()
        raise ValueError(
            f"there is no token {token} in samples {missing[:10]}, which have {counts} tokens"
        )
    return at.int().argmax(1)
