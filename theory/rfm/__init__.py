"""AGOP and recursive feature machines in closed form (papers E, L, G and this project).

The names below are imported when first used, so that importing this package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dependence import index_space
    from .gaussian_means import gaussian_mean
    from .grokking import (
        answer_matrix,
        modular_agop,
        modular_kernel_spectrum,
        modular_predictor,
        multiplication_algorithm,
    )
    from .hermite import hermite_agop, hermite_coefficients, slope_energy
    from .jumps import gated_product_agop, threshold_energy
    from .kernel_profiles import InnerProductKernel, RadialKernel, kernel, polynomial_kernel
    from .lin_rfm import depth_power, lin_rfm_multiplier, schatten_exponent, schatten_penalty
    from .linear_machine import linear_agop, ridge_vector
    from .machine_gradients import kernel_agop, kernel_gradients
    from .one_step import FirstStep, first_step
    from .population import multi_index_agop, population_agop, single_index_agop
    from .ridge_value import agop_of_ridge_solution, optimal_ridge_value, ridge_value_gradient

_HOMES = {
    "FirstStep": "one_step",
    "InnerProductKernel": "kernel_profiles",
    "RadialKernel": "kernel_profiles",
    "agop_of_ridge_solution": "ridge_value",
    "answer_matrix": "grokking",
    "depth_power": "lin_rfm",
    "first_step": "one_step",
    "gated_product_agop": "jumps",
    "gaussian_mean": "gaussian_means",
    "hermite_agop": "hermite",
    "hermite_coefficients": "hermite",
    "index_space": "dependence",
    "kernel": "kernel_profiles",
    "kernel_agop": "machine_gradients",
    "kernel_gradients": "machine_gradients",
    "lin_rfm_multiplier": "lin_rfm",
    "linear_agop": "linear_machine",
    "modular_agop": "grokking",
    "modular_kernel_spectrum": "grokking",
    "modular_predictor": "grokking",
    "multi_index_agop": "population",
    "multiplication_algorithm": "grokking",
    "optimal_ridge_value": "ridge_value",
    "polynomial_kernel": "kernel_profiles",
    "population_agop": "population",
    "ridge_value_gradient": "ridge_value",
    "ridge_vector": "linear_machine",
    "schatten_exponent": "lin_rfm",
    "schatten_penalty": "lin_rfm",
    "single_index_agop": "population",
    "slope_energy": "hermite",
    "threshold_energy": "jumps",
}

__all__ = [
    "FirstStep",
    "InnerProductKernel",
    "RadialKernel",
    "agop_of_ridge_solution",
    "answer_matrix",
    "depth_power",
    "first_step",
    "gated_product_agop",
    "gaussian_mean",
    "hermite_agop",
    "hermite_coefficients",
    "index_space",
    "kernel",
    "kernel_agop",
    "kernel_gradients",
    "lin_rfm_multiplier",
    "linear_agop",
    "modular_agop",
    "modular_kernel_spectrum",
    "modular_predictor",
    "multi_index_agop",
    "multiplication_algorithm",
    "optimal_ridge_value",
    "polynomial_kernel",
    "population_agop",
    "ridge_value_gradient",
    "ridge_vector",
    "schatten_exponent",
    "schatten_penalty",
    "single_index_agop",
    "slope_energy",
    "threshold_energy",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
