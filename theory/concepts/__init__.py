"""Detecting and steering Gaussian concepts: exact laws of what probes and shifts do.

Paper A has no theory; this one is this project's. The names below are imported when first used, so
that importing this package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .aggregation import (
        Aggregate,
        aggregated,
        joint_vectors,
        largest_loss,
        layer_gains,
        layer_separations,
        own_vectors,
        stacked_separation,
        weighted_separation,
    )
    from .auc import (
        AUC,
        WORST_SEPARATION,
        best_direction,
        direction_separation,
        largest_auc_loss,
        mean_difference_efficiency,
        predicted_auc,
    )
    from .bayes_scale import agop_scale, agop_scale_ball
    from .class_moments import ClassMoments, moments_of_states
    from .estimated import expected_auc, limiting_auc
    from .gaussian_agop import bayes_agop, discriminant_space, logit_agop
    from .kantorovich import EFFICIENCY, PRICE
    from .layer_scores import equicorrelated_factor, worthwhile_ratio
    from .leakage import in_sample_explained, in_sample_separation
    from .principal import PrincipalDirection, principal_direction, states_weight
    from .product_features import product_bayes_agop, product_scale, product_strengths
    from .product_logistic import product_logistic_agop, product_moments
    from .product_probes import LEAST_PROBE_ERROR, PROBE_ERROR, UNFAIR_AUC
    from .product_roc import AucBounds, bayes_auc_bounds, roc_point
    from .product_scores import EQUAL_AUC, misordered_ball, product_auc, product_error
    from .quadratic_logit import quadratic_logit_agop, quadratic_logit_space
    from .steering import (
        ShiftEffect,
        SteeringPrice,
        concept_rate,
        shift_effect,
        steering_price,
        steering_shift,
    )
    from .thresholds import predicted_accuracy
    from .tilting import TiltedMixture, mixture_shift_divergence, tilted_mixture

_HOMES = {
    "AUC": "auc",
    "Aggregate": "aggregation",
    "AucBounds": "product_roc",
    "ClassMoments": "class_moments",
    "EFFICIENCY": "kantorovich",
    "EQUAL_AUC": "product_scores",
    "LEAST_PROBE_ERROR": "product_probes",
    "PRICE": "kantorovich",
    "PROBE_ERROR": "product_probes",
    "PrincipalDirection": "principal",
    "ShiftEffect": "steering",
    "SteeringPrice": "steering",
    "TiltedMixture": "tilting",
    "UNFAIR_AUC": "product_probes",
    "WORST_SEPARATION": "auc",
    "aggregated": "aggregation",
    "agop_scale": "bayes_scale",
    "agop_scale_ball": "bayes_scale",
    "bayes_agop": "gaussian_agop",
    "bayes_auc_bounds": "product_roc",
    "best_direction": "auc",
    "concept_rate": "steering",
    "direction_separation": "auc",
    "discriminant_space": "gaussian_agop",
    "equicorrelated_factor": "layer_scores",
    "expected_auc": "estimated",
    "in_sample_explained": "leakage",
    "in_sample_separation": "leakage",
    "joint_vectors": "aggregation",
    "largest_auc_loss": "auc",
    "largest_loss": "aggregation",
    "layer_gains": "aggregation",
    "layer_separations": "aggregation",
    "limiting_auc": "estimated",
    "logit_agop": "gaussian_agop",
    "mean_difference_efficiency": "auc",
    "misordered_ball": "product_scores",
    "mixture_shift_divergence": "tilting",
    "moments_of_states": "class_moments",
    "own_vectors": "aggregation",
    "predicted_accuracy": "thresholds",
    "predicted_auc": "auc",
    "principal_direction": "principal",
    "product_auc": "product_scores",
    "product_bayes_agop": "product_features",
    "product_error": "product_scores",
    "product_logistic_agop": "product_logistic",
    "product_moments": "product_logistic",
    "product_scale": "product_features",
    "product_strengths": "product_features",
    "quadratic_logit_agop": "quadratic_logit",
    "quadratic_logit_space": "quadratic_logit",
    "roc_point": "product_roc",
    "shift_effect": "steering",
    "stacked_separation": "aggregation",
    "states_weight": "principal",
    "steering_price": "steering",
    "steering_shift": "steering",
    "tilted_mixture": "tilting",
    "weighted_separation": "aggregation",
    "worthwhile_ratio": "layer_scores",
}

__all__ = [
    "AUC",
    "EFFICIENCY",
    "EQUAL_AUC",
    "LEAST_PROBE_ERROR",
    "PRICE",
    "PROBE_ERROR",
    "UNFAIR_AUC",
    "WORST_SEPARATION",
    "Aggregate",
    "AucBounds",
    "ClassMoments",
    "PrincipalDirection",
    "ShiftEffect",
    "SteeringPrice",
    "TiltedMixture",
    "aggregated",
    "agop_scale",
    "agop_scale_ball",
    "bayes_agop",
    "bayes_auc_bounds",
    "best_direction",
    "concept_rate",
    "direction_separation",
    "discriminant_space",
    "equicorrelated_factor",
    "expected_auc",
    "in_sample_explained",
    "in_sample_separation",
    "joint_vectors",
    "largest_auc_loss",
    "largest_loss",
    "layer_gains",
    "layer_separations",
    "limiting_auc",
    "logit_agop",
    "mean_difference_efficiency",
    "misordered_ball",
    "mixture_shift_divergence",
    "moments_of_states",
    "own_vectors",
    "predicted_accuracy",
    "predicted_auc",
    "principal_direction",
    "product_auc",
    "product_bayes_agop",
    "product_error",
    "product_logistic_agop",
    "product_moments",
    "product_scale",
    "product_strengths",
    "quadratic_logit_agop",
    "quadratic_logit_space",
    "roc_point",
    "shift_effect",
    "stacked_separation",
    "states_weight",
    "steering_price",
    "steering_shift",
    "tilted_mixture",
    "weighted_separation",
    "worthwhile_ratio",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
