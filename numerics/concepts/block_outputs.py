"""The hidden state in what a block returns: a tensor, tuple, list, dict or dataclass."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor


def hidden_state(output: Any, name: str) -> Tensor:
    """The output itself, or the first tensor it holds.

    Args:
        output: What the block returned.
        name: Of the block, for messages.

    Raises:
        TypeError: If it holds no tensor, or the first one is not of floating numbers, or nested.
    """
    state = output if isinstance(output, Tensor) else _first(output)[1]
    if state is None:
        raise TypeError(
            f"layer {name!r} returns {type(output).__name__}, must be a tensor, or a tuple, list, "
            "dict or dataclass that holds one"
        )
    if not state.is_floating_point():
        raise TypeError(f"layer {name!r} returns {state.dtype}, must be floating numbers")
    if state.is_nested:
        raise TypeError(
            f"layer {name!r} returns a nested tensor, must be a dense one: build the encoder with "
            "enable_nested_tensor=False"
        )
    return state


def with_hidden_state(output: Any, state: Tensor) -> Any:
    """The same output with another hidden state; the block's own object is left as it was."""
    if isinstance(output, Tensor):
        return state
    key, _ = _first(output)
    if isinstance(output, tuple):
        return _rebuilt(output, [state if i == key else v for i, v in enumerate(output)])
    changed = copy.copy(output)
    if isinstance(output, list | Mapping):
        changed[key] = state
    else:
        object.__setattr__(changed, key, state)  # frozen dataclasses as well
    return changed


def _first(output: Any) -> tuple[Any, Tensor | None]:
    """Where the first tensor stands, and the tensor."""
    for key, value in _entries(output):
        if isinstance(value, Tensor):
            return key, value
    return None, None


def _entries(output: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(output, tuple | list):
        return enumerate(output)
    if isinstance(output, Mapping):
        return output.items()
    if dataclasses.is_dataclass(output):
        return [(f.name, getattr(output, f.name)) for f in dataclasses.fields(output)]
    return ()


def _rebuilt(output: tuple[Any, ...], values: list[Any]) -> Any:
    make: Callable[[list[Any]], Any] = getattr(output, "_make", type(output))  # named tuples
    return make(values)
