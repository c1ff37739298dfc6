"""What steering is made of, from beginnings to contexts, and each of it set wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...claim import Mutant

if TYPE_CHECKING:
    from torch import Tensor

    from numerics.concepts.grammar import Grammar, Text

Vectors: TypeAlias = "dict[str, Tensor]"
States: TypeAlias = "Mapping[str, Tensor]"
Directions: TypeAlias = "Mapping[str, ArrayLike]"
VALUES = {"sentiment": "positive", "tense": "past"}


# What the claim is made of


def beginnings(grammar: Grammar, concept: str, n: int, rng: np.random.Generator) -> list[Text]:
    """Texts up to where the concept is about to show, at whose last tokens states are taken."""
    return grammar.beginnings(concept, n, rng)


def labels(texts: Sequence[Text], concept: str) -> NDArray[np.bool_]:
    """Whether the texts' concept has the value that is counted."""
    return np.array([getattr(t.concepts, concept) == VALUES[concept] for t in texts])


def direction(states: States, labels: NDArray[np.bool_], probe: str) -> Directions:
    """The detector's unit vectors."""
    from numerics.concepts.detector import ConceptDetector

    arrays: dict[Any, Any] = {name: layer.numpy() for name, layer in states.items()}
    detector = ConceptDetector(probe, folds=2, random_state=0).fit(arrays, labels)
    return {str(name): v for name, v in detector.directions().items()}


def shift(directions: Directions, states: States, labels: NDArray[np.bool_]) -> Directions:
    """From the directions that detect to those that steer: Σv."""
    from numerics.concepts.shifts import along_covariance

    return along_covariance(directions, states, labels)


def coefficient(epsilon: float) -> float:
    """The coefficient that is used for ε."""
    return epsilon


def steered(model: Any, vectors: Vectors, epsilon: float) -> AbstractContextManager[Any]:
    """The context in which the model is steered."""
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
    return labels(texts, "tense" if concept == "sentiment" else "sentiment")


def _inverted(states: States, labels: NDArray[np.bool_], probe: str) -> Directions:
    return {name: -np.asarray(v) for name, v in direction(states, labels, probe).items()}


def _exchanged(states: States, labels: NDArray[np.bool_], probe: str) -> Directions:
    """Each block is steered by the vector of another."""
    found = direction(states, labels, probe)
    return dict(zip(found, reversed(list(found.values())), strict=True))


def _as_detected(directions: Directions, states: States, labels: object) -> Directions:
    return directions


def _too_far(epsilon: float) -> float:
    return 2 * epsilon


def _too_little(epsilon: float) -> float:
    return epsilon / 4


def _folded(epsilon: float) -> float:
    """A sweep that turns back: the largest coefficient steers like the smallest but one."""
    return epsilon if epsilon <= 0 else -epsilon / 2


def _never_zero(model: Any, vectors: Vectors, epsilon: float) -> AbstractContextManager[Any]:
    return steered(model, vectors, epsilon or 1e-6)


@contextmanager
def _leaking(model: Any, vectors: Vectors, epsilon: float) -> Iterator[None]:
    """Hooks that stay."""
    steered(model, vectors, epsilon or 1e-30).__enter__()
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
    Mutant("direction: of another block", {"direction": _exchanged}),
    Mutant("shift: v itself, not Σv", {"shift": _as_detected}),
    Mutant("labels: of no concept", {"labels": _of_no_concept}),
    Mutant("labels: those of another concept", {"labels": _other_concept}),
    Mutant("coefficient: the sweep turns back", {"coefficient": _folded}),
    Mutant("coefficient: twice as large", {"coefficient": _too_far}),
    Mutant("coefficient: a quarter", {"coefficient": _too_little}),
    Mutant("steered: at coefficient 0, too", {"steered": _never_zero}),
    Mutant("steered: hooks stay", {"steered": _leaking}),
    Mutant("steered: blocks' inputs", {"steered": _hooked(_add, before=True)}),
    Mutant("steered: the last token only", {"steered": _hooked(_add_last)}),
    Mutant("steered: in proportion to the state", {"steered": _hooked(_add_scaled)}),
    Mutant("steered: direction projected out", {"steered": _hooked(_project_out)}),
)
