"""Steering a small generative transformer with the directions that a detector found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, digits_leg
from ..shared import BETA
from .control_brute import steered_scores

if TYPE_CHECKING:
    from torch import Tensor

    from numerics.concepts.grammar import Grammar, Text
    from numerics.concepts.sweeps import Sweep, Writer

Vectors: TypeAlias = "dict[str, Tensor]"
States: TypeAlias = "Mapping[str, Tensor]"
Directions: TypeAlias = "Mapping[str, ArrayLike]"
VALUES = {"sentiment": "positive", "tense": "past"}


# What the claim is made of


def _beginnings(grammar: Grammar, concept: str, n: int, rng: np.random.Generator) -> list[Text]:
    """Texts up to where the concept is about to show, at whose last tokens states are taken."""
    return grammar.beginnings(concept, n, rng)


def _labels(texts: Sequence[Text], concept: str) -> NDArray[np.bool_]:
    return np.array([getattr(t.concepts, concept) == VALUES[concept] for t in texts])


def _direction(states: States, labels: NDArray[np.bool_], probe: str) -> Directions:
    """The detector's unit vectors."""
    from numerics.concepts.detector import ConceptDetector

    arrays: dict[Any, Any] = {name: layer.numpy() for name, layer in states.items()}
    detector = ConceptDetector(probe, folds=2, random_state=0).fit(arrays, labels)
    return {str(name): v for name, v in detector.directions().items()}


def _shift(directions: Directions, states: States, labels: NDArray[np.bool_]) -> Directions:
    """From the directions that detect to those that steer: Σv."""
    from numerics.concepts.shifts import along_covariance

    return along_covariance(directions, states, labels)


def _coefficient(epsilon: float) -> float:
    return epsilon


def _steered(model: Any, vectors: Vectors, epsilon: float) -> AbstractContextManager[Any]:
    from numerics.concepts.steer import Steering

    return Steering(model, vectors, epsilon)


# How it can be wrong


def _first_sentences(
    grammar: Grammar, concept: str, n: int, rng: np.random.Generator
) -> list[Text]:
    """Up to the end of the first sentence, where the concept is known and not about to show."""
    texts = grammar.beginnings(concept, n, rng)
    return [replace(t, text=t.text[: t.text.index(".") + 1]) for t in texts]


def _random_direction(states: States, labels: NDArray[np.bool_], probe: str) -> Directions:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(layer.shape[1]) for name, layer in states.items()}


def _of_no_concept(texts: Sequence[Text], concept: str) -> NDArray[np.bool_]:
    """As many of each class of each concept are labelled as not."""
    return np.array([number // 12 % 2 == 0 for number in range(len(texts))])


def _other_concept(texts: Sequence[Text], concept: str) -> NDArray[np.bool_]:
    return _labels(texts, "tense" if concept == "sentiment" else "sentiment")


def _inverted(states: States, labels: NDArray[np.bool_], probe: str) -> Directions:
    return {name: -np.asarray(v) for name, v in _direction(states, labels, probe).items()}


def _as_detected(directions: Directions, states: States, labels: object) -> Directions:
    return directions


def _too_far(epsilon: float) -> float:
    return 5 * epsilon


def _nowhere(epsilon: float) -> float:
    return 0.0


def _folded(epsilon: float) -> float:
    """A sweep that turns back: the largest coefficient steers like the smallest but one."""
    return epsilon if epsilon <= 0 else -epsilon / 2


def _never_zero(model: Any, vectors: Vectors, epsilon: float) -> AbstractContextManager[Any]:
    return _steered(model, vectors, epsilon or 1e-6)


@contextmanager
def _leaking(model: Any, vectors: Vectors, epsilon: float) -> Iterator[None]:
    """Hooks that stay."""
    _steered(model, vectors, epsilon or 1e-30).__enter__()
    yield


def _hooked(shift: Callable[[Tensor, Tensor], Tensor], before: bool = False) -> Callable[..., Any]:
    """A context whose hooks do something else to the blocks' outputs, or to their inputs."""

    @contextmanager
    def context(model: Any, vectors: Vectors, epsilon: float) -> Iterator[None]:
        handles = []
        for name, v in vectors.items():
            block = model.get_submodule(name)
            if before:
                hook = block.register_forward_pre_hook(
                    lambda _, args, v=v: (shift(args[0], epsilon * v), *args[1:])
                )
            else:
                hook = block.register_forward_hook(lambda *a, v=v: shift(a[2], epsilon * v))
            handles.append(hook)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    return context


def _add(state: Tensor, shift: Tensor) -> Tensor:
    return state + shift


def _add_last(state: Tensor, shift: Tensor) -> Tensor:
    changed = state.clone()
    changed[:, -1] += shift
    return changed


def _add_scaled(state: Tensor, shift: Tensor) -> Tensor:
    scaled: Tensor = shift * state.norm(dim=-1, keepdim=True) / 8
    return state + scaled


def _project_out(state: Tensor, shift: Tensor) -> Tensor:
    unit = shift / shift.norm().clamp(min=1e-30)
    return _add(state, -(state @ unit)[..., None] * unit)


MUTANTS = (
    Mutant("beginnings: up to the end of a sentence", {"beginnings": _first_sentences}),
    Mutant("direction: random", {"direction": _random_direction}),
    Mutant("direction: its sign flipped", {"direction": _inverted}),
    Mutant("shift: v itself, not Σv", {"shift": _as_detected}),
    Mutant("labels: of no concept", {"labels": _of_no_concept}),
    Mutant("labels: those of another concept", {"labels": _other_concept}),
    Mutant("coefficient: the sweep turns back", {"coefficient": _folded}),
    Mutant("coefficient: five times as large", {"coefficient": _too_far}),
    Mutant("coefficient: always 0", {"coefficient": _nowhere}),
    Mutant("steered: at coefficient 0, too", {"steered": _never_zero}),
    Mutant("steered: hooks stay", {"steered": _leaking}),
    Mutant("steered: blocks' inputs", {"steered": _hooked(_add, before=True)}),
    Mutant("steered: the last token only", {"steered": _hooked(_add_last)}),
    Mutant("steered: in proportion to the state", {"steered": _hooked(_add_scaled)}),
    Mutant("steered: direction projected out", {"steered": _hooked(_project_out)}),
)


# Steering is what its definition says


def _by_hand(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Scores of small steered transformers, against a forward pass by loops."""
    import torch

    from numerics.concepts.character_transformer import CharacterTransformer

    steered: Any = formulas["steered"]
    rng = setting.generator("steered by hand")
    for chosen in ((0, 1, 2), (1,), (2,)):
        model = CharacterTransformer(
            9, width=12, blocks=3, heads=3, length=8, dtype=torch.float64,
            generator=torch.Generator().manual_seed(int(rng.integers(2**31))),
        )  # fmt: skip
        own = {number: rng.standard_normal(12) for number in chosen}
        vectors = {f"blocks.{number}": torch.from_numpy(v) for number, v in own.items()}
        tokens = rng.integers(9, size=7).tolist()
        with steered(model, vectors, -0.7), torch.no_grad():
            found = model(torch.tensor([tokens]))[0]
        weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
        expected = steered_scores(weights, tokens, 3, own, -0.7)
        for place in ((0, 0), (3, 5), (6, 8)):
            yield f"blocks {chosen}, score {place}", float(found[place]), expected[place]


# At coefficient 0


def _bare(formulas: Formulas, setting: Setting) -> Evidence:
    """Scores, states and texts are those of the bare model, bit by bit, and no hook is there."""
    import torch

    from numerics.concepts.character_transformer import CharacterTransformer

    rng = setting.generator("coefficient 0")
    steered: Any = formulas["steered"]
    compared = 0
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        model = CharacterTransformer(12, width=16, length=24, generator=generator, dtype=dtype)
        drawn = {name: torch.randn(16, generator=generator) for name in ("blocks.0", "blocks.1")}
        vectors = {name: 100 * v.to(dtype) for name, v in drawn.items()}
        bare = _bits(model, generator.initial_seed())
        with steered(model, vectors, 0.0):
            inside = _bits(model, generator.initial_seed())
        if bare != inside or bare != _bits(model, generator.initial_seed()):
            return Evidence(False, {}, f"{dtype}: scores, states or texts differ in some bit")
        if any(module._forward_hooks for module in model.modules()):
            return Evidence(False, {}, f"{dtype}: a hook is left")
        compared += sum(len(part) for part in bare)
    return Evidence(True, {"bytes": compared})


def _bits(model: Any, seed: int) -> list[bytes]:
    import torch

    from numerics.concepts.characters import CharacterVocabulary
    from numerics.concepts.generation import generate
    from numerics.concepts.hidden_states import collect_hidden_states

    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 12, (8, 20), generator=generator)
    with torch.no_grad():
        parts = [model(tokens), *collect_hidden_states(model, tokens).values()]
    texts = generate(model, CharacterVocabulary("abcdefghijk"), 8, generator=generator)
    raw = [part.contiguous().view(torch.uint8).numpy().tobytes() for part in parts]
    return [*raw, "\n".join(texts).encode()]


# The concept rate


@dataclass(frozen=True)
class Course:
    """One way to steer.

    Attributes:
        probe: Finds the direction v.
        through: Whether Σv steers, not v.
        concept: What is steered.
        least: The least rise of its rate from the smallest to the largest coefficient.
    """

    probe: str
    through: bool
    concept: str
    least: float

    def __str__(self) -> str:
        return f"{self.concept} by {self.probe}{' through the covariance' * self.through}"


@dataclass(frozen=True)
class Plan:
    """Sweeps of steered writers.

    Attributes:
        seeds: Writers, each with training texts and states of its own.
        steps: Of their training.
        courses: How they are steered.
        texts: For each coefficient.
        states: Beginnings whose hidden states the detector sees, a multiple of 24.
    """

    seeds: int
    steps: int
    courses: tuple[Course, ...]
    texts: int
    states: int


COEFFICIENTS = (-0.22, -0.11, 0.0, 0.11, 0.22)
GRAMMATICAL, UNSTEERED, TEMPERATURE = 0.90, 0.97, 0.8
"""Least grammatical shares with steering and without, and the temperature."""


@lru_cache(maxsize=2)
def _writer(seed: int, steps: int) -> Writer:
    """Mutants steer the same writer."""
    from numerics.concepts.character_training import Schedule
    from numerics.concepts.grammar import Grammar
    from numerics.concepts.short_words import SHORT_WORDS
    from numerics.concepts.sweeps import train_writer

    grammar = Grammar(SHORT_WORDS, sentences=2)
    texts = [t.text for t in grammar.sample(8000, np.random.default_rng([seed, 0]))]
    return train_writer(grammar, texts, Schedule(steps=steps, lr=8e-3), seed=seed)


def _swept(formulas: Formulas, plan: Plan, seed: int, number: int) -> Sweep:
    """What a writer writes on one course."""
    from numerics.concepts.shifts import in_deviations
    from numerics.concepts.sweeps import sweep

    parts: Any = formulas
    course, writer = plan.courses[number], _writer(seed, plan.steps)
    rng = np.random.default_rng([seed, 1, number])
    seen = parts["beginnings"](writer.grammar, course.concept, plan.states, rng)
    states, labels = writer.states(seen), parts["labels"](seen, course.concept)
    directions = parts["direction"](states, labels, course.probe)
    if course.through:
        directions = parts["shift"](directions, states, labels)
    return sweep(
        writer, in_deviations(directions, states), [parts["coefficient"](e) for e in COEFFICIENTS],
        plan.texts, seed=seed * 100 + number, temperature=TEMPERATURE,
    )  # fmt: skip


def complaint(found: Sweep, concept: str, least: float, alpha: float) -> str:
    """Why a sweep speaks against the claim; empty if it does not.

    Rates come from independent texts. Monotone means: no rate is below one at a smaller
    coefficient by more than what happens by chance with probability alpha, for all pairs together;
    beyond that the rate at the largest coefficient exceeds that at the smallest by `least`.
    """
    for epsilon, rate in zip(found.coefficients, found.grammatical(), strict=True):
        required = UNSTEERED if epsilon == 0 else GRAMMATICAL
        if rate.share < required:
            return f"{rate.share:.3g} are grammatical at {epsilon}, {required} required"
    rates = found.rates(concept, VALUES[concept])
    rise = _rise(found, concept)
    if rise < least:
        return f"the rate of {VALUES[concept]} moves by {rise:.3g}, {least} required"
    pairs = list(combinations(range(len(rates)), 2))
    allowed = -float(ndtri(alpha / len(pairs)))
    for i, j in pairs:
        z = _z(rates[i].hits, rates[i].total, rates[j].hits, rates[j].total)
        if z < -allowed:
            below, above = (found.coefficients[k] for k in (i, j))
            return f"the rate falls from {below} to {above}: z = {z:.3g} beyond {allowed:.3g}"
    return ""


def _z(hits: int, total: int, later_hits: int, later_total: int) -> float:
    """The difference of two shares over its standard error if they were equal."""
    pooled = (hits + later_hits + 1) / (total + later_total + 2)
    error = np.sqrt(pooled * (1 - pooled) * (1 / total + 1 / later_total))
    return float((later_hits / later_total - hits / total) / error)


def _judged(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    """Every seed, up to the first sweep that speaks against the claim."""
    seeds = setting.generator(f"control {plan.steps}").integers(2**31, size=plan.seeds)
    each = setting.alpha / (plan.seeds * len(plan.courses))
    found: list[list[Sweep]] = []
    for seed in seeds.tolist():
        found.append([])
        for number, course in enumerate(plan.courses):
            swept = _swept(formulas, plan, seed, number)
            if text := complaint(swept, course.concept, course.least, each):
                return Evidence(False, {"seed": seed}, f"seed {seed}, {course}: {text}")
            found[-1].append(swept)
    return Evidence(True, _figures(found, plan, each))


def _figures(found: list[list[Sweep]], plan: Plan, alpha: float) -> dict[str, float | int]:
    figures: dict[str, float | int] = {"seeds": plan.seeds, "alpha": alpha, "beta": BETA}
    for number, course in enumerate(plan.courses):
        rises = np.array([_rise(own[number], course.concept) for own in found])
        figures[f"{course}: rise"] = float(rises.mean())
        figures[f"{course}: least"] = float(rises.min())
        if len(rises) > 1:
            figures[f"{course}: spread"] = float(rises.std(ddof=1))
    shares = [rate.share for own in found for swept in own for rate in swept.grammatical()]
    figures["grammatical, least"] = min(shares)
    figures["smallest fall found"] = _smallest_fall(plan, alpha)
    return figures


def _rise(found: Sweep, concept: str) -> float:
    rates = found.rates(concept, VALUES[concept])
    return rates[-1].share - rates[0].share


def _smallest_fall(plan: Plan, alpha: float) -> float:
    """A fall between two rates that is found with probability 1 − beta, at the largest variance."""
    pairs = len(COEFFICIENTS) * (len(COEFFICIENTS) - 1) // 2
    reach = -float(ndtri(alpha / pairs)) - float(ndtri(BETA))
    return float(reach * np.sqrt(0.5 / (GRAMMATICAL * plan.texts)))


SMALL = Plan(
    1, 800,
    (
        Course("mean_difference", False, "sentiment", 0.3),
        Course("linear", True, "tense", 0.3),
    ),
    300, 384,
)  # fmt: skip
WHOLE = Plan(
    5, 1000,
    (
        *(Course("mean_difference", False, concept, 0.3) for concept in VALUES),
        *(Course("linear", True, concept, 0.3) for concept in VALUES),
    ),
    600, 384,
)  # fmt: skip


def _leg(name: str, plan: Plan, budget: Budget) -> Leg:
    def run(formulas: Formulas, setting: Setting) -> Evidence:
        return _judged(formulas, plan, setting)

    reads = ("beginnings", "labels", "direction", "shift", "coefficient")
    return Leg(name, Kind.TRAINED, run, reads, budget=budget, on_mutants=budget is Budget.FAST)


CONTROL = Claim(
    id="concepts.control",
    title="Steering along the found directions moves what is written, monotonically",
    statement=(
        r"x_\ell \mapsto x_\ell + \varepsilon v_\ell \text{ at every token of every block}: \quad "
        r"P_\varepsilon(\text{concept}) \text{ rises in } \varepsilon, \text{ by 30 points or "
        r"more, while 90\,\% of the texts are grammatical}; \quad "
        r"\varepsilon = 0:\ \text{the bare model, bit by bit}"
    ),
    source="A",
    hypotheses=(
        Hypothesis("two blocks of width 64, trained on texts of two sentences of a seeded grammar"),
        Hypothesis(
            "states are those of the last token before the concept's own word parts from its "
            "alternative, in the second sentence; temperature 0.8"
        ),
        Hypothesis("v_ℓ as long as its layer's standard deviation √(tr Cov); |ε| ≤ 0.22"),
        Hypothesis("v is the mean difference, or Σv_lin, Σ within classes, v_lin of ridge"),
    ),
    formulas={
        "beginnings": _beginnings,
        "labels": _labels,
        "direction": _direction,
        "shift": _shift,
        "coefficient": _coefficient,
        "steered": _steered,
    },
    legs=(
        digits_leg("steered forward pass by loops", _by_hand, ("steered",), 10),
        Leg("coefficient 0, bit by bit", Kind.EXACT, _bare, ("steered",)),
        _leg("one writer, two courses", SMALL, Budget.FAST),
        _leg("five writers, four courses", WHOLE, Budget.FULL),
    ),
    mutants=MUTANTS,
    notes=(
        "Where states are taken decides: with those at the end of a sentence, where the concept is "
        "known but not about to show, the same probe steers too little (a mutant). What detects is "
        "not what steers: ridge's v moves the tense by less than 30 points, Σv by more (a mutant), "
        "as concepts.steering says of Gaussian classes. Of RFM's v nothing is claimed: with these "
        "coefficients it moved the sentiment of one judged writer by 7 points only. The figure "
        "concepts.control shows it."
    ),
)  # fmt: skip

CLAIMS = (CONTROL,)
