"""Neural collapse of every layer of any network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..alignment.checks import as_inputs
from .hooks import Visit, chosen_modules, watch
from .metrics import Collapse, Labels, class_index, collapse_from
from .moments import ClassMoments

BATCH = 256


def collapse_of_layers(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    labels: Labels,
    layers: Sequence[str] | None = None,
    *,
    batch_size: int = BATCH,
) -> dict[str, Collapse]:
    """NC1, NC2 and their traces for what each layer of a network gives out.

    All axes of an output but the first are one long feature vector. Features are not kept: memory
    holds those of one chunk, and the class means of each layer. The model's parameters, `.grad`,
    hooks, buffers and training flags are left as they were, also when an error is raised.

    Args:
        model: Any module.
        inputs: Samples along the first axis; they are moved to the model's device in chunks.
        labels: The class of each sample, shape (n,): numbers or strings.
        layers: Names as in `model.named_modules()`, "" for the model itself; by default all modules
            that contain no others and whose output is one floating tensor with a row for each
            sample, in every chunk.
        batch_size: Samples per forward pass: memory against speed, the result is the same.

    Returns:
        By name, in the order of the calls; further calls of the same module in one forward pass
        have ", call 2" and so on after the name.

    Raises:
        TypeError: If the model is not a module, or an argument has the wrong type.
        ValueError: If there is no such layer, a named layer is not called or gives out something
            else, samples mix (batch normalisation in training mode) or outputs are random (dropout
            in training mode), entries of inputs, parameters or features are NaN, or labels do not
            fit; see `nc1`.
    """
    modules = chosen_modules(model, layers)
    batch = as_inputs(model, inputs)
    index, classes = class_index(labels, len(batch))
    found: dict[str, ClassMoments] = {}

    def visit(part: slice) -> Visit:
        chosen = index[part]

        def at(name: str, before: int, _: Any, output: Any) -> None:
            if _has_rows(output, len(chosen)):
                key = f"{name}, call {before + 1}" if before else name
                add_features(found.setdefault(key, ClassMoments(classes)), output, chosen, key)
            elif layers is not None:
                raise ValueError(f"layer {name!r} returns {_kind(output)}, must be features")

        return at

    watch(model, batch, modules, batch_size, visit)
    refuse_missing(list(modules) if layers is not None else [], found)
    partly = [name for name, moments in found.items() if moments.counts.sum() < len(batch)]
    if partly and layers is not None:
        raise ValueError(f"layers {partly} are called for some of the samples only")
    for name in partly:
        del found[name]
    if not found:
        raise ValueError("no layer returns one floating tensor with a row for each sample")
    return {name: collapse_from(moments) for name, moments in found.items()}


def add_features(moments: ClassMoments, features: Tensor, index: Tensor, name: str) -> None:
    """Take in a chunk of a layer's features; errors name the layer."""
    if not _has_rows(features, len(index)):
        raise ValueError(
            f"layer {name!r} works on {_kind(features)}, must have a row for each sample"
        )
    try:
        moments.add(features, index)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from error


def refuse_missing(names: Sequence[str], found: dict[str, Any]) -> None:
    """Refuse layers that were not called.

    Raises:
        ValueError: If one of the names was not found.
    """
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"layers {missing} are not called in the forward pass")


def _has_rows(output: Any, samples: int) -> bool:
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.ndim >= 2
        and len(output) == samples
        and output.numel() > 0
    )


def _kind(output: Any) -> str:
    if not isinstance(output, Tensor):
        return type(output).__name__
    return f"{output.dtype} of shape {tuple(output.shape)}"
