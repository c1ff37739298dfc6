"""Recursive feature machines: kernel machines that learn their metric.

The names below are imported when first used, so that importing this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .data import (
        MultiIndex,
        choose_classes,
        gated_low_rank,
        product,
        quadratic_low_rank,
        side_by_side,
        spurious_square,
        two_thresholds,
    )
    from .estimators import RFMClassifier, RFMRegressor
    from .iterative import ConvergenceError, SolveInfo, solve
    from .kernel_agop import agop_of_kernel_machine
    from .kernel_base import Kernel
    from .kernels import kernel_by_name
    from .learned_metric import Metric, metric_from_agop
    from .machine import Machine, Recipe, Round, fit_rfm
    from .presets import Preset, preset
    from .tables import Table, arff_table, bundled_table, openml_table
    from .tiles import TiledKernel, streaming_agop

_HOMES = {
    "ConvergenceError": "iterative",
    "Kernel": "kernel_base",
    "Machine": "machine",
    "Metric": "learned_metric",
    "MultiIndex": "data",
    "Preset": "presets",
    "RFMClassifier": "estimators",
    "RFMRegressor": "estimators",
    "Recipe": "machine",
    "Round": "machine",
    "SolveInfo": "iterative",
    "Table": "tables",
    "TiledKernel": "tiles",
    "agop_of_kernel_machine": "kernel_agop",
    "arff_table": "tables",
    "bundled_table": "tables",
    "choose_classes": "data",
    "fit_rfm": "machine",
    "gated_low_rank": "data",
    "kernel_by_name": "kernels",
    "metric_from_agop": "learned_metric",
    "openml_table": "tables",
    "preset": "presets",
    "product": "data",
    "quadratic_low_rank": "data",
    "side_by_side": "data",
    "solve": "iterative",
    "spurious_square": "data",
    "streaming_agop": "tiles",
    "two_thresholds": "data",
}

__all__ = [
    "ConvergenceError",
    "Kernel",
    "Machine",
    "Metric",
    "MultiIndex",
    "Preset",
    "RFMClassifier",
    "RFMRegressor",
    "Recipe",
    "Round",
    "SolveInfo",
    "Table",
    "TiledKernel",
    "agop_of_kernel_machine",
    "arff_table",
    "bundled_table",
    "choose_classes",
    "fit_rfm",
    "gated_low_rank",
    "kernel_by_name",
    "metric_from_agop",
    "openml_table",
    "preset",
    "product",
    "quadratic_low_rank",
    "side_by_side",
    "solve",
    "spurious_square",
    "streaming_agop",
    "two_thresholds",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
