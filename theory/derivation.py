"""Derivations as steps that a machine checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True)
class Step:
    """One link of a derivation.

    Attributes:
        idea: The idea of the step in one sentence, formulas in plain text or LaTeX.
        residual: Computes an expression that is 0 if and only if the step holds. It must do its
            own simplification: the step is accepted only when the result *is* the number 0.
    """

    idea: str
    residual: Callable[[], sympy.Expr]

    def check(self) -> StepResult:
        """Run the step."""
        residual = self.residual()
        return StepResult(self.idea, residual, residual == 0)


@dataclass(frozen=True)
class StepResult:
    """What a machine found when it ran a step: the residual, and whether it is exactly 0."""

    idea: str
    residual: sympy.Expr
    holds: bool


@dataclass(frozen=True)
class Derivation:
    """A chain of steps from a definition to a closed form.

    Attributes:
        goal: What is derived, in one sentence.
        steps: The links, in order; the last one compares the claimed formula with the derived one.
        cites: Classical theorems that the steps rest on and that no step checks (for example
            Liouville's theorem), each named.
    """

    goal: str
    steps: tuple[Step, ...]
    cites: tuple[str, ...] = ()

    def check(self) -> tuple[StepResult, ...]:
        """Run every step; the derivation holds if all results do."""
        return tuple(step.check() for step in self.steps)


def first_nonzero(*residuals: sympy.Expr) -> sympy.Expr:
    """Return the first residual that is not 0, or 0 if all of them are.

    Args:
        residuals: Expressions already simplified as far as they go.
    """
    import sympy

    return next((r for r in residuals if r != 0), sympy.Integer(0))
