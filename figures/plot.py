"""What a figure shows, as arrays, before it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]

THEORY, NUMERICS = "/theory", "/numerics"
"""Endings of the names of two series that show the same quantity."""


@dataclass(frozen=True, eq=False)
class Series:
    """The points of a line, or points with standard errors.

    Attributes:
        x: Abscissas, shape (P,).
        y: Ordinates, shape (P,).
        error: Standard errors, shape (P,), zero where numerics is exact; None for theory.

    Raises:
        ValueError: If the shapes differ, or a number is NaN or infinite.
    """

    x: Floats
    y: Floats
    error: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y", "error"):
            values = getattr(self, name)
            if values is None:
                continue
            if np.shape(values) != np.shape(self.x) or np.ndim(values) != 1:
                raise ValueError(f"{name} has shape {np.shape(values)}, x {np.shape(self.x)}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} holds NaN or infinite entries, must be finite")

    def at(self, x: Floats) -> Floats:
        """Return the ordinates at abscissas that are among `self.x`.

        Raises:
            ValueError: If one is not; nothing is interpolated.

        >>> Series(np.array([1.0, 2.0]), np.array([3.0, 4.0])).at(np.array([2.0]))
        array([4.])
        """
        where = np.clip(np.searchsorted(self.x, x), 0, len(self.x) - 1)
        if not np.array_equal(self.x[where], x):
            raise ValueError(f"x = {x} must be among the {len(self.x)} abscissas of the series")
        return self.y[where]


Data: TypeAlias = Mapping[str, Series]


@dataclass(frozen=True, eq=False)
class Plot:
    """A figure: its data by name, and how they are drawn.

    Attributes:
        name: slice.figure, as on the command line.
        data: The plotted series. Names end in "/theory" and "/numerics" where a line and points
            show the same quantity; the line then has the points' abscissas among its own.
        paint: Makes the matplotlib figure from the data, within the drawing style.
    """

    name: str
    data: Data
    paint: Callable[[Data], Figure]

    def draw(self) -> Figure:
        """Return the matplotlib figure; global settings stay as they are."""
        from .style import context

        with context():
            return self.paint(self.data)

    def pairs(self) -> Iterator[tuple[str, Series, Series]]:
        """Yield the quantity, its line and its points, for all that are shown as both."""
        for name, points in self.data.items():
            quantity = name.removesuffix(NUMERICS)
            line = self.data.get(quantity + THEORY)
            if quantity != name and line is not None:
                yield quantity, line, points
