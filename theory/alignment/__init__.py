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

_MODULES = {
    "activation_kernels": ("ActivationKernel", "activation_kernel"),
    "activations": ("Activation", "activation"),
    "balanced": ("balance_defect", "balanced_exponent", "balanced_weights"),
    "bound": ("alignment_bound", "condition_number_on_range", "extremal_pair"),
    "centring": (
        "Preset",
        "agop_from_gradients",
        "agop_from_ptk",
        "agop_less_joint_mean",
        "agop_less_mean_of_each_output",
        "agop_of_change",
        "change_from_initial",
        "deep_linear_preset",
        "evaluate",
        "less_mean_entry",
        "nfm",
        "nfm_of_change",
        "preset",
    ),
    "correlations": ("correlation", "matrix_power_psd"),
    "early_symbolic": ("SymbolicEarlyTime", "early_time_symbolic"),
    "equivalence": ("alignment_defect", "compressed_features"),
    "expansion": ("EarlyTime", "correlation_slope", "early_time"),
    "expected": (
        "AlignmentMoments",
        "alignment_moments",
        "expected_alignment",
        "expected_moments",
        "wide_alignment",
    ),
    "fact": ("fact_defect", "fact_matrix"),
    "high_dimension": (
        "LeastAlignment",
        "finite_alignment",
        "high_dimensional_alignment",
        "least_alignment",
    ),
    "infinite_width": ("infinite_width_alignment",),
    "modes": ("Modes", "linear_modes", "mode_correlation", "mode_strength"),
    "orthant": ("Counterexample", "counterexample", "counterexample_alignment"),
    "quadratic": ("QuadraticMatrices", "input_matrices", "quadratic_matrices"),
    "reversal": (
        "ReversingData",
        "reversed_alignment",
        "reversing_data",
        "reversing_label_ratio",
    ),
    "weight_decay": ("decayed_imbalance", "imbalance"),
    "wick": ("expectation",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
