r"""Spiky kernels: interpolation that is ridge regression in disguise.

Statement (claim ``ridgeless.spiky``): let :math:`\psi_w(x) = \prod_i \max(0, 1 - |x_i|/w)`,
periodised, with w ≤ 1/n. On the grid of N = n^d points the kernel k + ρψ_w has the kernel matrix
K + ρI exactly, so its interpolant passes through the data and differs from kernel ridge
regression with ridge ρ by bumps on the data alone. If 2w ≤ 1/n, for every data vector y,

.. math::
    \|f_{spiky} - f_{ridge}\|^2_{L^2} = (2w/3)^d\, |y - f_{ridge}(X)|^2 \le (2wn/3)^d\,
    \overline{y^2},

which vanishes as wn → 0. In the spectrum: Σ_{k∈[l]} ŝ_k = 1/N and Σ_{k∈[l]} ŝ_k² = (2w/3)^d/N in
every alias class. With Laplace's kernel at a fixed bandwidth h and any fixed ρ, ridge regression is
consistent on the grid with an explicit rate n^{-1/2}, hence so is interpolation with the spike of
width w_n = o(1/n). This is the boundary of the inconsistency theorem: the kernel changes with n by
more than a rescaling. Source: paper S (the idea), this project (exact statements).
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy
from flint import arb, ctx

from ..derivation import Derivation, Step
from ..validation import integer, nonnegative, positive

_PRECISION = 128

# Symbols of the claimed formulas: spike width, points per side, dimension; bandwidth, ridge.
W, N_SIDE, D = sympy.symbols("w n d", positive=True)
H, RHO = sympy.symbols("h rho", positive=True)

SPIKE_ENERGY: sympy.Expr = (2 * W / 3) ** D  # ∫ψ_w², so that Σ_{k∈[l]} ŝ_k² = SPIKE_ENERGY/N
# Estimation of Laplace ridge regression is at most σ² times this.
ESTIMATION_BOUND: sympy.Expr = 1 / N_SIDE + sympy.Rational(8, 3) / sympy.sqrt(8 * H * RHO * N_SIDE)


# --- The spike -------------------------------------------------------------------------------


def spike_coefficient(k: int, width: float) -> arb:
    """ŝ_k = w sinc²(πwk), the Fourier coefficient of the spike in d = 1; they multiply in d > 1.

    Raises:
        ValueError: If the width is not in (0, 1/2], where the periodised spike is a triangle.
    """
    w = _width(width, 2)
    with ctx.workprec(_PRECISION):
        return w * (w * k).sinc_pi() ** 2


def spike_gap(n: int, width: float, mean_square: float, dimension: int = 1) -> arb:
    """Bound of ‖f_spiky − f_ridge‖ in L²: (2wn/3)^{d/2} (mean of y²)^{1/2}.

    By Minkowski's inequality in L² of noise and torus, √risk of the two differ by no more than
    this with the expected mean square of the responses.

    Args:
        n: Points per side.
        width: Half-width w of the spike, at most 1/(2n).
        mean_square: (1/N) Σ_j y_j² or its expectation.
        dimension: d.

    Raises:
        ValueError: If 2w > 1/n (bumps of neighbours overlap) or an argument is out of range.
    """
    w = _width(width, 2 * integer("n", n, 1))
    integer("dimension", dimension, 1)
    with ctx.workprec(_PRECISION):
        square = arb(nonnegative("mean_square", mean_square))
        return ((2 * w * n / 3) ** dimension * square).sqrt()


def _width(width: float, inverse: int) -> arb:
    w = arb(positive("width", width))
    if not w * inverse <= 1:
        raise ValueError(f"width = {width!r} must be at most 1/{inverse}")
    return w


# --- Consistency of the Laplace kernel with a constant ridge ---------------------------------


def estimation_bound(n: int, bandwidth: float, ridge: float) -> arb:
    """(1/n) Σ_l Q_l/(S_l+ρ/n)² ≤ 1/n + (8/3)/√(8hρn) for Laplace's kernel in d = 1.

    S_l ≤ 1/(8hl²) for 1 ≤ |l| ≤ n/2 and Q_l ≤ S_l², so the sum is at most
    1 + 2 Σ_{l≥1} min(1, (A/l²)²) with A = n/(8hρ), and ∫_0^∞ min(1, A²/x⁴) dx = (4/3)√A.
    """
    integer("n", n, 2)
    with ctx.workprec(_PRECISION):
        h, rho = arb(positive("bandwidth", bandwidth)), arb(positive("ridge", ridge))
        return 1 / arb(n) + arb(8) / 3 / (8 * h * rho * n).sqrt()


def approximation_bound(
    n: int, bandwidth: float, ridge: float, target: Mapping[int, complex]
) -> arb:
    """Bound of the approximation error of Laplace ridge regression for a trigonometric polynomial.

    With T = Σ_{j∈[k], j≠k} ĝ_j ≤ τ = (π²−4)/(2π²hn²), the frequency k leaves at most
    |f*_k|² [(τ+ρ/n)² + τ²]/ĝ_k², and 1/ĝ_k = (1+4π²h²k²)/(2h).

    Raises:
        ValueError: If a frequency reaches n/2, where it would alias.
    """
    _refuse_aliases(n, target)
    with ctx.workprec(_PRECISION):
        h, rho, pi = arb(positive("bandwidth", bandwidth)), arb(positive("ridge", ridge)), arb.pi()
        tail = (pi**2 - 4) / (2 * pi**2 * h * arb(n) ** 2)
        loss = (tail + rho / n) ** 2 + tail**2
        total = arb(0)
        for k, coefficient in target.items():
            total += _modulus_squared(coefficient) * ((1 + (2 * pi * h * k) ** 2) / (2 * h)) ** 2
        return total * loss


def spiky_risk_bound(
    n: int,
    bandwidth: float,
    ridge: float,
    width: float,
    noise_variance: float,
    target: Mapping[int, complex],
) -> arb:
    """Bound of the risk of the interpolant with kernel Laplace + ridge × spike, d = 1.

    It tends to 0 as n → ∞ with bandwidth and ridge fixed and n·width → 0, although every one of
    these interpolants passes through all the noisy data.

    Raises:
        ValueError: If 2·width > 1/n, a target frequency reaches n/2, or a number is out of range.
    """
    variance = arb(nonnegative("noise_variance", noise_variance))
    with ctx.workprec(_PRECISION):
        approximation = approximation_bound(n, bandwidth, ridge, target)
        ridge_risk = approximation + variance * estimation_bound(n, bandwidth, ridge)
        # No two frequencies of the target alias, so the grid sees their energy exactly.
        energy = sum((_modulus_squared(c) for c in target.values()), arb(0))
        gap = spike_gap(n, width, 1.0) * (energy + variance).sqrt()
        return (ridge_risk.sqrt() + gap) ** 2


def _refuse_aliases(n: int, target: Mapping[int, complex]) -> None:
    integer("n", n, 2)
    for k in target:
        if 2 * abs(k) >= n:
            raise ValueError(f"target frequency {k!r} must be below n/2 = {n / 2} in modulus")


def _modulus_squared(coefficient: complex) -> arb:
    return arb(coefficient.real) ** 2 + arb(coefficient.imag) ** 2


# --- Derivations -----------------------------------------------------------------------------

_x, _k = sympy.symbols("x k", positive=True)


def derive_spike(claimed: sympy.Expr = SPIKE_ENERGY) -> Derivation:
    """The spike is a ridge on the grid, and off the grid it has energy ``claimed`` per datum."""
    return Derivation(
        goal=f"sum of s_k^2 over an alias class = ({claimed})/N; |f_spiky - f_ridge|^2 likewise",
        steps=(
            Step("Fourier coefficient of the triangle: w sinc(pi w k)^2 >= 0", _coefficient),
            Step("spike = 1 at its own grid point, 0 at all others, as w <= 1/n", _on_grid),
            Step(
                "alias sums of s: the discrete Fourier transform of that is 1/N in every class "
                "(for w = 1/n also by Euler's series)",
                _alias_sum,
            ),
            Step("S_l of the sum kernel = S_l + rho/N: the ridge's denominator", _same_denominator),
            Step(
                "Minkowski in the class: sqrt(Q) <= sqrt(Q_smooth) + rho sqrt(Q_spike), as "
                "2ab <= 2 sqrt(aa bb)",
                _minkowski,
            ),
            Step(
                "the bumps have disjoint supports if 2w <= 1/n, so the energy of their sum is "
                "the sum of energies; rho alpha = y - f_ridge(X), as (K + rho) alpha = y",
                _residual_vector,
            ),
            Step("energy of one bump", lambda: _energy() - claimed),
        ),
        cites=("Poisson summation", "Euler: sum over m of (theta+m)^-2 = pi^2/sin^2(pi theta)"),
    )


def derive_consistency(claimed: sympy.Expr = ESTIMATION_BOUND) -> Derivation:
    """Laplace ridge regression with a constant ridge: estimation ≤ σ² × ``claimed`` → 0."""
    return Derivation(
        goal=f"estimation of Laplace ridge regression <= sigma^2 ({claimed}), rate n^(-1/2)",
        steps=(
            Step("g_k = 2h/(1+4 pi^2 h^2 k^2) < 1/(2 pi^2 h k^2)", _laplace_spectrum),
            Step(
                "sum over m >= 1 of (m+1/2)^-2 + (m-1/2)^-2 is pi^2 - 4, the largest over "
                "|theta| <= 1/2 by convexity",
                _neighbours,
            ),
            Step("S_l <= 1/(8 h l^2): own term plus aliases, with n >= 2|l|", _alias_bound),
            Step("A = n/(8 h rho) makes S_l/(rho/n) <= A/l^2", _crossover),
            Step(
                "bias: 1 - r_k <= (T + rho/n)/g_k, as (g + T + delta)(T + delta)/g - (T + delta) "
                "= (T + delta)^2/g >= 0",
                _bias,
            ),
            Step("the bound tends to 0 with rate n^(-1/2)", lambda: _rate(claimed)),
            Step(
                "(1 + 2 integral of min(1, A^2/x^4))/n is the claimed bound",
                lambda: sympy.simplify(_estimation() - claimed),
            ),
        ),
        cites=("a decreasing function's sum from 1 on is at most its integral from 0 on",),
    )


def _coefficient() -> sympy.Expr:
    integral = 2 * sympy.integrate((1 - _x / W) * sympy.cos(2 * sympy.pi * _k * _x), (_x, 0, W))
    return sympy.simplify(integral - W * (sympy.sin(sympy.pi * W * _k) / (sympy.pi * W * _k)) ** 2)


def _on_grid() -> sympy.Expr:
    """At distance j/n ≥ 1/n ≥ w the triangle max(0, 1 − |x|/w) is 0; at 0 it is 1."""
    widest = sympy.Max(0, 1 - (1 / N_SIDE) / (1 / N_SIDE))
    return widest**2 + (1 - sympy.Max(0, 1 - sympy.S.Zero / W)) ** 2


def _alias_sum() -> sympy.Expr:
    """W = 1/n: Σ_m ŝ_{l+mn} = sin²(πθ)/(nπ²) Σ_m (θ+m)^{-2} = 1/n with θ = l/n."""
    theta = sympy.Symbol("theta", positive=True)
    own = (W * (sympy.sin(sympy.pi * W * _k) / (sympy.pi * W * _k)) ** 2).subs(
        {W: 1 / N_SIDE, _k: theta * N_SIDE}
    )
    without_pole = own * theta**2  # sin² does not change when θ moves by an integer
    euler = (sympy.pi / sympy.sin(sympy.pi * theta)) ** 2
    return sympy.simplify(without_pole * euler - 1 / N_SIDE)


def _same_denominator() -> sympy.Expr:
    """Eigenvalue N(S + ρ·alias sum) of the sum kernel's matrix against that of K + ρI."""
    S, N, alias_sum = sympy.symbols("S N a", positive=True)
    eigenvalue = sympy.expand(N * (S + RHO * alias_sum)).subs(alias_sum, 1 / N)
    return sympy.simplify(eigenvalue - (N * S + RHO))


def _minkowski() -> sympy.Expr:
    """For two aliases: |a|²|b|² − (a·b)² is a square (Lagrange), so a·b ≤ |a||b|."""
    a, b, c, e = sympy.symbols("a b c e", real=True)
    lagrange = (a**2 + b**2) * (c**2 + e**2) - (a * c + b * e) ** 2 - (a * e - b * c) ** 2
    return sympy.expand(lagrange)


def _residual_vector() -> sympy.Expr:
    """In the eigenbasis of K with eigenvalue κ: ρα = y − κα with α = y/(κ+ρ)."""
    kappa, y = sympy.symbols("kappa y", positive=True)
    alpha = y / (kappa + RHO)
    return sympy.simplify(RHO * alpha - (y - kappa * alpha))


def _energy() -> sympy.Expr:
    """∫ψ_w² = 2∫_0^w (1−x/w)² dx in one coordinate, to the power d."""
    return sympy.simplify(2 * sympy.integrate((1 - _x / W) ** 2, (_x, 0, W))) ** D


def _laplace_spectrum() -> sympy.Expr:
    """The transform of e^{−|x|/h}, and 1/(2π²hk²) minus it, which is positive."""
    own = 2 * H / (1 + 4 * sympy.pi**2 * H**2 * _k**2)
    transform = 2 * sympy.integrate(
        sympy.exp(-_x / H) * sympy.cos(2 * sympy.pi * _k * _x), (_x, 0, sympy.oo)
    )
    slack = 1 / (2 * sympy.pi**2 * H * _k**2)
    positive_rest = slack / (1 + 4 * sympy.pi**2 * H**2 * _k**2)
    return sympy.simplify(transform - own) ** 2 + sympy.simplify(slack - own - positive_rest) ** 2


def _neighbours() -> sympy.Expr:
    m = sympy.Symbol("m", integer=True)
    half = sympy.Rational(1, 2)
    total = sympy.summation((m + half) ** -2, (m, 1, sympy.oo)) + sympy.summation(
        (m - half) ** -2, (m, 1, sympy.oo)
    )
    return sympy.simplify(sympy.expand_func(total) - (sympy.pi**2 - 4))


def _alias_bound() -> sympy.Expr:
    """Σ ≤ [1/l² + (π²−4)/n²]/(2π²h), increasing in 1/n²; at n = 2l it is 1/(8hl²)."""
    own, tail = 1 / _k**2, (sympy.pi**2 - 4) / (2 * _k) ** 2
    return sympy.simplify((own + tail) / (2 * sympy.pi**2 * H) - 1 / (8 * H * _k**2))


def _crossover() -> sympy.Expr:
    return sympy.simplify((1 / (8 * H * _k**2)) / (RHO / N_SIDE) - (N_SIDE / (8 * H * RHO)) / _k**2)


def _bias() -> sympy.Expr:
    g, T, delta = sympy.symbols("g T delta", positive=True)
    loss = 1 - g / (g + T + delta)
    excess = ((T + delta) / g - loss) * (g + T + delta)
    return sympy.simplify(excess - (T + delta) ** 2 / g)


def _estimation() -> sympy.Expr:
    root = sympy.Symbol("a", positive=True)  # √A, where min(1, A²/x⁴) changes over
    integral = root + sympy.integrate(root**4 / _x**4, (_x, root, sympy.oo))
    return (1 + 2 * integral.subs(root, sympy.sqrt(N_SIDE / (8 * H * RHO)))) / N_SIDE


def _rate(claimed: sympy.Expr) -> sympy.Expr:
    """0 if √n × bound has a finite limit, which is not 0."""
    limit = sympy.limit(sympy.sqrt(N_SIDE) * claimed, N_SIDE, sympy.oo)
    return sympy.Integer(0 if limit.is_finite and not limit.is_zero else 1)
