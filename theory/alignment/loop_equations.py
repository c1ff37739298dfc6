r"""The same expectations by integration by parts, row by row: the derivation behind `wick`.

Let M^(j) = sum_i c_i^j w_i w_i^T and p_j = sum_i c_i^j, the rows w_i iid N(0, tau^2 I). Integrating
the first w_i of tr(M^(j) U) by parts gives tau^2 times the sum of

- p_j tr(U), from its own partner;
- tr(U_1) tr(M^(j+l) U_2) + tr(M^(j+l) U_1^T U_2) for every block in U = U_1 M^(l) U_2;
- tr(M^(j+l) U^T V) + tr(M^(j+l) U^T V^T) for every block in another trace tr(M^(l) V).

Every step leaves one block less, so that p steps leave traces of letters and power sums p_j. Their
expectation over iid weights follows by adding rows one by one. No pairing is ever formed: `wick` is
checked against another algorithm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import combinations, product
from typing import Any

import sympy

from ..derivation import Derivation, Step
from .wick import (
    BLOCK,
    SPREAD,
    WIDTH,
    Loops,
    row_factor,
    trace_symbol,
    weight_moment,
)
from .wick import canonical as canonical_word

Cyclic = tuple[int | str, ...]
"""A word whose blocks M^(j) are written as the integer j."""

State = tuple[Loops, tuple[Cyclic, ...]]
"""Power sums and traces: prod p_j prod tr(word)."""


def loop_equation_expectation(*words: Sequence[str]) -> sympy.Expr:
    """E prod tr(word), in the symbols of `wick.Expectation.expression`.

    Args:
        words: As in `wick.expectation`; the number of blocks is not limited.

    Source: this project.

    Example:
        >>> loop_equation_expectation("MAMA")
        tau**4*(k**2*m_1**2*tr(AA) - k*m_1**2*tr(AA) + k*m_2*tr(A)**2 + 2*k*m_2*tr(AA))
    """
    start = tuple(tuple(1 if x == BLOCK else x for x in word) for word in words)
    blocks = sum(word.count(BLOCK) for word in words)
    states: Counter[State] = Counter({((), tuple(map(_canonical, start))): 1})
    for _ in range(blocks):
        states = _integrated(states)
    return sympy.expand(sympy.Add(*_averaged(states))) * SPREAD ** (2 * blocks)


def _averaged(states: Counter[State]) -> Iterator[sympy.Expr]:
    """The terms of the final states, their power sums averaged over the weights."""
    for (powers, words), count in states.items():
        traces = [trace_symbol(canonical_word(tuple(map(str, word)))) for word in words]
        yield count * rows_added(powers) * sympy.Mul(*traces)


def _integrated(states: Counter[State]) -> Counter[State]:
    """One block of every state integrated by parts."""
    found: Counter[State] = Counter()
    for (powers, words), count in states.items():
        for power, new in _fusions(words):
            state = (tuple(sorted(powers + power)), tuple(sorted(map(_canonical, new), key=_key)))
            found[state] += count
    return found


def _fusions(words: tuple[Cyclic, ...]) -> Iterator[tuple[Loops, tuple[Cyclic, ...]]]:
    number, word = next((n, w) for n, w in enumerate(words) if _first_block(w) is not None)
    others = words[:number] + words[number + 1 :]
    place = _first_block(word) or 0
    j, u = word[place], word[place + 1 :] + word[:place]
    yield (int(j),), (u, *others)
    for power, new in same_word_fusions(int(j), u):
        yield power, (*new, *others)
    for index, other in enumerate(others):
        rest = others[:index] + others[index + 1 :]
        for power, new in other_word_fusions(int(j), u, other):
            yield power, (*new, *rest)


def same_word_fusions(j: int, u: Cyclic) -> Iterator[tuple[Loops, tuple[Cyclic, ...]]]:
    """The blocks in the same word: tr(M^(j) U_1 M^(l) U_2)."""
    for place, block in enumerate(u):
        if isinstance(block, int):
            before, after = u[:place], u[place + 1 :]
            yield (), (before, (j + block, *after))
            yield (), ((j + block, *reversed(before), *after),)


def other_word_fusions(
    j: int, u: Cyclic, other: Cyclic
) -> Iterator[tuple[Loops, tuple[Cyclic, ...]]]:
    """The blocks of another word: tr(M^(j) U) tr(M^(l) V)."""
    for place, block in enumerate(other):
        if isinstance(block, int):
            v = other[place + 1 :] + other[:place]
            yield (), ((j + block, *reversed(u), *v),)
            yield (), ((j + block, *reversed(u), *reversed(v)),)


def _first_block(word: Cyclic) -> int | None:
    return next((place for place, x in enumerate(word) if isinstance(x, int)), None)


def _key(word: Cyclic) -> tuple[str, ...]:
    return tuple(map(str, word))


def _canonical(word: Cyclic) -> Cyclic:
    both = (word, word[::-1])
    return min((w[s:] + w[:s] for w in both for s in range(len(w))), key=_key, default=())


@lru_cache(maxsize=256)
def rows_added(powers: Loops) -> sympy.Expr:
    """E prod p_j over iid weights, summed over which power sums share the row of the first.

    Of the k rows the one that the first power sum takes is shared by some of the others, and the
    rest is left to k - 1 rows.
    """
    if not powers:
        return sympy.Integer(1)
    first, rest = powers[0], powers[1:]
    total = sympy.Integer(0)
    for size in range(len(rest) + 1):
        for chosen in combinations(range(len(rest)), size):
            shared = first + sum(rest[c] for c in chosen)
            left = tuple(x for c, x in enumerate(rest) if c not in chosen)
            total += weight_moment(shared) * rows_added(left).subs(WIDTH, WIDTH - 1)
    return sympy.expand(WIDTH * total)


# --- derivation --------------------------------------------------------------------------------


def _stein_residual() -> sympy.Expr:
    """d/dw (w^m density) is the density times m w^(m-1) - w^(m+1)/tau^2: its integral is 0."""
    w, m = sympy.symbols("w m", positive=True)
    density = sympy.exp(-(w**2) / (2 * SPREAD**2))
    boundary = sympy.diff(w**m * density, w)
    return sympy.simplify(boundary / density - m * w ** (m - 1) + w ** (m + 1) / SPREAD**2)


def _block_derivative_residual() -> sympy.Expr:
    """d(w_jb w_jg)/dw_ia for all patterns of equal indices: two values of each show them all."""
    w = [[sympy.Symbol(f"w_{i}{a}") for a in range(3)] for i in range(2)]
    return sympy.Add(
        *(
            sympy.Abs(
                sympy.diff(w[j][b] * w[j][g], w[i][a])
                - int(i == j) * (int(a == b) * w[j][g] + int(a == g) * w[j][b])
            )
            for i, j in product(range(2), repeat=2)
            for a, b, g in product(range(3), repeat=3)
        )
    )


@lru_cache(maxsize=1)
def _generic() -> tuple[sympy.Matrix, tuple[sympy.Symbol, ...], dict[str, sympy.Matrix]]:
    """Rows, weights and symmetric letters with symbols for entries, k = d = 2."""
    rows = sympy.Matrix(2, 2, sympy.symbols("w_0:4"))
    letters = {}
    for name in ("A", "B", "C"):
        x, y, z = sympy.symbols(f"{name}_0:3")
        letters[name] = sympy.Matrix([[x, y], [y, z]])
    return rows, sympy.symbols("c_0:2"), letters


def _matrix(word: Cyclic) -> sympy.Matrix:
    rows, weights, letters = _generic()
    found = sympy.eye(2)
    for x in word:
        block = isinstance(x, int) and rows.T * sympy.diag(*(c**x for c in weights)) * rows
        found = found * (block if block else letters[str(x)])
    return found


def _evaluated(power: Loops, words: tuple[Cyclic, ...]) -> sympy.Expr:
    _, weights, _ = _generic()
    sums = [sum(c**j for c in weights) for j in power]
    return sympy.Mul(*sums, *(_matrix(word).trace() for word in words))


def _by_parts(j: int, u: Cyclic, rest: tuple[Cyclic, ...]) -> sympy.Expr:
    """sum_ia c_i^j d/dw_ia [(U w_i)_a prod tr(rest)], in which no rule for fusion enters."""
    rows, weights, _ = _generic()
    image = _matrix(u) * rows.T  # column i is U w_i
    others = _evaluated((), rest)
    return sympy.Add(
        *(
            weights[i] ** j * sympy.diff(image[a, i] * others, rows[i, a])
            for i in range(2)
            for a in range(2)
        )
    )


def _same_word_residual() -> sympy.Expr:
    u: Cyclic = ("A", "B", 2, "C", "A")
    claimed = _evaluated((1,), (u,)) + sympy.Add(
        *(_evaluated(*fusion) for fusion in same_word_fusions(1, u))
    )
    return sympy.expand(_by_parts(1, u, ()) - claimed)


def _other_word_residual() -> sympy.Expr:
    u: Cyclic = ("A", "B")
    other: Cyclic = ("B", 1, "C", "A")
    claimed = _evaluated((2,), (u, other)) + sympy.Add(
        *(_evaluated(*fusion) for fusion in other_word_fusions(2, u, other))
    )
    return sympy.expand(_by_parts(2, u, (other,)) - claimed)


def _row_residual(most: int) -> sympy.Expr:
    """The set-partition rule satisfies P(k) = sum_S m_S P_rest(k - 1), P(0) = 0, for every k."""
    gaps = [_one_more_row(loops) for total in range(1, most + 1) for loops in _splits(total)]
    return sympy.Add(*(sympy.Abs(gap) for gap in gaps))


def _one_more_row(loops: Loops) -> sympy.Expr:
    def factor(chosen: Loops, width: Any) -> Any:
        return row_factor(chosen, width, weight_moment) if chosen else sympy.Integer(1)

    taken = factor(loops, WIDTH - 1)  # the last row is used by no loop
    for size in range(1, len(loops) + 1):
        for chosen in combinations(range(len(loops)), size):
            shared = weight_moment(sum(loops[c] for c in chosen))
            left = tuple(x for c, x in enumerate(loops) if c not in chosen)
            taken += shared * factor(left, WIDTH - 1)
    start = factor(loops, WIDTH).subs(WIDTH, 0)
    step = sympy.expand(sympy.expand_func(factor(loops, WIDTH) - taken))
    return step if step != 0 else sympy.expand(sympy.expand_func(start))


def _splits(total: int, most: int | None = None) -> Iterator[Loops]:
    """The partitions of an integer."""
    if total == 0:
        yield ()
    for first in range(min(total, most or total), 0, -1):
        for rest in _splits(total - first, first):
            yield (first, *rest)


def _chosen_row_residual(most: int) -> sympy.Expr:
    """Both ways to count rows agree: set partitions, and the row of the first loop."""
    gaps = (
        sympy.expand(sympy.expand_func(row_factor(loops, WIDTH, weight_moment)) - rows_added(loops))
        for total in range(1, most + 1)
        for loops in _splits(total)
    )
    return sympy.Add(*(sympy.Abs(gap) for gap in gaps))


STEPS = (
    Step(
        "Stein's lemma: the total derivative integrates to 0, so E w^(m+1) = tau^2 m E w^(m-1).",
        _stein_residual,
    ),
    Step(
        "d(w_jb w_jg)/dw_ia = delta_ij (delta_ab w_jg + delta_ag w_jb), whichever indices agree: "
        "a derivative of c_j^l w_j w_j^T fuses it with row i, at any width and dimension.",
        _block_derivative_residual,
    ),
    Step(
        "The partner gives p_j tr(U), a block of the same word its two fusions (all entries are "
        "symbols; the product rule adds up the blocks).",
        _same_word_residual,
    ),
    Step("A block of another trace gives its two fusions.", _other_word_residual),
    Step(
        "Rows: sum over set partitions of the loops with falling factorials, by induction on the "
        "width (one more row is taken by any subset of the loops).",
        partial(_row_residual, 5),
    ),
    Step("The row of the first loop counts the same.", partial(_chosen_row_residual, 5)),
)
CITES = ("Fubini: rows and weights are independent", "product rule")


def derive_expectation(words: Sequence[Sequence[str]], claimed: sympy.Expr) -> Derivation:
    """Derive E prod tr(word) by integration by parts, and compare.

    Args:
        words: The words.
        claimed: The formula to compare with, in the symbols of `wick`.

    Source: this project.
    """

    def residual() -> sympy.Expr:
        return sympy.expand(claimed - loop_equation_expectation(*words))

    last = Step("Blocks integrated one by one: this is the claimed polynomial.", residual)
    name = " ".join(f"tr({''.join(word)})" for word in words)
    return Derivation(f"E {name}, exact at every width and dimension.", (*STEPS, last), CITES)
