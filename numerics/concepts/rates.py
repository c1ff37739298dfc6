"""Shares of a batch, with exact binomial intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaincinv

from ..validation import integer, positive


@dataclass(frozen=True)
class Rate:
    """A share with Clopper and Pearson's interval.

    Attributes:
        hits: How many have the property.
        total: Of how many.
        low: Lower end of the interval.
        high: Upper end; the true share is outside with a probability of at most 1 − confidence.
        confidence: Of the interval.
    """

    hits: int
    total: int
    low: float
    high: float
    confidence: float

    @classmethod
    def of(cls, hits: int, total: int, confidence: float = 0.95) -> Rate:
        """The rate of hits out of total.

        Raises:
            TypeError: If a count is not an integer, or the confidence not a number.
            ValueError: If total is 0, hits are more than that, or confidence is not in (0, 1).

        >>> rate = Rate.of(8, 10)
        >>> rate.share, round(rate.low, 4), round(rate.high, 4)
        (0.8, 0.4439, 0.9748)
        """
        n, k = integer("total", total, 1), integer("hits", hits, 0)
        if k > n:
            raise ValueError(f"hits = {hits} must be at most total = {total}")
        if positive("confidence", confidence) >= 1:
            raise ValueError(f"confidence = {confidence!r} must be in (0, 1)")
        tail = (1 - confidence) / 2
        low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
        return cls(k, n, low, high, float(confidence))

    @property
    def share(self) -> float:
        """Hits over total."""
        return self.hits / self.total

    @property
    def error(self) -> float:
        """Standard error of the share as if it were (hits + 1)/(total + 2), so never zero."""
        p = (self.hits + 1) / (self.total + 2)
        return math.sqrt(p * (1 - p) / self.total)
