r"""The grid's algebra: eigenvalues, exact risk, conservation and the limit n → ∞, derived.

Notation of an alias class [l] = l + nZ^d with load μ = λ/N: S = Σ ĝ_k, Q = Σ ĝ_k², F = Σ f*_k,
C = Re Σ conj(f*_k) ĝ_k F, P = Σ |f*_k|², sums over k ∈ [l]. Every derivation ends by comparing the
claimed formula with an exact computation from the definition: the kernel matrix of a band-limited
kernel is set up and solved in rational arithmetic, and the squared error summed by Parseval.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

import sympy

from ..derivation import Derivation, Step, first_nonzero

Frequency = tuple[int, ...]
Coefficients = Mapping[Frequency, sympy.Expr]

POINTS, EIGENVALUE_SUM, SQUARES, LOAD, NOISE = sympy.symbols("N S Q mu sigma2", positive=True)
TARGET_SUM2, CROSS, TARGET_POWER = sympy.symbols("F2 C P", real=True)

# The claimed formulas; the load μ = λ/N is 0 without ridge.
EIGENVALUE = POINTS * EIGENVALUE_SUM
RIDGE_ESTIMATION = NOISE / POINTS * SQUARES / (EIGENVALUE_SUM + LOAD) ** 2
RIDGE_APPROXIMATION = (
    TARGET_SUM2 * SQUARES / (EIGENVALUE_SUM + LOAD) ** 2
    - 2 * CROSS / (EIGENVALUE_SUM + LOAD)
    + TARGET_POWER
)
ESTIMATION = RIDGE_ESTIMATION.subs(LOAD, 0)
APPROXIMATION = RIDGE_APPROXIMATION.subs(LOAD, 0)
CONSERVED = POINTS

_ROOT = sympy.Symbol("zeta")  # a primitive n-th root of unity, modulo its cyclotomic polynomial


@dataclass(frozen=True)
class Instance:
    """A small regression problem with rational data: a band-limited kernel on the n^d grid."""

    n: int
    dimension: int
    ridge: sympy.Rational
    target: Coefficients

    @property
    def classes(self) -> list[Frequency]:
        """One frequency of each alias class."""
        return list(product(range(self.n), repeat=self.dimension))

    @property
    def spectrum(self) -> Coefficients:
        """ĝ_k = 1/(1 + |k|² + k₁²k₂²…), cut off beyond |k_i| ≤ n + 1: even and positive."""
        band = product(range(-self.n - 1, self.n + 2), repeat=self.dimension)
        return {
            k: sympy.Rational(1, 1 + sum(i * i for i in k) + sympy.prod(i * i for i in k))
            for k in band
        }

    def reduce(self, expression: sympy.Expr) -> sympy.Expr:
        """Reduce a polynomial in ζ modulo the cyclotomic polynomial: 0 if and only if it is 0."""
        polynomial = sympy.cyclotomic_poly(self.n, _ROOT)
        return sympy.rem(sympy.expand(expression), polynomial, _ROOT)

    def wave(self, k: Frequency, x: Frequency) -> sympy.Expr:
        """e^{2πi k·x/n} as a power of ζ."""
        return _ROOT ** (sum(a * b for a, b in zip(k, x, strict=True)) % self.n)

    def kernel_matrix(self, spectrum: Coefficients) -> sympy.Matrix:
        """K_{jj'} = Σ_k ĝ_k e^{2πi k·(x_j − x_j')}, rational for n in {2, 3, 4, 6} and even ĝ."""

        def entry(j: int, i: int) -> sympy.Expr:
            x = tuple(a - b for a, b in zip(self.classes[j], self.classes[i], strict=True))
            return self.reduce(sum(g * self.wave(k, x) for k, g in spectrum.items()))

        return sympy.Matrix(len(self.classes), len(self.classes), entry)

    def risk_from_definition(self) -> tuple[sympy.Expr, sympy.Expr]:
        """Return approximation and estimation/σ², by solving (K + λI)α = y and Parseval."""
        spectrum, points = self.spectrum, self.classes
        loaded = self.kernel_matrix(spectrum) + self.ridge * sympy.eye(len(points))
        inverse = loaded.inv()
        approximation, estimation = sympy.Integer(0), sympy.Integer(0)
        samples = [sum(f * self.wave(k, x) for k, f in self.target.items()) for x in points]
        for k in {**spectrum, **self.target}:
            # f̂_k = ĝ_k Σ_j α_j e^{−2πi k·x_j} = Σ_i weights_i y_i
            row = sympy.Matrix([[self.wave(tuple(-i for i in k), x) for x in points]])
            weights = spectrum.get(k, sympy.Integer(0)) * row * inverse
            error = self.target.get(k, 0) - sum(
                w * y for w, y in zip(weights, samples, strict=True)
            )
            approximation += self.squared_modulus(error)
            estimation += sum(self.squared_modulus(w) for w in weights)
        return self.reduce(approximation), self.reduce(estimation)

    def squared_modulus(self, z: sympy.Expr) -> sympy.Expr:
        """|z|² for a polynomial in ζ with real coefficients: the conjugate of ζ is ζ^{n−1}."""
        reduced = self.reduce(z)
        return self.reduce(reduced * reduced.subs(_ROOT, _ROOT ** (self.n - 1)))

    def risk_from_formula(
        self, approximation: sympy.Expr, estimation: sympy.Expr
    ) -> tuple[sympy.Expr, sympy.Expr]:
        """Return the same two numbers from class-wise formulas."""
        parts = [self._class_values(members) for members in self._members().values()]
        return tuple(
            sum(formula.subs(values, simultaneous=True) for values in parts)
            for formula in (approximation, estimation)
        )

    def _members(self) -> dict[Frequency, list[Frequency]]:
        groups: dict[Frequency, list[Frequency]] = defaultdict(list)
        for k in {**self.spectrum, **self.target}:
            groups[tuple(i % self.n for i in k)].append(k)
        return groups

    def _class_values(self, members: list[Frequency]) -> dict[sympy.Symbol, sympy.Expr]:
        g = {k: self.spectrum.get(k, sympy.Integer(0)) for k in members}
        f = {k: sympy.sympify(self.target.get(k, 0)) for k in members}
        total = sum(f.values())
        return {
            POINTS: sympy.Integer(len(self.classes)),
            EIGENVALUE_SUM: sum(g.values()),
            SQUARES: sum(value**2 for value in g.values()),
            LOAD: self.ridge / len(self.classes),
            NOISE: sympy.Integer(1),
            TARGET_SUM2: total**2,
            CROSS: sum(f[k] * g[k] for k in members) * total,
            TARGET_POWER: sum(value**2 for value in f.values()),
        }


def instances(ridge: sympy.Rational) -> tuple[Instance, ...]:
    """Problems with target frequencies inside, on and beyond the band, aliases among them."""
    third = sympy.Rational(1, 3)
    line: Coefficients = {
        (0,): third,
        (1,): sympy.Integer(2),
        (-2,): -third,
        (4,): sympy.Rational(1, 5),
    }
    plane: Coefficients = {(0, 1): sympy.Integer(1), (2, 1): -third, (1, 1): sympy.Rational(3, 4)}
    return (
        Instance(3, 1, ridge, line),
        Instance(4, 1, ridge, {**line, (9,): sympy.Rational(2, 7)}),
        Instance(2, 2, ridge, plane),
    )


# ── derivations ──────────────────────────────────────────────────────────────────────────────────


def _alias_residual() -> sympy.Expr:
    n, m, j, k = sympy.symbols("n m j k", integer=True, positive=True)
    ratio = sympy.exp(2 * sympy.pi * sympy.I * ((k + n * m) * j - k * j) / n)
    return sympy.simplify(ratio) - 1


def _telescope_residual() -> sympy.Expr:
    z, j, m = sympy.Symbol("z"), sympy.Symbol("j"), sympy.Symbol("m", integer=True)
    telescopes = sympy.expand((z - 1) * z**j - (z ** (j + 1) - z**j))
    return first_nonzero(sympy.powsimp(telescopes), sympy.exp(2 * sympy.pi * sympy.I * m) - 1)


def _eigenvector_residual(claimed: sympy.Expr, instance: Instance) -> sympy.Expr:
    """K e_l − claimed(N, S_l) e_l with a symbol for every ĝ_k, ĝ even."""
    symbols = {k: sympy.Symbol("g" + "_".join(str(abs(i)) for i in k)) for k in instance.spectrum}
    matrix = instance.kernel_matrix(symbols)
    residuals = []
    for label in instance.classes:
        vector = sympy.Matrix([instance.wave(label, x) for x in instance.classes])
        alias_sum = sum(
            g
            for k, g in symbols.items()
            if all((i - j) % instance.n == 0 for i, j in zip(k, label, strict=True))
        )
        values = {POINTS: len(instance.classes), EIGENVALUE_SUM: alias_sum}
        difference = matrix * vector - claimed.subs(values, simultaneous=True) * vector
        residuals += [instance.reduce(entry) for entry in difference]
    return first_nonzero(*residuals)


_ALIASES = (
    Step("Waves of frequencies k and k + nm agree at every grid point x = j/n.", _alias_residual),
    Step(
        "Σ_j z^j (z − 1) telescopes to z^n − 1 = 0 for z = e^{2πi(k−l)/n}: waves of different "
        "classes are orthogonal on the grid, axis by axis.",
        _telescope_residual,
    ),
)


def derive_spectrum(claimed: sympy.Expr = EIGENVALUE) -> Derivation:
    """Derive that K(X,X) has the eigenvalue N·S_l for the discrete Fourier vector of class l.

    Args:
        claimed: The eigenvalue in `POINTS` and `EIGENVALUE_SUM`.

    Source: paper F.
    """
    cases = [Instance(n, 1, sympy.Integer(0), {}) for n in (2, 3, 4, 5)]
    cases.append(Instance(2, 2, sympy.Integer(0), {}))

    def explicit() -> sympy.Expr:
        return first_nonzero(*(_eigenvector_residual(claimed, case) for case in cases))

    def general() -> sympy.Expr:
        # (K e_l)_j = Σ_k ĝ_k e^{2πi k·x_j} Σ_j' e^{2πi (l−k)·x_j'}: N for k ∈ [l], else 0.
        return sympy.expand(claimed - POINTS * EIGENVALUE_SUM)

    return Derivation(
        "The eigenvalues of the kernel matrix on the grid.",
        (
            *_ALIASES,
            Step("n = 2…5 on the line, n = 2 in the plane, with symbols for all ĝ_k.", explicit),
            Step("So K e_l = Σ_{k∈[l]} ĝ_k · N e_l.", general),
        ),
        ("Absolutely convergent Fourier series may be summed in any order",),
    )


def _solve_residual() -> sympy.Expr:
    alpha, data, load = sympy.symbols("alpha y lambda")
    solved = sympy.solve((POINTS * EIGENVALUE_SUM + load) * alpha - data, alpha)[0]
    weight = 1 / (EIGENVALUE_SUM + load / POINTS)
    return sympy.simplify(solved - weight * data / POINTS)


def _bias_variance_residual() -> sympy.Expr:
    f, F, e = (sympy.symbols(f"{name}_re {name}_im", real=True) for name in "fFe")
    r = sympy.Symbol("r", real=True)
    parts = [f[i] - r * (F[i] + e[i]) for i in (0, 1)]
    square = sympy.Poly(sympy.expand(sum(part**2 for part in parts)), *e)
    second = sympy.Symbol("E", real=True)  # E|e|² = E(e_re² + e_im²), and E e = 0
    expectation = square.coeff_monomial(1) + square.coeff_monomial(e[0] ** 2) * second
    claim = sum((f[i] - r * F[i]) ** 2 for i in (0, 1)) + r**2 * second
    equal = square.coeff_monomial(e[0] ** 2) - square.coeff_monomial(e[1] ** 2)
    return first_nonzero(sympy.expand(expectation - claim), sympy.expand(equal))


def _class_residual(
    approximation: sympy.Expr, estimation: sympy.Expr, load: sympy.Expr
) -> sympy.Expr:
    """Sum over a class of three frequencies, complex targets; further ones add likewise."""
    g = sympy.symbols("g0:3", positive=True)
    a, b = sympy.symbols("a0:3", real=True), sympy.symbols("b0:3", real=True)
    A, B, S = sum(a), sum(b), sum(g)
    weight = [value / (S + load) for value in g]
    bias = sum((x - w * A) ** 2 + (y - w * B) ** 2 for x, y, w in zip(a, b, weight, strict=True))
    values = {
        EIGENVALUE_SUM: S,
        SQUARES: sum(value**2 for value in g),
        LOAD: load,
        TARGET_SUM2: A**2 + B**2,
        CROSS: sum(v * (x * A + y * B) for v, x, y in zip(g, a, b, strict=True)),
        TARGET_POWER: sum(x**2 + y**2 for x, y in zip(a, b, strict=True)),
    }
    noise = NOISE / POINTS * sum(w**2 for w in weight)
    return first_nonzero(
        sympy.cancel(sympy.together(approximation.subs(values, simultaneous=True) - bias)),
        sympy.cancel(sympy.together(estimation.subs(values, simultaneous=True) - noise)),
    )


def _definition_residual(
    approximation: sympy.Expr, estimation: sympy.Expr, ridge: sympy.Rational
) -> sympy.Expr:
    differences = []
    for instance in instances(ridge):
        definition = instance.risk_from_definition()
        formula = instance.risk_from_formula(approximation, estimation)
        differences += [a - b for a, b in zip(definition, formula, strict=True)]
    return first_nonzero(*differences)


def _risk_derivation(
    goal: str, approximation: sympy.Expr, estimation: sympy.Expr, load: sympy.Expr, ridge: int
) -> Derivation:
    exact = sympy.Rational(ridge, 7)
    return Derivation(
        goal,
        (
            *_ALIASES,
            Step(
                "On class l, (K + λ)α = y is (N S_l + λ) α̂_l = ŷ_l, and f̂_k = ĝ_k α̂_l = "
                "r_k (F_l + ξ̂_l/N) with r_k = ĝ_k/(S_l + λ/N).",
                _solve_residual,
            ),
            Step(
                "Since E ξ̂ = 0 and E|ξ̂_l/N|² = σ²/N: E|f*_k − f̂_k|² = |f*_k − r_k F|² + r_k² σ²/N.",
                _bias_variance_residual,
            ),
            Step(
                "From the definition, exactly: n = 3, 4 on the line, n = 2 in the plane.",
                partial(_definition_residual, approximation, estimation, exact),
            ),
            Step(
                "By Parseval the risk is the sum over k; class by class, this is the formula.",
                partial(_class_residual, approximation, estimation, load),
            ),
        ),
        ("Parseval's identity",),
    )


def derive_risk(
    approximation: sympy.Expr = APPROXIMATION, estimation: sympy.Expr = ESTIMATION
) -> Derivation:
    """Derive the exact ridgeless risk of an alias class at finite n.

    Source: paper F.
    """
    zero = sympy.Integer(0)
    return _risk_derivation("The risk without ridge.", approximation, estimation, zero, 0)


def derive_ridge(
    approximation: sympy.Expr = RIDGE_APPROXIMATION, estimation: sympy.Expr = RIDGE_ESTIMATION
) -> Derivation:
    """Derive the exact risk with ridge λ = N μ.

    Source: paper F.
    """
    return _risk_derivation("The risk with ridge.", approximation, estimation, LOAD, 3)


def derive_conservation(claimed: sympy.Expr = CONSERVED) -> Derivation:
    """Derive Σ_k r_k = N: eigenlearning's conservation law holds exactly on the torus.

    Source: paper K; on the torus, this project.
    """

    def one_class() -> sympy.Expr:
        g = sympy.symbols("g0:4", positive=True)
        return sympy.cancel(sum(value / sum(g) for value in g) - 1)

    def total() -> sympy.Expr:
        residuals = []
        for instance in instances(sympy.Integer(0)):
            members = instance._members().values()
            spectrum = instance.spectrum
            sums = [[spectrum.get(k, sympy.Integer(0)) for k in group] for group in members]
            learned = sum(g / sum(group) for group in sums for g in group)
            residuals.append(learned - claimed.subs(POINTS, len(instance.classes)))
        return first_nonzero(*residuals)

    return Derivation(
        "The learnabilities r_k sum to the number of points.",
        (
            Step("Σ_{k∈[l]} r_k = S_l/S_l = 1 in each of the N classes.", one_class),
            Step("So the claimed total: instances with n = 3, 4 and n = 2 in the plane.", total),
            Step("For every n and d: N classes.", lambda: sympy.expand(claimed - POINTS)),
        ),
    )


# The limit n → ∞, in the weights r of one class at θ = l/n.
OWN, ENERGY = sympy.symbols("r_0 E", positive=True)
LIMIT_APPROXIMATION = 1 - 2 * OWN + ENERGY
LIMIT_ESTIMATION = SQUARES / EIGENVALUE_SUM**2


def derive_limit(
    approximation: sympy.Expr = LIMIT_APPROXIMATION, estimation: sympy.Expr = LIMIT_ESTIMATION
) -> Derivation:
    """Derive V(c) = ∫ Q/S² dθ and B(c) = 1 − 2 r_0(0) + Σ_l r_l(0)² as limits of the exact risk.

    Args:
        approximation: B in `OWN` = r_0(0) and `ENERGY` = Σ_l r_l(0)².
        estimation: The integrand of V in `SQUARES` and `EIGENVALUE_SUM`, the alias sums at θ.

    Source: paper F; with explicit constants, this project.
    """

    def scaling() -> sympy.Expr:
        c, n, m, label = sympy.symbols("c n m l", positive=True)
        return sympy.simplify((c / n) * (label + n * m) - c * (label / n + m))

    def scale_free() -> sympy.Expr:
        a = sympy.Symbol("a", positive=True)  # the factor h^d = (c/n)^d of every ĝ_k
        values = {SQUARES: a**2 * SQUARES, EIGENVALUE_SUM: a * EIGENVALUE_SUM}
        ratio = SQUARES / EIGENVALUE_SUM**2
        return sympy.simplify(ratio.subs(values, simultaneous=True) - ratio)

    def mean() -> sympy.Expr:
        # (σ²/N) Σ_l Q_l/S_l², per unit σ², is the mean of the claimed integrand over θ = l/n.
        return sympy.simplify(ESTIMATION * POINTS / NOISE - estimation)

    def bias() -> sympy.Expr:
        # One target frequency k per class once n > 2 max|k_i|: F = f*_k, C = r_0 S P, F2 = P.
        values = {TARGET_SUM2: TARGET_POWER, CROSS: OWN * EIGENVALUE_SUM * TARGET_POWER}
        one = APPROXIMATION.subs(values).subs(SQUARES, ENERGY * EIGENVALUE_SUM**2)
        return sympy.simplify(one / TARGET_POWER - approximation)

    return Derivation(
        "The limits of both parts of the risk at a fixed bandwidth in grid spacings.",
        (
            Step("h(l + nm) = c(θ + m) with h = c/n and θ = l/n.", scaling),
            Step(
                "The factor h^d cancels from every ratio: r depends on θ and c alone.", scale_free
            ),
            Step("The bias of one frequency per class, at θ = k/n → 0.", bias),
            Step("Estimation/σ² is the mean of Q/S² over θ = l/n: a Riemann sum of V.", mean),
        ),
        (
            "Weierstrass' M-test: alias sums of a density with a summable radial majorant converge "
            "uniformly, so r_l(θ) and Q/S² are continuous where S > 0",
            "Riemann sums of a continuous function converge to its integral",
        ),
    )
