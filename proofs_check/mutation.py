"""Formulas set wrong on purpose: a mutator over the SymPy tree.

A check that lets a wrong formula pass is no check. Every number, sign, exponent, term, factor and
function of a claimed formula is changed, one at a time, and the ledger asks its legs to notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import sympy
from sympy.polys.rootoftools import ComplexRootOf

from .claim import Claim, Mutant

STRETCH = sympy.Rational(51, 50)
"""A coefficient set wrong by 2 %: a gross but not an absurd mistake."""

WHISPER = 1 + sympy.Rational(1, 10**6)
"""A coefficient set wrong in the seventh digit, which only precise evidence can notice."""

PARTNERS = {
    "sinh": ("cosh",),
    "cosh": ("sinh",),
    "tanh": ("sinh", "coth"),
    "coth": ("tanh",),
    "csch": ("sech",),
    "sech": ("csch",),
    "sin": ("cos",),
    "cos": ("sin",),
    "tan": ("sin",),
    "cot": ("tan",),
    "erf": ("erfc",),
    "erfc": ("erf",),
    "elliptic_k": ("elliptic_e",),
    "elliptic_e": ("elliptic_k",),
    "QuarterPeriod": ("ComplementaryQuarterPeriod",),
    "ComplementaryQuarterPeriod": ("QuarterPeriod",),
}
"""Functions that are easily mistaken for each other, by the names of their classes. A partner is
looked up in the module that defines the function."""

Place = tuple[int, ...]


@dataclass(frozen=True)
class Mutation:
    """A wrong expression and what was done to the right one."""

    description: str
    expression: sympy.Basic


def mutations(expression: sympy.Basic) -> tuple[Mutation, ...]:
    """All mutations of an expression, the coarse ones first, without doubles.

    Dropped: what SymPy turns back into the original or into another mutation (structural equality;
    an equivalence that takes thought must be listed with a reason), and what is visibly no real
    number any more, because nobody would claim that.
    """
    absurd = {sympy.nan, sympy.zoo, sympy.I} - expression.atoms()
    seen = {expression}
    found: dict[str, sympy.Basic] = {}
    for description, wrong in _candidates(expression):
        if wrong not in seen and not absurd & wrong.atoms():
            seen.add(wrong)
            found[_unique(description, found)] = wrong
    return tuple(Mutation(description, wrong) for description, wrong in found.items())


def mutants_of(claim: Claim) -> tuple[Mutant, ...]:
    """The automatic mutants of every formula that carries an expression, then the hand-written."""
    automatic = [
        Mutant(
            description := f"{name}: {mutation.description}",
            {name: replaced},
            claim.equivalents.get(description, ""),
        )
        for name, formula in claim.formulas.items()
        for mutation, replaced in _mutated_formulas(formula)
    ]
    _check_equivalents(claim, automatic)
    return (*automatic, *claim.mutants)


def _mutated_formulas(formula: object) -> Iterator[tuple[Mutation, object]]:
    if isinstance(formula, sympy.Expr):
        for mutation in mutations(formula):
            yield mutation, mutation.expression
    elif hasattr(formula, "replace_expression") and hasattr(formula, "expression"):
        for mutation in mutations(formula.expression):
            # A closed form refuses what its evaluators do not know: that mutant cannot be made.
            with suppress(TypeError, ValueError):
                yield mutation, formula.replace_expression(mutation.expression)


def _check_equivalents(claim: Claim, automatic: list[Mutant]) -> None:
    # A reason that excuses no mutant is left over from an older formula: it must not linger and
    # excuse a later mutant by accident.
    names = {mutant.name for mutant in automatic}
    for description in claim.equivalents:
        if description not in names:
            raise ValueError(f"{claim.id}: equivalents lists {description!r}, which is no mutant")


def _unique(description: str, taken: dict[str, sympy.Basic]) -> str:
    place, name = 1, description
    while name in taken:
        place += 1
        name = f"{description} (place {place})"
    return name


def _candidates(expression: sympy.Basic) -> Iterator[tuple[str, sympy.Basic]]:
    if isinstance(expression, sympy.Expr):
        yield "everything * 51/50", STRETCH * expression
        yield "everything * (1 + 1e-6)", WHISPER * expression
        yield "everything negated", -expression
    for place, node, parents in _nodes(expression):
        for description, replacement in _rewrites(node, parents):
            context = f" in {_short(parents[-1])}" if parents else ""
            with suppress(TypeError, ValueError):  # SymPy refuses to build some nonsense
                yield description + context, _replace(expression, place, replacement)


def _nodes(
    node: sympy.Basic, place: Place = (), parents: tuple[sympy.Basic, ...] = ()
) -> Iterator[tuple[Place, sympy.Basic, tuple[sympy.Basic, ...]]]:
    """Every node from the root down, with its place and its ancestors."""
    yield place, node, parents
    if isinstance(node, ComplexRootOf):  # an algebraic number: one atom for our purpose
        return
    for index, child in enumerate(node.args):
        if isinstance(child, sympy.Basic):
            yield from _nodes(child, (*place, index), (*parents, node))


def _replace(node: sympy.Basic, place: Place, replacement: sympy.Basic) -> sympy.Basic:
    if not place:
        return replacement
    arguments: list[Any] = list(node.args)
    arguments[place[0]] = _replace(arguments[place[0]], place[1:], replacement)
    return node.func(*arguments)


def _rewrites(
    node: sympy.Basic, parents: tuple[sympy.Basic, ...]
) -> Iterator[tuple[str, sympy.Basic]]:
    exponent = bool(parents) and isinstance(parents[-1], sympy.Pow) and parents[-1].exp == node
    if isinstance(node, sympy.Number | sympy.NumberSymbol | ComplexRootOf) and not exponent:
        yield from _numbers(node)
    elif isinstance(node, sympy.Add):
        yield from _terms(node)
    elif isinstance(node, sympy.Mul):
        yield from _factors(node)
    elif isinstance(node, sympy.Pow):
        yield from _powers(node)
    elif isinstance(node, sympy.Function):
        yield from _functions(node)


def _numbers(number: sympy.Expr) -> Iterator[tuple[str, sympy.Basic]]:
    for changed in (number + 1, number - 1, STRETCH * number):
        yield f"{number} -> {changed}", changed


def _terms(total: sympy.Add) -> Iterator[tuple[str, sympy.Basic]]:
    for term in total.args:
        yield f"term {_short(term)} negated", total - 2 * term
        yield f"term {_short(term)} dropped", total - term


def _factors(product: sympy.Mul) -> Iterator[tuple[str, sympy.Basic]]:
    for index, factor in enumerate(product.args):
        if not factor.is_Number:
            rest = product.args[:index] + product.args[index + 1 :]
            yield f"factor {_short(factor)} dropped", product.func(*rest)


def _powers(power: sympy.Pow) -> Iterator[tuple[str, sympy.Basic]]:
    base, exponent = power.args
    for changed in (exponent + 1, exponent - 1, STRETCH * exponent):
        yield f"exponent {exponent} -> {changed} of {_short(base)}", base**changed
    if abs(exponent) == sympy.Rational(1, 2):
        yield f"root of {_short(base)} dropped", base ** (2 * exponent)


def _functions(applied: sympy.Function) -> Iterator[tuple[str, sympy.Basic]]:
    for partner in PARTNERS.get(type(applied).__name__, ()):
        function = getattr(import_module(type(applied).__module__), partner)
        yield f"{_short(applied)} -> {partner}", function(*applied.args)
    if isinstance(applied, sympy.exp):
        yield f"{_short(applied)} with the exponent negated", sympy.exp(-applied.args[0])
    for index, argument in enumerate(applied.args):
        stretched = (*applied.args[:index], STRETCH * argument, *applied.args[index + 1 :])
        yield f"argument {_short(argument)} * 51/50", applied.func(*stretched)


def _short(node: sympy.Basic, width: int = 60) -> str:
    text = str(node)
    return text if len(text) <= width else text[: width - 3] + "..."
