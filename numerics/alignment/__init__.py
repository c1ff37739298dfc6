"""Weights, gradients and their alignment, measured on networks that are actually trained.

The names below are imported when first used, so that importing this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .correlations import (
        centred_nfa,
        correlation,
        displacement_nfa,
        init_removed_nfa,
        matrix_power_psd,
        uncentred_nfa,
    )
    from .flow import Flow, gradient_flow
    from .measure import LayerMatrices, layer_matrices
    from .networks import Activation, mlp, two_layer

_HOMES = {
    "Activation": "networks",
    "Flow": "flow",
    "LayerMatrices": "measure",
    "centred_nfa": "correlations",
    "correlation": "correlations",
    "displacement_nfa": "correlations",
    "gradient_flow": "flow",
    "init_removed_nfa": "correlations",
    "layer_matrices": "measure",
    "matrix_power_psd": "correlations",
    "mlp": "networks",
    "two_layer": "networks",
    "uncentred_nfa": "correlations",
}

__all__ = [
    "Activation",
    "Flow",
    "LayerMatrices",
    "centred_nfa",
    "correlation",
    "displacement_nfa",
    "gradient_flow",
    "init_removed_nfa",
    "layer_matrices",
    "matrix_power_psd",
    "mlp",
    "two_layer",
    "uncentred_nfa",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
