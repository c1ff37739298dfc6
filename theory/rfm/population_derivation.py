"""The population AGOP, its range and what jumps do to it, derived step by step."""

from __future__ import annotations

from functools import partial

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced
from .hermite import (
    COEFFICIENT,
    FIRST_ORDER,
    ORDER,
    PAIR_FACTOR,
    SECOND_ORDER,
    SLOPE_TERM,
)
from .jumps import (
    DEVIATION,
    GATE_DIRECTION,
    GATED_DIRECTION,
    GATED_LIMIT,
    JUMP_ENERGY,
    THRESHOLD,
    WIDTH,
)

_T = sympy.transpose
_P, _S, _Q, _C, _x, _a, _e = matrices("P Sigma Q C x a e")
_U, _H, _G, _v, _w, _grad = matrices("U H G v w grad")

# --- means ------------------------------------------------------------------------------------


def _score_residual() -> sympy.Expr:
    """ρ ∝ exp(−½xᵀPx) has eᵀ∇ρ = −eᵀPxρ along every e, so that x ρ = −Σ∇ρ where ΣP = 1."""
    step = sympy.Symbol("t")
    moved = sympy.expand(_T(_x + step * _e) * _P * (_x + step * _e)).coeff(step, 1)
    number = _T(_e) * _P * _x  # its own transpose, as P is symmetric
    slope = moved.subs(_T(_x) * _P * _e, number) - 2 * number
    s = sympy.Symbol("s", real=True)  # xᵀPx, which grows by 2t eᵀPx
    chain = sympy.diff(sympy.exp(-s / 2), s) * 2 + sympy.exp(-s / 2)
    words = reduced(_S * _P * _x - _x, {_S * _P: sympy.Integer(1)})
    return first_nonzero(sympy.expand(slope), chain, words)


def _parts_residual() -> sympy.Expr:
    """h ∂ρ = ∂(hρ) − ρ ∂h: the boundary term vanishes, so E[x_i h] = Σ_j Σ_ij E[∂_j h]."""
    x = sympy.Symbol("x", real=True)
    h, density = sympy.Function("h")(x), sympy.Function("rho")(x)
    total = sympy.diff(h * density, x)
    return sympy.simplify(h * sympy.diff(density, x) - total + density * sympy.diff(h, x))


def _recursion_residual() -> sympy.Expr:
    """∂_j x^a = a_j x^{a − e_j}: Stein's identity is the recursion of the moments."""
    x, rest = sympy.symbols("x R", positive=True)
    power = sympy.Symbol("a", integer=True, positive=True)
    return sympy.simplify(sympy.diff(x**power * rest, x) - power * x ** (power - 1) * rest)


def _tilt_residual() -> sympy.Expr:
    """−½xᵀPx + aᵀx − ½xᵀQx = −½(x − Ca)ᵀ(P + Q)(x − Ca) + ½aᵀCa, C(P + Q) = (P + Q)C = 1."""
    inverse = {(_P * _C): 1 - _Q * _C, (_C * _P): 1 - _C * _Q}
    moved = _x - _C * _a
    square = _T(moved).subs({_T(_C): _C}) * (_P + _Q) * moved
    square = reduced(sympy.expand(square).subs(_T(_C), _C), inverse)
    plain = _T(_x) * (_P + _Q) * _x - _T(_x) * _a - _T(_a) * _x + _T(_a) * _C * _a
    return sympy.expand(square - plain)


def _determinant_residual() -> sympy.Expr:
    """P + Q = (1 + QΣ)P: as determinants multiply, det P/det(P + Q) = 1/det(1 + QΣ)."""
    word = reduced(sympy.expand((1 + _Q * _S) * _P), {_S * _P: sympy.Integer(1)})
    return sympy.expand(word - _P - _Q)


def _index_residual() -> sympy.Expr:
    """g(U(x + te)) moves along Ue: the slope ∇gᵀUe is eᵀ(Uᵀ∇g), and ∇f∇fᵀ = Uᵀ∇g∇gᵀU."""
    step = sympy.Symbol("t")
    along = sympy.expand(_U * (_x + step * _e)).coeff(step, 1)
    slope = _T(_grad) * along - _T(_T(_e) * _T(_U) * _grad)
    outer = _T(_U) * _grad * _T(_T(_U) * _grad) - _T(_U) * _grad * _T(_grad) * _U
    return first_nonzero(sympy.expand(slope), sympy.expand(outer))


def _hermite_residual() -> sympy.Expr:
    """e^{tz − t²/2} = Σ He_p t^p/p!: E of two is e^{ts}, d/dz is t times it."""
    z, t, s = sympy.symbols("z t s", real=True)
    waves = [sympy.exp(u * z - u**2 / 2) for u in (t, s)]
    exponent = sympy.expand(t * z - t**2 / 2 + s * z - s**2 / 2 - z**2 / 2)
    square = sympy.expand(-((z - t - s) ** 2) / 2 + t * s)
    return first_nonzero(
        sympy.expand(exponent - square), sympy.simplify(sympy.diff(waves[0], z) - t * waves[0])
    )


def _slope_residual(claimed: sympy.Expr) -> sympy.Expr:
    """He_p' = p He_{p−1} and E He_{p−1}² = (p−1)!, so c_p He_p/√p! has slope energy p c_p²."""
    p = sympy.Symbol("p", integer=True, positive=True)
    derived = COEFFICIENT**2 * p**2 * sympy.factorial(p - 1) / sympy.factorial(p)
    at_zero = claimed.subs(ORDER, 0)  # the constant has no slope
    return first_nonzero(sympy.simplify(sympy.gammasimp(claimed.subs(ORDER, p) - derived)), at_zero)


def _pair_residual(claimed: sympy.Expr) -> sympy.Expr:
    """∂_a h_{m + e_a} = √(m_a + 1) h_m, and the h_m are orthonormal."""
    m = sympy.Symbol("m", integer=True, nonnegative=True)

    def lowering(order: sympy.Expr) -> sympy.Expr:
        """∂h_{m+1}/h_m, squared: (m + 1)² m!/(m + 1)!."""
        square = (m + 1) ** 2 * sympy.factorial(m) / sympy.factorial(m + 1)
        return sympy.sqrt(sympy.gammasimp(square).subs(m, order))

    derived = lowering(FIRST_ORDER) * lowering(SECOND_ORDER)
    same = claimed.subs(SECOND_ORDER, FIRST_ORDER) - (FIRST_ORDER + 1)
    positive = sympy.Integer(0 if claimed.is_positive else 1)
    return first_nonzero(sympy.simplify(claimed**2 - derived**2), sympy.simplify(same), positive)


def derive_population(
    slope_term: sympy.Expr = SLOPE_TERM, pair_factor: sympy.Expr = PAIR_FACTOR
) -> Derivation:
    """Derive the means behind the population AGOP, and its Hermite sums.

    Args:
        slope_term: In ``ORDER`` and ``COEFFICIENT``, to compare with.
        pair_factor: In ``FIRST_ORDER`` and ``SECOND_ORDER``, to compare with.

    Source: E and this project.
    """
    steps = (
        Step("x ρ = −Σ∇ρ for the Gaussian density.", _score_residual),
        Step("By parts: Stein's identity.", _parts_residual),
        Step("It lowers the degree by 2: Isserlis' theorem.", _recursion_residual),
        Step("Exponentials of quadratics only change the Gaussian.", _tilt_residual),
        Step("… and give a determinant.", _determinant_residual),
        Step("f(x) = g(Ux) has ∇f = Uᵀ∇g.", _index_residual),
        Step("Hermite polynomials: orthogonal, and He_p' = p He_{p−1}.", _hermite_residual),
        Step("E g'² = Σ p c_p².", partial(_slope_residual, slope_term)),
        Step("E ∂_a g ∂_b g = Σ √((m_a + 1)(m_b + 1)) c c.", partial(_pair_residual, pair_factor)),
    )
    cites = (
        "a function of polynomial growth times the Gaussian density vanishes at infinity",
        "Gaussian integral",
        "determinants multiply",
        "chain rule",
        "completeness of the Hermite polynomials (Parseval)",
    )
    return Derivation("E[∇f∇fᵀ] under Gaussian inputs, exactly.", steps, cites)


# --- range ------------------------------------------------------------------------------------


def _quadratic_residual() -> sympy.Expr:
    """vᵀ∇f∇fᵀv = (v·∇f)², with v·∇f = ∇fᵀv."""
    s = sympy.Symbol("s", real=True)
    word = _T(_v) * _grad * _T(_grad) * _v
    return sympy.expand(reduced(word, {_T(_v) * _grad: s, _T(_grad) * _v: s}) - s**2)


def _along_residual() -> sympy.Expr:
    """d/dt f(x + tv) = v·∇f(x + tv), in the plane of x and v; it is 0 if v·∇f is 0."""
    t, x, y, a, b = sympy.symbols("t x y a b", real=True)
    f = sympy.Function("f")
    slopes = [sympy.diff(f(x, y), u).subs({x: x + t * a, y: y + t * b}, simultaneous=True)
              for u in (x, y)]  # fmt: skip
    moved = sympy.diff(f(x + t * a, y + t * b), t)
    return sympy.simplify((moved - a * slopes[0] - b * slopes[1]).doit())


def _full_residual() -> sympy.Expr:
    """H = GᵀG nonsingular: UᵀHUv = 0 gives ‖GUv‖ = 0, so Uv = 0; and Uv = 0 gives UᵀHUv = 0."""
    H = _T(_G) * _G
    norm = _T(_v) * _T(_U) * H * _U * _v - _T(_G * _U * _v) * (_G * _U * _v)
    back = reduced(_T(_U) * H * _U * _v, {_U * _v: sympy.Integer(0)})
    return first_nonzero(sympy.expand(norm), back)


def _deficient_residual() -> sympy.Expr:
    """Hw = 0, w ≠ 0: v = Uᵀ(UUᵀ)⁻¹w has Uv = w ≠ 0, but UᵀHUv = UᵀHw = 0: the range is smaller."""
    (inverse,) = matrices("R")
    v = _T(_U) * inverse * _w
    image = reduced(_U * v, {_U * _T(_U) * inverse: sympy.Integer(1)})
    kernel = reduced(
        _T(_U) * _H * _U * v, {_U * _T(_U) * inverse: sympy.Integer(1), _H * _w: sympy.Integer(0)}
    )
    return first_nonzero(sympy.expand(image - _w), kernel)


def _heteroscedastic_residual() -> sympy.Expr:
    """y = x_1 + x_2ξ: E[y|x] = x_1 has AGOP diag(1, 0), but Var(y|x) = x_2² depends on x_2."""
    x, y, noise = sympy.symbols("x_1 x_2 xi", real=True)
    response = sympy.Poly(x + y * noise, noise)
    mean = response.coeff_monomial(1)
    variance = sympy.expand((x + y * noise - mean) ** 2).coeff(noise, 2)
    depends = sympy.Integer(1 if sympy.diff(variance, y) == 0 else 0)
    return first_nonzero(sympy.diff(mean, y), sympy.diff(mean, x) - 1, depends)


def _jump_residual() -> sympy.Expr:
    """1[x > 0]: constant on either side, slope 0 almost everywhere, and yet not constant."""
    x = sympy.Symbol("x", real=True)
    step = sympy.Piecewise((1, x > 0), (0, True))
    sides = [sympy.diff(value, x) for value, _ in step.args]
    constant = sympy.Integer(1 if step.subs(x, 1) == step.subs(x, -1) else 0)
    return first_nonzero(*sides, constant)


def derive_index_space() -> Derivation:
    """Derive the range of the AGOP for weakly differentiable targets, in every dimension.

    Source: E (that the AGOP shows the relevant directions), this project (the exact statement).
    """
    steps = (
        Step("vᵀ AGOP v = E(v·∇f)².", _quadratic_residual),
        Step("If v·∇f vanishes, f is constant along v, and conversely.", _along_residual),
        Step("g(Ux): the kernel is that of U if E∇g∇gᵀ is nonsingular.", _full_residual),
        Step("If it is singular, the range is smaller than span Uᵀ.", _deficient_residual),
        Step("The law of y may depend on more than its mean.", _heteroscedastic_residual),
        Step("A jump is not seen.", _jump_residual),
    )
    cites = (
        "a square with mean 0 under a positive density vanishes almost everywhere",
        "fundamental theorem of calculus on almost every line",
    )
    return Derivation("ker AGOP = the directions along which f is constant.", steps, cites)


# --- jumps ------------------------------------------------------------------------------------


def _energy_residual(claimed: sympy.Expr) -> sympy.Expr:
    """∫ (φ((x − t)/ε)/ε)² N(x; 0, σ²) dx, by completing the square: E[e^{−(x−t)²/ε²}]/(2πε²)."""
    x = sympy.Symbol("x", real=True)
    e, s, t = WIDTH, DEVIATION, THRESHOLD
    curvature = 2 / e**2 + 1 / s**2  # of the joint exponent
    centre = 2 * t / e**2 / curvature
    rest = t**2 * (curvature * 2 / e**2 - 4 / e**4) / (2 * curvature)
    exponent = -((x - t) ** 2) / e**2 - x**2 / (2 * s**2)
    square = sympy.simplify(exponent + curvature * (x - centre) ** 2 / 2 + rest)
    mean = sympy.exp(-sympy.simplify(rest)) / (s * sympy.sqrt(curvature))
    ratio = sympy.simplify((claimed * 2 * sympy.pi * e**2 / mean) ** 2)
    positive = sympy.Integer(0 if claimed.is_positive else 1)
    return first_nonzero(square, sympy.simplify(ratio - 1), positive)


def _gated_residual(claimed: sympy.Expr) -> sympy.Expr:
    """Φ(x/ε)² = P(εZ < x, εZ' < x | x): x − εZ and x − εZ' are both positive; times E x² = σ²."""
    e, s = WIDTH, DEVIATION
    covariance = sympy.diag(s**2, e**2, e**2)  # of x, εZ, εZ'
    pair = sympy.Matrix([[1, -1, 0], [1, 0, -1]])
    spread = pair * covariance * pair.T
    correlation = spread[0, 1] / sympy.sqrt(spread[0, 0] * spread[1, 1])
    quadrant = sympy.Rational(1, 4) + sympy.asin(sympy.simplify(correlation)) / (2 * sympy.pi)
    return sympy.simplify(claimed - s**2 * quadrant)


def _beside_residual() -> sympy.Expr:
    """The slopes x_1Φ, x_0Φ, x_0x_1Φ' : their products are odd in x_0 or in x_1, with mean 0."""
    x, y = sympy.symbols("x_0 x_1", real=True)
    gate, slope = sympy.symbols("Phi Phi'", real=True)
    slopes = (y * gate, x * gate, x * y * slope)
    products = [slopes[0] * slopes[1], slopes[0] * slopes[2], slopes[1] * slopes[2]]
    even = [p for p in products if p.subs(x, -x) + p != 0 and p.subs(y, -y) + p != 0]
    return sympy.Add(*even)


def _gate_residual(gate: sympy.Expr, energy: sympy.Expr) -> sympy.Expr:
    """E x_0² E x_1² = σ⁴ times the energy of the jump at t = 0."""
    return sympy.simplify(gate - DEVIATION**4 * energy.subs(THRESHOLD, 0))


def _limit_residual(gated: sympy.Expr, gate: sympy.Expr, limit: sympy.Expr) -> sympy.Expr:
    """ε → 0: the gated directions tend to σ²/2, the gate's grows like 1/ε."""
    scaled = sympy.limit(gate * WIDTH, WIDTH, 0, "+")
    grows = sympy.Integer(0 if scaled.is_positive else 1)
    return first_nonzero(sympy.simplify(sympy.limit(gated, WIDTH, 0, "+") - limit), grows)


def _almost_everywhere_residual(claimed: sympy.Expr) -> sympy.Expr:
    """x_0x_1·1[x_2 > 0]: slopes (x_1, x_0, 0) where x_2 > 0, which has probability ½."""
    x, y, z = sympy.symbols("x_0 x_1 x_2", real=True)
    slopes = [sympy.diff(x * y, v) for v in (x, y, z)]
    squares = [(slope**2).subs({x**2: DEVIATION**2, y**2: DEVIATION**2}) / 2 for slope in slopes]
    return first_nonzero(squares[2], *(sympy.expand(s - claimed) for s in squares[:2]))


def derive_jumps(
    energy: sympy.Expr = JUMP_ENERGY,
    gated: sympy.Expr = GATED_DIRECTION,
    gate: sympy.Expr = GATE_DIRECTION,
    limit: sympy.Expr = GATED_LIMIT,
) -> Derivation:
    """Derive the AGOP of thresholds and of the gated product, with the jump smoothed and without.

    Args:
        energy: In ``WIDTH``, ``DEVIATION`` and ``THRESHOLD``, to compare with.
        gated: In ``WIDTH`` and ``DEVIATION``, to compare with.
        gate: In ``WIDTH`` and ``DEVIATION``, to compare with.
        limit: In ``DEVIATION``, to compare with.

    Source: this project.
    """
    steps = (
        Step(
            "Almost everywhere: the gate is not seen.", partial(_almost_everywhere_residual, limit)
        ),
        Step("The AGOP is diagonal.", _beside_residual),
        Step("Width ε: gated directions.", partial(_gated_residual, gated)),
        Step("Width ε: the jump.", partial(_energy_residual, energy)),
        Step("Width ε: the gate's direction.", partial(_gate_residual, gate, JUMP_ENERGY)),
        Step("ε → 0.", partial(_limit_residual, gated, gate, limit)),
    )
    cites = ("Sheppard's theorem on quadrant probabilities", "Gaussian integral")
    return Derivation("What the AGOP sees of a jump.", steps, cites)
