"""Patch-AGOP of convolutional machines in closed form (paper D and this project).

The names below are imported when first used, so that importing this package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .expected_filters import (
        expected_filter_covariance,
        expected_patch_agop,
        filter_covariance_spread,
        readout_moments,
    )
    from .first_filters import FilterStep, one_step_filters
    from .gaussian_filters import gaussian_patch_agop
    from .kernel_patches import patch_agop, patch_gradients
    from .symmetries import carried_agop, carried_metric
    from .wide_filters import wide_patch_agop

_HOMES = {
    "FilterStep": "first_filters",
    "carried_agop": "symmetries",
    "carried_metric": "symmetries",
    "expected_filter_covariance": "expected_filters",
    "expected_patch_agop": "expected_filters",
    "filter_covariance_spread": "expected_filters",
    "gaussian_patch_agop": "gaussian_filters",
    "one_step_filters": "first_filters",
    "patch_agop": "kernel_patches",
    "patch_gradients": "kernel_patches",
    "readout_moments": "expected_filters",
    "wide_patch_agop": "wide_filters",
}

__all__ = [
    "FilterStep",
    "carried_agop",
    "carried_metric",
    "expected_filter_covariance",
    "expected_patch_agop",
    "filter_covariance_spread",
    "gaussian_patch_agop",
    "one_step_filters",
    "patch_agop",
    "patch_gradients",
    "readout_moments",
    "wide_patch_agop",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
