"""Exact risk of kernel ridgeless regression on the grid of the torus (paper F and this project).

The names below are imported when first used, so that importing this package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .finite import Risk, risk
    from .infimum import Floor, floor
    from .kernels import Cauchy, Gaussian, Kernel, Laplace, Matern, Product
    from .limit import LimitRisk, OptimalBandwidth, limit_forms, limit_risk, optimal_bandwidth
    from .spectral import SpectralKernel
    from .splines import spline_constant
    from .threshold import null_threshold

_HOMES = {
    "Floor": "infimum",
    "floor": "infimum",
    "Risk": "finite",
    "risk": "finite",
    "Cauchy": "kernels",
    "Gaussian": "kernels",
    "Kernel": "kernels",
    "Laplace": "kernels",
    "Matern": "kernels",
    "Product": "kernels",
    "SpectralKernel": "spectral",
    "LimitRisk": "limit",
    "OptimalBandwidth": "limit",
    "limit_forms": "limit",
    "limit_risk": "limit",
    "optimal_bandwidth": "limit",
    "spline_constant": "splines",
    "null_threshold": "threshold",
}

__all__ = [
    "Cauchy",
    "Floor",
    "Gaussian",
    "Kernel",
    "Laplace",
    "LimitRisk",
    "Matern",
    "OptimalBandwidth",
    "Product",
    "Risk",
    "SpectralKernel",
    "floor",
    "limit_forms",
    "limit_risk",
    "null_threshold",
    "optimal_bandwidth",
    "risk",
    "spline_constant",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
