"""A claim explained: what it says, what it assumes, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .cite import papers_of
from .claim import Claim, Leg

if TYPE_CHECKING:
    from theory.derivation import Derivation


def explain(claim: Claim) -> str:
    """Statement, hypotheses, source, uses, formulas in LaTeX, legs and derivation steps."""
    return "\n".join(_lines(claim))


def _lines(claim: Claim) -> Iterator[str]:
    yield f"{claim.id}: {claim.title}"
    yield from ("", claim.statement, "")
    yield f"source: {claim.source}"
    for paper in papers_of(claim.source):
        yield f"  {paper.title} (arXiv {paper.arxiv})"
    yield from _list("hypotheses", (hypothesis.text for hypothesis in claim.hypotheses))
    yield from _list("uses", claim.uses)
    yield from _list("refutes", (claim.refutes,) if claim.refutes else ())
    yield from _list("formulas", (f"{n} = {latex_of(f)}" for n, f in claim.formulas.items()))
    yield from _list("legs", (_leg(leg) for leg in claim.legs))
    yield from _derivations(claim)
    if claim.notes:
        yield from ("", claim.notes)


def _list(name: str, entries: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    lines = [f"  - {entry}" for entry in entries]
    yield from (f"{name}:", *lines) if lines else ()


def latex_of(formula: object) -> str:
    """LaTeX of a formula that carries a SymPy expression; the name of any other object."""
    import sympy

    expression = getattr(formula, "expression", formula)
    if isinstance(expression, sympy.Basic):
        return str(sympy.latex(expression))
    return f"an algorithm, {getattr(formula, '__qualname__', type(formula).__name__)}"


def _leg(leg: Leg) -> str:
    notes = [note for note, holds in (("whole statement", leg.whole),) if holds]
    notes += [f"needs the {leg.budget} budget"] if leg.budget == "full" else []
    notes += [] if leg.on_mutants else ["not run on mutants"]
    reads = f", reads {', '.join(leg.reads)}" if leg.reads else ""
    return leg.label + reads + (f" ({'; '.join(notes)})" if notes else "")


def _derivations(claim: Claim) -> Iterator[str]:
    """Steps, once: those that other derivations of the claim print are named by their legs."""
    from .legs import DerivationRun

    found = {
        leg.name: leg.run.derivation(claim.formulas)
        for leg in claim.legs
        if isinstance(leg.run, DerivationRun)
    }
    ideas = {name: {step.idea for step in own.steps} for name, own in found.items()}
    for name, derivation in found.items():
        parts = [other for other in found if ideas[other] < ideas[name]]
        elsewhere = set().union(*(ideas[part] for part in parts))
        yield f"derivation {name}: {derivation.goal}"
        yield from (f"  all of {part}" for part in parts)
        yield from _steps(derivation, elsewhere)


def _steps(derivation: Derivation, elsewhere: set[str]) -> Iterator[str]:
    own = [step.idea for step in derivation.steps if step.idea not in elsewhere]
    yield from (f"  {number}. {idea}" for number, idea in enumerate(own, start=1))
    for theorem in derivation.cites:
        yield f"  by {theorem}"
