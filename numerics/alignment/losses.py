"""Loss functions, summed over samples and outputs and never divided by their number."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs (n, …) and targets, and returns a scalar."""


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ Σ (f - y)².

    Args:
        outputs: f, shape (n, …).
        targets: y, of the same shape, or (n,) for outputs of shape (n, 1).

    Raises:
        ValueError: If the shapes do not fit.

    >>> import torch
    >>> squared_error(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 0.0]))
    tensor(2.5000)
    """
    return (outputs - _like(outputs, targets)).square().sum() / 2


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """-Σ log softmax(f)_y for classes y of shape (n,), or -Σ Σ_c y_c log softmax(f)_c.

    Raises:
        ValueError: If the shapes do not fit, or there is no such class.
    """
    classes = targets.shape == outputs.shape[:1] and outputs.ndim == 2
    if not classes and targets.shape != outputs.shape:
        raise ValueError(
            f"targets have shape {tuple(targets.shape)}, outputs {tuple(outputs.shape)}: targets "
            "must be classes (n,) or probabilities (n, o) beside outputs (n, o)"
        )
    y = _classes(targets, outputs.shape[1]) if classes else targets
    return functional.cross_entropy(outputs, y, reduction="sum")


def logistic(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ log(1 + e^{-yf}) for labels y = ±1.

    Raises:
        ValueError: If the shapes do not fit, or a label is not ±1.
    """
    y = _like(outputs, targets)
    if not (y.abs() == 1).all():
        raise ValueError("targets of the logistic loss must be 1 or -1")
    return functional.softplus(-y * outputs).sum()


LOSSES: dict[str, Loss] = {
    "mse": squared_error,
    "cross_entropy": cross_entropy,
    "logistic": logistic,
}


def as_loss(value: object) -> Tensor:
    """What a loss function returned, as a scalar.

    Raises:
        TypeError: If it is not a real tensor.
        ValueError: If it is not one number.
    """
    if not isinstance(value, Tensor) or value.is_complex():
        found = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"loss returned {found}, must be a real tensor of one number")
    if value.numel() != 1:
        raise ValueError(f"loss has shape {tuple(value.shape)}, must be one number")
    return value.reshape(())


def loss_function(loss: str | Loss) -> Loss:
    """The loss of this name, or the function itself.

    Raises:
        ValueError: If no loss has this name.
    """
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r} must be one of {', '.join(map(repr, LOSSES))}")
    return LOSSES[loss]


def _like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs: (n,) and (n, 1) are the same, nothing else is."""
    same = outputs.shape if outputs.shape[1:] != (1,) else outputs.shape[:1]
    if targets.shape not in (outputs.shape, same):
        raise ValueError(
            f"targets have shape {tuple(targets.shape)}, must be {tuple(outputs.shape)}, as outputs"
        )
    return targets.reshape(outputs.shape)


def _classes(targets: Tensor, count: int) -> Tensor:
    classes = targets.long()
    if (classes != targets).any() or (classes < 0).any() or (classes >= count).any():
        raise ValueError(f"classes must be integers from 0 to {count - 1}")
    return classes
