"""Deep neural collapse by the AGOP in closed form (paper B and this project).

The names below are imported when first used, so that importing this package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .best_kernel import collapsed_kernel, kernel_value, least_kernel_value
    from .fixed_points import FixedPoint, fixed_point, fixed_point_eigenvalues
    from .metrics import nc1, nc2
    from .rates import angle_bound, angle_rate, eigenvalue_rate
    from .recursion import Contraction, contraction, gram_map
    from .singular import singular_features

_HOMES = {
    "Contraction": "recursion",
    "FixedPoint": "fixed_points",
    "angle_bound": "rates",
    "angle_rate": "rates",
    "collapsed_kernel": "best_kernel",
    "contraction": "recursion",
    "eigenvalue_rate": "rates",
    "fixed_point": "fixed_points",
    "fixed_point_eigenvalues": "fixed_points",
    "gram_map": "recursion",
    "kernel_value": "best_kernel",
    "least_kernel_value": "best_kernel",
    "nc1": "metrics",
    "nc2": "metrics",
    "singular_features": "singular",
}

__all__ = [
    "Contraction",
    "FixedPoint",
    "angle_bound",
    "angle_rate",
    "collapsed_kernel",
    "contraction",
    "eigenvalue_rate",
    "fixed_point",
    "fixed_point_eigenvalues",
    "gram_map",
    "kernel_value",
    "least_kernel_value",
    "nc1",
    "nc2",
    "singular_features",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
