"""Alias sums E_k(θ) = Σ_{m≠0} (φ̂(c(θ+m))/φ̂(cθ))^k on tensor grids of θ, certified.

Source: this project.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import arb, arb_mat, arb_poly

from .lattice_spectra import Errors, Grid, Spectrum, number
from .theta_products import contract, plus_minus, thetas


@dataclass(frozen=True, eq=False)
class AliasSums:
    """E_1 and E_2 at many points, |θ| ≤ extent; what depends on c alone is computed once."""

    spectrum: Spectrum
    grid: Grid
    weights: tuple[list[arb], list[arb]]
    early: tuple[tuple[arb, list[arb]], tuple[arb, list[arb]]]
    errors: tuple[Errors, Errors]

    @staticmethod
    def build(source: Spectrum, digits: int, extent: arb) -> AliasSums:
        """Choose the times and prepare the weights."""
        grid = source.grid(digits, number(extent))
        return AliasSums(
            source,
            grid,
            (source.weights(1, grid), source.weights(2, grid)),
            (source.early(1, grid), source.early(2, grid)),
            (source.errors(1, grid, extent, arb(0)), source.errors(2, grid, extent, arb(0))),
        )

    def evaluate(
        self, power: int, tables: list[tuple[arb_mat, arb_mat]], u: list[arb]
    ) -> list[arb]:
        """E_power on a tensor grid with theta tables per axis and squared norms u."""
        weights, errors = self.weights[power - 1], self.errors[power - 1]
        full, own = (contract([table[k] for table in tables], weights) for k in (0, 1))
        everything, near = self.early[power - 1]
        constant = everything + plus_minus(errors.absolute)
        # The rule gives B(1+ε), |ε| ≤ relative, where B is wanted.
        factor, shift = 1 / (1 + plus_minus(errors.relative)), plus_minus(errors.weighted)
        polynomial = arb_poly(near)
        return [
            self.spectrum.inverse(v, power) * (f - o + constant - polynomial(v)) * factor + shift
            for f, o, v in zip(full, own, u, strict=True)
        ]


def sums_at_origin(source: Spectrum, digits: int) -> tuple[arb, arb]:
    """E_1(0) and E_2(0)."""
    sums = AliasSums.build(source, digits, arb(0))
    return sums_at(sums, [arb(0)] * source.dimension)


def sums_at(sums: AliasSums, theta: list[arb]) -> tuple[arb, arb]:
    """E_1 and E_2 at one point."""
    tables = [thetas(sums.grid.times, [x]) for x in theta]
    u = [sum((x * x for x in theta), arb(0))]
    return sums.evaluate(1, tables, u)[0], sums.evaluate(2, tables, u)[0]
