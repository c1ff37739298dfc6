"""Deep recursive feature machines, and how collapsed features are.

The names below are imported when first used, so that importing this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .estimator import DeepRFM, LayerCollapse
    from .feature_maps import FeatureMap, draw_feature_map
    from .layers import collapse_of_layers
    from .linearised import LinearisedRun, linearised_deep_rfm
    from .machine import DeepLayer, DeepMachine, DeepRecipe, LayerFeatures, fit_deep_rfm
    from .metrics import Collapse, collapse_of, nc1, nc2
    from .singular import (
        SingularCollapse,
        singular_collapse,
        singular_map,
        train_and_measure_collapse,
    )

_HOMES = {
    "Collapse": "metrics",
    "DeepLayer": "machine",
    "DeepMachine": "machine",
    "DeepRFM": "estimator",
    "DeepRecipe": "machine",
    "FeatureMap": "feature_maps",
    "LayerCollapse": "estimator",
    "LayerFeatures": "machine",
    "LinearisedRun": "linearised",
    "SingularCollapse": "singular",
    "collapse_of": "metrics",
    "collapse_of_layers": "layers",
    "draw_feature_map": "feature_maps",
    "fit_deep_rfm": "machine",
    "linearised_deep_rfm": "linearised",
    "nc1": "metrics",
    "nc2": "metrics",
    "singular_collapse": "singular",
    "singular_map": "singular",
    "train_and_measure_collapse": "singular",
}

__all__ = [
    "Collapse",
    "DeepLayer",
    "DeepMachine",
    "DeepRFM",
    "DeepRecipe",
    "FeatureMap",
    "LayerCollapse",
    "LayerFeatures",
    "LinearisedRun",
    "SingularCollapse",
    "collapse_of",
    "collapse_of_layers",
    "draw_feature_map",
    "fit_deep_rfm",
    "linearised_deep_rfm",
    "nc1",
    "nc2",
    "singular_collapse",
    "singular_map",
    "train_and_measure_collapse",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
