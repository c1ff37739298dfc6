r"""Expected traces of words in sample matrices: exact at every size, and their limit.

X is n × d with independent N(0,1) entries, r has n independent entries with moments m_1, m_2, …,
independent of X. A word is spelt with the letters A = Xᵀ diag(r) X and S = Xᵀ X, for example
"AAAAS" for tr A⁴Σ. In the trace of a word of m letters every letter carries one sample index and
every gap between letters one coordinate index, and each entry of X joins a letter to a gap beside
it. Isserlis' theorem sums over the pairings of these 2m entries, where two paired entries share
both indices. So every pairing leaves some free samples, each for a block of letters, and some
free coordinates.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import sympy

from .noncrossing import Partition, kreweras, noncrossing_partitions, set_partitions

SAMPLES = sympy.Symbol("n", positive=True)
DIMENSION = sympy.Symbol("d", positive=True)
RATIO = sympy.Symbol("gamma", positive=True)

LONGEST = 6
"""Letters of the longest word: 10395 pairings."""


def expected_trace(
    word: str, moments: Sequence[Any], samples: Any = SAMPLES, dimension: Any = DIMENSION
) -> Any:
    """Return E tr of a word, exactly.

    Args:
        word: Letters A and S, one to six of them.
        moments: m_1, m_2, …, at least as many as there are letters A.
        samples: n, a number or a symbol.
        dimension: d, a number or a symbol.

    Raises:
        ValueError: If the word has other letters or another length, or moments are missing.

    Example:
        >>> expected_trace("SS", ())
        d**2*n + d*n**2 + d*n
    """
    letters, m = _letters(word), _moments(word, moments)
    counts: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for (partition, coordinates), count in pairing_counts(len(letters)).items():
        powers = tuple(sorted(sum(letters[j] for j in block) for block in partition))
        counts[coordinates, powers] += count
    terms = (
        count * dimension**coordinates * _sample_sum(powers, m, samples)
        for (coordinates, powers), count in sorted(counts.items())
    )
    return sympy.expand(sum(terms))


def limiting_trace(word: str, moments: Sequence[Any], ratio: Any = RATIO) -> Any:
    """Return lim n^{−m−1} E tr of a word of m letters as n, d → ∞ with d/n → γ.

    It is Σ over non-crossing partitions π of γ^{|complement of π|} Π_{blocks} m_{letters A in it}.

    Args:
        word: Letters A and S, one to six of them.
        moments: m_1, m_2, …, at least as many as there are letters A.
        ratio: γ, a number or a symbol.

    Raises:
        ValueError: If the word has other letters or another length, or moments are missing.

    Example:
        >>> limiting_trace("SSS", ())
        gamma**3 + 3*gamma**2 + gamma
    """
    letters, m = _letters(word), _moments(word, moments)
    terms = (
        ratio ** len(kreweras(partition))
        * sympy.prod([m[sum(letters[j] for j in block)] for block in partition])
        for partition in noncrossing_partitions(len(letters))
    )
    return sum(terms, sympy.Integer(0))


@functools.cache
def pairing_counts(letters: int) -> Counter[tuple[Partition, int]]:
    """Return how many pairings leave given blocks of letters and so many free coordinates.

    Entry 2j joins letter j to the gap before it, entry 2j + 1 to the gap after it.

    Args:
        letters: m, from 1 to 6.
    """
    samples = {entry: entry ^ 1 for entry in range(2 * letters)}
    gaps = {entry: (entry + (-1 if entry % 2 == 0 else 1)) % (2 * letters) for entry in samples}
    counts: Counter[tuple[Partition, int]] = Counter()
    for pairing in pairings(tuple(range(2 * letters))):
        rows = tuple(tuple(sorted({e // 2 for e in loop})) for loop in loops(pairing, samples))
        counts[tuple(sorted(rows)), len(loops(pairing, gaps))] += 1
    return counts


def pairings(points: tuple[int, ...]) -> Iterator[dict[int, int]]:
    """Yield all pairings of an even number of points, each as the map to the partner."""
    if not points:
        yield {}
        return
    first, *rest = points
    for i, partner in enumerate(rest):
        for others in pairings((*rest[:i], *rest[i + 1 :])):
            yield {first: partner, partner: first, **others}


def loops(first: dict[int, int], second: dict[int, int]) -> list[list[int]]:
    """Return the loops that two pairings of the same points form together."""
    left, found = set(first), []
    while left:
        start = point = min(left)
        loop: list[int] = []
        while not loop or point != start:
            loop += [point, first[point]]
            point = second[first[point]]
        left -= set(loop)
        found.append(loop)
    return found


def _letters(word: str) -> list[int]:
    """One for every A, nothing for every S."""
    if not isinstance(word, str) or not re.fullmatch(f"[AS]{{1,{LONGEST}}}", word):
        raise ValueError(f"word = {word!r} must be one to {LONGEST} letters, each A or S")
    return [int(letter == "A") for letter in word]


def _moments(word: str, moments: Sequence[Any]) -> tuple[Any, ...]:
    if len(moments) < word.count("A"):
        raise ValueError(
            f"moments has {len(moments)} entries; {word} needs m_1 to m_{word.count('A')}"
        )
    return (sympy.Integer(1), *moments)


def _sample_sum(powers: tuple[int, ...], moments: Sequence[Any], samples: Any) -> Any:
    """Return E Π_B Σ_i r_i^{powers of B}: blocks may fall on the same sample or on different ones.

    Samples that differ are independent: a partition of the blocks into b groups has n(n−1)…(n−b+1)
    choices.
    """
    total: Any = 0
    for groups in set_partitions(len(powers)):
        choices = sympy.prod([samples - i for i in range(len(groups))])
        total += choices * sympy.prod([moments[sum(powers[j] for j in g)] for g in groups])
    return total
