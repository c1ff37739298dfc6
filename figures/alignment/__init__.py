"""Figures of the alignment slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..plot import Plot

FIGURES: Mapping[str, Callable[[], Plot]] = {}
