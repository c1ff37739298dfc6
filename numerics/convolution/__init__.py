"""Convolutional recursive feature machines, and the patch-AGOP of convolutional networks.

The names below are imported when first used, so that importing this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cnn import DigitsProtocol, TrainedNetwork, convolutional_network, train_on_digits
    from .cntk import ConvolutionalNTK
    from .conv_estimators import ConvRFMClassifier, ConvRFMRegressor
    from .conv_rfm import ConvMachine, ConvRecipe, ConvRound, fit_conv_rfm
    from .data import (
        LabelledImages,
        bars,
        digits_images,
        labelled_images,
        noisy_digits,
        patch_toy,
        star_images,
    )
    from .deep_conv_rfm import ConvRFMTransformer, random_convolution
    from .eigenpatches import leading_patches
    from .filters import FilterMatrices, filter_matrices
    from .patch_gradients import patch_agop_of_kernel_machine
    from .patches import Patches

_HOMES = {
    "ConvMachine": "conv_rfm",
    "ConvRFMClassifier": "conv_estimators",
    "ConvRFMRegressor": "conv_estimators",
    "ConvRFMTransformer": "deep_conv_rfm",
    "ConvRecipe": "conv_rfm",
    "ConvRound": "conv_rfm",
    "ConvolutionalNTK": "cntk",
    "DigitsProtocol": "cnn",
    "FilterMatrices": "filters",
    "LabelledImages": "data",
    "Patches": "patches",
    "TrainedNetwork": "cnn",
    "bars": "data",
    "convolutional_network": "cnn",
    "digits_images": "data",
    "filter_matrices": "filters",
    "fit_conv_rfm": "conv_rfm",
    "labelled_images": "data",
    "leading_patches": "eigenpatches",
    "noisy_digits": "data",
    "patch_agop_of_kernel_machine": "patch_gradients",
    "patch_toy": "data",
    "random_convolution": "deep_conv_rfm",
    "star_images": "data",
    "train_on_digits": "cnn",
}

__all__ = [
    "ConvMachine",
    "ConvRFMClassifier",
    "ConvRFMRegressor",
    "ConvRFMTransformer",
    "ConvRecipe",
    "ConvRound",
    "ConvolutionalNTK",
    "DigitsProtocol",
    "FilterMatrices",
    "LabelledImages",
    "Patches",
    "TrainedNetwork",
    "bars",
    "convolutional_network",
    "digits_images",
    "filter_matrices",
    "fit_conv_rfm",
    "labelled_images",
    "leading_patches",
    "noisy_digits",
    "patch_agop_of_kernel_machine",
    "patch_toy",
    "random_convolution",
    "star_images",
    "train_on_digits",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
