"""The nearest and the shortest shift that change the Bayes logit, and the nearest of all laws."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat

from theory.alignment.bound import CONDITION_NUMBER
from theory.closed_form import ClosedForm
from theory.concepts import kantorovich, steering, tilting
from theory.derivation import Derivation

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula, joined
from . import auc_brute
from . import steering_brute as brute

MP = auc_brute.MP
CHANGE = fmpq(7, 3)


def _number(value: Any) -> sympy.Expr:
    if isinstance(value, fmpq):
        return sympy.Rational(int(value.p), int(value.q))
    return sympy.Float(str(value), 32) if isinstance(value, MP.mpf) else sympy.sympify(value)


def _at(formulas: Formulas, name: str, values: dict[sympy.Symbol, Any]) -> sympy.Expr:
    return formula(formulas, name).subs({s: _number(v) for s, v in values.items()})


def _fraction(value: sympy.Expr) -> fmpq:
    if not value.is_Rational:
        raise ValueError(f"{value} is not rational")
    return fmpq(int(value.p), int(value.q))


def _one(d: int) -> fmpq_mat:
    return fmpq_mat(np.eye(d, dtype=int).tolist())


# ── the two ends and their prices ────────────────────────────────────────────────────────────────


@lru_cache(maxsize=4)
def _cases(seed: int) -> tuple[tuple[Any, ...], ...]:
    """μ, Σ⁻¹, q_0 … q_3, the nearest and the shortest shift, solved for."""
    rng, found = np.random.default_rng(seed), []
    for d in (2, 3, 5):
        mu, sigma = auc_brute.drawn(d, rng)
        R, power, q = sigma.inv(), _one(d), []
        for _ in range(4):
            q.append(auc_brute.form(mu, power, mu))
            power = power * R
        normal = R * mu * 2
        near = brute.constrained(R, normal, CHANGE)
        short = brute.constrained(_one(d), normal, CHANGE)
        found.append((mu, R, dict(zip(steering.MOMENTS, q, strict=True)), near, short))
    return tuple(found)


def _ends(formulas: Formulas, setting: Setting) -> Evidence:
    """In fractions, against bordered linear systems that know of no direction."""
    cases = 0
    for mu, R, q, near, short in _cases(setting.seed):
        values = {steering.CHANGE: CHANGE, **q}
        claimed = {
            name: _fraction(_at(formulas, name, values))
            for name in ("near", "short", "divergence", "divergence_price", "norm_price")
        }
        one = _one(mu.nrows())
        kl = [auc_brute.form(t, R, t) / 2 for t in (near, short)]
        norm = [auc_brute.form(t, one, t) for t in (near, short)]
        agree = {
            "near": mu * claimed["near"] == near,
            "short": R * mu * claimed["short"] == short,
            "divergence": claimed["divergence"] == kl[0],
            "divergence_price": claimed["divergence_price"] == kl[1] / kl[0],
            "norm_price": claimed["norm_price"] == norm[0] / norm[1],
        }
        wrong = next((name for name, holds in agree.items() if not holds), "")
        if wrong:
            return Evidence(False, {"cases": cases}, f"d = {mu.nrows()}: {wrong} differs")
        cases += 1
    return Evidence(True, {"residual": 0, "cases": cases})


def _front(formulas: Formulas, setting: Setting) -> Evidence:
    """In fractions and Σ's eigenbasis, against bordered systems of ½tᵀΣ⁻¹t + ½λ|t|²."""
    mu, spectrum, cases = (3, -1, 2), (fmpq(1), fmpq(4), fmpq(1, 3)), 0
    for penalty in (fmpq(1, 5), fmpq(2), fmpq(30)):
        cost = fmpq_mat(
            [[1 / s + penalty if i == j else 0 for j in range(3)] for i, s in enumerate(spectrum)]
        )
        normal = fmpq_mat([[2 * m / s] for m, s in zip(mu, spectrum, strict=True)])
        solved = brute.constrained(cost, normal, CHANGE).entries()
        points = [
            {steering.COMPONENT: m, steering.EIGENVALUE: s, steering.PENALTY: penalty}
            for m, s in zip(mu, spectrum, strict=True)
        ]
        omega = sum((_at(formulas, "front_term", p) for p in points), sympy.Integer(0))
        more = {steering.CHANGE: CHANGE, steering.FRONT_NORMALISER: omega}
        claimed = [_fraction(_at(formulas, "front", {**p, **more})) for p in points]
        if claimed != solved:
            return Evidence(False, {"cases": cases}, f"λ = {penalty}: {claimed} against {solved}")
        cases += 1
    return Evidence(True, {"residual": 0, "cases": cases})


def _sharp(formulas: Formulas, setting: Setting) -> Evidence:
    """Both prices attain the claimed bound, each at its own μ, and never exceed it."""
    largest = 0.0
    for kappa in (fmpq(4), fmpq(9), fmpq(81, 16)):
        bound = _bound(formulas, kappa)
        root = fmpq(int(kappa.p), int(kappa.q))
        square = fmpq(*(int(sympy.sqrt(int(x))) for x in (root.p, root.q)))
        attained = {"divergence_price": (kappa, fmpq(1)), "norm_price": (square, fmpq(1))}
        for name, mu in attained.items():
            found = _price(formulas, name, mu, (kappa, fmpq(1)))
            if found != bound:
                return Evidence(False, {}, f"κ = {kappa}: {name} {found}, bound {bound}")
            for other in ((fmpq(1), fmpq(1)), (fmpq(5), fmpq(2)), (fmpq(1), fmpq(7))):
                ratio = _price(formulas, name, other, (kappa, fmpq(1))) / bound
                largest = max(largest, float(int(ratio.p)) / int(ratio.q))
    holds = 0 < largest <= 1
    return Evidence(holds, {"largest_ratio": largest}, "" if holds else "a price above the bound")


def _bound(formulas: Formulas, kappa: fmpq) -> fmpq:
    expression = formula(formulas, "bound").expression
    return _fraction(expression.subs(CONDITION_NUMBER, _number(kappa)))


def _price(formulas: Formulas, name: str, mu: tuple[fmpq, ...], spectrum: tuple[fmpq, ...]) -> fmpq:
    q = {
        symbol: sum((m**2 / s**k for m, s in zip(mu, spectrum, strict=True)), fmpq(0))
        for k, symbol in enumerate(steering.MOMENTS)
    }
    return _fraction(_at(formulas, name, q))


def _rates(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """P(logit > 0) of a moved class: the tail of 2μᵀΣ⁻¹(x − m) + ℓ from the matrices."""
    ell = MP.mpf("0.4")
    for mu, R, q, near, _ in _cases(setting.seed):
        for sign in (1, -1):
            mean = ell + auc_brute.high(auc_brute.form(mu * 2, R, mu * sign + near))
            spread = MP.sqrt(auc_brute.high(auc_brute.form(mu * 2, R, mu * 2)))
            reference = MP.quad(lambda z: MP.npdf(z), [-mean / spread, 0, MP.inf])
            values = {steering.CHANGE: CHANGE, steering.SIGN: sign, steering.LOG_ODDS: ell, **q}
            found = _at(formulas, "rate", values).evalf(25)
            yield f"y = {sign}, d = {mu.nrows()}", found, reference


# ── all laws ─────────────────────────────────────────────────────────────────────────────────────

MIXTURES = ((MP.mpf(1), MP.mpf("0.3"), MP.mpf("0.7")), (MP.mpf("0.5"), MP.mpf("0.8"), MP.mpf(-1)))
"""δ, π and b."""


def _tilts(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """∫ of e^{λL}p itself: the mean logit's change and KL, of a class and of mixtures."""
    for delta, prior, b in MIXTURES:
        change, divergence = brute.tilted(delta, prior, b)
        values = {
            tilting.MOVE: b,
            steering.LOG_ODDS: MP.log(prior / (1 - prior)),
            steering.MOMENTS[1]: delta**2,
        }
        point = f"δ, π, b = {float(delta), float(prior), float(b)}"
        yield f"change, {point}", _at(formulas, "mixture_change", values).evalf(25), change
        found = _at(formulas, "mixture_divergence", values).evalf(25)
        yield f"KL, {point}", found, divergence


def _class_tilts(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for delta, change in ((MP.mpf(1), MP.mpf(2)), (MP.mpf("0.5"), MP.mpf(-1))):
        values = {steering.CHANGE: change, steering.MOMENTS[1]: delta**2}
        tilt = MP.mpf(str(_at(formulas, "tilt", values).evalf(28)))
        yield f"class, δ = {float(delta)}", brute.tilted_class(delta, tilt), change


def _tilted_laws(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """`tilted_mixture`: the law that it describes has the mean logit Δ higher, and that KL."""
    for delta, prior, change in ((1.0, 0.5, 2.0), (0.6, 0.8, -1.5), (1.2, 0.2, 3.0)):
        found = formula(formulas, "tilted")(change, delta, prior)
        move = found.factor * delta
        q, p = (delta + move, -delta + move, found.prior), (delta, -delta, prior)
        mean = 2 * delta * (move + delta * (2 * found.prior - 1) - delta * (2 * prior - 1))
        yield f"Δ = {change}", mean, change
        yield f"KL at Δ = {change}", found.divergence, brute.divergence(q, p)


def _moved_laws(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for delta, prior, change in ((1.0, 0.5, 2.0), (0.6, 0.8, -1.5), (2.0, 0.3, 4.0)):
        move = change / (2 * delta)
        q, p = (delta + move, -delta + move, prior), (delta, -delta, prior)
        claimed = formula(formulas, "moved")(change, delta, prior)
        yield f"Δ = {change}", claimed, brute.divergence(q, p)


def _plane(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """In the plane: KL of a mixture moved by aμ + w is that of aμ and ½wᵀΣ⁻¹w."""
    mu, sigma, prior = np.array([0.8, -0.3]), np.array([[1.0, 0.4], [0.4, 0.7]]), 0.3
    inverse = np.linalg.inv(sigma)
    delta = float(np.sqrt(mu @ inverse @ mu))
    w = np.array([-(inverse @ mu)[1], (inverse @ mu)[0]])
    for change, across in ((1.0, 0.0), (1.0, 0.6), (-2.0, -0.4)):
        t = change / (2 * delta**2) * mu + across * w
        claimed = formula(formulas, "moved")(change, delta, prior)
        claimed += across**2 * float(w @ inverse @ w) / 2
        reference = brute.plane_divergence(mu, sigma, prior, t)
        yield f"Δ, across = {change, across}", claimed, reference


def _nearer(formulas: Formulas, setting: Setting) -> Evidence:
    """Tilted mixture < shifted mixture < shifted class, and below other laws of that mean logit."""
    gaps = []
    for delta, prior, change in ((1.0, 0.5, 2.0), (0.6, 0.8, -1.5), (2.0, 0.3, 4.0)):
        tilted = formula(formulas, "tilted")(change, delta, prior).divergence
        moved = formula(formulas, "moved")(change, delta, prior)
        gaps += [moved - tilted, change**2 / (8 * delta**2) - moved]
        gaps += [x - tilted for x in _other_laws(delta, prior, change)]
    least = float(min(gaps))
    return Evidence(least > 1e-6, {"least_gap": least}, "" if least > 1e-6 else f"{gaps}")


@lru_cache(maxsize=16)
def _other_laws(delta: float, prior: float, change: float) -> tuple[float, ...]:
    """KL of two mixtures with other shares, and means moved so that the mean logit is the same."""
    found = []
    for share in (prior - 0.1, prior + 0.15):
        move = change / (2 * delta) - 2 * delta * (share - prior)
        q = delta + move, -delta + move, share
        found.append(brute.divergence(q, (delta, -delta, prior)))
    return tuple(found)


# ── functions ────────────────────────────────────────────────────────────────────────────────────


def _shifts(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """`steering_shift` against bordered systems, `shift_effect` against products."""
    for mu, R, _, near, short in _cases(setting.seed):
        d = mu.nrows()
        m, sigma, change = auc_brute.real(mu).ravel(), auc_brute.real(R.inv()), 7 / 3
        middle = brute.constrained(R + _one(d) * fmpq(3, 2), R * mu * 2, CHANGE)
        for penalty, solved in ((0.0, near), (1.5, middle), (np.inf, short)):
            found = formula(formulas, "shift")(m, sigma, change, penalty)
            effect = formula(formulas, "effect")(auc_brute.real(solved).ravel(), m, sigma)
            for i, x in enumerate(solved.entries()):
                yield f"d = {d}, λ = {penalty}, t_{i}", float(found[i]), auc_brute.high(x)
            kl = auc_brute.form(solved, R, solved) / 2
            norm = MP.sqrt(auc_brute.high(auc_brute.form(solved, _one(d), solved)))
            yield f"d = {d}, λ = {penalty}, change", effect.change, auc_brute.high(CHANGE)
            yield f"d = {d}, λ = {penalty}, KL", effect.divergence, auc_brute.high(kl)
            yield f"d = {d}, λ = {penalty}, norm", effect.norm, norm


def _monotone(formulas: Formulas, setting: Setting) -> Evidence:
    """Along the front KL grows and the norm falls, strictly, between its two ends."""
    rng, least = setting.generator("front"), np.inf
    for d in (2, 4, 9) * 3:
        A, mu = rng.standard_normal((d, d)), rng.standard_normal(d)
        sigma = A @ A.T + 0.2 * np.eye(d)
        inverse = np.linalg.inv(sigma)
        shifts = [
            formula(formulas, "shift")(mu, sigma, 1.0, x) for x in (0, 0.03, 0.3, 3, 30, np.inf)
        ]
        kl = np.array([t @ inverse @ t for t in shifts])
        norm = np.array([t @ t for t in shifts])
        least = min(
            least, float((np.diff(kl) / kl[0]).min()), float(-(np.diff(norm) / norm[0]).max())
        )
    return Evidence(bool(least > 0), {"least_step": least}, "" if least > 0 else "not monotone")


def _shift_rates(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    for law, shares in (("mixture", (0.3, 0.7)), ("positive", (1, 0)), ("negative", (0, 1))):
        for delta, change in ((1.0, 2.0), (0.7, -0.5)):
            ell = MP.log(MP.mpf(0.3) / MP.mpf(0.7))
            tails = [
                auc_brute.phi((ell + 2 * y * MP.mpf(delta) ** 2 + change) / (2 * delta))
                for y in (1, -1)
            ]
            reference = sum(s * t for s, t in zip(shares, tails, strict=True))
            yield (
                f"{law}, {delta, change}",
                formula(formulas, "rates")(change, delta, 0.3, law=law),
                reference,
            )


def _swapped(mu: Any, sigma: Any, change: float, penalty: float) -> Any:
    flipped = np.inf if penalty == 0 else 1 / penalty
    return steering.steering_shift(mu, sigma, change, flipped)


def _halved(mu: Any, sigma: Any, change: float, penalty: float) -> Any:
    return steering.steering_shift(mu, sigma, change / 2, penalty)


def _whole_square(shift: Any, mu: Any, sigma: Any) -> steering.ShiftEffect:
    right = steering.shift_effect(shift, mu, sigma)
    return steering.ShiftEffect(right.change, 2 * right.divergence, right.norm)


def _class_law(change: float, delta: float, prior: float) -> float:
    return change**2 / (8 * delta**2)


def _kept_prior(change: float, delta: float, prior: float) -> tilting.TiltedMixture:
    divergence = tilting.mixture_shift_divergence(change, delta, prior)
    return tilting.TiltedMixture(change / (2 * delta**2), prior, divergence)


def _half_the_odds(change: float, delta: float, prior: float) -> tilting.TiltedMixture:
    right = tilting.tilted_mixture(change, delta, prior)
    odds = np.sqrt(prior / (1 - prior) * right.prior / (1 - right.prior))
    return tilting.TiltedMixture(right.factor, float(odds / (1 + odds)), right.divergence)


def _no_prior(change: float, delta: float, prior: float, *, law: str) -> float:
    return steering.concept_rate(change, delta, law=law)


NAMES = (
    *(
        "divergence",
        "near",
        "short",
        "divergence_price",
        "norm_price",
        "front",
        "front_term",
        "rate",
    ),
    *("tilt", "mixture_change", "mixture_divergence", "bound"),
)


def _derivation(*given: Any) -> Derivation:
    bound = given[11].expression if isinstance(given[11], ClosedForm) else given[11]
    return joined(
        "the nearest and the shortest shift, their front and prices, and all laws",
        kantorovich.derive_kantorovich(price=bound),
        steering.derive_steering(*given[:8]),
        tilting.derive_tilting(*given[8:11]),
    )


STEERING = Claim(
    id="concepts.steering",
    title="the nearest shift and the shortest",
    statement=(
        r"\text{Shifts } t \text{ of a class } N(m\pm\mu,\Sigma) \text{ with } "
        r"2\mu^\top\Sigma^{-1}t = \Delta:\ \text{least KL } t = \tfrac{\Delta}{2\delta^2}\mu,\ "
        r"\mathrm{KL} = \tfrac{\Delta^2}{8\delta^2},\ \text{and no law with that mean logit is "
        r"nearer};\ \text{least norm } t = \tfrac{\Delta}{2q_2}\Sigma^{-1}\mu;\ "
        r"\text{Pareto front } t \propto (I+\lambda\Sigma)^{-1}\mu;\ "
        r"\text{prices } \tfrac{q_3q_1}{q_2^2},\ \tfrac{q_0q_2}{q_1^2} \le "
        r"\tfrac{(1+\kappa)^2}{4\kappa},\ \text{sharp},\ q_k = \mu^\top\Sigma^{-k}\mu,\ "
        r"\delta^2 = q_1"
    ),
    source="here",
    hypotheses=(
        Hypothesis("x | y = ±1 ~ N(m ± μ, Σ), one Σ ≻ 0 for both classes, μ ≠ 0"),
        Hypothesis("KL = KL(moved‖unmoved), of one class; of the mixture where it says so"),
    ),
    formulas={
        "divergence": steering.LEAST_DIVERGENCE,
        "near": steering.LEAST_DIVERGENCE_FACTOR,
        "short": steering.LEAST_NORM_FACTOR,
        "divergence_price": steering.DIVERGENCE_PRICE,
        "norm_price": steering.NORM_PRICE,
        "front": steering.FRONT_COMPONENT,
        "front_term": steering.FRONT_TERM,
        "rate": steering.RATE,
        "tilt": tilting.CLASS_TILT,
        "mixture_change": tilting.MIXTURE_CHANGE,
        "mixture_divergence": tilting.MIXTURE_DIVERGENCE,
        "bound": kantorovich.PRICE,
        "shift": steering.steering_shift,
        "effect": steering.shift_effect,
        "rates": steering.concept_rate,
        "tilted": tilting.tilted_mixture,
        "moved": tilting.mixture_shift_divergence,
    },
    legs=(
        derivation_leg("all sizes", _derivation, NAMES, whole=True),
        Leg("solved ends", Kind.DIRECT, _ends,
            ("divergence", "near", "short", "divergence_price", "norm_price")),
        Leg("solved front", Kind.DIRECT, _front, ("front", "front_term")),
        Leg("sharp prices", Kind.DIRECT, _sharp, ("divergence_price", "norm_price", "bound")),
        digits_leg("rates", _rates, ("rate",), 20),
        digits_leg("tilts", _tilts, ("mixture_change", "mixture_divergence"), 18),
        digits_leg("tilts of a class", _class_tilts, ("tilt",), 18),
        digits_leg("tilted laws", _tilted_laws, ("tilted",), 11),
        digits_leg("moved mixtures", _moved_laws, ("moved",), 10),
        digits_leg("in the plane", _plane, ("moved",), 8),
        Leg("nearer", Kind.DIRECT, _nearer, ("tilted", "moved")),
        digits_leg("shifts", _shifts, ("shift", "effect"), 10),
        Leg("monotone front", Kind.DIRECT, _monotone, ("shift",)),
        digits_leg("rates of laws", _shift_rates, ("rates",), 13),
    ),
    mutants=(
        Mutant("shift: the ends swapped", {"shift": _swapped}),
        Mutant("shift: for half the change", {"shift": _halved}),
        Mutant("effect: tᵀΣ⁻¹t", {"effect": _whole_square}),
        Mutant("moved: as a class", {"moved": _class_law}),
        Mutant("tilted: a shift, the prior kept", {"tilted": _kept_prior}),
        Mutant("tilted: log-odds by b", {"tilted": _half_the_odds}),
        Mutant("rates: priors ignored", {"rates": _no_prior}),
    ),
    notes=(
        "The mixture: among its shifts the one along μ is the nearest as well, at less than "
        "Δ²/(8δ²); but the nearest law is no shift, it moves the prior's log-odds by 2b, too. "
        "KL(unmoved‖moved) has no nearest law. Unequal covariances: the logit's change depends "
        "on x. The two prices are K(Σ⁻¹μ) and K(Σ^{-1/2}μ), and the mean difference's loss is "
        "K(μ): different numbers with one sharp bound, all 1 iff μ is an eigenvector."
    ),
)  # fmt: skip

CLAIMS = (STEERING,)
