"""What happens when one tries: brute force that knows no theory.

The names below are imported when first used, so that importing this package loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outer_gradients import DifferencedAgop, agop, differenced_agop, module_agop

_HOMES = {
    "DifferencedAgop": "outer_gradients",
    "agop": "outer_gradients",
    "differenced_agop": "outer_gradients",
    "module_agop": "outer_gradients",
}

__all__ = ["DifferencedAgop", "agop", "differenced_agop", "module_agop"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
