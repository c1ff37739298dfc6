"""Finding the stack of blocks in a network, and the blocks or modules that a user names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from numbers import Integral

import torch
from torch import nn

Layer = str | int
"""A module's name, or an integer that counts the model's blocks; −1 is the last one."""

MAIN = 0.9
"""The longest of several stacks is the model's if it holds more than this of their parameters."""


def block_stack(model: nn.Module) -> dict[str, nn.Module]:
    """The model's blocks by name, in the order of their stack.

    A stack is an `nn.ModuleList`, or an `nn.Sequential` of two modules or more, whose modules are
    of one type, hold parameters and lie in no other stack. Stacks of modules that contain others
    come before stacks of bare layers. Of several stacks the longest is taken, if it also holds nine
    tenths of their parameters: an encoder beside a decoder is ambiguous.

    Args:
        model: Any module; compiled models are looked at as they were before.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If there is no such stack, several of them, or a block stands in it twice.
    """
    whole = original(model)
    stacks = _stacks(whole)
    if not stacks:
        raise ValueError(
            f"found no stack of equal blocks in {type(whole).__name__}: name the layers, out of "
            f"{_names(whole)}"
        )
    path = _main_stack(stacks)
    blocks = {f"{path}.{key}" if path else key: m for key, m in _children(stacks[path])}
    if len({id(block) for block in blocks.values()}) < len(blocks):
        raise ValueError(
            f"one module stands several times in the stack {path!r} of {len(blocks)} blocks: it "
            "has no hidden state of its own"
        )
    return blocks


def chosen_blocks(model: nn.Module, layers: Sequence[Layer] | None = None) -> dict[str, nn.Module]:
    """The modules asked for, by name: all blocks, or those of given numbers and names.

    Args:
        model: Any module; compiled models are looked at as they were before.
        layers: Names as in `model.named_modules()`, "" for the model itself, and integers that
            count the blocks of `block_stack`, negative ones from the end; None for all blocks.

    Raises:
        TypeError: If `model` is not a module or is a script, or `layers` holds something else.
        ValueError: If there is no such module or block, one stands twice, or there is none.
    """
    whole = original(model)
    if layers is None:
        return block_stack(whole)
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise TypeError(f"layers = {layers!r} must be a sequence of names or numbers of blocks")
    chosen: dict[str, nn.Module] = {}
    for layer in layers:
        name, module = _one(whole, layer)
        original(module)  # refuses scripts
        twin = next((other for other, m in chosen.items() if m is module), None)
        if twin is not None:
            raise ValueError(f"layer {layer!r} is the module {twin!r}, which stands there already")
        chosen[name] = module
    if not chosen:
        raise ValueError(f"layers = {layers!r} names no layer; there are {_names(whole)}")
    return chosen


def original(model: nn.Module) -> nn.Module:
    """The module itself, for one wrapped by `torch.compile` the one inside.

    Raises:
        TypeError: If it is not a module, or a script whose parts cannot be watched.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model = {model!r} must be a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("the model is a ScriptModule, which calls no hooks: take the nn.Module")
    return _uncompiled(model)


def _uncompiled(model: nn.Module) -> nn.Module:
    if "torch._dynamo" in sys.modules:
        while isinstance(model, torch._dynamo.eval_frame.OptimizedModule):
            model = model._orig_mod
    return model


def _one(model: nn.Module, layer: object) -> tuple[str, nn.Module]:
    if isinstance(layer, str):
        every = dict(model.named_modules(remove_duplicate=False))
        if layer not in every:
            raise ValueError(f"no layer {layer!r} in {type(model).__name__}; {_offer(model)}")
        return layer, every[layer]
    if isinstance(layer, bool) or not isinstance(layer, Integral):
        raise TypeError(f"layer {layer!r} must be a name or the number of a block")
    blocks = list(block_stack(model).items())
    number = int(layer)
    if not -len(blocks) <= number < len(blocks):
        raise ValueError(f"no block {layer}; the {len(blocks)} blocks are {[n for n, _ in blocks]}")
    return blocks[number]


def _stacks(model: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if _is_stack(module) and not any(_inside(path, outer) for outer in found):
            found[path] = module
    composite = {path: m for path, m in found.items() if _is_composite(m)}
    return composite or found


def _is_stack(module: nn.Module) -> bool:
    """A Sequential of one module is a wrapper, which may hold the whole model."""
    if not isinstance(module, nn.ModuleList | nn.Sequential):
        return False
    blocks = [block for _, block in _children(module)]
    return (
        len(blocks) > isinstance(module, nn.Sequential)
        and len({type(_uncompiled(block)) for block in blocks}) == 1
        and any(True for _ in module.parameters())
    )


def _main_stack(stacks: dict[str, nn.Module]) -> str:
    if len(stacks) == 1:
        return next(iter(stacks))
    lengths = {path: len(list(_children(m))) for path, m in stacks.items()}
    sizes = {path: sum(p.numel() for p in m.parameters()) for path, m in stacks.items()}
    best = max(stacks, key=lambda path: lengths[path])
    alone = list(lengths.values()).count(lengths[best]) == 1
    if not (alone and sizes[best] > MAIN * sum(sizes.values())):
        listed = ", ".join(f"{path!r} ({length} blocks)" for path, length in lengths.items())
        raise ValueError(f"which stack of blocks is meant: {listed}? Name the layers")
    return best


def _children(stack: nn.Module) -> list[tuple[str, nn.Module]]:
    """Unlike `named_children`, it lists a module as often as it stands there."""
    return [(key, block) for key, block in stack._modules.items() if block is not None]


def _is_composite(stack: nn.Module) -> bool:
    return any(len(_uncompiled(block)._modules) for _, block in _children(stack))


def _inside(path: str, outer: str) -> bool:
    return outer == "" or path.startswith(f"{outer}.")


def _offer(model: nn.Module) -> str:
    try:
        return f"its blocks are {list(block_stack(model))}"
    except ValueError:
        return f"there are {_names(model)}"


def _names(model: nn.Module, limit: int = 20) -> str:
    names = [name for name, _ in model.named_modules() if name]
    return ", ".join(map(repr, names[:limit])) + (", …" if len(names) > limit else "")
