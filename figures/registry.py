"""All figures by name: the slice, a dot, and the figure."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from .plot import Plot

SLICES = ("ridgeless", "alignment", "rfm", "convolution", "collapse", "concepts")
"""Modules figures.<slice>; each has FIGURES, a mapping from name to function."""

Maker: TypeAlias = Callable[[], Plot]


class UnknownFigureError(ValueError):
    """No figure or slice has this name."""


def load() -> dict[str, Maker]:
    """Return the functions that make the figures, by full name, in the order of the slices."""
    modules = {name: importlib.import_module(f".{name}", __package__) for name in SLICES}
    return {
        f"{name}.{figure}": maker
        for name, module in modules.items()
        for figure, maker in module.FIGURES.items()
    }


def select(figures: Mapping[str, Maker], names: Sequence[str]) -> list[str]:
    """Return the full names that are meant by slices and full names; all, if none are given.

    Raises:
        UnknownFigureError: If a name is neither.
    """
    for name in names:
        if name not in figures and name not in SLICES:
            allowed = ", ".join((*SLICES, *figures))
            raise UnknownFigureError(f"unknown figure {name!r}; allowed: {allowed}")
    return [f for f in figures if not names or f in names or f.split(".")[0] in names]
