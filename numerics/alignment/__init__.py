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
    from .losses import cross_entropy, logistic, squared_error
    from .measure import LayerMatrices, layer_matrices
    from .monte_carlo import (
        InitialAlignment,
        RandomTwoLayer,
        initial_alignment,
        mean_initial_alignment,
        network_mean,
    )
    from .networks import Activation, mlp, two_layer
    from .nfa import LayerAlignment, alignments
    from .ntk import empirical_ntk, parameter_jacobian
    from .speed_limited import SpeedLimitedSGD
    from .training import train_sgd

_HOMES = {
    "Activation": "networks",
    "Flow": "flow",
    "InitialAlignment": "monte_carlo",
    "LayerAlignment": "nfa",
    "LayerMatrices": "measure",
    "RandomTwoLayer": "monte_carlo",
    "SpeedLimitedSGD": "speed_limited",
    "alignments": "nfa",
    "centred_nfa": "correlations",
    "correlation": "correlations",
    "cross_entropy": "losses",
    "displacement_nfa": "correlations",
    "empirical_ntk": "ntk",
    "gradient_flow": "flow",
    "init_removed_nfa": "correlations",
    "initial_alignment": "monte_carlo",
    "layer_matrices": "measure",
    "logistic": "losses",
    "matrix_power_psd": "correlations",
    "mean_initial_alignment": "monte_carlo",
    "mlp": "networks",
    "network_mean": "monte_carlo",
    "parameter_jacobian": "ntk",
    "squared_error": "losses",
    "train_sgd": "training",
    "two_layer": "networks",
    "uncentred_nfa": "correlations",
}

__all__ = [
    "Activation",
    "Flow",
    "InitialAlignment",
    "LayerAlignment",
    "LayerMatrices",
    "RandomTwoLayer",
    "SpeedLimitedSGD",
    "alignments",
    "centred_nfa",
    "correlation",
    "cross_entropy",
    "displacement_nfa",
    "empirical_ntk",
    "gradient_flow",
    "init_removed_nfa",
    "initial_alignment",
    "layer_matrices",
    "logistic",
    "matrix_power_psd",
    "mean_initial_alignment",
    "mlp",
    "network_mean",
    "parameter_jacobian",
    "squared_error",
    "train_sgd",
    "two_layer",
    "uncentred_nfa",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
