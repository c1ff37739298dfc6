r"""Exact expectations of traces of words in a generalised Wishart matrix, by Wick pairings.

M = sum_i c_i w_i w_i^T has k rows w_i, iid N(0, tau^2 I_d), and iid weights c_i with moments
m_j = E c^j. Between the blocks M stand deterministic symmetric (d, d) letters. Isserlis' theorem
pairs the 2p vectors of p blocks in (2p - 1)!! ways, each worth tau^{2p}. A pairing closes

- traces: running along the letters from vector to paired vector gives words without blocks;
- row loops: running through the blocks, all blocks of a loop share one row, so that a loop through
  j blocks carries the power sum p_j = sum_i c_i^j.

Loops may share their row. So for random weights E prod_l p_{j_l} is the sum over all partitions of
the set of loops into r groups of k (k - 1) ... (k - r + 1) prod_groups m_{j_1 + j_2 + ...}; it is
prod_l k m_{j_l} only if the weights are constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import perm, prod
from typing import Any

import numpy as np
import sympy

from ..validation import integer, positive

BLOCK = "M"
MOST_BLOCKS = 6

WIDTH = sympy.Symbol("k", integer=True, positive=True)
SPREAD = sympy.Symbol("tau", positive=True)
DIMENSION = sympy.Symbol("d", integer=True, positive=True)

Word = tuple[str, ...]
Loops = tuple[int, ...]
Pairing = tuple[tuple[int, int], ...]
Number = float | Fraction


def weight_moment(order: int) -> sympy.Symbol:
    """The symbol m_j = E c^j."""
    return sympy.Symbol(f"m_{order}", positive=True)


def trace_symbol(word: Word) -> sympy.Symbol:
    """The symbol of a trace, named by its word; the trace of the empty word is the dimension d.

    >>> trace_symbol(("A", "A", "Σ"))
    tr(AAΣ)
    """
    return sympy.Symbol(f"tr({''.join(word)})", real=True) if word else DIMENSION


def canonical(word: Sequence[str]) -> Word:
    """The first of a word's rotations and reversals: symmetric letters give them one trace.

    >>> canonical("ΣABA")
    ('A', 'B', 'A', 'Σ')
    """
    both = (tuple(word), tuple(reversed(word)))
    return min((w[s:] + w[:s] for w in both for s in range(len(w))), default=())


@dataclass(frozen=True)
class Term:
    """What several pairings have in common.

    Attributes:
        count: The number of these pairings.
        loops: Sizes of the row loops, sorted.
        traces: Canonical words of the closed traces, sorted.
    """

    count: int
    loops: Loops
    traces: tuple[Word, ...]


@dataclass(frozen=True)
class Expectation:
    """E prod tr(word), as a sum over classes of pairings.

    Attributes:
        blocks: p, the number of blocks in all words.
        terms: The classes; their counts add up to (2p - 1)!!.
        rows: E prod_l p_{j_l} from (loops, width, moments); see `row_factor`.
    """

    blocks: int
    terms: tuple[Term, ...]
    rows: Callable[[Loops, Any, Callable[[int], Any]], Any]

    def expression(self) -> sympy.Expr:
        """The expectation in `WIDTH`, `SPREAD`, `weight_moment` and `trace_symbol`."""
        total = sympy.Add(
            *(
                term.count
                * sympy.expand(self.rows(term.loops, WIDTH, weight_moment))
                * sympy.Mul(*map(trace_symbol, term.traces))
                for term in self.terms
            )
        )
        return sympy.expand(total) * SPREAD ** (2 * self.blocks)

    def value(
        self,
        letters: Mapping[str, Any],
        width: int,
        moments: Sequence[Number],
        variance: Number = 1,
    ) -> Number:
        """The expectation for given matrices; exact if everything given is rational.

        Args:
            letters: Symmetric matrices by letter, each (d, d).
            width: k >= 1.
            moments: (m_1, m_2, ...), at least as many as there are blocks.
            variance: tau^2, the variance of an entry of w_i.

        Raises:
            TypeError: If the width is not an integer, or the variance or an entry no real number.
            ValueError: If a letter is missing, not square, not symmetric, not finite or of another
                size, the width is less than 1, there are too few moments, one is not finite, or
                the variance is not positive and finite.
        """
        k = integer("width", width, 1)
        given = tuple(moments)
        if len(given) < self.blocks:
            raise ValueError(f"moments has {len(given)} entries; {self.blocks} blocks need as many")
        _check_finite("moments", given)
        rows = {
            loops: self.rows(loops, k, lambda order: given[order - 1])
            for loops in {term.loops for term in self.terms}
        }
        return self._sum(letters, rows, variance)

    def value_given_weights(
        self, letters: Mapping[str, Any], weights: Sequence[Number], variance: Number = 1
    ) -> Number:
        """As `value`, given the weights c_1 ... c_k: row loops carry sum_i c_i^j.

        Raises:
            TypeError: If the variance or an entry is no real number.
            ValueError: If a letter is missing, not square, not symmetric, not finite or of another
                size, there are no weights, one is not finite, or the variance is not positive and
                finite.
        """
        c = list(weights)
        if not c:
            raise ValueError("weights is empty; at least one row is needed")
        _check_finite("weights", c)
        rows = {
            term.loops: prod(sum(x**order for x in c) for order in term.loops)
            for term in self.terms
        }
        return self._sum(letters, rows, variance)

    def _sum(
        self, letters: Mapping[str, Any], rows: Mapping[Loops, Any], variance: Number
    ) -> Number:
        positive("variance", variance)
        words = {word for term in self.terms for word in term.traces}
        traces = word_traces(words, letters)
        total: Number = sum(
            term.count * rows[term.loops] * prod(traces[word] for word in term.traces)
            for term in self.terms
        )
        return total * variance**self.blocks


def expectation(*words: Sequence[str]) -> Expectation:
    """The exact expectation of a product of traces of words in M and symmetric letters.

    Args:
        words: Each a sequence of letters (a string is one), "M" standing for the block; the empty
            product of letters is the identity. All words together have at most 6 blocks.

    Raises:
        ValueError: If there is no word, or there are more than 6 blocks.

    Source: this project.

    Example:
        >>> expectation("MA").expression()
        k*m_1*tau**2*tr(A)
    """
    if not words:
        raise ValueError("words is empty; at least one word is needed")
    blocks = sum(letter == BLOCK for word in words for letter in word)
    if blocks > MOST_BLOCKS:
        raise ValueError(f"words have {blocks} blocks {BLOCK!r}; at most {MOST_BLOCKS} are allowed")
    return _expectation(tuple(tuple(word) for word in words))


@lru_cache(maxsize=256)
def _expectation(words: tuple[Word, ...]) -> Expectation:
    blocks = sum(word.count(BLOCK) for word in words)
    return sum_pairings(words, pairings(tuple(range(2 * blocks))))


def sum_pairings(
    words: tuple[Word, ...],
    allowed: Iterator[Pairing],
    rows: Callable[[Loops, Any, Callable[[int], Any]], Any] | None = None,
) -> Expectation:
    """Sum given pairings of the vectors of all blocks; block b has the vectors 2b and 2b + 1.

    The rule for the rows is `row_factor`, unless another is given.
    """
    segments, constants = _segments(words)
    classes = Counter(
        (row_loops(pairing), tuple(sorted(constants + closed_traces(segments, pairing))))
        for pairing in allowed
    )
    terms = tuple(Term(count, loops, traces) for (loops, traces), count in sorted(classes.items()))
    return Expectation(sum(word.count(BLOCK) for word in words), terms, rows or row_factor)


def pairings(vectors: tuple[int, ...]) -> Iterator[Pairing]:
    """All ways to join vectors in pairs.

    >>> len(list(pairings((0, 1, 2, 3))))
    3
    """
    if not vectors:
        yield ()
        return
    first, rest = vectors[0], vectors[1:]
    for place, partner in enumerate(rest):
        for others in pairings(rest[:place] + rest[place + 1 :]):
            yield ((first, partner), *others)


def row_loops(pairing: Pairing) -> Loops:
    """The numbers of blocks in the loops that a pairing closes through the blocks.

    >>> row_loops(((0, 1), (2, 4), (3, 5)))
    (1, 2)
    """
    partner = _partners(pairing)
    unseen, loops = set(partner), []
    while unseen:
        vector, size = min(unseen), 0
        while vector in unseen:
            unseen -= {vector, vector ^ 1}
            vector, size = partner[vector ^ 1], size + 1
        loops.append(size)
    return tuple(sorted(loops))


def closed_traces(segments: Mapping[int, tuple[int, Word]], pairing: Pairing) -> tuple[Word, ...]:
    """The words that a pairing closes along the letters.

    Args:
        segments: Vector -> (the vector at the other end of its segment, the letters up to there).
        pairing: The pairs.
    """
    partner = _partners(pairing)
    unseen, traces = set(partner), []
    while unseen:
        vector = min(unseen)
        letters: list[str] = []
        while vector in unseen:
            end, word = segments[vector]
            letters += word
            unseen -= {vector, end}
            vector = partner[end]
        traces.append(canonical(letters))
    return tuple(traces)


def _partners(pairing: Pairing) -> dict[int, int]:
    return dict(pairing) | {y: x for x, y in pairing}


def _segments(
    words: tuple[Word, ...],
) -> tuple[dict[int, tuple[int, Word]], tuple[Word, ...]]:
    """The letters between the blocks, read from either end, and the words without blocks."""
    segments: dict[int, tuple[int, Word]] = {}
    first = 0
    for word in words:
        places = [place for place, letter in enumerate(word) if letter == BLOCK]
        for number, place in enumerate(places):
            following = places[(number + 1) % len(places)]
            gap = (following - place) % len(word) or len(word)
            letters = tuple(word[(place + step) % len(word)] for step in range(1, gap))
            start, end = 2 * (first + number) + 1, 2 * (first + (number + 1) % len(places))
            segments[start] = (end, letters)
            segments[end] = (start, letters[::-1])
        first += len(places)
    return segments, tuple(canonical(word) for word in words if BLOCK not in word)


# --- rows --------------------------------------------------------------------------------------


def row_factor(loops: Loops, width: Any, moment: Callable[[int], Any]) -> Any:
    """E prod_l sum_i c_i^{j_l}, with (k)_r = k (k - 1) ... (k - r + 1) for r groups of loops.

    Args:
        loops: (j_1, j_2, ...).
        width: k, an integer or a symbol.
        moment: j -> E c^j.

    Example:
        >>> sympy.expand(row_factor((1, 1), WIDTH, weight_moment))
        k**2*m_1**2 - k*m_1**2 + k*m_2
    """
    return sum(
        falling(width, len(groups)) * prod(moment(sum(group)) for group in groups)
        for groups in set_partitions(loops)
    )


def falling(width: Any, length: int) -> Any:
    """k (k - 1) ... (k - r + 1): the ways to choose r rows that differ, in order."""
    return perm(width, length) if isinstance(width, int) else sympy.ff(width, length)


def set_partitions(items: Sequence[int]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All ways to split a sequence into groups; equal items at two places count as two.

    >>> list(set_partitions((1, 2)))
    [((1, 2),), ((1,), (2,))]
    """
    if not items:
        yield ()
        return
    first, rest = items[0], items[1:]
    for groups in set_partitions(rest):
        for place, group in enumerate(groups):
            yield (*groups[:place], (first, *group), *groups[place + 1 :])
        yield ((first,), *groups)


# --- traces ------------------------------------------------------------------------------------


def word_traces(words: set[Word], letters: Mapping[str, Any]) -> dict[Word, Any]:
    """The traces of words for given matrices; common beginnings are multiplied only once.

    Raises:
        ValueError: If a letter is missing, or not a symmetric finite matrix of the common size.
    """
    matrices = symmetric_letters(letters)
    missing = {letter for word in words for letter in word} - set(matrices)
    if missing:
        known = ", ".join(matrices)
        raise ValueError(f"letters has no {min(missing)!r}; it has {known}")
    size = len(next(iter(matrices.values())))
    products: dict[Word, Any] = {}

    def product(word: Word) -> Any:
        if len(word) == 1:
            return matrices[word[0]]
        if word not in products:
            products[word] = product(word[:-1]) @ matrices[word[-1]]
        return products[word]

    return {word: _trace(word, product, matrices) if word else size for word in words}


def _trace(word: Word, product: Callable[[Word], Any], matrices: Mapping[str, Any]) -> Any:
    if len(word) == 1:
        return matrices[word[0]].trace()
    half = len(word) // 2
    return (product(word[:half]) * product(word[half:]).T).sum()


def symmetric_letters(letters: Mapping[str, Any]) -> dict[str, Any]:
    """Check the letters' matrices; integers become Python's, so that they do not overflow.

    Raises:
        ValueError: If there are none, one is the block, or one is not a symmetric finite matrix of
            the common size.
    """
    if not letters or BLOCK in letters:
        raise ValueError(f"letters has the names {sorted(letters)}; some, without {BLOCK!r}")
    found: dict[str, Any] = {name: _matrix(name, matrix) for name, matrix in letters.items()}
    shapes = {name: matrix.shape for name, matrix in found.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"letters have the shapes {shapes}; one and the same is allowed")
    return found


def _matrix(name: str, value: Any) -> Any:
    matrix = np.asarray(value)
    if matrix.dtype.kind not in "iufO":
        raise TypeError(f"{name} has dtype {matrix.dtype}; its entries must be real numbers")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"{name} has the shape {matrix.shape}; (d, d) with d >= 1 is allowed")
    if matrix.dtype.kind in "iu":
        matrix = matrix.astype(object)
    if matrix.dtype != object:
        matrix = matrix.astype(np.float64)
    if not _is_finite(matrix):
        raise ValueError(f"{name} has entries that are not finite; finite numbers are allowed")
    gap = np.abs(matrix - matrix.T).max()
    if gap > (0 if matrix.dtype == object else 1e-10 * np.abs(matrix).max()):
        raise ValueError(f"{name} differs from its transpose by {gap}; it must be symmetric")
    return matrix


def _check_finite(name: str, numbers: Sequence[Number]) -> None:
    """Refuse NaN, infinities and complex numbers, whatever the type of the others."""
    for number in numbers:
        if isinstance(number, complex) or number - number != 0:
            raise ValueError(f"{name} holds {number!r}; finite real numbers are allowed")


def _is_finite(matrix: Any) -> bool:
    if matrix.dtype == object:
        return all(x - x == 0 for x in matrix.flat)  # NaN and infinities, in any type of number
    return bool(np.isfinite(matrix).all())
