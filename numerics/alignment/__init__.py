"""Weights, gradients and their alignment, measured on networks that are actually trained.

The names below are imported when first used, so that importing this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chain import ChainTask, train_on_chain
    from .correlations import (
        centred_nfa,
        correlation,
        displacement_nfa,
        init_removed_nfa,
        matrix_power_psd,
        uncentred_nfa,
    )
    from .data import (
        Images,
        Sample,
        Split,
        centred_onehot,
        chain_monomial,
        classification,
        digits,
        gaussian_inputs,
        low_rank_quadratic,
        power_law_spectrum,
    )
    from .flow import Flow, gradient_flow
    from .images import ImageOptions, cifar, idx, image_folder, svhn
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
    from .protocol import Protocol, train_as_in_paper_c
    from .speed_limited import SpeedLimitedSGD, layer_groups
    from .training import LayerRecord, Record, Training, train_sgd

_HOMES = {
    "Activation": "networks",
    "ChainTask": "chain",
    "Flow": "flow",
    "ImageOptions": "images",
    "Images": "data",
    "InitialAlignment": "monte_carlo",
    "LayerAlignment": "nfa",
    "LayerMatrices": "measure",
    "LayerRecord": "training",
    "Protocol": "protocol",
    "RandomTwoLayer": "monte_carlo",
    "Record": "training",
    "Sample": "data",
    "SpeedLimitedSGD": "speed_limited",
    "Split": "data",
    "Training": "training",
    "alignments": "nfa",
    "centred_nfa": "correlations",
    "centred_onehot": "data",
    "chain_monomial": "data",
    "cifar": "images",
    "classification": "data",
    "correlation": "correlations",
    "cross_entropy": "losses",
    "digits": "data",
    "displacement_nfa": "correlations",
    "empirical_ntk": "ntk",
    "gaussian_inputs": "data",
    "gradient_flow": "flow",
    "idx": "images",
    "image_folder": "images",
    "init_removed_nfa": "correlations",
    "initial_alignment": "monte_carlo",
    "layer_groups": "speed_limited",
    "layer_matrices": "measure",
    "logistic": "losses",
    "low_rank_quadratic": "data",
    "matrix_power_psd": "correlations",
    "mean_initial_alignment": "monte_carlo",
    "mlp": "networks",
    "network_mean": "monte_carlo",
    "parameter_jacobian": "ntk",
    "power_law_spectrum": "data",
    "squared_error": "losses",
    "svhn": "images",
    "train_as_in_paper_c": "protocol",
    "train_on_chain": "chain",
    "train_sgd": "training",
    "two_layer": "networks",
    "uncentred_nfa": "correlations",
}

__all__ = [
    "Activation",
    "ChainTask",
    "Flow",
    "ImageOptions",
    "Images",
    "InitialAlignment",
    "LayerAlignment",
    "LayerMatrices",
    "LayerRecord",
    "Protocol",
    "RandomTwoLayer",
    "Record",
    "Sample",
    "SpeedLimitedSGD",
    "Split",
    "Training",
    "alignments",
    "centred_nfa",
    "centred_onehot",
    "chain_monomial",
    "cifar",
    "classification",
    "correlation",
    "cross_entropy",
    "digits",
    "displacement_nfa",
    "empirical_ntk",
    "gaussian_inputs",
    "gradient_flow",
    "idx",
    "image_folder",
    "init_removed_nfa",
    "initial_alignment",
    "layer_groups",
    "layer_matrices",
    "logistic",
    "low_rank_quadratic",
    "matrix_power_psd",
    "mean_initial_alignment",
    "mlp",
    "network_mean",
    "parameter_jacobian",
    "power_law_spectrum",
    "squared_error",
    "svhn",
    "train_as_in_paper_c",
    "train_on_chain",
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
