"""The Monte Carlo engine: merged moments, seeds, processes, refusals."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from numerics.monte_carlo import Estimate, Moments, collect, estimate, generator


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    return 0.1 + rng.standard_normal(count)


def wrong_shape(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.random((count, 2))


def not_finite(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.full(count, math.nan)


_samples = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e3, 1e3))


@given(_samples, _samples)
def test_merged_moments_are_those_of_all_samples(a, b):
    merged, pooled = Moments.of(a).merge(Moments.of(b)), Moments.of(np.concatenate([a, b]))
    assert merged.count == pooled.count
    assert merged.mean == pytest.approx(pooled.mean, rel=1e-12, abs=1e-10)
    assert merged.deviations == pytest.approx(pooled.deviations, rel=1e-12, abs=1e-8)


def test_deviations_survive_a_large_mean():
    # The textbook Σx² - n mean² has no digit left here.
    values = 1e9 + np.tile([-1.0, 1.0], 50)
    merged = Moments.of(values[:30]).merge(Moments.of(values[30:]))
    assert merged.deviations == pytest.approx(100.0, rel=1e-9)


def test_estimate_is_the_textbook_mean_and_error_of_the_collected_samples():
    result = estimate(normal, 1000, 5, block=64)
    values = collect(normal, 1000, 5, block=64)
    assert result.samples == len(values) == 1000
    assert result.mean == pytest.approx(values.mean(), rel=1e-13)
    assert result.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(1000), rel=1e-13)


def test_estimate_finds_the_mean_and_would_find_another():
    result = estimate(normal, 40_000, 1)
    assert abs(result.z(0.1)) < 5
    assert abs(result.z(0.15)) > 5
    assert result.standard_error == pytest.approx(1 / 200, rel=0.03)


def test_blocks_are_independent():
    # Copies of one block's stream would show as equal means.
    values = collect(normal, 512, 3, block=256).reshape(2, 256)
    assert abs(np.corrcoef(values)[0, 1]) < 0.3
    assert values[0, 0] != values[1, 0]


def test_same_seed_same_bytes_whatever_the_number_of_processes():
    one, two = (estimate(normal, 500, 7, block=50, n_jobs=jobs) for jobs in (1, 2))
    assert pickle.dumps(one) == pickle.dumps(two)
    assert collect(normal, 500, 7, block=50, n_jobs=2).tobytes() == (
        collect(normal, 500, np.random.default_rng(7), block=50).tobytes()
    )
    assert estimate(normal, 500, 8, block=50) != one


def test_a_generator_gives_fresh_samples_at_every_call():
    rng = np.random.default_rng(0)
    assert estimate(normal, 100, rng) != estimate(normal, 100, rng)


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the legacy state is what is checked
    estimate(normal, 100, 0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 - as above


def test_z():
    assert Estimate(2.0, 0.5, 10).z(1.0) == 2.0
    assert Estimate(2.0, 0.5, 10).z(3.0) == -2.0
    assert Estimate(2.0, 0.0, 10).z(2.0) == 0.0
    assert Estimate(2.0, 0.0, 10).z(1.0) == math.inf
    assert Estimate(2.0, 0.0, 10).z(3.0) == -math.inf


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((normal, 1, 0), ValueError, r"samples = 1 .*>= 2"),
        ((normal, 2.0, 0), TypeError, r"samples = 2\.0"),
        ((normal, 10, -1), ValueError, r"rng = -1"),
        ((normal, 10, "seed"), TypeError, r"rng = 'seed'"),
        ((wrong_shape, 10, 0), ValueError, r"shape \(10, 2\), must be \(10,\)"),
        ((not_finite, 10, 0), ValueError, "NaN or infinite"),
    ],
)
def test_bad_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        estimate(*arguments)


def test_bad_blocks_are_refused():
    with pytest.raises(ValueError, match="block = 0"):
        estimate(normal, 10, 0, block=0)


def test_generators_are_passed_through():
    rng = np.random.default_rng(0)
    assert generator(rng) is rng
