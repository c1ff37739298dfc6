"""What flows through the layers of any network, chunk by chunk, without leaving a trace in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..alignment.checks import check_model, model_device
from ..alignment.forward import call, leaving_no_trace
from ..validation import integer

Visit: TypeAlias = Callable[[str, int, Any, Any], None]
"""Called with a layer's name, how often it was called before in this forward pass, the tuple of
what went in, and what came out."""


def chosen_modules(
    model: nn.Module, layers: Sequence[str] | None, kind: type[nn.Module] = nn.Module
) -> dict[str, nn.Module]:
    """The modules asked for, by name; by default those of the kind that contain no others.

    Raises:
        TypeError: If `model` is not a module, or `layers` not a sequence of names.
        ValueError: If there is none of a given name, or none at all.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model = {model!r} must be a torch.nn.Module")
    if isinstance(layers, str) or not (layers is None or isinstance(layers, Iterable)):
        raise TypeError(f"layers = {layers!r} must be a sequence of names, such as ['0']")
    every = {name: m for name, m in model.named_modules() if isinstance(m, kind)}
    leaves = [name for name, m in every.items() if _is_leaf(name, m)]
    names = leaves if layers is None else list(layers)
    for name in names:
        if name not in every:
            raise ValueError(f"no layer {name!r} of type {kind.__name__}; there are {list(every)}")
    if not names:
        raise ValueError(f"the model has no layer of type {kind.__name__} to measure")
    return {name: every[name] for name in names}


def _is_leaf(name: str, module: nn.Module) -> bool:
    """Whether it contains no other modules; what makes its parameters does not count as one."""
    inside = [child for child, _ in module.named_children()]
    return inside in ([], ["parametrizations"]) and "parametrizations" not in name.split(".")


def watch(
    model: nn.Module,
    inputs: Tensor,
    modules: Mapping[str, nn.Module],
    batch_size: int,
    visit: Callable[[slice], Visit],
) -> None:
    """Send the inputs through the model, chunk by chunk, and show what its modules do.

    Parameters, gradients, modes, hooks and buffers of the model stay as they are, and so do torch's
    generators.

    Args:
        model: In a mode in which samples do not mix and nothing is random.
        inputs: Samples along the first axis.
        modules: The modules to look at, by name.
        batch_size: Samples per chunk.
        visit: From the samples of a chunk to what is called at each of the modules.

    Raises:
        TypeError: If the batch size is not an integer.
        ValueError: If the model cannot be measured sample by sample, see `check_model`, or its
            forward pass changes buffers or draws random numbers.
    """
    check_model(model)
    size = integer("batch_size", batch_size, 1)
    with leaving_no_trace(model), torch.no_grad():
        for start in range(0, len(inputs), size):
            part = slice(start, min(start + size, len(inputs)))
            with _hooked(modules, visit(part)):
                call(model, inputs[part].to(model_device(model)))


@contextmanager
def _hooked(modules: Mapping[str, nn.Module], visit: Visit) -> Iterator[None]:
    calls = dict.fromkeys(modules, 0)

    def hook_of(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            visit(name, calls[name], (*args, *kwargs.values()), output)
            calls[name] += 1

        return hook

    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # compiled graphs would bypass the hooks
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for name, module in modules.items():
            # prepended, so that it sees the layer's own output before an activation overwrites it
            hook = module.register_forward_hook(hook_of(name), prepend=True, with_kwargs=True)
            stack.callback(hook.remove)
        yield
