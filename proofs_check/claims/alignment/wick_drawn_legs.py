"""The Wick moments against averages over drawn directions, the radii averaged exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import sympy

from theory.alignment import expected, quadratic
from theory.alignment.wick import SPREAD, WIDTH

from ...claim import Evidence, Formulas, Setting
from ...legs import Case
from ...statistics import compare_samples
from ..rationals import evaluated
from ..shared import BETA, formula
from .wick_exact_legs import NAMES, WORDS
from .wick_sampling import (
    averaged_radii,
    circle_directions,
    class_sums,
    draw_directions,
    scaled_moments,
)

TAU = 0.8
SCALE = 1.1  # of the readout: E a² is not 1, so that no factor μ_2 goes unseen
LAWS: dict[str, Callable[[int], float]] = {
    "±1": lambda j: 1.0,
    "gaussian": lambda j: float(prod(range(2 * j - 1, 0, -2))),
    "sparse": lambda j: 4.0 ** (j - 1),  # ±2 with probability 1/8 each, else 0
}
Data = tuple[int, int]
"""Dimension and number of samples."""


def _even_moment(law: str, j: int) -> float:
    return SCALE ** (2 * j) * LAWS[law](j)


@lru_cache(maxsize=8)
def _generic_data(size: int, samples: int) -> tuple[Any, Any]:
    """A and Σ of Gaussian data with Gaussian residuals."""
    rng = np.random.default_rng(size)
    X, residuals = rng.normal(size=(samples, size)), rng.normal(size=samples)
    return X.T @ (residuals[:, None] * X) / np.sqrt(samples), X.T @ X / samples


def _chain(word: str, A: Any, Sigma: Any) -> list[Any]:
    """The matrices behind the blocks of a word."""
    between = {"AA": A @ A, "Σ": Sigma}
    return [between[letters] for letters in word.split("M")[1:]]


@lru_cache(maxsize=256)
def _trace(word: str, data: Data) -> float:
    A, Sigma = _generic_data(*data)
    product = np.eye(len(A))
    for letter in word:
        product = product @ (A if letter == "A" else Sigma)
    return float(product.trace())


def _claimed(expression: sympy.Expr, data: Data, width: int, law: str) -> float:
    """A claimed polynomial for given data, in doubles."""
    values: dict[sympy.Symbol, float] = {WIDTH: width, SPREAD: TAU, quadratic.SAMPLES: data[1]}
    values |= {expected.readout_moment(j): _even_moment(law, j) for j in range(1, 5)}
    for symbol in expression.free_symbols - set(values):
        values[symbol] = _trace(symbol.name[3:-1], data)
    return float(evaluated(expression, values))


def _averaged(sums: dict[Any, Any], name: str, law: str, data: Data) -> Any:
    """The mean over radii and readout given the directions, with the factor 1/n of each K."""
    blocks = WORDS[name].count("M")
    weights = [4.0**j * _even_moment(law, j) for j in range(1, blocks + 1)]
    share = 1.0 / data[1] ** WORDS[name].count("Σ")
    return share * averaged_radii(sums, scaled_moments(weights, data[0], TAU**2))


@lru_cache(maxsize=16)
def _circle_sums(name: str, width: int) -> dict[Any, Any]:
    return class_sums(circle_directions(width, 5), _chain(WORDS[name], *_generic_data(2, 6)))


def directions_averaged(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """d = 2: the mean over directions is exact on equally spaced angles."""
    for name in reversed(NAMES):
        for width, law in ((width, law) for width in (4, 2, 1) for law in LAWS):
            mean = float(np.mean(_averaged(_circle_sums(name, width), name, law, (2, 6))))
            claimed = _claimed(formula(formulas, name), (2, 6), width, law)
            yield f"{name}, k = {width}, {law}", claimed, mean


DRAWS = {(4, 6): 100_000, (6, 3): 300_000, (3, 10): 60_000}
BLOCK = 10_000


@lru_cache(maxsize=9)
def _drawn(size: int, width: int, name: str, seed: int) -> dict[Any, Any]:
    """Class sums of drawn directions, block by block to bound the memory; no formula enters."""
    A, Sigma = _generic_data(size, 5 * size)
    chain, rng = _chain(WORDS[name], A, Sigma), np.random.default_rng(seed)
    blocks = [
        class_sums(draw_directions(rng, BLOCK, width, size), chain)
        for _ in range(DRAWS[size, width] // BLOCK)
    ]
    return {labels: np.concatenate([b[labels] for b in blocks]) for labels in blocks[0]}


def sampled(size: int, width: int) -> Callable[[Formulas, Setting], Evidence]:
    """Nine comparisons: three moments, each from its own draws, with three readouts."""
    data = (size, 5 * size)

    def run(formulas: Formulas, setting: Setting) -> Evidence:
        figures: dict[str, int | float | str] = {"samples": DRAWS[size, width], "beta": BETA}
        for name in NAMES:
            key = f"wick {size} {width} {name}"
            sums = _drawn(size, width, name, int(setting.generator(key).integers(2**31)))
            for law in LAWS:
                claimed = _claimed(formula(formulas, name), data, width, law)
                samples = _averaged(sums, name, law, data)
                found = compare_samples(samples, claimed, setting.alpha / 9, BETA)
                figures[f"z {name} {law}"] = found.z
                figures[f"detectable {name} {law}"] = found.smallest_discrepancy / found.mean
                if not found.holds:
                    return found.evidence(f"{name}, {law}, d, k = {size}, {width}")
        return Evidence(True, figures)

    return run
