"""The closed form: a formula that carries its own evaluators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from . import arbitrary, balls, jets
from .arguments import Domain, exact
from .enclosure import Encloser
from .panels import PanelTable
from .program import Program, compile_expression


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """A formula in one real variable on an open interval, and four ways to evaluate it.

    Attributes:
        name: Dotted name, for example ``ridgeless.laplace.estimation``.
        expression: The formula, without Float atoms.
        variable: Its one variable.
        domain: The open interval (lo, hi) on which it holds.
        source: Paper letter or "this project".

    Raises:
        TypeError: If the expression has Float atoms, other symbols or unknown functions.

    Example:
        >>> s = sympy.Symbol("s", positive=True)
        >>> variance = ClosedForm("V", sympy.coth(s) / s - sympy.csch(s) ** 2, s, (0, sympy.oo))
        >>> variance(1e-300)
        0.6666666666666666
    """

    name: str
    expression: sympy.Expr
    variable: sympy.Symbol
    domain: tuple[sympy.Expr, sympy.Expr]
    source: str = "this project"
    _program: Program = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse at once what could not be evaluated later."""
        expression = sympy.sympify(self.expression)
        domain = tuple(sympy.sympify(bound) for bound in self.domain)
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "domain", domain)
        object.__setattr__(self, "_program", compile_expression(expression, self.variable))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields and not the compiled functions."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def latex(self) -> str:
        """Return the formula in LaTeX."""
        return str(sympy.latex(self.expression))

    def __call__(self, x: Any) -> Any:
        """Return f(x): correctly rounded for a scalar, within 4 ulp for each element of an array.

        Args:
            x: int, float, Fraction or str ('0.1', '1/3'), all taken exactly, or a real array.

        Raises:
            ValueError: If x, or an element of it, is not finite or outside the domain.
            OverflowError: If f(x) is larger than every double.
            ArithmeticError: If f(x) cannot be told from a tie between two doubles.
        """
        if isinstance(x, np.ndarray):
            return self._panels(x)
        return self._nearest(self._point(x))

    def mp(self, x: Any, dps: int) -> Any:
        """Return f(x) to dps digits as an mpf, computed by mpmath in a context of its own."""
        if not isinstance(dps, int) or dps < 1:
            raise ValueError(f"dps = {dps!r}; allowed: an int of at least 1")
        point = self._point(x)
        prec, _ = balls.accurate(self._evaluate, point, int(3.33 * dps) + 8, self.name)
        return arbitrary.evaluate(self._program, point, prec, dps)

    def ball(self, x: Any, prec: int = 128) -> Any:
        """Return a ball that contains f(x), or f of the whole ball x, at working precision prec."""
        with ctx.workprec(prec):
            if isinstance(x, arb):
                return self._evaluate(self._domain.check_ball(x))
            return self._evaluate(balls.ball_of(self._point(x)))

    def jet(self, x: Any, length: int, prec: int = 128) -> list[Any]:
        """Return balls around the Taylor coefficients f⁽ᵏ⁾(ξ)/k! for every ξ in the ball x.

        Args:
            x: A ball (flint's arb) inside the domain; a wide one gives Lagrange's remainders.
            length: Number of coefficients.
            prec: Working precision in bits.

        Raises:
            TypeError: If the formula has a function whose Taylor series is not known here.
        """
        if self._jets is None:
            raise TypeError(f"{self.name} has no power series in balls")
        with ctx.workprec(prec):
            return self._jets(self._domain.check_ball(x), length)

    def enclose(self, lo: Any, hi: Any, rtol: float = 2**-20) -> Any:
        """Return a ball around the range of f over [lo, hi].

        It exceeds the range by at most rtol times the largest |f| there. (Relative to the smallest
        |f| is beyond a ball: its radius has 30 bits. Where that matters, cut the interval.)

        Raises:
            ArithmeticError: If that is out of reach; the message says what was reached.
            ValueError: If lo > hi, or an end is outside the domain, or rtol is not positive.
        """
        lower, upper = self._point(lo, "lo"), self._point(hi, "hi")
        if lower > upper or not 0 < rtol < 1:
            raise ValueError(f"lo = {lo}, hi = {hi}, rtol = {rtol}; allowed: lo ≤ hi, 0 < rtol < 1")
        with ctx.workprec(256):  # rounds ends that are no dyadic numbers outwards
            ends = balls.ball_of(lower).lower(), balls.ball_of(upper).upper()
        return Encloser(self.name, self._evaluate, self._jets, rtol).enclose(*ends)

    def compose(
        self,
        replacement: sympy.Expr,
        variable: sympy.Symbol,
        domain: tuple[sympy.Expr, sympy.Expr],
        name: str | None = None,
    ) -> ClosedForm:
        """Substitute the variable by a formula in another variable."""
        expression = self.expression.subs(self.variable, replacement)
        return ClosedForm(name or self.name, expression, variable, domain, self.source)

    def replace_expression(self, expression: sympy.Expr) -> ClosedForm:
        """Return the same form with another expression, for mutants."""
        return ClosedForm(self.name, expression, self.variable, self.domain, self.source)

    @functools.cached_property
    def _evaluate(self) -> Callable[[Any], Any]:
        return self._program.bind(balls.arb_arithmetic)

    @functools.cached_property
    def _jets(self) -> Callable[[Any, int], list[Any]] | None:
        return jets.jet_evaluator(self._program) if jets.has_jets(self._program) else None

    @functools.cached_property
    def _domain(self) -> Domain:
        return Domain(self.variable.name, self.domain)

    @functools.cached_property
    def _panels(self) -> PanelTable:
        return PanelTable(self.name, self._evaluate, self._nearest, self._domain)

    def _point(self, x: Any, name: str | None = None) -> Fraction:
        return self._domain.check(exact(x, name or self.variable.name), name)

    def _nearest(self, x: Fraction) -> float:
        return balls.correctly_rounded(self._evaluate, x, self._exactly, self.name)

    def _exactly(self, x: Fraction) -> Fraction | None:
        """Return f(x) if SymPy sees that it is rational."""
        point = sympy.Rational(x.numerator, x.denominator)
        value = sympy.simplify(self.expression.subs(self.variable, point))
        return Fraction(int(value.p), int(value.q)) if value.is_Rational else None
