"""What simulated legs need: tests of a mean with both error rates stated.

A simulated leg is told the probability `alpha` with which it may fail although the claim is true,
and must say which discrepancy it would have found with probability 1 - `beta`. A leg that makes
m comparisons gives each of them alpha / m.

For a number of samples that is fixed beforehand: `compare_samples`, or `compare_mean` where only
the summary is at hand. For looking again and again while samples come in: `EProcess`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtri, stdtrit

from .claim import Evidence


@dataclass(frozen=True)
class MeanComparison:
    """A measured mean beside a claimed value.

    Attributes:
        holds: |z| is within the threshold.
        mean: The measured mean.
        value: The claimed value.
        z: (mean - value) / standard error.
        threshold: Critical |z|: Student's, because the standard error is estimated, too.
        samples: Number of independent samples.
        alpha: Probability of |z| > threshold if the claim is true.
        beta: Probability of missing a discrepancy as large as `smallest_discrepancy`.
        smallest_discrepancy: What would have been found with probability 1 - beta.
    """

    holds: bool
    mean: float
    value: float
    z: float
    threshold: float
    samples: int
    alpha: float
    beta: float
    smallest_discrepancy: float

    def evidence(self, point: str = "") -> Evidence:
        """The comparison as a leg's evidence, at a point described in words."""
        figures: dict[str, int | float | str] = {
            "z": self.z,
            "threshold": self.threshold,
            "samples": self.samples,
            "alpha": self.alpha,
            "beta": self.beta,
            "smallest_discrepancy": self.smallest_discrepancy,
        }
        detail = (
            f"{point + ': ' if point else ''}measured {self.mean:.12g}, claimed {self.value:.12g}, "
            f"z = {self.z:.3g} beyond {self.threshold:.3g}"
        )
        return Evidence(self.holds, figures, "" if self.holds else detail)


def z_threshold(alpha: float) -> float:
    """The two-sided Gaussian critical value: P(|Z| > z) = alpha.

    >>> round(z_threshold(1e-6), 2)
    4.89
    """
    _check_probability("alpha", alpha)
    return -float(ndtri(alpha / 2))


def student_threshold(alpha: float, samples: int) -> float:
    """The two-sided critical value of a mean over its *estimated* standard error.

    With ten samples and alpha = 1e-6 it is 11.6 where the Gaussian's is 4.9.
    """
    _check_probability("alpha", alpha)
    if samples < 2:
        raise ValueError(f"samples is {samples}; a standard error needs at least 2")
    return -float(stdtrit(samples - 1, alpha / 2))


def required_samples(discrepancy: float, variance: float, alpha: float, beta: float) -> int:
    """Samples with which a discrepancy is found with probability 1 - beta.

    n = variance ((z_{alpha/2} + z_beta) / discrepancy)^2, for n so large that the estimated
    variance is as good as the true one.

    >>> required_samples(0.1, 1.0, alpha=0.05, beta=0.2)
    785
    """
    _check_positive("discrepancy", discrepancy)
    _check_positive("variance", variance)
    _check_probability("beta", beta)
    reach = z_threshold(alpha) - float(ndtri(beta))
    return max(2, math.ceil(variance * (reach / discrepancy) ** 2))


def smallest_discrepancy(standard_error: float, samples: int, alpha: float, beta: float) -> float:
    """The discrepancy that a comparison of means finds with probability 1 - beta."""
    _check_positive("standard_error", standard_error)
    _check_probability("beta", beta)
    return standard_error * (student_threshold(alpha, samples) - float(ndtri(beta)))


def compare_mean(
    estimate_mean: float,
    standard_error: float,
    samples: int,
    value: float,
    alpha: float,
    beta: float,
) -> MeanComparison:
    """Compare a measured mean with a claimed value, the number of samples fixed beforehand.

    It sees the summary only and must trust that the statistic is bounded or light-tailed: the mean
    of z^10 for Gaussian z fails this test 8 % of the time at a nominal 1e-7. Where the samples are
    at hand, `compare_samples` refuses such misuse.

    Raises:
        ValueError: A number is not finite, the standard error is 0 (a statistic without spread
            is compared by its digits), fewer than 2 samples, alpha or beta outside (0, 1).
    """
    for name, number in (("estimate_mean", estimate_mean), ("value", value)):
        if not math.isfinite(number):
            raise ValueError(f"{name} is {number}; a finite number is allowed")
    least = smallest_discrepancy(standard_error, samples, alpha, beta)
    threshold = student_threshold(alpha, samples)
    z = (float(estimate_mean) - float(value)) / float(standard_error)
    return MeanComparison(
        bool(abs(z) <= threshold),
        float(estimate_mean),
        float(value),
        z,
        threshold,
        int(samples),
        alpha,
        beta,
        least,
    )


def compare_samples(samples: ArrayLike, value: float, alpha: float, beta: float) -> MeanComparison:
    """Compare the mean of independent samples with a claimed value, unless tails forbid it.

    Raises:
        ValueError: As `compare_mean`, or the samples are too heavy-tailed for this alpha.
    """
    x = _sample_vector(samples)
    error = float(x.std(ddof=1)) / math.sqrt(x.size)
    if error > 0:
        refuse_heavy_tails(x, alpha)
    return compare_mean(float(x.mean()), error, x.size, value, alpha, beta)


def refuse_heavy_tails(samples: ArrayLike, alpha: float) -> None:
    """Refuse samples whose mean is not Gaussian as far out as the critical value for alpha.

    Cramér's expansion: at z standard errors the tail of the mean is that of a Gaussian times
    exp(skewness z^3 / (6 sqrt n) + excess kurtosis z^4 / (24 n) + ...). Both exponents, with the
    sample's own moments, must be at most 1/2. It is a screen, no proof: a tail of which the
    samples show nothing goes unseen, so a statistic should be bounded by construction.

    Raises:
        ValueError: An exponent is larger; bound the statistic, use quadrature or more samples.
    """
    x = _sample_vector(samples)
    z = z_threshold(alpha)
    standard = (x - x.mean()) / x.std()
    skewness = float(np.mean(standard**3)) * z**3 / (6 * math.sqrt(x.size))
    kurtosis = (float(np.mean(standard**4)) - 3) * z**4 / (24 * x.size)
    if max(abs(skewness), abs(kurtosis)) > 0.5:
        raise ValueError(
            f"the mean of these {x.size} samples is not Gaussian out to z = {z:.2f}: correction "
            f"exponents {skewness:.2g} (skewness), {kurtosis:.2g} (kurtosis), at most 0.5 is "
            "allowed; bound the statistic, use quadrature, or draw more samples"
        )


STAKES = 2.0 ** -np.arange(1, 17)
"""Fractions of the largest safe stake that the betting strategies use, on either side. The small
ones find small discrepancies in many samples, the large ones large discrepancies in few."""


@dataclass(frozen=True)
class EProcess:
    """A bet against a claimed mean of bounded independent variables: look whenever you like.

    Every strategy starts with capital 1 and multiplies it by 1 + stake (x - value) per sample. If
    the claimed mean is true, the average capital E is a nonnegative martingale, so that by Ville's
    inequality P(E >= 1/alpha at any time whatsoever) <= alpha. No Gaussian limit is involved.

    Attributes:
        value: The claimed mean.
        low: Lower bound of the variables.
        high: Upper bound of the variables.
        log_capital: Logarithm of each strategy's capital, shape (2 len(STAKES),).
        log_best: The largest log E that was reached.
        samples: Number of samples seen.
    """

    value: float
    low: float
    high: float
    log_capital: NDArray[np.float64]
    log_best: float = 0.0
    samples: int = 0

    @classmethod
    def start(cls, value: float, low: float, high: float) -> EProcess:
        """Begin to bet against E x = value for variables in [low, high].

        Raises:
            ValueError: Unless low < value < high, all finite.
        """
        if not (math.isfinite(low) and math.isfinite(high) and low < value < high):
            raise ValueError(f"value is {value}; a mean strictly inside [{low}, {high}] is allowed")
        return cls(float(value), float(low), float(high), np.zeros(2 * len(STAKES)))

    @property
    def stakes(self) -> NDArray[np.float64]:
        """Stakes with which no capital can fall below half of itself in one step."""
        up = STAKES / (self.value - self.low)
        down = STAKES / (self.high - self.value)
        return np.concatenate([up, -down])

    def observe(self, samples: ArrayLike) -> EProcess:
        """The process after more samples, in order.

        Raises:
            ValueError: A sample is not finite or lies outside [low, high].
        """
        x = _vector(samples)
        if x.size and not (self.low <= x.min() and x.max() <= self.high):
            outside = x[(x < self.low) | (x > self.high)][0]
            raise ValueError(f"a sample is {outside}; [{self.low}, {self.high}] is allowed")
        steps = np.log1p(np.outer(x - self.value, self.stakes))
        path = self.log_capital + np.cumsum(steps, axis=0)
        if not x.size:
            return self
        logs = logsumexp(path, axis=1) - math.log(len(self.stakes))
        best = max(self.log_best, float(logs.max()))
        return replace(
            self, log_capital=path[-1], log_best=best, samples=self.samples + int(x.size)
        )

    @property
    def e_value(self) -> float:
        """Average capital of the strategies now; infinite beyond the range of a float."""
        log = float(logsumexp(self.log_capital)) - math.log(len(self.log_capital))
        return math.exp(log) if log < 700 else math.inf

    def rejects(self, alpha: float) -> bool:
        """Whether E ever reached 1/alpha."""
        _check_probability("alpha", alpha)
        return bool(self.log_best >= -math.log(alpha))

    def evidence(self, alpha: float, point: str = "") -> Evidence:
        """The process so far as a leg's evidence, at a point described in words."""
        best = math.exp(min(self.log_best, 700))
        rejected = self.rejects(alpha)
        detail = (
            f"{point + ': ' if point else ''}claimed mean {self.value:.12g}, e-value {best:.3g} "
            f"reached 1/alpha = {1 / alpha:.3g} within {self.samples} samples"
        )
        figures: dict[str, int | float | str] = {
            "e_value": best,
            "samples": self.samples,
            "alpha": alpha,
        }
        return Evidence(not rejected, figures, detail if rejected else "")


def sequential_discrepancy(
    standard_deviation: float, samples: int, alpha: float, beta: float
) -> float:
    """The discrepancy that an `EProcess` finds within so many samples, up to a beta of missing it.

    With stake s the log-capital grows by at least s D - s^2 (sd^2 + D^2) per sample (log(1 + y) >=
    y - y^2 for y >= -1/2). The best stake D / (2 sd^2) wins n D^2 / (4 sd^2), which must pay for
    1/alpha, for the number of strategies and for the grid's missing the best stake by at most
    sqrt(2) (a factor 8/9 of the growth); the fluctuation adds z_beta standard errors. It holds for
    discrepancies that are small against the standard deviation.
    """
    _check_positive("standard_deviation", standard_deviation)
    _check_probability("alpha", alpha)
    _check_probability("beta", beta)
    price = math.log(2 * len(STAKES) / alpha)
    wins = 2 * math.sqrt(9 / 8 * price / samples)
    return standard_deviation * (wins - float(ndtri(beta)) / math.sqrt(samples))


def _vector(samples: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim > 1:
        raise ValueError(f"samples has the shape {x.shape}; a vector is allowed")
    x = x.reshape(-1)
    if not np.isfinite(x).all():
        raise ValueError(f"samples contains {x[~np.isfinite(x)][0]}; finite numbers are allowed")
    return x


def _sample_vector(samples: ArrayLike) -> NDArray[np.float64]:
    x = _vector(samples)
    if x.size < 2:
        raise ValueError(f"samples has {x.size} entries; at least 2 are needed")
    return x


def _check_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; a probability strictly between 0 and 1 is allowed")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; a finite positive number is allowed")
