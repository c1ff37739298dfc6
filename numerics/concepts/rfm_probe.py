"""The machine of the RFM probe: bandwidth and centring of the gradients chosen by validation.

Kernel Laplace, ridge 1e-3, 8 rounds, L ∈ {1, 10, 100} and centring on or off as in paper A. A fifth
of the samples is set aside, and chooses setting and round. Up to 450 samples all six settings are
fitted to the other four fifths, for all rounds. Of more samples, 450 or, where a fifth is less than
150, somewhat fewer are taken for the settings' contest, in which each ends after two rounds without
a better error; then the winner alone is fitted to the four fifths, and ends after four.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..rfm.kernels import Laplace
from ..rfm.machine import Machine, Recipe, fit_rfm
from .targets import Indices, Numbers, Target, two_parts

BANDWIDTHS = (10.0, 1.0, 100.0)
"""L; of equally good ones the first."""
CENTRINGS = ("none", "per_output")
RIDGE = 1e-3
ROUNDS = 8
ASIDE = 0.2
"""Share of the samples that chooses."""
CONTEST = 450
"""Samples on which the settings compete at most; a third of them judges where there are more."""
PATIENCE = (2, 4)
"""Rounds without a better error after which a setting's contest, and the winner's fit, ends."""


def tuned_machine(
    X: NDArray[Any], target: Target, generator: np.random.Generator
) -> tuple[Machine, Mapping[str, Any]]:
    """The machine of the best setting and round, with what was chosen.

    The samples are parted into those that the machine is fitted to and those that choose. If some
    class has a single sample, nothing can be chosen: L = 10, no centring, the last round.

    Args:
        X: States, shape (n, d).
        target: Of the n samples.
        generator: Parts the samples.

    Raises:
        numpy.linalg.LinAlgError: If no setting's matrix can be inverted.
    """
    if target.smallest_class() < 2:
        machine = _fit(X, target, None, _recipe(BANDWIDTHS[0], CENTRINGS[0]))
        return machine, _described(machine, CENTRINGS[0])
    parts = two_parts(target, ASIDE, generator)
    if len(X) <= CONTEST:
        machine, recipe = _contest(X, target, parts, None)
    else:
        _, recipe = _contest(X, target, _smaller(target, parts, generator), PATIENCE[0])
        machine = _fit(X, target, parts, replace(recipe, patience=PATIENCE[1]))
    return machine, _described(machine, recipe.centring)


def predicted(machine: Machine, X: NDArray[Any]) -> Numbers:
    """The machine's predictions at states (n, d), shape (n, outputs), in double precision.

    Raises:
        ValueError: If states are beyond the range of the precision that it was fitted in.
    """
    points = _tensor(X, machine.centres.dtype)
    if not torch.isfinite(points).all():
        raise ValueError(f"states are beyond the range of {points.dtype}, which was fitted in")
    return machine.predict(points).double().numpy()


def contiguous(machine: Machine) -> Machine:
    """The same machine in the layout of files.

    Products of matrices round differently in another layout, and files hold only one.
    """
    metric, alpha = machine.metric, machine.alpha.contiguous()
    if metric.M is not None and metric.root is not None:
        metric = replace(metric, M=metric.M.contiguous(), root=metric.root.contiguous())
    return replace(machine, alpha=alpha, metric=metric, centres=machine.centres.contiguous())


def _recipe(bandwidth: float, centring: str, patience: int | None = None) -> Recipe:
    return Recipe(
        Laplace(bandwidth), ridge=RIDGE, rounds=ROUNDS, centring=centring, patience=patience
    )


def _described(machine: Machine, centring: str) -> dict[str, Any]:
    return {
        "bandwidth": machine.kernel.bandwidth,
        "centring": centring,
        "round": machine.chosen,
    }


def _smaller(
    target: Target, parts: tuple[Indices, Indices], generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """Two thirds of `CONTEST` of the first part, a third of the second, or all that there are."""
    sizes = (CONTEST * 2 // 3, CONTEST // 3)
    chosen = []
    for part, size in zip(parts, sizes, strict=True):
        if size >= len(part):
            chosen.append(part)
            continue
        _, some = two_parts(target.rows(part), size / len(part), generator)
        chosen.append(part[some])
    return chosen[0], chosen[1]


def _contest(
    X: NDArray[Any], target: Target, parts: tuple[Indices, Indices], patience: int | None
) -> tuple[Machine, Recipe]:
    """The setting of the smallest error, with its machine; the first of equal ones."""
    best: tuple[float, Machine, Recipe] | None = None
    failure = np.linalg.LinAlgError("no setting was tried")
    for recipe in _settings(patience):
        try:
            machine = _fit(X, target, parts, recipe)
        except np.linalg.LinAlgError as singular:
            failure = singular
            continue
        error = machine.history[machine.chosen].error
        assert error is not None
        if best is None or error < best[0]:
            best = (error, machine, recipe)
    if best is None:
        raise failure
    return best[1], _recipe(best[2].kernel.bandwidth, best[2].centring)


def _settings(patience: int | None) -> Iterator[Recipe]:
    for bandwidth in BANDWIDTHS:
        for centring in CENTRINGS:
            yield _recipe(bandwidth, centring, patience)


def _fit(
    X: NDArray[Any], target: Target, parts: tuple[Indices, Indices] | None, recipe: Recipe
) -> Machine:
    """One machine, in double precision if the states' own does not suffice."""
    dtypes = (torch.float32, torch.float64) if X.dtype == np.float32 else (torch.float64,)
    for dtype in dtypes:
        try:
            return _fit_in(dtype, X, target, parts, recipe)
        except np.linalg.LinAlgError:
            if dtype == dtypes[-1]:
                raise
    raise AssertionError("unreachable")


def _fit_in(
    dtype: torch.dtype,
    X: NDArray[Any],
    target: Target,
    parts: tuple[Indices, Indices] | None,
    recipe: Recipe,
) -> Machine:
    if parts is None:
        return fit_rfm(_tensor(X, dtype), _tensor(target.outputs, dtype), recipe)
    kept, aside = parts
    judge = target.rows(aside)

    def score(predictions: Tensor, targets: Tensor) -> float:  # noqa: ARG001
        return judge.error(predictions.numpy())

    validation = (_tensor(X[aside], dtype), _tensor(judge.outputs, dtype))
    outputs = _tensor(target.rows(kept).outputs, dtype)
    return fit_rfm(_tensor(X[kept], dtype), outputs, recipe, validation=validation, score=score)


def _tensor(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array)).to(dtype)
