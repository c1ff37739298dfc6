"""Trained recursive feature machines: they recover the directions on which a target depends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, digits_leg
from .recovery_brute import (
    BANDWIDTH,
    RIDGE,
    Floats,
    Machine,
    Recursion,
    agop,
    best_kernel_ridge,
    error_on,
    fitted,
    gradients,
    gradients_with_self_term,
    largest_sine,
    mean_outer_product,
    power_over_largest,
    recursion,
)

if TYPE_CHECKING:
    import torch

    from numerics.rfm.data import MultiIndex
    from numerics.rfm.machine import Machine as FastMachine


# What the claim is made of, and how it can be wrong


def _central_subspace(target: MultiIndex) -> Floats:
    return target.directions


def _next_coordinates(target: MultiIndex) -> Floats:
    return np.roll(target.directions, 1, axis=0)


def _of_shuffled_targets(machine: Machine) -> Floats:
    order = np.random.default_rng(0).permutation(len(machine.targets))
    return agop(fitted(machine.points, machine.targets[order], machine.metric))


def _self_term(distance: float) -> Callable[[Machine], Floats]:
    """Gradients whose self term is only in one of the two sums that should cancel it."""
    return lambda m: mean_outer_product(gradients_with_self_term(m, 1 / distance))


def _without_metric(machine: Machine) -> Floats:
    """Gradients with respect to M^½x, and not x, twice over: the factor M is forgotten."""
    pulled = np.linalg.pinv(machine.metric) @ gradients(machine).T
    return mean_outer_product(pulled.T)


def _identity(features: Floats, exponent: float) -> Floats:
    return np.eye(len(features))


def _inverse(features: Floats, exponent: float) -> Floats:
    ridge = 1e-6 * np.trace(features) * np.eye(len(features))
    return power_over_largest(np.linalg.inv(features + ridge), exponent)


def _transposed_exponent(features: Floats, exponent: float) -> Floats:
    return power_over_largest(features, 1.5 - exponent)


MUTANTS = (
    Mutant("metric: M stays I", {"metric": _identity}),
    Mutant("metric: M inverted", {"metric": _inverse}),
    Mutant("metric: exponents 1 and 1/2 exchanged", {"metric": _transposed_exponent}),
    Mutant("features: AGOP of shuffled targets", {"features": _of_shuffled_targets}),
    Mutant("features: self term over a distance of 7e-3", {"features": _self_term(7e-3)}),
    Mutant("features: self term over a distance of 1", {"features": _self_term(1.0)}),
    Mutant("features: gradients without the factor M", {"features": _without_metric}),
    Mutant("subspace: the next coordinates", {"subspace": _next_coordinates}),
)


# The features, from complex steps


def _complex_steps(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Entries of the AGOP of a small machine, against derivatives that know no formula for them."""
    features: Any = formulas["features"]
    rng = setting.generator("complex steps")
    for seed in range(3):
        points, half = rng.standard_normal((9, 3)), rng.standard_normal((3, 3))
        machine = fitted(points, rng.standard_normal(9), half @ half.T)
        found, reference = features(machine), _agop_by_steps(machine)
        for i, j in ((0, 0), (0, 1), (2, 1)):
            yield f"machine {seed}, entry {i}, {j}", found[i, j], reference[i, j]


def _agop_by_steps(machine: Machine, step: float = 1e-30) -> Floats:
    """∂_k f(x) = Im f(x + ih e_k)/h, exact in double precision as h → 0 without a difference.

    At each point the point's own term, which has no gradient there, is left out.
    """
    rows = []
    for j, point in enumerate(machine.points):
        others = np.delete(np.arange(len(machine.points)), j)
        moved = point + 1j * step * np.eye(len(point))
        u = moved[:, None, :] - machine.points[others]
        r = np.sqrt(np.einsum("kia,ab,kib->ki", u, machine.metric, u))
        values = np.exp(-r / BANDWIDTH) @ machine.coefficients[others]
        rows.append(values.imag / step)
    return mean_outer_product(np.array(rows))


# The package's own machine is this one


def _fast_machine(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """AGOP, metric and predictions of `numerics.rfm`, after rounds, against the definition's."""
    features: Any = formulas["features"]
    metric: Any = formulas["metric"]
    rng = setting.generator("fast machine")
    for exponent in (1.0, 0.5):
        points, inputs = rng.standard_normal((60, 5)), rng.standard_normal((3, 5))
        targets = points[:, 0] * points[:, 1]
        slow = recursion(points, targets, 3, exponent, features, metric)
        fast = _fit(points, targets, BANDWIDTH, 3, exponent)
        pairs = (
            ("AGOP", slow.agop, fast.agop.numpy()),
            ("M", slow.machine.metric, _matrix(fast)),
            ("f", slow.machine(inputs), fast.predict(_tensor(inputs))[:, 0].numpy()),
        )
        for name, value, reference in pairs:
            for place in ((0, 0), (1, 3)) if value.ndim == 2 else ((0,), (2,)):
                yield f"exponent {exponent}, {name}{place}", value[place], reference[place]


def _tensor(array: Floats) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def _fit(
    points: Floats, targets: Floats, bandwidth: float, rounds: int, exponent: float, **more: Any
) -> FastMachine:
    from numerics.rfm.kernels import Laplace
    from numerics.rfm.machine import Recipe, fit_rfm

    recipe = Recipe(Laplace(bandwidth), ridge=RIDGE, rounds=rounds, exponent=exponent)
    return fit_rfm(_tensor(points), _tensor(targets), recipe, **more)


def _matrix(machine: FastMachine) -> Floats:
    M = machine.metric.M
    matrix: Floats = np.eye(machine.centres.shape[1]) if M is None else M.numpy()
    return matrix


# One target at several sample sizes


@dataclass(frozen=True)
class Thresholds:
    """What every seed, or their mean, must reach; fixed on pilot seeds, see the claim's notes.

    Attributes:
        sine: Each seed's sine at the largest n, at most.
        seed_slope: Each seed's slope of log sine against log n, at most.
        mean_slope: The mean slope, at most.
        ratio: Each seed's test error as a fraction of kernel ridge regression's, below. It is wide,
            as single test points, far out, can double the error of a product.
        mean_ratio: The same for the mean errors.
    """

    sine: float
    seed_slope: float
    mean_slope: float
    ratio: float = 0.6
    mean_ratio: float = 0.25


@dataclass(frozen=True)
class Experiment:
    """y = x₀x₁ in d dimensions, learned from n of the points for every n.

    Attributes:
        d: Dimension.
        sizes: Numbers of training points, rising.
        exponent: Of the AGOP.
        rounds: How often M is replaced.
        thresholds: Fixed beforehand.
        validation: Points to choose the kernel ridge regression with.
        test: Points to measure errors on.
    """

    d: int
    sizes: tuple[int, ...]
    exponent: float
    rounds: int
    thresholds: Thresholds
    validation: int = 200
    test: int = 1000


@dataclass(frozen=True)
class Seed:
    """One seed's sines, one for every n, its slope, and its test errors at the largest n."""

    sines: Floats
    slope: float
    error: float
    ridge: float

    @property
    def ratio(self) -> float:
        """Test error of the recursive feature machine over that of kernel ridge regression."""
        return self.error / self.ridge


def _seed(formulas: Formulas, plan: Experiment, rng: np.random.Generator) -> Seed:
    from numerics.rfm.data import product

    largest = plan.sizes[-1]
    target = product(largest + plan.validation + plan.test, rng, d=plan.d)
    split = target.split(largest)
    apart, test = _cut(split.test, plan.validation)
    runs = [_learned(formulas, plan, _cut(split.train, n)[0]) for n in plan.sizes]
    sines = np.array([_sine(formulas, run, target) for run in runs])
    slope = np.polyfit(np.log(plan.sizes), np.log(sines), 1)[0]
    ridge = best_kernel_ridge(split.train, apart, test).error
    return Seed(sines, float(slope), error_on(runs[-1].machine, test), ridge)


def _learned(formulas: Formulas, plan: Experiment, train: Any) -> Recursion:
    features: Any = formulas["features"]
    metric: Any = formulas["metric"]
    return recursion(train.inputs, train.targets, plan.rounds, plan.exponent, features, metric)


def _sine(formulas: Formulas, run: Recursion, target: MultiIndex) -> float:
    subspace: Any = formulas["subspace"]
    return largest_sine(run.agop, subspace(target))


def _cut(sample: Any, n: int) -> tuple[Any, Any]:
    """The first n of the samples, and the others."""
    first = replace(sample, inputs=sample.inputs[:n], targets=sample.targets[:n])
    return first, replace(sample, inputs=sample.inputs[n:], targets=sample.targets[n:])


def _complaint(found: Seed, limits: Thresholds) -> str:
    """Why this seed alone speaks against the claim; empty if it does not."""
    checks = (
        (found.sines[-1] <= limits.sine, f"sine {found.sines[-1]:.3g} above {limits.sine}"),
        (found.slope <= limits.seed_slope, f"slope {found.slope:.3g} above {limits.seed_slope}"),
        (found.ratio < limits.ratio, f"error {found.ratio:.3g} of ridge's, {limits.ratio} allowed"),
    )
    return "; ".join(text for holds, text in checks if not holds)


def _judged(formulas: Formulas, plan: Experiment, seeds: int, setting: Setting) -> Evidence:
    """Every seed by itself, up to the first that speaks against the claim, then the mean slope."""
    found = []
    for seed in range(seeds):
        rng = setting.generator(f"recovery {plan.d} {plan.exponent} {seed}")
        found.append(_seed(formulas, plan, rng))
        if complaint := _complaint(found[-1], plan.thresholds):
            return Evidence(False, {"seed": seed}, f"seed {seed}: {complaint}")
    slopes, limits = np.array([s.slope for s in found]), plan.thresholds
    ratio = sum(s.error for s in found) / sum(s.ridge for s in found)
    holds = bool(slopes.mean() <= limits.mean_slope and ratio < limits.mean_ratio)
    detail = f"mean slope {slopes.mean():.3g}, ratio of mean errors {ratio:.3g}; {limits} allowed"
    return Evidence(holds, _figures(plan, found, slopes), "" if holds else detail)


def _figures(plan: Experiment, found: list[Seed], slopes: Floats) -> dict[str, float | int]:
    sines = np.array([s.sines for s in found])
    means = {f"sine_n={n}": m for n, m in zip(plan.sizes, sines.mean(axis=0), strict=True)}
    return {
        **means, "sine_spread": sines[:, -1].std(ddof=1), "sine_worst": sines[:, -1].max(),
        "slope": slopes.mean(), "slope_spread": slopes.std(ddof=1), "slope_worst": slopes.max(),
        "error": np.mean([s.error for s in found]),
        "ridge_error": np.mean([s.ridge for s in found]),
        "ratio_worst": max(s.ratio for s in found), "seeds": len(found),
    }  # fmt: skip


READS = ("features", "metric", "subspace")


def _leg(name: str, plan: Experiment, seeds: int, budget: Budget = Budget.FAST) -> Leg:
    def run(formulas: Formulas, setting: Setting) -> Evidence:
        return _judged(formulas, plan, seeds, setting)

    return Leg(name, Kind.TRAINED, run, READS, budget=budget, on_mutants=budget is Budget.FAST)


WHOLE = Experiment(20, (150, 300, 600), 1.0, 5, Thresholds(0.12, -0.6, -0.9))
ROOT = replace(WHOLE, exponent=0.5, rounds=6, thresholds=Thresholds(0.02, -1.2, -1.7))
LONG = (150, 300, 600, 1200, 2400)


# Larger targets, with the package's machine


def _plane_in_100(formulas: Formulas, setting: Setting) -> Evidence:
    """d = 100, n = 2000, root of the AGOP: the plane to about 1 %, below a tenth of the error."""
    from numerics.rfm.data import product

    sines, ratios, firsts = [], [], []
    for seed in range(5):
        target = product(4200, setting.generator(f"plane in 100 {seed}"), d=100)
        split = target.split(2000)
        apart, test = _cut(split.test, 200)
        ridge = best_kernel_ridge(split.train, apart, test).error
        root, whole = (_fit_to(split.train, *how) for how in ((3.0, 24, 0.5), (10.0, 8, 1.0)))
        sines.append([largest_sine(m.agop.numpy(), target.directions) for m in (root, whole)])
        ratios.append([_fast_error(m, test) / ridge for m in (root, whole)])
        firsts.append(ridge)
    sine, ratio = np.array(sines), np.array(ratios)
    figures = {
        "sine": sine[:, 0].mean(), "sine_worst": sine[:, 0].max(),
        "ratio": ratio[:, 0].mean(), "ratio_worst": ratio[:, 0].max(),
        "exponent=1_sine": sine[:, 1].mean(), "exponent=1_ratio": ratio[:, 1].mean(),
        "ridge_error": np.mean(firsts), "seeds": len(sines),
    }  # fmt: skip
    near = sine[:, 0].max() <= PLANE_SINE and sine[:, 0].mean() <= PLANE_MEAN_SINE
    holds = bool(near and ratio[:, 0].max() < PLANE_RATIO)
    return Evidence(holds, figures, "" if holds else f"sines {sine[:, 0]}, ratios {ratio[:, 0]}")


# Pilot, 8 seeds: sine 0.0100 ± 0.0020, worst 0.0132; error at most a thirtieth of round 0's. A
# single seed is judged 5 standard deviations away, the mean of five 4.5 of its own (0.0009).
PLANE_SINE, PLANE_MEAN_SINE, PLANE_RATIO = 0.02, 0.014, 0.1


def _fit_to(train: Any, bandwidth: float, rounds: int, exponent: float) -> FastMachine:
    return _fit(train.inputs, train.targets, bandwidth, rounds, exponent)


def _fast_error(machine: FastMachine, test: Any) -> float:
    return error_on(lambda x: machine.predict(_tensor(x))[:, 0].numpy(), test)


def _gated(formulas: Formulas, setting: Setting) -> Evidence:
    """Test error per round beside paper E's; three directions, one of them only a jump."""
    from numerics.rfm.data import gated_low_rank

    errors, sines, ridges = [], [], []
    for seed in range(2):
        target = gated_low_rank(8200, setting.generator(f"gated {seed}"))
        split = target.split(4000)
        apart, test = _cut(split.test, 200)
        found = _fit(
            split.train.inputs, split.train.targets, BANDWIDTH, 5, 1.0,
            validation=(_tensor(test.inputs), _tensor(test.targets)),
        )  # fmt: skip
        errors.append([x.error or np.nan for x in found.history])
        sines.append(largest_sine(found.agop.numpy(), target.directions))
        if not seed:  # 4000 points take their time
            ridges.append(best_kernel_ridge(split.train, apart, test).error)
    means = np.mean(errors, axis=0)
    figures = {f"round_{k}": value for k, value in enumerate(means)}
    reported = ", ".join(map(str, GATED_REPORTED))
    more = {"reported": reported, "sine_3": max(sines), "ridge_error": np.mean(ridges)}
    falls = bool(np.diff(errors, axis=1).max() < 0)
    holds = falls and bool(means[-1] < 0.4 * np.mean(ridges)) and max(sines) < 0.2
    return Evidence(holds, figures | more, "" if holds else f"errors {means}, sines {sines}")


GATED_REPORTED = (0.0123, 0.0063, 0.0032, 0.0024, 0.0021)


def _too_few_samples(formulas: Formulas, setting: Setting) -> Evidence:
    """n = 2000, d = 500: learned features hurt, round 0 is kept and M is the identity."""
    from numerics.rfm.data import product

    kept, growth = [], []
    for seed in range(2):
        split = product(4000, setting.generator(f"too few {seed}"), d=500).split(2000)
        apart = (_tensor(split.test.inputs), _tensor(split.test.targets))
        found = _fit(split.train.inputs, split.train.targets, BANDWIDTH, 5, 1.0, validation=apart)
        errors = [x.error or np.nan for x in found.history]
        kept.append(found.chosen == 0 and found.metric.M is None)
        growth.append(min(errors[1:]) / errors[0])
    figures = {"least_later_over_round_0": min(growth), "seeds": len(kept)}
    holds = all(kept) and min(growth) > 1
    return Evidence(holds, figures, "" if holds else f"kept {kept}, errors' ratios {growth}")


RECOVERY = Claim(
    id="rfm.recovery",
    title="recovery of the central subspace",
    statement=(
        r"y = g(U^{\mathsf T}x),\ M \leftarrow \mathrm{AGOP}^s/\max:\quad "
        r"\sin\angle(\mathrm{range}\,U, \text{top eigenspace of the AGOP}) \to 0 "
        r"\text{ as } n \to \infty, \text{ which } M = I \text{ does not reach at the same } n"
    ),
    source="E",
    hypotheses=(
        Hypothesis("y = x₀x₁ without noise, x ~ N(0, I_d); d = 20 and n = 150, ..., 2400"),
        Hypothesis("Laplace's kernel, L = 10 (L = 3 in d = 100), λ = 1e-3, s = 1 or 1/2"),
        Hypothesis("n large enough against d: with n = 2000 and d = 500, learned features hurt"),
    ),
    formulas={"features": agop, "metric": power_over_largest, "subspace": _central_subspace},
    legs=(
        digits_leg("AGOP by complex steps", _complex_steps, ("features",), 10),
        digits_leg("the package's machine", _fast_machine, ("features", "metric"), 10),
        _leg("product", WHOLE, 5),
        _leg("product, root of the AGOP", ROOT, 5),
        _leg("product, n to 2400", replace(WHOLE, sizes=LONG), 5, Budget.FULL),
        _leg("product, root, n to 2400", replace(ROOT, sizes=LONG), 5, Budget.FULL),
        Leg(
            "product, d = 100", Kind.TRAINED, _plane_in_100,
            budget=Budget.FULL, on_mutants=False,
        ),
        Leg("gated", Kind.TRAINED, _gated, budget=Budget.FULL, on_mutants=False),
        Leg(
            "n = 2000, d = 500", Kind.TRAINED, _too_few_samples,
            budget=Budget.FULL, on_mutants=False,
        ),
    ),
    mutants=MUTANTS,
    notes=(
        "Thresholds were fixed on pilot seeds (20 for n to 600, 3 for n = 2400) that are judged "
        "nowhere. There, at n = 600 and d = 20, the sine was 0.058 ± 0.008 with s = 1 and "
        "0.0098 ± 0.0016 with s = 1/2 (mean ± standard deviation between seeds), the slope of log "
        "sine against log n -1.36 ± 0.18 and -2.32 ± 0.26, the test error 0.03 against kernel "
        "ridge regression's 0.38: each threshold is at least 4 standard deviations away. The rate "
        "is of this range of n and no law: it steepens where the machine begins to find the plane, "
        "and with s = 1/2 it flattens to about -1.6 beyond n = 600. With s = 1 the plane's "
        "error stops falling after three rounds, because each AGOP multiplies M and so shrinks the "
        "directions that could still turn it; with s = 1/2 it goes on falling. In d = 100 with "
        "n = 2000, s = 1 stays at a sine of about 0.23 and an eighth of kernel ridge's error, "
        "s = 1/2 reaches 0.01. The gated target's central subspace has a direction without any "
        "gradient (the target jumps): the population AGOP taken almost everywhere misses it, the "
        "machine's does not, as its gradients are those of a continuous function that bridges the "
        "jump."
    ),
)  # fmt: skip

CLAIMS = (RECOVERY,)
