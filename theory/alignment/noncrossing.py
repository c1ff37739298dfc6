r"""Non-crossing partitions and their Kreweras complements.

A partition of the m points 0, …, m − 1 on a circle is non-crossing if no two of its blocks hold
points a < b < c < d with a, c in the one and b, d in the other. The Kreweras complement of π is the
coarsest partition of the m gaps between successive points whose blocks cross no block of π; it has
m + 1 − |π| blocks. In traces of words in a Gaussian matrix the blocks of π are the free sums over
samples and those of the complement the free sums over coordinates.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from itertools import combinations

from ..validation import integer

Block = tuple[int, ...]
Partition = tuple[Block, ...]
"""Blocks with ascending points, in the order of their first points."""

LARGEST = 14
"""There are 2674440 non-crossing partitions of 14 points."""


def catalan(points: int) -> int:
    """Return the number of non-crossing partitions, binom(2m, m)/(m + 1).

    >>> [catalan(m) for m in range(1, 8)]
    [1, 2, 5, 14, 42, 132, 429]
    """
    m = integer("points", points, 0)
    return math.comb(2 * m, m) // (m + 1)


def narayana(points: int, blocks: int) -> int:
    """Return the number of non-crossing partitions with so many blocks.

    >>> [narayana(4, b) for b in range(1, 5)]
    [1, 6, 6, 1]
    """
    m, b = integer("points", points, 1), integer("blocks", blocks, 1)
    return math.comb(m, b) * math.comb(m, b - 1) // m


def noncrossing_partitions(points: int) -> tuple[Partition, ...]:
    """Return all non-crossing partitions of so many points on a circle.

    Args:
        points: m, from 1 to 14.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is out of range.

    >>> noncrossing_partitions(2)
    (((0,), (1,)), ((0, 1),))
    """
    return _noncrossing(_size(points))


def set_partitions(points: int) -> Iterator[Partition]:
    """Yield all partitions of so many points, crossing or not.

    Raises:
        TypeError: If ``points`` is not an integer.
        ValueError: If it is not from 1 to 14.
    """
    m = _size(points)
    return (tuple(tuple(block) for block in blocks) for blocks in _grown(m))


def is_noncrossing(partition: Partition) -> bool:
    """Whether no two blocks cross.

    >>> is_noncrossing(((0, 2), (1, 3))), is_noncrossing(((0, 3), (1, 2)))
    (False, True)
    """
    return not any(_cross(first, second) for first, second in combinations(partition, 2))


def kreweras(partition: Partition) -> Partition:
    """Return the Kreweras complement; gap j lies between the points j and j + 1.

    From gap j one walks along the circle to the next point and jumps to the last point of its
    block, counted backwards, that is, to its predecessor: the cycles of that walk are the blocks.

    >>> kreweras(((0, 2), (1,), (3,)))
    ((0, 1), (2, 3))
    """
    m = sum(map(len, partition))
    before = {point: block[i - 1] for block in partition for i, point in enumerate(block)}
    return cycles({gap: before[(gap + 1) % m] for gap in range(m)})


def cycles(permutation: dict[int, int]) -> Partition:
    """Return the cycles of a permutation as a partition: the points of each in ascending order."""
    left, found = set(permutation), []
    for start in sorted(permutation):
        orbit = []
        while start in left:
            left.remove(start)
            orbit.append(start)
            start = permutation[start]
        if orbit:
            found.append(tuple(sorted(orbit)))
    return tuple(found)


def _size(points: int) -> int:
    if (m := integer("points", points, 1)) > LARGEST:
        raise ValueError(f"points = {points!r} must be at most {LARGEST}")
    return m


def _cross(first: Block, second: Block) -> bool:
    """Whether, in circular order, the blocks alternate at least twice."""
    owners = [label for _, label in sorted([(p, 0) for p in first] + [(p, 1) for p in second])]
    return sum(a != b for a, b in zip(owners, owners[1:] + owners[:1], strict=True)) > 2


@functools.cache
def _noncrossing(m: int) -> tuple[Partition, ...]:
    """Choose the block of the first point; each gap that it leaves is partitioned on its own."""
    found: list[Partition] = []
    for size in range(m):
        for rest in combinations(range(1, m), size):
            found.extend(_with_gaps((0, *rest), m))
    return tuple(found)


def _with_gaps(block: Block, m: int) -> Iterator[Partition]:
    parts: list[Partition] = [(block,)]
    for start, end in zip(block, (*block[1:], m), strict=True):
        if gap := end - start - 1:
            inner = [_shift(p, start + 1) for p in _noncrossing(gap)]
            parts = [part + extra for part in parts for extra in inner]
    yield from (tuple(sorted(part)) for part in parts)


def _shift(partition: Partition, by: int) -> Partition:
    return tuple(tuple(point + by for point in block) for block in partition)


def _grown(m: int) -> Iterator[list[list[int]]]:
    """Add the last point to each block of a smaller partition in turn, or on its own."""
    if m == 0:
        yield []
        return
    for blocks in _grown(m - 1):
        for i in range(len(blocks)):
            yield [*blocks[:i], [*blocks[i], m - 1], *blocks[i + 1 :]]
        yield [*blocks, [m - 1]]
