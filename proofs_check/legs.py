"""Ready-made legs: a derivation checked step by step, and digits agreed at given points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from numbers import Complex, Integral, Real
from typing import Any

from flint import acb, arb, ctx, fmpq

from theory.derivation import Derivation

from .claim import Budget, Evidence, Formulas, Kind, Leg, Setting

Case = tuple[str, object, object]
"""A point described in words, the value to be judged there, and the reference."""


@dataclass(frozen=True)
class DerivationRun:
    """Checks a derivation of the claimed formulas: what a derivation leg runs."""

    factory: Callable[..., Derivation]
    reads: tuple[str, ...]

    def derivation(self, formulas: Formulas) -> Derivation:
        """The derivation for given formulas, in the order in which it takes them."""
        return self.factory(*(formulas[name] for name in self.reads))

    def __call__(self, formulas: Formulas, setting: Setting) -> Evidence:
        """Check the steps, the last one first, up to the first that fails.

        The last step compares the claimed formula with the derived one: there a mutant fails.
        """
        del setting
        derivation = self.derivation(formulas)
        if not derivation.steps:
            raise ValueError("the derivation has no steps, so it shows nothing")
        counts = {"steps": len(derivation.steps), "cited_theorems": len(derivation.cites)}
        for step in reversed(derivation.steps):
            result = step.check()
            if result.holds is not True:
                residual = str(result.residual)[:200]
                detail = f"the step {result.idea!r} leaves {residual}"
                return Evidence(False, {**counts, "residual": residual}, detail)
        return Evidence(True, {**counts, "residual": 0})


def derivation_leg(
    name: str,
    derivation_factory: Callable[..., Derivation],
    reads: tuple[str, ...],
    whole: bool = False,
    budget: Budget = Budget.FAST,
    on_mutants: bool = True,
) -> Leg:
    """An exact leg that checks a derivation.

    Args:
        name: The leg's name.
        derivation_factory: Makes the derivation from the claimed formulas, given in the order of
            `reads`. It must compare them with the derived ones: mutants come the same way.
        reads: Names of these formulas.
        whole: The derivation covers the whole statement.
        budget: The budget that it needs.
        on_mutants: Whether it runs on mutants.
    """
    run = DerivationRun(derivation_factory, reads)
    return Leg(name, Kind.EXACT, run, reads, whole, budget, on_mutants)


def digits_leg(
    name: str,
    cases: Callable[[Formulas, Setting], Iterable[Case]],
    reads: tuple[str, ...],
    digits: int,
    budget: Budget = Budget.FAST,
    on_mutants: bool = True,
) -> Leg:
    """A direct leg: values agree with independent references to so many digits, at every point.

    Args:
        name: The leg's name.
        cases: Yields (point, value, reference); at least one. The value comes from the given
            formulas, the reference from evaluating the definition.
        reads: Names of the formulas that it evaluates.
        digits: Decimal digits that must agree.
        budget: The budget that it needs.
        on_mutants: Whether it runs on mutants.
    """

    def run(formulas: Formulas, setting: Setting) -> Evidence:
        return every_agreement(cases(formulas, setting), digits)

    return Leg(name, Kind.DIRECT, run, reads, False, budget, on_mutants)


def every_agreement(cases: Iterable[Case], digits: int) -> Evidence:
    """Whether all cases agree, up to the first that does not; the fewest digits are recorded.

    Raises:
        ValueError: There are no cases: what compares nothing must not pass.
    """
    fewest, points = math.inf, 0
    for point, value, reference in cases:
        points += 1
        found = agreement(value, reference, digits)
        fewest = min(fewest, float(found.figures["digits"]))
        if not found.holds:
            return Evidence(False, {"digits": fewest, "points": points}, f"{point}: {found.detail}")
    if not points:
        raise ValueError("there are no cases to compare")
    return Evidence(True, {"digits": fewest, "points": points})


def agreement(value: object, reference: object, digits: int) -> Evidence:
    """Whether two numbers agree to so many decimal digits: |value - reference| / |reference|.

    Both are taken as balls (a float, an mpf or a fraction is a point), and the bound on the
    relative difference includes the radii: a ball wider than the required digits never agrees,
    although it overlaps everything. NaN never agrees, nor does anything with a reference of 0,
    which has no relative digits.

    Args:
        value: int, float, Fraction, mpmath.mpf, SymPy constant, flint arb, fmpz or fmpq.
        reference: As `value`.
        digits: Digits that must agree, at least 1.

    Raises:
        TypeError: A number is of another type.
        ValueError: A number is complex, or digits is less than 1.
    """
    if digits < 1:
        raise ValueError(f"digits is {digits}; at least 1 is allowed")
    with ctx.workprec(math.ceil(3.33 * digits) + 64):
        left, right = ball(value), ball(reference)
        bound = _relative_difference(left, right)
        agreed = _decimals(bound, digits + 15)
        holds = bool(bound <= arb(10) ** -digits)
        detail = (
            f"{left.str(digits + 5, more=True)} against {right.str(digits + 5, more=True)}: "
            f"{agreed:.1f} digits agree, {digits} are required"
        )
    return Evidence(holds, {"digits": round(agreed, 1)}, "" if holds else detail)


def ball(number: object) -> arb:
    """A number as a ball that contains it: a point if its type is exact, else the ball itself.

    A float is the binary fraction that it is: `ball(0.1)` does not contain 1/10, `ball(Fraction(1,
    10))` does. A SymPy constant that is no rational is evaluated by SymPy, to flint's precision.

    Raises:
        TypeError: The type is none of those that `agreement` lists.
        ValueError: The number is complex.
    """
    if isinstance(number, arb):
        return number
    if isinstance(number, Fraction):
        return arb(fmpq(number.numerator, number.denominator))
    if number is None or isinstance(number, bool | str):  # flint takes None for 0
        raise TypeError(f"{number!r} is of type {type(number).__name__}; a real number is allowed")
    if isinstance(number, acb) or (isinstance(number, Complex) and not isinstance(number, Real)):
        raise ValueError(f"{number} is complex; a real number is allowed")
    other: Any = number
    if getattr(number, "is_number", False):  # SymPy's, which need not be imported here
        return _sympy_ball(other)
    return arb(int(other) if isinstance(number, Integral) else other)


def _sympy_ball(constant: Any) -> arb:
    if constant.is_Rational:
        return arb(fmpq(int(constant.p), int(constant.q)))
    value = constant.evalf(ctx.dps)
    if value.is_Float:
        return arb(value)
    raise ValueError(f"{constant} is {value}, which is no finite real number")


def _relative_difference(value: arb, reference: arb) -> arb:
    """Upper bound of |value - reference| / |reference|; infinite or NaN if there is none."""
    return (value - reference).abs_upper() / reference.abs_lower()


def _decimals(bound: arb, most: int) -> float:
    """-log10 of the bound; -inf if it is no number, and `most` at the best."""
    if not bound.is_finite():
        return -math.inf
    if bound <= arb(10) ** -most:
        return float(most)
    return float((-bound.log() / arb(10).log()).mid())
