"""The population AGOP under Gaussian inputs: its value, its range, and what it misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy

from theory.derivation import Derivation
from theory.rfm import hermite, jumps
from theory.rfm import population_derivation as derivation
from theory.rfm.dependence import index_space
from theory.rfm.population import multi_index_agop, population_agop, single_index_agop

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..rationals import differ
from ..shared import BETA, formula, joined
from . import gaussian_expansions as brute

SAMPLES = 40_000


def _derivation(
    slope: sympy.Expr,
    pair: sympy.Expr,
    energy: sympy.Expr,
    gated: sympy.Expr,
    gate: sympy.Expr,
    limit: sympy.Expr,
) -> Derivation:
    return joined(
        "the population AGOP, its range, and what it misses",
        derivation.derive_index_space(),
        derivation.derive_population(slope, pair),
        derivation.derive_jumps(energy, gated, gate, limit),
    )


def _expansions(formulas: Formulas, setting: Setting) -> Evidence:
    """Every entry, exactly; the product x_0x_1 has the identity on its plane."""
    for problem in brute.PROBLEMS:
        found = formula(formulas, "population_agop")(problem.target, brute.X, problem.covariance)
        if found != brute.agop(problem):
            return differ(problem.label, found, brute.agop(problem))
    plane = sympy.ImmutableMatrix(sympy.diag(1, 1, 0))
    return Evidence(bool(found == plane), {"problems": len(brute.PROBLEMS), "residual": 0})


def _hermite_sums(formulas: Formulas, setting: Setting) -> Evidence:
    """The claimed sums with coefficients from their definition, exactly."""
    terms = [
        formula(formulas, "slope_term").subs({hermite.ORDER: m[0], hermite.COEFFICIENT: c})
        for m, c in brute.coefficients(1).items()
    ]
    if sympy.simplify(sympy.Add(*terms) - brute.link_agop(1)[0, 0]) != 0:
        return differ("one variable", sympy.Add(*terms), brute.link_agop(1)[0, 0])
    for a, b in ((0, 0), (0, 1), (1, 1)):
        total = sympy.Add(*_pairs(formulas, a, b))
        if sympy.simplify(total - brute.link_agop(2)[a, b]) != 0:
            return differ(f"two variables, {a}, {b}", total, brute.link_agop(2)[a, b])
    return Evidence(True, {"residual": 0})


def _pairs(formulas: Formulas, a: int, b: int) -> Iterator[sympy.Expr]:
    c = brute.coefficients(2)
    for m in c:
        upper = [tuple(p + (i == place) for i, p in enumerate(m)) for place in (a, b)]
        product = c.get(upper[0], 0) * c.get(upper[1], 0)
        if product != 0:
            orders = {hermite.FIRST_ORDER: m[a], hermite.SECOND_ORDER: m[b]}
            yield product * formula(formulas, "pair_factor").subs(orders)


def _quadrature(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    sigma, U = brute.FACTOR * brute.FACTOR.T, brute.DIRECTIONS
    for name, link in brute.SINGLE.items():
        found = formula(formulas, "single_index_agop")(link, brute.S, list(U[0, :]), sigma)
        yield from _entries(name, found, brute.quadrature_agop(link, 1))
    for name, link in brute.MULTI.items():
        found = formula(formulas, "multi_index_agop")(link, brute.PAIR, U, sigma)
        yield from _entries(name, found, brute.quadrature_agop(link, 2))


def _entries(name: str, found: Any, reference: Any) -> Iterator[Case]:
    for (i, j), value in np.ndenumerate(reference):
        yield f"{name} [{i}, {j}]", found[i, j], float(value)


def _monte_carlo(formulas: Formulas, setting: Setting) -> Evidence:
    """u·AGOP·u of sin(uᵀx) under N(0, Σ), the sample a bounded one, cos² up to a factor."""
    rng = setting.generator("inputs")
    root = np.array(brute.FACTOR.tolist(), dtype=float)
    x = rng.standard_normal((SAMPLES, 3)) @ root.T
    gradients = brute.automatic_gradients(sympy.sin(brute.S), 1, x)
    direction = list(brute.DIRECTIONS[0, :])
    sigma = brute.FACTOR * brute.FACTOR.T
    found = formula(formulas, "single_index_agop")(sympy.sin(brute.S), brute.S, direction, sigma)
    u = sympy.Matrix(direction)
    claimed = float((u.T * found * u)[0, 0])
    samples = (gradients @ np.array(direction, dtype=float)) ** 2
    return compare_samples(samples, claimed, setting.alpha, BETA).evidence("sin(uᵀx)")


# ── jumps ────────────────────────────────────────────────────────────────────────────────────────

WIDTH, DEVIATION, THRESHOLD = Fraction(1, 5), Fraction(1, 2), Fraction(3, 4)


@lru_cache(maxsize=1)
def _smoothed_references() -> Mapping[str, Any]:
    """The smoothed targets, by quadrature over the gate's coordinate in 40 digits."""
    context = mpmath.MPContext()
    context.dps = 40
    e, s, t = (context.mpf(v.numerator) / v.denominator for v in (WIDTH, DEVIATION, THRESHOLD))

    def mean(function: Any) -> Any:
        points = [-12 * s, -s, 0, t, 12 * s]
        return context.quad(lambda x: function(x) * context.npdf(x, 0, s), points)

    def energy(threshold: Any) -> Any:
        return mean(lambda x: (context.npdf((x - threshold) / e) / e) ** 2)

    half = context.quad(lambda x: context.npdf(x, 0, s), [0, s, 12 * s])
    return {
        "jump_energy": energy(t),
        "gated": s**2 * mean(lambda x: context.ncdf(x / e) ** 2),
        "gate": s**4 * energy(0),
        "gated_limit": s**2 * half,
    }


def _smoothed(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for name, reference in _smoothed_references().items():
        yield name, _at(formulas, name), reference


def _at(formulas: Formulas, name: str) -> sympy.Expr:
    values = zip(
        (jumps.WIDTH, jumps.DEVIATION, jumps.THRESHOLD), (WIDTH, DEVIATION, THRESHOLD), strict=True
    )
    at = {symbol: sympy.Rational(v.numerator, v.denominator) for symbol, v in values}
    return sympy.sympify(formula(formulas, name)).subs(at).evalf(60)


# ── range ────────────────────────────────────────────────────────────────────────────────────────


def _ranges(formulas: Formulas, setting: Setting) -> Evidence:
    """Rank, and both spaces orthogonal to every direction of invariance, for two covariances."""
    ranks = []
    for label, target, directions, still in brute.ranges():
        basis = formula(formulas, "index_space")(target, brute.X)
        spaces = [basis]
        for sigma in (None, brute.FACTOR * brute.FACTOR.T):
            spaces.append(formula(formulas, "population_agop")(target, brute.X, sigma))
        for space in spaces:
            fits = space.rank() == directions and not any(still.T * space)
            if not fits or still.cols != 3 - directions:
                return differ(label, space, still)
        ranks.append(directions)
    return Evidence(True, {"targets": len(ranks), "ranks": str(ranks)})


# ── mutants ──────────────────────────────────────────────────────────────────────────────────────


def _white(target: Any, variables: Any, covariance: Any = None) -> Any:
    return population_agop(target, variables)


def _uncorrelated(target: Any, variables: Any, covariance: Any = None) -> Any:
    diagonal = None if covariance is None else sympy.diag(*sympy.Matrix(covariance).diagonal())
    return population_agop(target, variables, diagonal)


def _at_the_mean(target: Any, variables: Any, covariance: Any = None) -> Any:
    slopes = sympy.Matrix([sympy.diff(target, v) for v in variables])
    g = slopes.subs(dict.fromkeys(variables, 0))
    return sympy.ImmutableMatrix(g * g.T)


def _single_white(link: Any, variable: Any, direction: Any, covariance: Any = None) -> Any:
    return single_index_agop(link, variable, direction)


def _unit_direction(link: Any, variable: Any, direction: Any, covariance: Any = None) -> Any:
    u = sympy.Matrix(direction)
    return single_index_agop(link, variable, list(u / sympy.sqrt((u.T * u)[0, 0])), covariance)


def _multi_white(link: Any, variables: Any, directions: Any, covariance: Any = None) -> Any:
    U = sympy.Matrix(directions)
    return U.T * population_agop(link, variables) * U


def _coordinates(polynomial: Any, variables: Any) -> Any:
    used = [i for i, v in enumerate(variables) if v in polynomial.free_symbols]
    return sympy.eye(len(variables)).extract(list(range(len(variables))), used)


def _curvature_at_zero(polynomial: Any, variables: Any) -> Any:
    hessian = sympy.hessian(polynomial, variables).subs(dict.fromkeys(variables, 0))
    return sympy.Matrix.hstack(sympy.zeros(len(variables), 0), *hessian.columnspace())


POPULATION = Claim(
    id="rfm.population",
    title="the population AGOP under Gaussian inputs",
    statement=(
        r"x \sim N(0, \Sigma):\ f(x) = g(Ux) \Rightarrow "
        r"E[\nabla f \nabla f^\top] = U^\top E[\nabla g \nabla g^\top]\, U,\ "
        r"\text{by Isserlis' theorem for polynomials};\ "
        r"g = \sum_m c_m h_m \Rightarrow E[\partial_a g\, \partial_b g] "
        r"= \sum_m \sqrt{(m_a+1)(m_b+1)}\, c_{m+e_a} c_{m+e_b},\ E[g'^2] = \sum_p p\, c_p^2;\ "
        r"\ker = \{v : f(x + tv) = f(x)\}, \text{ so the range is the central mean subspace};\ "
        r"\text{not so with jumps: } x_0 x_1 1[x_2 > 0] \text{ has } "
        r"\tfrac12\sigma^2\, \mathrm{diag}(1, 1, 0), \text{ but with } \Phi(x_2/\varepsilon) "
        r"\text{ the entry } \sigma^4/(2\pi\varepsilon\sqrt{\varepsilon^2 + 2\sigma^2}) "
        r"\text{ of } x_2"
    ),
    source="E, here",
    hypotheses=(
        Hypothesis(
            "E‖∇f‖² < ∞; Hermite sums: Σ = 1 (or UΣUᵀ = 1) and g weakly differentiable "
            "(1[z > 0] has slope 0 almost everywhere, but Σ p c_p² = ∞)"
        ),
        Hypothesis(
            "range: Σ ≻ 0 and f absolutely continuous on lines; it is the central subspace "
            "if y − f(x) is independent of x"
        ),
    ),
    formulas={
        "slope_term": hermite.SLOPE_TERM,
        "pair_factor": hermite.PAIR_FACTOR,
        "jump_energy": jumps.JUMP_ENERGY,
        "gated": jumps.GATED_DIRECTION,
        "gate": jumps.GATE_DIRECTION,
        "gated_limit": jumps.GATED_LIMIT,
        "population_agop": population_agop,
        "single_index_agop": single_index_agop,
        "multi_index_agop": multi_index_agop,
        "index_space": index_space,
    },
    legs=(
        derivation_leg(
            "all dimensions",
            _derivation,
            ("slope_term", "pair_factor", "jump_energy", "gated", "gate", "gated_limit"),
            whole=True,
        ),
        Leg("expansions", Kind.DIRECT, _expansions, ("population_agop",)),
        Leg("Hermite sums", Kind.DIRECT, _hermite_sums, ("slope_term", "pair_factor")),
        digits_leg("quadrature", _quadrature, ("single_index_agop", "multi_index_agop"), 9),
        digits_leg(
            "smoothed jumps", _smoothed, ("jump_energy", "gated", "gate", "gated_limit"), 25
        ),
        Leg("ranges", Kind.DIRECT, _ranges, ("population_agop", "index_space")),
        Leg("Monte Carlo", Kind.SIMULATED, _monte_carlo, ("single_index_agop",)),
    ),
    mutants=(
        Mutant("Σ left out", {"population_agop": _white}),
        Mutant("correlations left out", {"population_agop": _uncorrelated}),
        Mutant("gradient at the mean", {"population_agop": _at_the_mean}),
        Mutant("Σ left out, single index", {"single_index_agop": _single_white}),
        Mutant("direction normalised", {"single_index_agop": _unit_direction}),
        Mutant("Σ left out, multi-index", {"multi_index_agop": _multi_white}),
        Mutant("coordinates for directions", {"index_space": _coordinates}),
        Mutant("curvature at 0", {"index_space": _curvature_at_zero}),
    ),
    notes=(
        "The range is smaller than span Uᵀ if E[∇g∇gᵀ] is singular. It is not the central "
        "subspace in general: y = x₁ + x₂ξ has AGOP diag(1, 0), but its law depends on x₂. Of a "
        "discontinuous target the AGOP misses the jump, while smoothing over a width ε gives it a "
        "weight of order 1/ε: for σ = 1/2 it is the largest entry below ε ≈ 0.124."
    ),
)

CLAIMS = (POPULATION,)
