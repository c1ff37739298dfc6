"""Pieces that the claims of several slices share."""

from __future__ import annotations

import itertools
from typing import Any

from theory.derivation import Derivation

from ..claim import Formulas

BETA = 1e-3
"""The false-pass rate at which simulated legs state the smallest discrepancy they would find."""


def formula(formulas: Formulas, name: str) -> Any:
    """The claimed object of that name, or its mutant."""
    return formulas[name]


def joined(goal: str, *derivations: Derivation) -> Derivation:
    """One derivation with the steps of several."""
    steps = tuple(itertools.chain.from_iterable(d.steps for d in derivations))
    cites = tuple(dict.fromkeys(itertools.chain.from_iterable(d.cites for d in derivations)))
    return Derivation(goal, steps, cites)
