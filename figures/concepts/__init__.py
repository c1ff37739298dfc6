"""Figures of the slice `concepts`: probes that detect in a real encoder, shifts that steer."""

from __future__ import annotations

from .control import control
from .layers import layers
from .scores import scores
from .trade_off import trade_off

FIGURES = {"layers": layers, "scores": scores, "control": control, "trade_off": trade_off}

__all__ = ["FIGURES", "control", "layers", "scores", "trade_off"]
