"""The limiting risk as a function of the bandwidth, in a form that can be minimised with proof.

A curve knows B(c) and V(c) as balls, and SNR·B + V on a short interval as a polynomial with an
error. Two facts hold for every kernel here (`theory.ridgeless.monotone` derives them): V does not
decrease with c and B does not increase. They bound the risk on any interval by two points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flint import arb, arb_poly, ctx
from sympy import Rational

from ..certified_minimum import Model
from ..closed_form import ClosedForm
from .kernels import Cauchy, Gaussian, Kernel, Matern, Product
from .limit import limit_forms

_MOST_BITS = 2**14
_MOST_KNOWN = 4096


@dataclass(frozen=True, eq=False)
class LocalRisk:
    """SNR·B + V on [lo, hi].

    Attributes:
        model: The risk as a function of t in [−1, 1].
        bandwidth: t ↦ c, increasing.
    """

    model: Model
    bandwidth: Callable[[arb], arb]


class RiskCurve(ABC):
    """B(c) and V(c) of one kernel.

    Attributes:
        kernel: The kernel.
        most_digits: Digits to which V can be had.
        ratio: hi/lo of intervals on which `local` works well.
        coarse_digits: Digits of a first, cheaper model; None if the final one is cheap enough.
    """

    kernel: Kernel
    most_digits: int
    ratio: float
    coarse_digits: int | None

    @abstractmethod
    def approximation(self, c: arb, digits: int) -> arb:
        """Return B(c) at an exact c, to so many relative digits."""

    @abstractmethod
    def estimation(self, c: arb, digits: int) -> arb:
        """Return V(c) at an exact c, to so many digits."""

    @abstractmethod
    def local(self, lo: arb, hi: arb, snr: arb, digits: int) -> LocalRisk:
        """Return SNR·B + V on [lo, hi] with an error of at most 10^−digits."""


@dataclass(frozen=True, eq=False)
class ClosedFormCurve(RiskCurve):
    """A curve whose two parts have closed forms."""

    kernel: Kernel
    approximation_form: ClosedForm
    estimation_form: ClosedForm
    most_digits: int = 100
    ratio: float = 1.08
    coarse_digits: int | None = None
    _known: dict[tuple[object, ...], Any] = field(default_factory=dict, repr=False)

    def approximation(self, c: arb, digits: int) -> arb:  # noqa: D102 (inherits)
        value: arb = self._remember(_accurate, self.approximation_form, c, digits)
        return value

    def estimation(self, c: arb, digits: int) -> arb:  # noqa: D102
        value: arb = self._remember(_accurate, self.estimation_form, c, digits)
        return value

    def _remember(self, compute: Callable[..., Any], form: ClosedForm, c: arb, *rest: int) -> Any:
        """Boxes are cut at the same bandwidths for every SNR, so that their values come again."""
        key = (compute, form.name, c.mid().man_exp(), c.rad().man_exp(), *rest)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = compute(form, c, *rest)
        return self._known[key]

    def local(self, lo: arb, hi: arb, snr: arb, digits: int) -> LocalRisk:
        """Taylor's polynomial in the middle, with Lagrange's remainder.

        Raises:
            ArithmeticError: If the interval is too long for that.
        """
        middle, radius = middle_and_radius(lo, hi)

        def jet(c: arb, length: int, bits: int) -> list[arb]:
            B = self._remember(ClosedForm.jet, self.approximation_form, c, length, bits)
            V = self._remember(ClosedForm.jet, self.estimation_form, c, length, bits)
            return [snr * b + v for b, v in zip(B, V, strict=True)]

        model = taylor_model(jet, middle, radius, digits)
        return LocalRisk(model, lambda t: middle + radius * t)


def taylor_model(
    jet: Callable[[arb, int, int], list[arb]], middle: arb, radius: arb, digits: int
) -> Model:
    """Return a function around a point as a polynomial in t = (x − middle)/radius.

    Args:
        jet: (ball, length, bits) ↦ Taylor coefficients, for wide balls Lagrange's remainders.
        middle: An exact point.
        radius: Exact.
        digits: The error is to be at most 10^−digits.

    Raises:
        ArithmeticError: If that needs more terms than a shorter interval would cost.
    """
    around, bits = (middle - radius).union(middle + radius), int(3.33 * digits) + 96
    terms, most = 10 + digits // 2, 20 + digits
    while terms <= most and bits <= _MOST_BITS:
        with ctx.workprec(bits):
            goal = arb(10) ** -digits / 2
            scaled = [q * radius**k for k, q in enumerate(jet(middle, terms, bits))]
            blur = sum((q.rad() for q in scaled), arb(0))
            remainder = abs(jet(around, terms + 1, bits)[terms] * radius**terms)
            if blur + remainder <= goal:
                return Model(arb_poly(scaled), remainder.upper())
        if not blur <= goal:
            bits *= 2
        else:
            terms = most if terms < most else most + 1
    raise ArithmeticError(f"{digits} digits around {middle.str(8)} need more than {terms} terms")


def middle_and_radius(lo: arb, hi: arb) -> tuple[arb, arb]:
    """An exact middle, and an exact radius that reaches both ends."""
    middle = ((lo + hi) / 2).mid()
    return middle, (middle - lo).union(hi - middle).upper()


def _accurate(form: ClosedForm, c: arb, digits: int) -> arb:
    bits = int(3.33 * digits) + 64
    while bits <= _MOST_BITS * 8:
        value: arb = form.ball(c, bits)
        if value.is_finite() and value.rel_accuracy_bits() >= 3.33 * digits:
            return value
        bits *= 2
    raise ArithmeticError(f"{form.name} at {c.str(8)}: fewer than {digits} digits at {bits} bits")


@lru_cache(maxsize=32)
def risk_curve(kernel: Kernel) -> RiskCurve:
    """Return the curve of a kernel.

    Raises:
        TypeError: If the kernel is none for which V and B are proved monotone and can be enclosed:
            Gaussian, Laplace, Matern, Cauchy in d ≤ 3, and products with closed forms.
    """
    factor = kernel.factor if isinstance(kernel, Product) else kernel
    if isinstance(factor, Gaussian | Matern | Cauchy):
        forms = limit_forms(kernel)
        if forms is not None and not _cancels(kernel):
            return ClosedFormCurve(kernel, forms.approximation, forms.estimation)
        if not isinstance(kernel, Product) and kernel.dimension <= 3:
            from .lattice_curve import LatticeCurve, MaternLineCurve

            if forms is None:
                return LatticeCurve(kernel)
            return MaternLineCurve(kernel, forms.approximation, forms.estimation)
    raise TypeError(
        f"kernel = {kernel!r} has no certified alias sums; allowed: Gaussian, Laplace, Matern and "
        "Cauchy in dimension 1, 2 or 3, and coordinate products of those with a closed form"
    )


def _cancels(kernel: Kernel) -> bool:
    """Whether the closed forms lose all digits on wide balls: Matérn 3/2 and 5/2."""
    return isinstance(kernel, Matern) and kernel.smoothness > Rational(1, 2)
