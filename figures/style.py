"""The drawing style: sizes of a paper's column, colours that survive colour blindness and grey.

Nothing here touches matplotlib's global settings or its pyplot state.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import matplotlib
import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .plot import Series

TEXT_WIDTH = 5.5
"""Inches between the margins of a single-column paper."""

ERROR_BARS = 2.0
"""Error bars reach this many standard errors up and down."""

# Colours of Okabe and Ito, in the order of their luminance.
BLACK, BLUE, VERMILLION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE = "#CC79A7", "#56B4E9", "#E69F00"
GREY = "#777777"

SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelpad": 2.0,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 4.0,
    "axes.titlesize": 8,
    "errorbar.capsize": 1.5,
    "figure.dpi": 100,
    "font.family": "STIXGeneral",
    "font.size": 8,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.4,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.2,
    "mathtext.fontset": "stix",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "svg.hashsalt": "agop-theory",
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
}


def context() -> AbstractContextManager[None]:
    """The style, on top of matplotlib's defaults rather than the user's; undone on leaving."""
    return matplotlib.style.context(SETTINGS, after_reset=True)


Dashes: TypeAlias = Literal["-", "none"] | tuple[float, tuple[float, ...]]

SOLID: Dashes = "-"
DASHED: Dashes = (0, (4, 1.5))
DOTTED: Dashes = (0, (1, 1.2))
DASH_DOT: Dashes = (0, (5, 1.2, 1, 1.2))
LONG_DASHED: Dashes = (0, (8, 2))


@dataclass(frozen=True)
class Look:
    """How one thing looks wherever it is drawn: it differs from others even without colour."""

    colour: str
    dashes: Dashes
    marker: str
    filled: bool = False
    size: float = 3.6

    @property
    def face(self) -> str:
        """The colour inside the marker: white, so that lines show where they pass."""
        return self.colour if self.filled else "white"


def canvas(
    height: float, columns: int, *, share_y: bool = False, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as the text with a row of panels."""
    figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
    panels = figure.subplots(1, columns, sharey=share_y, squeeze=False, width_ratios=ratios)
    return figure, list(panels[0])


def line(axes: Axes, series: Series, look: Look) -> None:
    """Draw theory."""
    axes.plot(series.x, series.y, color=look.colour, linestyle=look.dashes)


def points(axes: Axes, series: Series, look: Look) -> None:
    """Draw numerics, with bars where there is an error."""
    error = None if series.error is None else ERROR_BARS * series.error
    axes.errorbar(
        series.x,
        series.y,
        error,
        color=look.colour,
        linestyle="none",
        marker=look.marker,
        markerfacecolor=look.face,
        markeredgewidth=0.8,
        markersize=look.size,
        elinewidth=0.8,
        zorder=3,
    )


def handle(look: Look, label: str, *, shows: Literal["both", "line", "points"] = "both") -> Line2D:
    """An entry of a legend: the line, the marker, or both."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle="none" if shows == "points" else look.dashes,
        marker="" if shows == "line" else look.marker,
        markerfacecolor=look.face,
        markeredgewidth=0.8,
        markersize=look.size,
        label=label,
    )


LINES_AND_POINTS = f"lines: theory   points: numerics, bars ± {ERROR_BARS:g} standard errors"


def legend_above(
    figure: Figure, handles: Sequence[Artist], columns: int, says: str = LINES_AND_POINTS
) -> None:
    """Put a legend above the panels, where it covers nothing, and what is seen above it."""
    figure.legend(
        handles=list(handles),
        loc="outside upper center",
        ncols=columns,
        columnspacing=1.4,
        title=says,
        title_fontsize=7,
    )


def title(axes: Axes, index: int, text: str) -> None:
    """Write the panel's letter and what it shows."""
    axes.set_title(rf"$\mathbf{{{'abcdef'[index]}}}$   {text}")
