r"""What the AGOP misses of targets with jumps, and what it finds when they are smoothed.

The almost-everywhere gradient of f(x) = x_0x_1·1[x_2 > t] does not see the gate: its AGOP has
nothing along e_2, although f depends on x_2, and that of a threshold 1[x > t] is 0. As a
distribution the gradient has a surface term at the jump, whose square has no mean. Smoothed over a
width ε, 1[x > t] → Φ((x − t)/ε), the jump has the energy

    E[(∂_x Φ((x − t)/ε))²] = exp(−t²/(ε² + 2σ²)) / (2π ε √(ε² + 2σ²)),   x ~ N(0, σ²),

which grows like 1/ε: a predictor that resolves the jump finely finds its direction first of all,
while the limit of the AGOPs is not the AGOP of the limit.
"""

from __future__ import annotations

from typing import Any

import sympy

from .gaussian_means import exact_expression

WIDTH, DEVIATION = sympy.symbols("epsilon sigma", positive=True)
THRESHOLD = sympy.Symbol("t", real=True)

_SPREAD = WIDTH**2 + 2 * DEVIATION**2
JUMP_ENERGY = sympy.exp(-(THRESHOLD**2) / _SPREAD) / (2 * sympy.pi * WIDTH * sympy.sqrt(_SPREAD))
"""E[(∂_x Φ((x − t)/ε))²]."""

OPEN_SHARE = sympy.Rational(1, 4) + sympy.asin(DEVIATION**2 / (DEVIATION**2 + WIDTH**2)) / (
    2 * sympy.pi
)
"""E[Φ(x/ε)²], the mean square of the smoothed gate at t = 0; ½ as ε → 0."""

GATED_DIRECTION = DEVIATION**2 * OPEN_SHARE
"""AGOP entry of x_0 (and of x_1) for x_0x_1Φ(x_2/ε), inputs N(0, σ²)."""

GATE_DIRECTION = DEVIATION**4 * JUMP_ENERGY.subs(THRESHOLD, 0)
"""AGOP entry of x_2 for the same target."""

GATED_LIMIT = DEVIATION**2 / 2
"""AGOP entry of x_0 (and of x_1) for x_0x_1·1[x_2 > 0]; that of x_2 is 0."""


def threshold_energy(width: Any, deviation: Any = 1, threshold: Any = 0) -> sympy.Expr:
    """Return E[(∂_x Φ((x − t)/ε))²] for x ~ N(0, σ²), exactly.

    Args:
        width: ε > 0, exact.
        deviation: σ > 0, exact.
        threshold: t, real, exact.

    Raises:
        TypeError: If there are Float atoms, or an argument is no expression.
        ValueError: If ε or σ is not positive, or t not real.

    Source: this project.

    Example:
        >>> threshold_energy(1)
        sqrt(3)/(6*pi)
    """
    values = {WIDTH: _positive("width", width), DEVIATION: _positive("deviation", deviation)}
    t = exact_expression("threshold", threshold)
    if t.is_real is not True:
        raise ValueError(f"threshold = {t} must be real")
    return JUMP_ENERGY.subs({**values, THRESHOLD: t})


def gated_product_agop(deviation: Any = 1, width: Any = None) -> sympy.ImmutableMatrix:
    """Return the AGOP of x_0x_1·gate(x_2), inputs N(0, σ²1), in the coordinates (x_0, x_1, x_2).

    Args:
        deviation: σ > 0, exact.
        width: ε > 0 of the gate Φ(x_2/ε), exact; None for the gate 1[x_2 > 0] itself, with the
            gradient almost everywhere.

    Raises:
        TypeError: If there are Float atoms, or an argument is no expression.
        ValueError: If ε or σ is not positive.

    Source: this project; the target: E.

    Example:
        >>> gated_product_agop(sympy.Rational(1, 2)).diagonal()
        Matrix([[1/8, 1/8, 0]])
    """
    sigma = {DEVIATION: _positive("deviation", deviation)}
    if width is None:
        entries = (GATED_LIMIT, GATED_LIMIT, sympy.Integer(0))
    else:
        sigma[WIDTH] = _positive("width", width)
        entries = (GATED_DIRECTION, GATED_DIRECTION, GATE_DIRECTION)
    return sympy.ImmutableMatrix(sympy.diag(*(entry.subs(sigma) for entry in entries)))


def _positive(name: str, value: Any) -> sympy.Expr:
    exact = exact_expression(name, value)
    if exact.is_positive is not True:
        raise ValueError(f"{name} = {exact} must be positive")
    return exact
