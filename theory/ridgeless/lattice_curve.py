"""The limiting risk where Taylor's polynomials are out of reach, for `theory.ridgeless.infimum`.

V is interpolated at Chebyshev points of x = log c, with an error bound from the complex plane: for
kernels without a closed form from certified quadrature, for the Matérn kernels of d = 1, whose
closed forms cancel too much on wide balls, from their values at points. B has Taylor coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy
from flint import arb, arb_poly, ctx

from ..certified_minimum import Model
from ..closed_form import ClosedForm
from .curves import ClosedFormCurve, LocalRisk, RiskCurve, middle_and_radius, taylor_model
from .kernels import Kernel
from .lattice_risk import (
    EstimationPanel,
    approximation_enclosure,
    approximation_jet,
    estimation_enclosure,
    estimation_panel,
)

Jet = Callable[[arb, int, int], list[arb]]
"""(x, length, bits) ↦ Taylor coefficients of B as a function of x = log c."""


@dataclass(frozen=True, eq=False)
class LatticeCurve(RiskCurve):
    """A curve whose parts are lattice sums and integrals of them."""

    kernel: Kernel
    most_digits: int = 8
    ratio: float = 2.0
    coarse_digits: int | None = 3
    _known: dict[tuple[object, ...], Any] = field(default_factory=dict, repr=False)

    def approximation(self, c: arb, digits: int) -> arb:  # noqa: D102 (inherits)
        return approximation_enclosure(self.kernel, c, digits)

    def estimation(self, c: arb, digits: int) -> arb:  # noqa: D102
        return estimation_enclosure(self.kernel, c, digits)

    def local(self, lo: arb, hi: arb, snr: arb, digits: int) -> LocalRisk:
        """Chebyshev's polynomial for V and Taylor's for B, in t = (log c − middle)/radius."""

        def bias(x: arb, length: int, bits: int) -> list[arb]:
            del bits  # set by the digits
            key = ("jet", x.mid().man_exp(), x.rad().man_exp(), length, digits)
            if key not in self._known:
                self._known[key] = approximation_jet(self.kernel, x, length, digits + 6)
            found: list[arb] = self._known[key]
            return found

        return _local(self._panel(lo, hi, digits + 1), bias, snr, digits)

    def _panel(self, lo: arb, hi: arb, digits: int) -> EstimationPanel:
        """Coarse panels come again for every SNR."""
        key = ("panel", lo.man_exp(), hi.man_exp(), digits)
        if key not in self._known:
            self._known[key] = estimation_panel(self.kernel, lo, hi, digits)
        panel: EstimationPanel = self._known[key]
        return panel


@dataclass(frozen=True, eq=False)
class MaternLineCurve(ClosedFormCurve):
    """A curve of closed forms that are evaluated at points only."""

    most_digits: int = 18
    ratio: float = 1.03

    def local(self, lo: arb, hi: arb, snr: arb, digits: int) -> LocalRisk:
        """Chebyshev's polynomial for V and Taylor's for B, in t = (log c − middle)/radius."""
        key = ("panel", lo.man_exp(), hi.man_exp(), digits)
        if key not in self._known:
            self._known[key] = estimation_panel(self.kernel, lo, hi, digits + 1, self._between)
        return _local(self._known[key], self._in_logarithm.jet, snr, digits)

    def _between(self, kernel: Kernel, c: arb, digits: int) -> arb:
        """V on the ball c: as V does not decrease, two exact ends enclose it."""
        assert kernel == self.kernel
        low, high = (self.estimation(end, digits) for end in (c.lower(), c.upper()))
        return low.union(high)

    @cached_property
    def _in_logarithm(self) -> ClosedForm:
        x = sympy.Symbol("x", real=True)
        return self.approximation_form.compose(sympy.exp(x), x, (-sympy.oo, sympy.oo))


def _local(panel: EstimationPanel, bias: Jet, snr: arb, digits: int) -> LocalRisk:
    bits = int(3.33 * digits) + 128
    with ctx.workprec(bits):
        middle, radius = middle_and_radius(panel.lo.log().lower(), panel.hi.log().upper())

        def jet(x: arb, length: int, bits: int) -> list[arb]:
            return [snr * q for q in bias(x, length, bits)]

        approximation = taylor_model(jet, middle, radius, digits + 1)
        noise = panel.polynomial(arb_poly([middle, radius]))
        error = (approximation.error + panel.error).upper()
        model = Model(noise + approximation.polynomial, error)
    return LocalRisk(model, lambda t: (middle + radius * t).exp())
