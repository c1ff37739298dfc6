"""Refusing networks and data that cannot be measured, by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ..validation import integer

Layer = TypeVar("Layer", bound=nn.Module)


def linear_layers(model: nn.Module, layers: Sequence[str] | None = None) -> dict[str, nn.Linear]:
    """The model's linear layers by name: those asked for, or all of them.

    Raises:
        TypeError: If `model` is not a module, or `layers` not a sequence of names.
        ValueError: If there are no linear layers, or none of a given name.
    """
    return layers_of_kind(model, layers, nn.Linear, "linear layer")


def layers_of_kind(
    model: nn.Module, layers: Sequence[str] | None, kind: type[Layer], noun: str
) -> dict[str, Layer]:
    """The model's layers of a class by name: those asked for, or all of them.

    Args:
        model: Any module.
        layers: Names as in `model.named_modules()`; None for all.
        kind: The class.
        noun: What messages call such a layer.

    Raises:
        TypeError: If `model` is not a module, or `layers` not a sequence of names.
        ValueError: If there are no such layers, or none of a given name.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model = {model!r} must be a torch.nn.Module")
    if isinstance(layers, str) or not (layers is None or isinstance(layers, Iterable)):
        raise TypeError(f"layers = {layers!r} must be a sequence of names, such as ['0']")
    every = {name: m for name, m in model.named_modules() if isinstance(m, kind)}
    if not every:
        raise ValueError(f"the model has no {noun}s: {type(model).__name__}")
    names = list(every) if layers is None else list(layers)
    for name in names:
        if name not in every:
            raise ValueError(f"no {noun} {name!r}; the {noun}s are {list(every)}")
    if not names:
        raise ValueError(f"layers = {layers!r} names no layer; there are {list(every)}")
    return {name: every[name] for name in names}


def chosen_outputs(outputs: Sequence[int] | None, count: int) -> list[int]:
    """Indices of the outputs to sum over, all of them by default.

    Raises:
        TypeError: If they are no sequence of integers.
        ValueError: If one is out of range or stands twice, or there is none.
    """
    if outputs is None:
        return list(range(count))
    if not isinstance(outputs, Iterable):
        raise TypeError(f"outputs = {outputs!r} must be a sequence of indices")
    chosen = [integer("outputs", c, 0) for c in outputs]
    if not chosen or max(chosen) >= count or len(set(chosen)) < len(chosen):
        raise ValueError(f"outputs = {chosen} must be among 0 to {count - 1}, each once")
    return chosen


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be measured sample by sample.

    Raises:
        ValueError: If parameters hold NaN, samples mix or the output is random.
    """
    check_parameters(model)
    check_separate(model)
    check_deterministic(model)


def check_parameters(model: nn.Module) -> None:
    """Refuse parameters that hold NaN or infinity.

    Raises:
        ValueError: If one does, or is not initialised yet, has no values or is beyond autograd.
    """
    for name, buffer in model.named_buffers():
        if nn.parameter.is_lazy(buffer):
            raise ValueError(f"buffer {name!r} is not initialised: call the model once")
    for name, parameter in model.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise ValueError(f"parameter {name!r} is not initialised: call the model once")
        if parameter.is_meta:
            raise ValueError(f"parameter {name!r} is on the device meta: it has no values")
        if parameter.is_inference():
            raise ValueError(f"parameter {name!r} was made in inference mode: make it outside")
        if not torch.isfinite(parameter).all():
            raise ValueError(f"parameter {name!r} holds NaN or infinite entries, must be finite")


def check_separate(model: nn.Module) -> None:
    """Refuse layers that make the samples of a batch depend on each other.

    Raises:
        ValueError: If a batch normalisation would use the batch's own statistics.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"layer {name!r} ({type(module).__name__}) normalises by the batch's own "
                "statistics, so samples mix: call model.eval(), with running statistics"
            )


def check_deterministic(model: nn.Module) -> None:
    """Refuse dropout that is switched on.

    Raises:
        ValueError: If the model's output is random.
    """
    for name, module in model.named_modules():
        if not module.training:
            continue
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise ValueError(f"layer {name!r} drops out at random: call model.eval()")
        if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
            raise ValueError(f"layer {name!r} drops out at random: call model.eval()")


def as_inputs(model: nn.Module, inputs: Tensor | ArrayLike) -> Tensor:
    """A batch of inputs for the model, samples along the first axis.

    Arrays take the dtype of the model's parameters; tensors must have it already.

    Raises:
        ValueError: If there are no samples, or an entry is NaN or infinite.
        TypeError: If a tensor's dtype is another floating dtype than the model's.
    """
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    batch = as_tensor("inputs", inputs)
    if not isinstance(inputs, Tensor) and batch.is_floating_point() and len(dtypes) == 1:
        batch = batch.to(next(iter(dtypes)))
    if batch.ndim == 0 or batch.shape[0] == 0:
        raise ValueError(f"inputs have shape {tuple(batch.shape)}: there must be at least 1 sample")
    if not all(torch.isfinite(part).all() for part in torch.split(batch, 1024)):  # little memory
        raise ValueError("inputs hold NaN or infinite entries, must be finite")
    if batch.is_floating_point() and dtypes and batch.dtype not in dtypes:
        raise TypeError(f"inputs have dtype {batch.dtype}, the model has {_listed(dtypes)}")
    return batch


def as_tensor(name: str, values: Tensor | ArrayLike) -> Tensor:
    """The values as a dense tensor outside any graph; numbers of a list in double precision.

    Raises:
        TypeError: If they are not real numbers, or a tensor is sparse or nested.
        ValueError: If they are ragged, partly masked, or have no values (device meta).
    """
    if isinstance(values, Tensor):
        return _plain(name, values)
    try:
        array = np.asarray(values)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be made an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} have dtype {array.dtype}, must be real numbers")
    if np.ma.is_masked(values):
        raise ValueError(f"{name} have masked entries, must be complete")
    dtype = np.dtype(np.float64) if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, dtype, ["C", "W"]))


def _plain(name: str, tensor: Tensor) -> Tensor:
    if tensor.is_nested or tensor.layout is not torch.strided:
        kind = "nested" if tensor.is_nested else tensor.layout
        raise TypeError(f"{name} have layout {kind}, must be dense (torch.strided)")
    if tensor.is_meta:
        raise ValueError(f"{name} are on the device meta: they have no values")
    if tensor.is_inference():
        with torch.inference_mode(False):
            return tensor.clone()
    return tensor.detach()


def as_double(name: str, values: Tensor | ArrayLike) -> Tensor:
    """The values as a tensor, floating numbers in double precision; errors as in `as_tensor`."""
    tensor = as_tensor(name, values)
    return tensor.double() if tensor.is_floating_point() else tensor


def _listed(dtypes: set[torch.dtype]) -> str:
    return ", ".join(sorted(map(str, dtypes)))


def model_device(model: nn.Module) -> torch.device:
    """Where the model's first parameter lives; the CPU for a model without parameters."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def as_outputs(value: Any, samples: int) -> Tensor:
    """The model's outputs as a matrix, shape (n, o).

    Raises:
        TypeError: If they are not one floating tensor.
        ValueError: If the first axis is not the batch, an output is NaN or infinite, or autograd
            cannot differentiate them.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"the model returned {type(value).__name__}, must be a tensor")
    if value.ndim == 0 or value.shape[0] != samples:
        raise ValueError(
            f"the output has shape {tuple(value.shape)}, its first axis must be the {samples} "
            "samples of the batch"
        )
    if not value.is_floating_point():
        raise TypeError(f"the output has dtype {value.dtype} and is not differentiable")
    if not value.requires_grad:
        raise ValueError("the output is not differentiable: it is detached from the layers")
    if not value.numel():
        raise ValueError(f"the output has shape {tuple(value.shape)}: it has no entries")
    if not torch.isfinite(value).all():
        raise ValueError("the output holds NaN or infinite entries")
    return value.reshape(samples, -1)
