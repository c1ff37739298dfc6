"""Average gradient outer product (AGOP) of any predictor, by the best route it allows.

    AGOP = (1/n) Σ_x Σ_c ∇f_c(x) ∇f_c(x)ᵀ,  shape (d, d),

over the n samples x and the outputs c. Kernel machines have it in closed form, torch modules by
backward passes, and anything that can be called by central differences.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from .alignment.checks import as_inputs, as_outputs, check_model, model_device
from .alignment.probe import probe
from .rfm.kernel_agop import CENTRINGS, Moments
from .rfm.kernel_base import Kernel
from .rfm.kernels import kernel_by_name
from .rfm.machine import Machine
from .rfm.tiles import streaming_agop
from .validation import RealArray, choice, data, integer, positive

BATCH = 1024
"""Samples displaced at a time in finite differences."""

ROUGH = 0.1
"""Relative error of the AGOP from which on differences do not see a gradient."""


@dataclass(frozen=True, eq=False)
class DifferencedAgop:
    """An AGOP by central differences, and how far it may be trusted.

    Attributes:
        agop: Shape (d, d).
        error: Estimate of its relative error in the Frobenius norm: how far it moves when the steps
            are doubled. It usually overestimates, by far where the predictor is smooth.
    """

    agop: RealArray
    error: float


def agop(
    predictor: Any,
    X: ArrayLike | Tensor,
    *,
    centring: str = "none",
    batch_size: int | None = None,
    step: float | None = None,
) -> RealArray:
    """The AGOP of a predictor at the samples X.

    The route is taken from the predictor:

    - `RFMRegressor`, `RFMClassifier` (of its decision function), and scikit-learn's `KernelRidge`
      with kernel "rbf", "laplacian", "polynomial" or "linear": the closed form.
    - `torch.nn.Module`, or any callable where X is a torch tensor: autograd. The model is left as
      it was.
    - A search such as `GridSearchCV`: its best estimator.
    - Other estimators (`predict_proba` or else `decision_function` of classifiers, `predict` of the
      rest) and callables from arrays (n, d) to arrays (n,) or (n, outputs): central differences;
      see `differenced_agop`. If X is a pandas frame they are given frames of the same columns.

    Args:
        predictor: The predictor; estimators must be fitted.
        X: Samples, shape (n, d); for modules any (n, ...), of which each sample is flattened.
        centring: Which mean is removed from the gradients: "none"; "per_output", each output's mean
            over the samples; "joint", one mean over samples and outputs.
        batch_size: Samples at a time, for modules and differences.
        step: Step of the differences, relative to the largest entry of each column.

    Returns:
        The AGOP in double precision, symmetric, shape (d, d).

    Raises:
        TypeError: If the predictor cannot be called, or its outputs are not floating numbers.
        ValueError: If X or an output holds NaN or infinity, shapes do not fit, there is no sample,
            outputs are not one row per sample or do not depend differentiably on the input.

    >>> agop(lambda x: x[:, 0] ** 2 + 3 * x[:, 1], [[1.0, 0.0], [2.0, 5.0]]).round(9)
    array([[10.,  9.],
           [ 9.,  9.]])
    """
    choice("centring", centring, CENTRINGS)
    if step is not None:
        positive("step", step)
    if isinstance(predictor, nn.Module) or (isinstance(X, Tensor) and callable(predictor)):
        return module_agop(predictor, X, centring=centring, batch_size=batch_size)
    predictor = getattr(predictor, "best_estimator_", predictor)
    machine = _kernel_machine(predictor)
    if machine is not None:
        return _closed_form(machine, X, centring)
    function = _on_frames(_black_box(predictor), X)
    return differenced_agop(function, X, centring=centring, batch_size=batch_size, step=step).agop


def module_agop(
    model: nn.Module | Callable[[Tensor], Tensor],
    inputs: ArrayLike | Tensor,
    *,
    centring: str = "none",
    batch_size: int | None = None,
) -> RealArray:
    """The AGOP of a torch module by autograd: one backward pass for each output of each batch.

    Args:
        model: A module, or a differentiable function of tensors.
        inputs: Samples along the first axis, of the model's dtype.
        centring: "none", "per_output" or "joint", as in `agop`.
        batch_size: Samples per forward pass; by default what fits into a quarter of a GiB, and 1024
            at most.

    Raises:
        TypeError: If the model does not return one floating tensor, or the inputs' dtype is not
            floating or not the model's.
        ValueError: If there is no sample, NaN in inputs, parameters or outputs; if samples mix,
            outputs are random, not differentiable or not one per sample.
    """
    module = model if isinstance(model, nn.Module) else _Function(model)
    check_model(module)
    batch = as_inputs(module, inputs)
    if not batch.is_floating_point():
        raise TypeError(f"inputs have dtype {batch.dtype}: gradients need floating inputs")
    moments = Moments(centring, False)
    with torch.enable_grad():
        _backward(module, batch[:1])  # what is wrong with one sample is said of it alone
        fitting = probe(module, batch[:2])
        size = fitting if batch_size is None else integer("batch_size", batch_size, 1)
        for chunk in torch.split(batch, size):
            moments.add(_backward(module, chunk).double().cpu())
    return _symmetric(moments)


def differenced_agop(
    function: Callable[[RealArray], ArrayLike],
    X: ArrayLike,
    *,
    centring: str = "none",
    batch_size: int | None = None,
    step: float | None = None,
) -> DifferencedAgop:
    """The AGOP of a black box by central differences, extrapolated once.

    With the symmetric quotients D(h) = (f(x + he_j) − f(x − he_j))/2h, the derivative is taken as
    (4D(h) − D(2h))/3, right up to O(h⁴), and the same with 2h for the estimate of the error. That
    is six evaluations for each sample and coordinate.

    Args:
        function: From arrays (n, d) to arrays (n,) or (n, outputs); samples must not mix.
        X: Samples, shape (n, d).
        centring: "none", "per_output" or "joint", as in `agop`.
        batch_size: Samples displaced at a time; the function gets six times as many rows.
        step: h relative to the largest entry of each column in absolute value (to 1 for a column of
            zeros). By default ε^(1/5) with ε the precision of the function's outputs, where the
            errors of rounding and extrapolation are alike.

    Raises:
        TypeError: If the outputs are not floating numbers (labels are not differentiable).
        ValueError: If X or an output holds NaN or infinity, shapes do not fit, or the differences
            do not settle: the function jumps, is random, or is computed in less precision than
            its outputs' dtype says.
    """
    points = _points(X)
    size = BATCH if batch_size is None else integer("batch_size", batch_size, 1)
    precision = np.finfo(_evaluate(function, points[:1]).dtype).eps
    relative = float(precision) ** 0.2 if step is None else positive("step", step)
    largest = np.abs(points).max(axis=0)
    steps = relative * np.where(largest > 0, largest, 1.0)
    fine, coarse = Moments(centring, False), Moments(centring, False)
    for start in range(0, len(points), size):
        near, far = _differences(function, points[start : start + size], steps)
        fine.add(torch.from_numpy(near))
        coarse.add(torch.from_numpy(far))
    return _settled(_symmetric(fine), _symmetric(coarse), relative)


class _Function(nn.Module):
    """A function of tensors as a module without parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _backward(model: nn.Module, chunk: Tensor) -> Tensor:
    """∇f_c(x) for the samples of a chunk, shape (n, outputs, d)."""
    x = chunk.to(model_device(model), copy=True).requires_grad_()
    flat = as_outputs(model(x.clone()), len(x))  # in place the model must not change a leaf
    outputs, rows = flat.shape[1], []
    for c in range(outputs):
        # Samples do not mix, so that row α of the sum's gradient is the gradient of sample α.
        (row,) = torch.autograd.grad(
            flat[:, c].sum(), x, retain_graph=c + 1 < outputs, allow_unused=True
        )
        if row is None:
            raise ValueError("the output is not differentiable: it does not depend on the inputs")
        rows.append(row.reshape(len(x), -1))
    gradients = torch.stack(rows, dim=1)
    if not torch.isfinite(gradients).all():
        raise ValueError("a gradient holds NaN or infinite entries")
    return gradients


def _symmetric(moments: Moments) -> RealArray:
    matrix = moments.mean()
    return np.asarray(((matrix + matrix.T) / 2).numpy(), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _KernelMachine:
    """f_c(x) = Σ_i α_ic K_M(x, x_i)."""

    kernel: Kernel
    alpha: Tensor
    centres: Tensor
    M: Tensor | None = None


def _closed_form(machine: _KernelMachine, X: ArrayLike | Tensor, centring: str) -> RealArray:
    points = _points(X)
    if points.shape[1] != machine.centres.shape[1]:
        raise ValueError(
            f"X has shape {points.shape}, the predictor was fitted on "
            f"{machine.centres.shape[1]} columns"
        )
    x = torch.from_numpy(points).to(machine.centres)
    matrix = streaming_agop(
        machine.kernel, machine.alpha, x, machine.centres, machine.M, centring=centring
    )
    return np.asarray(matrix.double().cpu().numpy())


def _kernel_machine(predictor: Any) -> _KernelMachine | None:
    """The predictor as a kernel machine, if it is one whose kernel has a closed form here."""
    machine = getattr(predictor, "machine_", None)
    if isinstance(machine, Machine):
        return _KernelMachine(machine.kernel, machine.alpha, machine.centres, machine.metric.M)
    sklearn = sys.modules.get("sklearn.kernel_ridge")  # whoever has fitted one has imported it
    if sklearn is not None and isinstance(predictor, sklearn.KernelRidge):
        return _kernel_ridge(predictor)
    return None


def _kernel_ridge(ridge: Any) -> _KernelMachine | None:
    if not hasattr(ridge, "dual_coef_"):
        raise ValueError("the KernelRidge is not fitted")
    centres = np.asarray(ridge.X_fit_)
    if ridge.kernel_params or centres.dtype.kind != "f" or centres.ndim != 2:
        return None
    gamma = 1 / centres.shape[1] if ridge.gamma is None else float(ridge.gamma)
    kernels: dict[Any, Callable[[], Kernel]] = {
        "rbf": lambda: kernel_by_name("gaussian", math.sqrt(1 / (2 * gamma))),
        "laplacian": lambda: kernel_by_name("generalised", 1 / gamma, norm=1.0, power=1.0),
        "linear": lambda: kernel_by_name("linear", 1.0),
        "polynomial": lambda: kernel_by_name(
            "polynomial", math.sqrt(1 / gamma), degree=ridge.degree, offset=ridge.coef0
        ),
    }
    if ridge.kernel not in kernels or (ridge.kernel == "polynomial" and ridge.coef0 < 0):
        return None
    alpha, points = (
        torch.from_numpy(np.array(values, dtype=np.float64))
        for values in (ridge.dual_coef_, centres)
    )
    return _KernelMachine(kernels[ridge.kernel](), alpha, points)


def _black_box(predictor: Any) -> Callable[[RealArray], ArrayLike]:
    """The function that a predictor stands for."""
    if isinstance(predictor, type):
        raise TypeError(f"the predictor is the class {predictor.__name__}: give a fitted instance")
    names = ("predict_proba", "decision_function", "predict")
    for name in names:
        if callable(getattr(predictor, name, None)):
            return getattr(predictor, name)  # type: ignore[no-any-return]
    if not callable(predictor):
        raise TypeError(f"the predictor is a {type(predictor).__name__}: it has none of {names}")
    return predictor  # type: ignore[no-any-return]


def _on_frames(function: Callable[[Any], ArrayLike], X: Any) -> Callable[[RealArray], ArrayLike]:
    """The function on arrays, for estimators that know their columns by the names of a frame."""
    pandas = sys.modules.get("pandas")  # whoever has a frame has imported it
    if pandas is None or not isinstance(X, pandas.DataFrame):
        return function
    return lambda points: function(pandas.DataFrame(points, columns=X.columns))


def _points(X: ArrayLike | Tensor) -> RealArray:
    array = X.detach().cpu().numpy() if isinstance(X, Tensor) else np.asarray(X)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"X has shape {array.shape}, must be (n, d) with n, d >= 1")
    if array.dtype.kind == "c":
        raise TypeError("X has complex entries, must be real")
    return np.ascontiguousarray(data("X", array, len(array)), dtype=np.float64)


def _differences(
    function: Callable[[RealArray], ArrayLike], points: RealArray, steps: RealArray
) -> tuple[RealArray, RealArray]:
    """Extrapolated quotients from steps h and 2h, and from 2h and 4h: each (n, outputs, d)."""
    near, far = [], []
    for j, h in enumerate(steps):
        quotients = _quotients(function, points, j, float(h))
        near.append((4 * quotients[0] - quotients[1]) / 3)
        far.append((4 * quotients[1] - quotients[2]) / 3)
    return np.stack(near, axis=-1), np.stack(far, axis=-1)


def _quotients(
    function: Callable[[RealArray], ArrayLike], points: RealArray, j: int, h: float
) -> list[RealArray]:
    """D(h), D(2h), D(4h) along coordinate j, each of shape (n, outputs); one call."""
    moves = [sign * factor * h for factor in (1, 2, 4) for sign in (1, -1)]
    displaced = np.tile(points, (len(moves), 1))
    blocks = displaced.reshape(len(moves), *points.shape)[:, :, j]
    blocks += np.array(moves)[:, None]
    values = _evaluate(function, displaced).astype(np.float64)
    outputs = values.reshape(len(moves), len(points), -1)
    # The steps as rounding made them.
    taken = (blocks[0::2] - blocks[1::2])[:, :, None]
    return list((outputs[0::2] - outputs[1::2]) / taken)


def _evaluate(function: Callable[[RealArray], ArrayLike], points: RealArray) -> NDArray[Any]:
    values = np.asarray(function(points.copy()))
    if values.dtype.kind != "f":
        raise TypeError(
            f"the predictor returned {values.dtype} values, which are not differentiable: "
            "it must return floating numbers, such as scores or probabilities"
        )
    if values.ndim not in (1, 2) or len(values) != len(points) or not values.size:
        raise ValueError(
            f"the predictor returned shape {values.shape} for {len(points)} samples, must be "
            f"({len(points)},) or ({len(points)}, outputs)"
        )
    if not np.isfinite(values).all():
        raise ValueError("the predictor returned NaN or infinite values")
    return values


def _settled(fine: RealArray, coarse: RealArray, step: float) -> DifferencedAgop:
    size = float(np.linalg.norm(fine))
    apart = float(np.linalg.norm(fine - coarse))
    error = apart / size if size else (math.inf if apart else 0.0)
    if error > ROUGH:
        raise ValueError(
            f"the differences do not settle: doubling the step changes the AGOP by {error:.2g} of "
            f"its norm. The predictor jumps, is random or loses digits at steps of {step:.2g} of "
            "a column's largest entry; give another step, if it is differentiable"
        )
    return DifferencedAgop(fine, error)
