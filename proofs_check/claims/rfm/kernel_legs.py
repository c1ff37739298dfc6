"""What the claim on kernel gradients is compared with: central differences, and automatic ones."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from flint import arb, ctx

from theory.closed_form import ClosedForm
from theory.derivation import Derivation
from theory.rfm import kernel_derivation
from theory.rfm import kernel_profiles as profiles

from ...claim import Formulas, Setting
from ...legs import Case, ball
from ..shared import formula
from . import kernel_points as points

if TYPE_CHECKING:
    from torch import Tensor

POLYNOMIAL = profiles.polynomial_kernel(points.DEGREE, float(points.OFFSET))
POINT = {
    profiles.DEGREE: sympy.Integer(points.DEGREE),
    profiles.OFFSET: sympy.Rational(points.OFFSET.numerator, points.OFFSET.denominator),
}
FACTORS = tuple(
    f"{name}.{'weight' if name in points.RADIAL else 'slope'}" for name in points.PROFILES
)
READ_PROFILES = tuple(f"{name}.profile" for name in points.PROFILES)


def factor_name(name: str) -> str:
    """The formula of ω or g'."""
    return f"{name}.{'weight' if name in points.RADIAL else 'slope'}"


def derivation(*claimed: Any) -> Derivation:
    """The derivation of prefactor, kink, scaled bandwidth, factors and profiles, in that order."""
    prefactor, kink, bandwidth, *rest = claimed
    expressions = [f.expression if isinstance(f, ClosedForm) else f for f in rest]
    factors = dict(zip(points.PROFILES, expressions, strict=False))
    shapes = dict(zip(points.PROFILES, expressions[len(factors) :], strict=True))
    pairs = {name: (shapes[name], factors[name]) for name in points.PROFILES}
    return kernel_derivation.derive_gradients(
        prefactor,
        kink,
        bandwidth,
        {name: pair for name, pair in pairs.items() if name in points.RADIAL},
        {name: pair for name, pair in pairs.items() if name not in points.RADIAL},
    )


def at(formulas: Formulas, name: str, argument: arb) -> Any:
    """A claimed profile or factor at ρ or τ."""
    claimed = formula(formulas, name)
    if not isinstance(claimed, ClosedForm):
        variable, line = profiles.INNER_PRODUCT, (-sympy.oo, sympy.oo)
        claimed = _closed(sympy.sympify(claimed).subs(POINT), variable, line)
    return claimed.ball(argument, points.PRECISION)


@lru_cache(maxsize=64)
def _closed(expression: sympy.Expr, variable: sympy.Symbol, domain: Any) -> ClosedForm:
    return ClosedForm("polynomial", expression, variable, domain)


def number(expression: sympy.Expr, **values: Any) -> arb:
    """A claimed constant in L and c."""
    symbols = {"L": profiles.BANDWIDTH, "c": profiles.METRIC_FACTOR}
    at_point = {symbols[k]: sympy.Rational(v.numerator, v.denominator) for k, v in values.items()}
    return ball(sympy.sympify(expression).subs(at_point))


def central(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The claimed gradients, the training point's own term left out, against central ones."""
    with ctx.workprec(points.PRECISION):
        for label, data in points.DATA:
            for name in points.PROFILES:
                found = [_claimed(formulas, name, data, row) for row in range(len(data.inputs))]
                yield from _tensor(f"{name}, {label}", found, points.gradients(name, data))


def _claimed(formulas: Formulas, name: str, data: points.Data, row: int) -> list[list[arb]]:
    """∇f_c at one input, from the claimed factor and prefactor."""
    x, M, L = points.balls(data.inputs)[row], points.balls(data.metric), ball(data.bandwidth)
    total = [[arb(0)] * len(x) for _ in data.coefficients[0]]
    before = number(formula(formulas, "prefactor"), L=data.bandwidth)
    for z, alpha, exact in zip(
        points.balls(data.centres), points.balls(data.coefficients), data.centres, strict=True
    ):
        if name in points.RADIAL and exact == data.inputs[row]:
            continue
        factor = before * at(formulas, factor_name(name), points.argument(name, x, z, M, L))
        away = [a - b for a, b in zip(x, z, strict=True)] if name in points.RADIAL else z
        pull = points.times(M, away)
        total = [
            [t + a * factor * p for t, p in zip(line, pull, strict=True)]
            for line, a in zip(total, alpha, strict=True)
        ]
    return total


def _tensor(point: str, claimed: Any, reference: Any) -> Iterator[Case]:
    left, right = np.array(claimed, dtype=object), np.array(reference, dtype=object)
    for place, value in np.ndenumerate(right):
        yield f"{point} {list(place)}", left[place], value


def values(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Profiles against their definitions, the kink, and the two sides of the scaling identity."""
    with ctx.workprec(points.PRECISION):
        for name in points.PROFILES:
            u = arb(3) / 7
            yield f"{name} at 3/7", at(formulas, f"{name}.profile", u), points.PROFILES[name](u)
        step = arb(2) ** -200
        slope = (points.PROFILES["laplace"](step) - 1) / step
        yield "Laplace's slope at 0", number(formula(formulas, "kink")), slope
        yield from _scaled(formulas)


def _scaled(formulas: Formulas) -> Iterator[Case]:
    """k with (cM, L) against k with (M, the claimed bandwidth): the two are one function of x."""
    data, c = points.DATA[0][1], Fraction(7, 3)
    x, z = points.balls(data.inputs[:1])[0], points.balls(data.centres[1:2])[0]
    M, L = points.balls(data.metric), ball(data.bandwidth)
    grown = [[ball(c) * entry for entry in row] for row in M]
    other = number(formula(formulas, "scaled_bandwidth"), L=data.bandwidth, c=c)
    for name, profile in points.PROFILES.items():
        left = profile(points.argument(name, x, z, M, other))
        yield f"{name}: kernel", left, profile(points.argument(name, x, z, grown, L))


def doubles(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """The library functions on the rational data, against central differences in balls."""
    for label, data in points.DATA:
        kwargs = {"bandwidth": float(data.bandwidth), "metric": _floats(data.metric)}
        args = [_floats(part) for part in (data.centres, data.coefficients, data.inputs)]
        for name in points.PROFILES:
            kernel = POLYNOMIAL if name == "polynomial" else name
            found = formula(formulas, "gradients")(kernel, *args, **kwargs)
            yield from _tensor(f"{name}, {label}", found, points.gradients(name, data))
            matrix = formula(formulas, "agop")(kernel, *args, **kwargs)
            yield from _tensor(f"AGOP, {name}, {label}", matrix, points.agop(name, data))


def _floats(rows: Any) -> Any:
    return np.array([[float(entry) for entry in row] for row in rows])


# ── torch ────────────────────────────────────────────────────────────────────────────────────────


def machines(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Twenty points in six dimensions: automatic differentiation, and the machine of numerics."""
    for name, data, automatic, gradients, agop in _torch_references():
        kernel = profiles.polynomial_kernel(3, 0.5) if name == "polynomial" else name
        arrays, kwargs = data[:3], {"bandwidth": 1.5, "metric": data[3]}
        found = formula(formulas, "gradients")(kernel, *arrays, **kwargs)
        yield f"{name}: automatic", *_projected(found, automatic)
        yield f"{name}: numerics", *_projected(found, gradients)
        matrix = formula(formulas, "agop")(kernel, *arrays, **kwargs)
        yield f"{name}: AGOP of numerics", *_projected(matrix, agop)


def _projected(found: Any, reference: Any) -> tuple[float, float]:
    """1 + the largest difference over the largest entry, beside 1: no entry may differ."""
    if found.shape != reference.shape:
        raise ValueError(f"shape {found.shape} against {reference.shape}")
    return 1 + float(np.abs(found - reference).max() / np.abs(reference).max()), 1.0


@lru_cache(maxsize=1)
def _torch_references() -> tuple[tuple[Any, ...], ...]:
    import torch

    from numerics.rfm.kernel_agop import agop_of_kernel_machine
    from numerics.rfm.kernels import kernel_by_name

    rng = np.random.default_rng(31)
    X, alpha, Z = (rng.standard_normal(shape) for shape in ((20, 6), (20, 3), (5, 6)))
    root = rng.standard_normal((6, 6)) / 3
    tensors = [torch.from_numpy(a) for a in (alpha, Z, X, root.T @ root)]
    found = []
    for name in (*points.RADIAL, "linear", "polynomial"):
        options = {"degree": 3, "offset": 0.5} if name == "polynomial" else {}
        machine = kernel_by_name(name, 1.5, **options)
        parts = _automatic(name, tensors), machine.gradients(*tensors)
        arrays = (X, alpha, Z, root.T @ root)
        agop = agop_of_kernel_machine(machine, *tensors)
        found.append((name, arrays, *(t.numpy() for t in (*parts, agop))))
    return tuple(found)


def _automatic(name: str, tensors: list[Tensor]) -> Tensor:
    """∇f_c by reverse mode through the plain definition."""
    import torch

    alpha, Z, X, M = tensors
    x = Z.clone().requires_grad_()
    if name in points.RADIAL:
        U = x[:, None] - X[None]
        u = torch.einsum("qni,ij,qnj->qn", U, M, U).sqrt() / 1.5
    else:
        u = x @ M @ X.T / 1.5**2
    f = _profile(name, u) @ alpha
    rows = [torch.autograd.grad(f[:, c].sum(), x, retain_graph=True)[0] for c in range(3)]
    return torch.stack(rows, dim=1)


def _profile(name: str, u: Tensor) -> Tensor:
    three, five = 3**0.5 * u, 5**0.5 * u
    shapes: dict[str, Tensor] = {
        "laplace": (-u).exp(),
        "gaussian": (-u * u / 2).exp(),
        "matern32": (1 + three) * (-three).exp(),
        "matern52": (1 + five + five**2 / 3) * (-five).exp(),
        "linear": u,
        "polynomial": (0.5 + u) ** 3,
    }
    return shapes[name]
