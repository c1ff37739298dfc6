"""Filter covariance and patch-AGOP of the convolutions of any network, by hooks and autograd.

A convolution is one linear map W, applied to the input's patch x_p at every position p: z_p =
W x_p + b, with W the filters as rows. Autograd gives g_αpc = ∂f_c(x_α)/∂z_p for the outputs f_c of
image α. Then, with P the patches' dimension, channels · height · width of a filter,

- filter covariance WᵀW, shape (P, P);
- K = (1/n) Σ_α Σ_p Σ_c g_αpc g_αpcᵀ, shape (k, k), for k filters;
- patch-AGOP = (1/n) Σ_α Σ_p Σ_c ∇∇ᵀ = WᵀKW, shape (P, P), where ∇ = Wᵀg_αpc is the gradient with
  respect to the patch at p: each position has a patch of its own, although patches overlap, and
  paths around the layer do not count.

Patches are those of the padded input, channel by channel, row by row, as
`torch.nn.functional.unfold` gives them. With groups, a filter is zero on the channels that it does
not see: all filters act on the same patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..alignment.checks import (
    as_inputs,
    as_outputs,
    check_model,
    chosen_outputs,
    layers_of_kind,
    model_device,
)
from ..alignment.forward import call
from ..alignment.measure import LayerMatrices
from ..alignment.outer_products import OuterProducts
from ..alignment.probe import probe
from ..alignment.taps import Tap, check_called, output_gradients, tapped
from ..validation import choice, integer

AVERAGES = ("images", "positions")
"""What sums are divided by: the number of images, or of images times positions."""


@dataclass(frozen=True, eq=False)
class FilterMatrices(LayerMatrices):
    """A convolution's filters and the matrices measured on them.

    The functions of `numerics.alignment` that take a linear layer's matrices, such as
    `uncentred_nfa`, take these: NFM and AGOP are filter covariance and patch-AGOP.

    Attributes:
        weight: W, one filter in each row, shape (k, P).
        nfm: WᵀW, shape (P, P).
        agop: Patch-AGOP, shape (P, P).
        ptk: K, shape (k, k).
        patch: (channels, height, width) of a filter, with product P.
        positions: Number of positions for each image; of all uses, if the layer acts several times.
    """

    patch: tuple[int, int, int]
    positions: int

    @property
    def filter_covariance(self) -> Tensor:
        """WᵀW, shape (P, P)."""
        return self.nfm

    @property
    def patch_agop(self) -> Tensor:
        """The average outer product of gradients with respect to patches, shape (P, P)."""
        return self.agop


class FilterTap(Tap):
    """What leaves one convolution in a forward pass, one entry for each use."""

    def fits(self, layer: nn.Conv2d, args: Any, kwargs: Any) -> None:
        """Forward pre-hook: refuse images that are smaller than the kernel."""
        size = self._input(args, kwargs).shape[-2:]
        reach = [d * (k - 1) + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        padding = _padding(layer, reach)
        if any(s + p < r for s, p, r in zip(size, padding, reach, strict=True)):
            raise ValueError(
                f"layer {self.name!r} has kernels that reach over {_times(reach)} pixels, larger "
                f"than its input of {_times(size)} with padding {_times(padding)}: take larger "
                "images"
            )

    def _check_affine(self, layer: nn.Module, h: Tensor, z: Tensor) -> None:
        """Refuse subclasses whose filters are not the derivative of their output."""
        if not isinstance(layer, nn.Conv2d):
            raise TypeError(f"layer {self.name!r} is {type(layer).__name__}, must be a Conv2d")
        if getattr(layer.forward, "__func__", None) is nn.Conv2d.forward:
            return
        with torch.no_grad():
            own = layer._conv_forward(h, layer.weight, layer.bias)
            near = torch.finfo(own.dtype).eps ** 0.5
            if own.shape != z.shape or not torch.allclose(own, z, near, near * _largest(own)):
                raise ValueError(
                    f"layer {self.name!r} ({type(layer).__name__}) does not return the convolution "
                    "with its own filters: it cannot be measured"
                )


def filter_matrices(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    layers: Sequence[str] | None = None,
    *,
    batch_size: int | None = None,
    outputs: Sequence[int] | None = None,
    average: str = "images",
) -> dict[str, FilterMatrices]:
    """Measure filter covariance and patch-AGOP of a network's convolutions.

    Stride, padding of any mode, dilation, groups and biases are those of the layer. The model's
    parameters, their `.grad` and `requires_grad`, its hooks and its training flags are left as they
    were, also when an error is raised, and so are buffers and torch's generators.

    Args:
        model: Any module; its layers of type torch.nn.Conv2d are measured.
        inputs: Images along the first axis; they are moved to the model's device in chunks.
        layers: Names as in `model.named_modules()`; by default all convolutions that the forward
            pass calls.
        batch_size: Images per forward pass: memory against speed, the result is the same. By
            default what fits into a quarter of a GiB, and 1024 at most.
        outputs: Which outputs to sum over, as indices of the flattened output; by default all.
        average: "images" sums over the positions of each image, and takes the mean over images;
            "positions" takes the mean over positions, too.

    Returns:
        The matrices of each layer, by name.

    Raises:
        TypeError: If the model is not a module, does not return one floating tensor, or the inputs'
            dtype is not the model's.
        ValueError: If there is no such convolution or none at all, images are smaller than a
            kernel, there is no image, or NaN in inputs, parameters or outputs; if samples mix
            (batch normalisation in training mode), outputs are random (dropout in training mode),
            not differentiable, or not one per sample; if the forward pass changes buffers, or a
            layer overrides the forward pass of torch.nn.Conv2d by another.
    """
    modules = convolutions(model, layers)
    choice("average", average, AVERAGES)
    check_model(model)
    batch = as_inputs(model, inputs)
    sums: dict[str, OuterProducts] = {}
    with _tapped(modules) as taps:
        fitting = probe(model, batch[:2])
        size = fitting if batch_size is None else integer("batch_size", batch_size, 1)
        for chunk in torch.split(batch, size):
            for tap in taps.values():
                tap.clear()
            flat = as_outputs(call(model, chunk.to(model_device(model))), len(chunk))
            check_called(taps, "convolution", named=layers is not None)
            _backward(flat, taps, chosen_outputs(outputs, flat.shape[1]), sums)
        positions = {name: _positions(tap, len(chunk)) for name, tap in taps.items()}
    return {
        name: _matrices(modules[name], total, len(batch), positions[name], average)
        for name, total in sums.items()
    }


def convolutions(model: nn.Module, layers: Sequence[str] | None = None) -> dict[str, nn.Conv2d]:
    """The model's convolutions by name: those asked for, or all of them.

    Raises:
        TypeError: If `model` is not a module, or `layers` not a sequence of names.
        ValueError: If there are no convolutions, or none of a given name.
    """
    return layers_of_kind(model, layers, nn.Conv2d, "convolution")


def flat_filters(layer: nn.Conv2d) -> Tensor:
    """W, one filter in each row, shape (k, P); zero on the channels of other groups.

    >>> flat_filters(torch.nn.Conv2d(4, 2, 3, groups=2)).shape
    torch.Size([2, 36])
    """
    weight = layer.weight.detach()
    filters, seen = weight.shape[:2]
    groups = layer.groups
    spread = weight.new_zeros(groups, filters // groups, groups, seen, *weight.shape[2:])
    for group, own in enumerate(weight.chunk(groups)):
        spread[group, :, group] = own
    return spread.reshape(filters, -1)


@contextmanager
def _tapped(layers: Mapping[str, nn.Conv2d]) -> Iterator[dict[str, FilterTap]]:
    """Taps on these layers, with autograd switched on, while the context lasts."""
    taps = {name: FilterTap(name) for name in layers}
    with ExitStack() as stack:
        stack.enter_context(tapped({}, inputs=False))  # autograd, and nothing compiled
        for name, layer in layers.items():
            before = layer.register_forward_pre_hook(taps[name].fits, with_kwargs=True)
            after = layer.register_forward_hook(taps[name].after, prepend=True, with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(after.remove)
        yield taps


def _padding(layer: nn.Conv2d, reach: Sequence[int]) -> list[int]:
    """Pixels added along each axis, both ends together."""
    if layer.padding == "valid":
        return [0, 0]
    if isinstance(layer.padding, str):  # "same"
        return [r - 1 for r in reach]
    return [2 * int(p) for p in layer.padding]


def _times(sides: Sequence[int]) -> str:
    return " × ".join(map(str, sides))


def _largest(values: Tensor) -> float:
    return float(values.abs().amax()) if values.numel() else 0.0


def _backward(
    flat: Tensor,
    taps: Mapping[str, FilterTap],
    chosen: Sequence[int],
    sums: dict[str, OuterProducts],
) -> None:
    """Add the outer products of one chunk."""
    places = [(name, z) for name, tap in taps.items() for z in tap.leaving]
    for number, gradient in output_gradients(flat, chosen, places):
        sums.setdefault(places[number][0], OuterProducts()).add(gradient.movedim(-3, -1))


def _positions(tap: FilterTap, images: int) -> int:
    """Positions for each image; an image may enter a layer in several pieces."""
    return sum(z.numel() // z.shape[-3] for z in tap.leaving) // images


def _matrices(
    layer: nn.Conv2d, total: OuterProducts, images: int, positions: int, average: str
) -> FilterMatrices:
    K = total.matrix() / (images * (positions if average == "positions" else 1))
    W = flat_filters(layer).to(K.dtype)
    height, width = layer.kernel_size
    patch = (layer.in_channels, height, width)
    return FilterMatrices(W, W.T @ W, W.T @ K @ W, K, patch, positions)
