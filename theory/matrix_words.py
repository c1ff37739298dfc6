"""Matrix algebra in words: noncommutative symbols that stand for matrices of every size.

An identity between such words holds for all matrices whose sizes fit, so that one line proves it
for every width, depth and number of samples. `sympy.transpose` turns a word round.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy
from sympy import transpose


def matrices(names: str) -> tuple[sympy.Symbol, ...]:
    """Return symbols that do not commute, one for each name.

    >>> A, B = matrices("A B")
    >>> A * B == B * A
    False
    """
    return tuple(sympy.symbols(names, commutative=False, seq=True))


def gram(word: sympy.Expr) -> sympy.Expr:
    """Return MᵀM, as the NFM of a weight matrix or the AGOP of a Jacobian."""
    return sympy.expand(transpose(word) * word)


def symmetrised(word: sympy.Expr) -> sympy.Expr:
    """Return M + Mᵀ, as the derivative of a Gram matrix is."""
    return word + transpose(word)


def reduced(word: sympy.Expr, rules: Mapping[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    """Apply rewriting rules (such as QᵀQ → 1) until none applies any more.

    The rules must shorten words or order their letters; otherwise this would not end.

    >>> Q, D = matrices("Q D")
    >>> reduced(D * transpose(Q) * Q * D, {transpose(Q) * Q: sympy.Integer(1)})
    D**2
    """
    before, after = None, sympy.expand(word)
    while after != before:
        before = after
        for left, right in rules.items():
            after = sympy.expand(after.subs(left, right))
    return after


def trace(word: sympy.Expr) -> sympy.Expr:
    """Return the trace as a sum of commuting symbols, equal iff the cyclic words are.

    tr(AB) = tr(BA) and tr(M) = tr(Mᵀ): every word is replaced by the first, in the alphabet, of
    its rotations and those of its transpose.

    >>> A, B = matrices("A B")
    >>> trace(A * B - transpose(A) * transpose(B))
    0
    """
    total = sympy.Integer(0)
    for term in sympy.Add.make_args(sympy.expand(word)):
        scalars, letters = term.args_cnc()
        total += sympy.prod(scalars) * _necklace(_spelt(letters))
    return total


def _spelt(factors: list[sympy.Expr]) -> list[sympy.Expr]:
    """Spell out powers: A² B as A, A, B."""
    letters: list[sympy.Expr] = []
    for factor in factors:
        base, exponent = factor.as_base_exp()
        inner = base.args if base.is_Mul else (base,)
        letters.extend(tuple(inner) * int(exponent))
    return letters


def _necklace(letters: list[sympy.Expr]) -> sympy.Symbol:
    back = [transpose(letter) for letter in reversed(letters)]
    spellings = [
        tuple(str(letter) for letter in word[start:] + word[:start])
        for word in (letters, back)
        for start in range(max(len(word), 1))
    ]
    return sympy.Symbol(f"tr({' '.join(min(spellings))})")
