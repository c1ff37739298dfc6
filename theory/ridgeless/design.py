r"""Random design for the Laplace kernel in one dimension, beside the eigenlearning prediction.

The Laplace interpolant between two neighbours depends on them alone, whatever the design, so that
the cost of noise is the grid's law v(s) = coth(s)/s - csch(s)^2 averaged over the spacings. For n
independent uniform points, n -> infinity at c = h n fixed,

    V_iid(c) = int_0^oo g e^{-g} v(g/c) dg = (c^3/2) zeta(2, c/2) - c^2 - c

(Hurwitz zeta, zeta(2, x) = psi'(x)), which tends to 2/3 as c grows, as on the grid. The
eigenlearning equations (paper K) predict c/sqrt(1 + c^2), which tends to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sympy
from flint import acb, arb, ctx

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..validation import integer, positive
from . import laplace
from ._algebra import geometric_sum_residual, reduce_exponentials

BANDWIDTH = laplace.BANDWIDTH
RATE = laplace.RATE

_EVERYWHERE = (sympy.Integer(0), sympy.oo)
_ZETA = sympy.zeta(2, BANDWIDTH / 2)

ESTIMATION = ClosedForm(
    "ridgeless.design.estimation",
    BANDWIDTH**3 * _ZETA / 2 - BANDWIDTH**2 - BANDWIDTH,
    BANDWIDTH,
    _EVERYWHERE,
)
EIGENLEARNING = ClosedForm(
    "ridgeless.design.eigenlearning",
    BANDWIDTH / sympy.sqrt(1 + BANDWIDTH**2),
    BANDWIDTH,
    _EVERYWHERE,
    source="K",
)
WIDE_LIMIT = sympy.Rational(2, 3)

_POINTS = sympy.Symbol("n", integer=True, positive=True)
_SPACING = sympy.Symbol("g", positive=True)
_PER_LENGTH = laplace.ESTIMATION_IN_RATE.expression  # v(s)


# --- independent uniform points, n -> infinity ------------------------------------------------


def _spacing_residual() -> sympy.Expr:
    # The n - 1 other points all avoid an arc of length g/n with probability (1 - g/n)^{n-1}.
    survival = (1 - _SPACING / _POINTS) ** (_POINTS - 1)
    tail = sympy.limit((_POINTS - 1) * sympy.log(1 - _SPACING / _POINTS), _POINTS, sympy.oo)
    density = (_POINTS - 1) / _POINTS * (1 - _SPACING / _POINTS) ** (_POINTS - 2)
    slope = sympy.simplify(-sympy.diff(survival, _SPACING) - density)
    return first_nonzero(sympy.simplify(tail + _SPACING), slope)


def _substitution_residual() -> sympy.Expr:
    v = sympy.Function("v")
    integrand = _SPACING * sympy.exp(-_SPACING) * v(_SPACING / BANDWIDTH)
    in_rate = integrand.subs(_SPACING, BANDWIDTH * RATE) * BANDWIDTH
    return sympy.simplify(in_rate - BANDWIDTH**2 * sympy.exp(-BANDWIDTH * RATE) * RATE * v(RATE))


def _parts_residual() -> sympy.Expr:
    total = RATE * sympy.coth(RATE)
    slope = reduce_exponentials(sympy.diff(total, RATE) - RATE * _PER_LENGTH)
    start = sympy.limit(RATE * sympy.cosh(RATE) / sympy.sinh(RATE), RATE, 0) - 1
    # s coth(s) <= 1 + s, so the upper end contributes the limit of e^{-cs}(1 + s).
    end = sympy.limit(sympy.exp(-BANDWIDTH * RATE) * (1 + RATE), RATE, sympy.oo)
    return first_nonzero(slope, start, end)


def _coth_residual() -> sympy.Expr:
    x = sympy.exp(-2 * RATE)
    return reduce_exponentials(sympy.coth(RATE) - 1 - 2 * x / (1 - x))


def _gamma_residual() -> sympy.Expr:
    b = sympy.Symbol("b", positive=True)
    integral = sympy.integrate(RATE * sympy.exp(-b * RATE), (RATE, 0, sympy.oo))
    return sympy.simplify(integral - 1 / b**2)


def _hurwitz_residual() -> sympy.Expr:
    k = sympy.Symbol("k", integer=True, nonnegative=True)
    term = 1 / (k + BANDWIDTH / 2) ** 2  # of zeta(2, c/2), k >= 0
    return first_nonzero(
        sympy.cancel(2 / (BANDWIDTH + 2 * k) ** 2 - term / 2),
        sympy.cancel(term.subs(k, 0) - 4 / BANDWIDTH**2),
    )


def _iid_by_zeta(zeta: sympy.Expr) -> sympy.Expr:
    series = 1 / BANDWIDTH**2 + (zeta - 4 / BANDWIDTH**2) / 2  # int e^{-cs} s coth(s) ds
    return BANDWIDTH**2 * (-1 + BANDWIDTH * series)


def _iid_claim_residual(claimed: sympy.Expr) -> sympy.Expr:
    zeta = sympy.Symbol("Z")
    trigamma = sympy.polygamma(1, BANDWIDTH / 2)
    formula = claimed.xreplace({_ZETA: zeta, trigamma: zeta})
    return sympy.cancel(sympy.expand(formula - _iid_by_zeta(zeta)))


def derive_estimation(claimed: sympy.Expr = ESTIMATION.expression) -> Derivation:
    """Derive V_iid(c) = (c^3/2) zeta(2, c/2) - c^2 - c for independent uniform points.

    Args:
        claimed: The formula to compare with, in ``BANDWIDTH`` and zeta(2, c/2) or psi'(c/2).

    Source: this project.
    """
    local = laplace.derive_estimation_by_equation()
    steps = (
        *local.steps,
        Step(
            "That law holds for any gap of any design. A spacing of n uniform points, times n, has "
            "the survival function (1 - g/n)^{n-1}, which tends to e^{-g}.",
            _spacing_residual,
        ),
        Step(
            "A gap counts by its length: V = int g e^{-g} v(g/c) dg = c^2 int e^{-cs} s v(s) ds.",
            _substitution_residual,
        ),
        Step(
            "s v(s) is the derivative of s coth(s): integrate by parts, "
            "V = c^2 (-1 + c int e^{-cs} s coth(s) ds).",
            _parts_residual,
        ),
        Step("Geometric sums, by induction on the number of terms.", geometric_sum_residual),
        Step("coth(s) = 1 + 2 sum_{k>=1} e^{-2ks}.", _coth_residual),
        Step("int_0^oo s e^{-bs} ds = 1/b^2, for b = c + 2k.", _gamma_residual),
        Step("sum_{k>=1} 2/(c+2k)^2 = (zeta(2, c/2) - 4/c^2)/2, term by term.", _hurwitz_residual),
        Step("Collect: this is the claimed formula.", partial(_iid_claim_residual, claimed)),
    )
    goal = "V_iid(c) = (c^3/2) zeta(2, c/2) - c^2 - c for the Laplace kernel, iid uniform design."
    cites = (
        *local.cites,
        "dominated convergence (0 <= v(s) <= 1/s and v <= 2)",
        "monotone convergence for the sum over k",
        "definition of the Hurwitz zeta function; psi'(x) = zeta(2, x)",
    )
    return Derivation(goal, steps, cites)


def derive_wide_limit(claimed: sympy.Expr = WIDE_LIMIT) -> Derivation:
    """Derive lim V_iid(c) = 2/3 as c -> infinity, the value of the grid.

    Args:
        claimed: The limit to compare with.

    Source: this project.
    """
    steps = (
        Step("Lengths times n have mean 1: int g e^{-g} dg = 1.", _mean_length_residual),
        Step("V_iid tends to v(0), which is claimed.", partial(_origin_residual, claimed)),
    )
    goal = "V_iid(c) -> 2/3 as c -> infinity."
    return Derivation(goal, steps, ("dominated convergence (0 <= v <= 2)",))


def _mean_length_residual() -> sympy.Expr:
    return sympy.integrate(_SPACING * sympy.exp(-_SPACING), (_SPACING, 0, sympy.oo)) - 1


def _origin_residual(claimed: sympy.Expr) -> sympy.Expr:
    # v(s) = (sinh s cosh s - s)/(s sinh^2 s); numerator and denominator from their series.
    top = sympy.series(sympy.sinh(RATE) * sympy.cosh(RATE) - RATE, RATE, 0, 5).removeO()
    bottom = sympy.series(RATE * sympy.sinh(RATE) ** 2, RATE, 0, 5).removeO()
    same = reduce_exponentials(
        _PER_LENGTH - (sympy.sinh(RATE) * sympy.cosh(RATE) - RATE) / (RATE * sympy.sinh(RATE) ** 2)
    )
    return first_nonzero(same, sympy.simplify(sympy.limit(top / bottom, RATE, 0) - claimed))


# --- the eigenlearning prediction (paper K) ---------------------------------------------------

_KAPPA = sympy.Symbol("kappa", positive=True)
_WAVE = sympy.Symbol("xi", real=True)
_A, _B, _H = sympy.symbols("a b h", positive=True)


def _learnability_residual() -> sympy.Expr:
    eigenvalue = laplace.FOURIER_TRANSFORM / 2  # a common factor of eigenvalues goes into kappa
    learnability = eigenvalue / (eigenvalue + _KAPPA)
    form = 1 / (_A + _B * _WAVE**2)
    at = {_A: 1 + _KAPPA, _B: 4 * sympy.pi**2 * _KAPPA}
    return sympy.cancel(learnability - form.subs(at))


def _total(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.pi / sympy.sqrt(a * b)  # integral of 1/(a + b xi^2)


def _total_square(a: sympy.Symbol, b: sympy.Expr) -> sympy.Expr:
    return -sympy.diff(_total(a, b), a)  # integral of 1/(a + b xi^2)^2


def _integrals_residual() -> sympy.Expr:
    antiderivative = sympy.atan(_WAVE * sympy.sqrt(_B / _A)) / sympy.sqrt(_A * _B)
    form = 1 / (_A + _B * _WAVE**2)
    slope = sympy.simplify(sympy.diff(antiderivative, _WAVE) - form)
    ends = [sympy.limit(antiderivative, _WAVE, end) for end in (sympy.oo, -sympy.oo)]
    square = sympy.cancel(-sympy.diff(form, _A) - form**2)
    return first_nonzero(slope, sympy.simplify(ends[0] - ends[1] - _total(_A, _B)), square)


def _in_kappa(expression: sympy.Expr) -> sympy.Expr:
    return expression.subs({_A: 1 + _KAPPA, _B: 4 * sympy.pi**2 * _KAPPA})


def _kappa() -> sympy.Expr:
    return (sympy.sqrt(1 + 1 / BANDWIDTH**2) - 1) / 2  # the positive root


def _conservation_residual() -> sympy.Expr:
    # sum_k L_k = (1/h) int L = n, that is int L = h n = c.
    conservation = sympy.cancel(_in_kappa(_total(_A, _B)) ** 2 - 1 / (4 * _KAPPA * (1 + _KAPPA)))
    root = sympy.simplify(_kappa() * (1 + _kappa()) - 1 / (4 * BANDWIDTH**2))
    return first_nonzero(conservation, root)


def _excess_residual() -> sympy.Expr:
    share = _in_kappa(sympy.simplify(_total_square(_A, _B) / _total(_A, _B)))  # sum L^2/sum L
    return sympy.cancel(1 / (1 - share) - 1 - 1 / (1 + 2 * _KAPPA))


def _eigenlearning_claim_residual(claimed: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(claimed - 1 / (1 + 2 * _kappa()))


def derive_eigenlearning(claimed: sympy.Expr = EIGENLEARNING.expression) -> Derivation:
    """Derive what the eigenlearning equations predict for V_iid: c/sqrt(1 + c^2).

    They replace the eigenfunctions by Gaussian features, so they see the spectrum only.

    Args:
        claimed: The formula to compare with, in ``BANDWIDTH``.

    Source: paper K, evaluated here.
    """
    steps = (
        Step(
            "Learnabilities L = lambda/(lambda + kappa) are 1/(a + b xi^2) with a = 1 + kappa, "
            "b = 4 pi^2 kappa, in units where lambda(0) = 1.",
            _learnability_residual,
        ),
        Step("int L = pi/sqrt(ab), and int L^2 is minus its derivative in a.", _integrals_residual),
        Step(
            "Conservation sum_k L_k = n gives int L = c, that is kappa(1 + kappa) = 1/(4c^2).",
            _conservation_residual,
        ),
        Step(
            "Noise is amplified by n/(n - sum L^2); less the noise itself this is 1/(1 + 2 kappa).",
            _excess_residual,
        ),
        Step(
            "(1 + 2 kappa)^2 = 1 + 4 kappa(1 + kappa) = 1 + 1/c^2: the claimed formula.",
            partial(_eigenlearning_claim_residual, claimed),
        ),
    )
    cites = (
        "eigenlearning equations (paper K), ridge 0",
        "Riemann sums: h sum_k L(hk) -> int L, here with an error exponentially small in n",
    )
    return Derivation("Eigenlearning predicts c/sqrt(1 + c^2).", steps, cites)


# --- independent uniform points, finite n -----------------------------------------------------


def finite_estimation(bandwidth: float, points: int, prec: int = 53) -> Any:
    """Enclose E[estimation]/sigma^2 for n independent uniform points on the circle.

    Each spacing has the density (n-1)(1-x)^{n-2}, so that with h = c/n the value is
    n int x v(x/h) (n-1)(1-x)^{n-2} dx. By parts, x v(x/h) = h (x coth(x/h))':

        n (n-1) h {[n=2] coth(1/h) - h + (n-2) int_0^1 (1-x)^{n-3} x coth(x/h) dx}.

    Args:
        bandwidth: c > 0, in mean spacings; the float is taken exactly.
        points: n >= 2.
        prec: Bits of relative accuracy asked for.

    Returns:
        An ``arb`` ball with the value.

    Raises:
        TypeError, ValueError: If ``bandwidth`` is not a positive number or ``points`` is not an
            integer of at least 2.
        ArithmeticError: If the accuracy is out of reach (bandwidths beyond any use).

    Source: this project.
    """
    c, n = positive("bandwidth", bandwidth), integer("points", points, 2)
    for working in (prec + 32, 2 * prec + 128, 8 * prec + 512, 32 * prec + 4096):
        with ctx.workprec(working):
            value = _finite_ball(arb(c) / n, n)
        if value.rel_accuracy_bits() >= prec:
            return value
    raise ArithmeticError(f"bandwidth = {c!r}, points = {n}: no {prec} bits found")


def _finite_ball(h: Any, n: int) -> Any:
    if n == 2:
        return 2 * h * ((1 / h).coth() - h)
    integral = acb.integral(_finite_integrand(h, n), 0, 1)
    return n * (n - 1) * h * ((n - 2) * integral.real - h)


def _finite_integrand(h: Any, n: int) -> Callable[[Any, bool], Any]:
    def integrand(x: Any, analytic: bool) -> Any:
        # Meromorphic, so that `analytic` needs no answer: next to a pole the quotients below are
        # not finite, which tells the integrator.
        del analytic
        return (1 - x) ** (n - 3) * h * _s_coth(x / h)

    return integrand


def _s_coth(s: Any) -> Any:
    """Return s coth(s); both branches are the same function, so the choice breaks nothing."""
    if s.real > 1:
        decay = (-2 * s).exp()
        return s * (1 + decay) / (1 - decay)
    return s.cosh() / (s * acb(0, 1)).sinc()  # no division by s, s = 0 needs no special case
