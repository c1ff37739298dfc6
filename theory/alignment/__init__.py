"""Early-time dynamics of the Neural Feature Ansatz (papers C, T, FACT and this project).

The names below are imported when first used, so that importing this package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .activation_kernels import ActivationKernel, activation_kernel
    from .activations import Activation, activation
    from .balanced import balance_defect, balanced_exponent, balanced_weights
    from .bound import alignment_bound, condition_number_on_range, extremal_pair
    from .centring import (
        Preset,
        agop_from_gradients,
        agop_from_ptk,
        agop_less_joint_mean,
        agop_less_mean_of_each_output,
        agop_of_change,
        change_from_initial,
        deep_linear_preset,
        evaluate,
        less_mean_entry,
        nfm,
        nfm_of_change,
        preset,
    )
    from .correlations import correlation, matrix_power_psd
    from .early_symbolic import SymbolicEarlyTime, early_time_symbolic
    from .equivalence import alignment_defect, compressed_features
    from .expansion import EarlyTime, correlation_slope, early_time
    from .expected import (
        AlignmentMoments,
        alignment_moments,
        expected_alignment,
        expected_moments,
        wide_alignment,
    )
    from .fact import fact_defect, fact_matrix
    from .high_dimension import (
        LeastAlignment,
        finite_alignment,
        high_dimensional_alignment,
        least_alignment,
    )
    from .infinite_width import infinite_width_alignment
    from .modes import Modes, linear_modes, mode_correlation, mode_strength
    from .orthant import Counterexample, counterexample, counterexample_alignment
    from .quadratic import QuadraticMatrices, input_matrices, quadratic_matrices
    from .reversal import ReversingData, reversed_alignment, reversing_data, reversing_label_ratio
    from .weight_decay import decayed_imbalance, imbalance
    from .wick import expectation

_HOMES = {
    "Activation": "activations",
    "ActivationKernel": "activation_kernels",
    "AlignmentMoments": "expected",
    "Counterexample": "orthant",
    "EarlyTime": "expansion",
    "LeastAlignment": "high_dimension",
    "Modes": "modes",
    "Preset": "centring",
    "QuadraticMatrices": "quadratic",
    "ReversingData": "reversal",
    "SymbolicEarlyTime": "early_symbolic",
    "activation": "activations",
    "activation_kernel": "activation_kernels",
    "agop_from_gradients": "centring",
    "agop_from_ptk": "centring",
    "agop_less_joint_mean": "centring",
    "agop_less_mean_of_each_output": "centring",
    "agop_of_change": "centring",
    "alignment_bound": "bound",
    "alignment_defect": "equivalence",
    "alignment_moments": "expected",
    "balance_defect": "balanced",
    "balanced_exponent": "balanced",
    "balanced_weights": "balanced",
    "change_from_initial": "centring",
    "compressed_features": "equivalence",
    "condition_number_on_range": "bound",
    "correlation": "correlations",
    "correlation_slope": "expansion",
    "counterexample": "orthant",
    "counterexample_alignment": "orthant",
    "decayed_imbalance": "weight_decay",
    "deep_linear_preset": "centring",
    "early_time": "expansion",
    "early_time_symbolic": "early_symbolic",
    "evaluate": "centring",
    "expectation": "wick",
    "expected_alignment": "expected",
    "expected_moments": "expected",
    "extremal_pair": "bound",
    "fact_defect": "fact",
    "fact_matrix": "fact",
    "finite_alignment": "high_dimension",
    "high_dimensional_alignment": "high_dimension",
    "imbalance": "weight_decay",
    "infinite_width_alignment": "infinite_width",
    "input_matrices": "quadratic",
    "least_alignment": "high_dimension",
    "less_mean_entry": "centring",
    "linear_modes": "modes",
    "matrix_power_psd": "correlations",
    "mode_correlation": "modes",
    "mode_strength": "modes",
    "nfm": "centring",
    "nfm_of_change": "centring",
    "preset": "centring",
    "quadratic_matrices": "quadratic",
    "reversed_alignment": "reversal",
    "reversing_data": "reversal",
    "reversing_label_ratio": "reversal",
    "wide_alignment": "expected",
}

__all__ = [
    "Activation",
    "ActivationKernel",
    "AlignmentMoments",
    "Counterexample",
    "EarlyTime",
    "LeastAlignment",
    "Modes",
    "Preset",
    "QuadraticMatrices",
    "ReversingData",
    "SymbolicEarlyTime",
    "activation",
    "activation_kernel",
    "agop_from_gradients",
    "agop_from_ptk",
    "agop_less_joint_mean",
    "agop_less_mean_of_each_output",
    "agop_of_change",
    "alignment_bound",
    "alignment_defect",
    "alignment_moments",
    "balance_defect",
    "balanced_exponent",
    "balanced_weights",
    "change_from_initial",
    "compressed_features",
    "condition_number_on_range",
    "correlation",
    "correlation_slope",
    "counterexample",
    "counterexample_alignment",
    "decayed_imbalance",
    "deep_linear_preset",
    "early_time",
    "early_time_symbolic",
    "evaluate",
    "expectation",
    "expected_alignment",
    "expected_moments",
    "extremal_pair",
    "fact_defect",
    "fact_matrix",
    "finite_alignment",
    "high_dimensional_alignment",
    "imbalance",
    "infinite_width_alignment",
    "input_matrices",
    "least_alignment",
    "less_mean_entry",
    "linear_modes",
    "matrix_power_psd",
    "mode_correlation",
    "mode_strength",
    "nfm",
    "nfm_of_change",
    "preset",
    "quadratic_matrices",
    "reversed_alignment",
    "reversing_data",
    "reversing_label_ratio",
    "wide_alignment",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
