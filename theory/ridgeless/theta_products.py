"""Sums over Z^d of mixtures of Gaussians, as short sums of products of one-dimensional thetas.

Shared by the certified quadratures of `spline_quadrature` and `lattice_risk`.
Source: this project.
"""

from __future__ import annotations

from itertools import product

from flint import acb, arb, arb_mat


def below(first: arb, power: arb, step: arb) -> arb:
    """Σ t_j^power over all times before ``first``: a geometric series."""
    return first**power / (step * power).expm1()


def trapezoidal_error(a: arb, step: arb) -> arb:
    """Relative error 2 Σ_{k≥1} |Γ(a+2πik/h)|/Γ(a) ≤ 2 (cos ω)^{-a}/(e^{2πω/h} − 1)."""
    omega = (2 * arb.pi() / (step * a)).atan()
    return plus_minus(2 * omega.cos() ** (-a) / (2 * arb.pi() * omega / step).expm1())


def plus_minus(bound: arb) -> arb:
    """The interval [−bound, bound]."""
    return (-bound).union(bound)


def thetas(times: list[arb], points: list[arb]) -> tuple[arb_mat, arb_mat]:
    """ϑ(x, t) = Σ_m e^{−πt(x+m)²} and its term m = 0: rows are points, columns times."""
    # Jacobi: ϑ(x, t) = t^{-1/2} θ₃(πx; τ = i/t); flint includes the factor π in the argument.
    full = [
        acb.modular_theta(acb(x), acb(0, 1 / t))[2].real / t.sqrt() for x in points for t in times
    ]
    own = [(-arb.pi() * t * x * x).exp() for x in points for t in times]
    shape = (len(points), len(times))
    return arb_mat(*shape, full), arb_mat(*shape, own)


def row_products(left: arb_mat, right: arb_mat) -> arb_mat:
    """All entrywise products of a row of ``left`` with a row of ``right``."""
    rows = product(left.table(), right.table())
    entries = [a * b for x, y in rows for a, b in zip(x, y, strict=True)]
    return arb_mat(left.nrows() * right.nrows(), left.ncols(), entries)


def contract(matrices: list[arb_mat], weights: list[arb]) -> list[arb]:
    """Σ_j weight_j ∏_i matrix_i[p_i, j] for every multi-index p, last index fastest."""
    left = matrices[0]
    for matrix in matrices[1:-1]:
        left = row_products(left, matrix)
    if len(matrices) == 1:
        return (left * arb_mat(len(weights), 1, weights)).entries()
    weighted = row_products(matrices[-1], arb_mat(1, len(weights), weights))
    return (left * weighted.transpose()).entries()
