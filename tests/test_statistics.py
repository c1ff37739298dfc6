"""The statistics of simulated legs: stated error rates are kept, misuse is refused."""

import math

import numpy as np
import pytest

from proofs_check.statistics import (
    EProcess,
    compare_mean,
    compare_samples,
    refuse_heavy_tails,
    required_samples,
    sequential_discrepancy,
    smallest_discrepancy,
    student_threshold,
    z_threshold,
)


def test_thresholds_have_the_textbook_values():
    assert z_threshold(0.05) == pytest.approx(1.959963984540054, rel=1e-12)
    assert student_threshold(0.05, 10) == pytest.approx(2.262157162798205, rel=1e-12)  # t_9
    assert student_threshold(1e-6, 10) > 2 * z_threshold(1e-6)


def test_required_samples_and_smallest_discrepancy_are_inverse():
    n = required_samples(0.01, 4.0, alpha=1e-6, beta=0.01)
    least = smallest_discrepancy(2.0 / math.sqrt(n), n, alpha=1e-6, beta=0.01)
    assert least == pytest.approx(0.01, rel=1e-4)


def test_the_stated_discrepancy_is_found_with_the_stated_probability():
    rng, n, repeats, beta = np.random.default_rng(1), 400, 1000, 0.1
    least = smallest_discrepancy(1 / math.sqrt(n), n, alpha=1e-3, beta=beta)
    x = rng.standard_normal((repeats, n)) + least
    missed = sum(compare_samples(row, 0.0, 1e-3, beta).holds for row in x)
    assert abs(missed / repeats - beta) < 4 * math.sqrt(beta * (1 - beta) / repeats)


def test_false_alarms_occur_as_often_as_stated_even_with_few_samples():
    rng, repeats, alpha = np.random.default_rng(2), 10_000, 0.01
    x = rng.standard_normal((repeats, 5))
    means, errors = x.mean(axis=1), x.std(axis=1, ddof=1) / math.sqrt(5)
    verdicts = [
        compare_mean(m, e, 5, 0.0, alpha, 0.1).holds for m, e in zip(means, errors, strict=True)
    ]
    alarms = repeats - sum(verdicts)
    assert abs(alarms / repeats - alpha) < 4 * math.sqrt(alpha / repeats)
    gaussian = np.mean(np.abs(means / errors) > z_threshold(alpha))
    assert gaussian > 4 * alpha  # what the Gaussian critical value would have done


def test_a_comparison_reports_what_a_reader_needs():
    evidence = compare_mean(1.1, 0.01, 10_000, 1.0, 1e-6, 0.01).evidence("c = 2")
    assert evidence.holds is False
    assert evidence.figures["z"] == pytest.approx(10.0)
    assert {"threshold", "samples", "alpha", "beta", "smallest_discrepancy"} <= set(
        evidence.figures
    )
    assert "c = 2: measured 1.1, claimed 1, z = 10" in evidence.detail
    assert compare_mean(1.001, 0.01, 10_000, 1.0, 1e-6, 0.01).evidence().detail == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan, 0.1, 10, 1.0, 0.1, 0.1), "estimate_mean is nan"),
        ((1.0, 0.1, 10, math.inf, 0.1, 0.1), "value is inf"),
        ((1.0, 0.0, 10, 1.0, 0.1, 0.1), "standard_error is 0.0"),
        ((1.0, math.nan, 10, 1.0, 0.1, 0.1), "standard_error is nan"),
        ((1.0, 0.1, 1, 1.0, 0.1, 0.1), "samples is 1"),
        ((1.0, 0.1, 10, 1.0, 0.0, 0.1), "alpha is 0.0"),
        ((1.0, 0.1, 10, 1.0, 0.1, 1.5), "beta is 1.5"),
    ],
)
def test_comparing_nonsense_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare_mean(*arguments)


def test_light_tails_are_not_refused():
    rng = np.random.default_rng(3)
    for x in (rng.random(2000), rng.standard_normal(20_000), rng.choice([-1.0, 1.0], 1000)):
        refuse_heavy_tails(x, 1e-7)
        assert compare_samples(x, float(np.round(x.mean(), 1)), 1e-7, 0.01).samples == x.size


def test_skewed_samples_are_refused_until_there_are_enough():
    rng = np.random.default_rng(4)
    with pytest.raises(ValueError, match="bound the statistic, use quadrature"):
        refuse_heavy_tails(rng.standard_exponential(1000), 1e-7)
    refuse_heavy_tails(rng.standard_exponential(100_000), 1e-7)


def test_a_bet_multiplies_capital_as_defined():
    process = EProcess.start(0.5, 0.0, 1.0).observe([1.0, 0.0, 0.75])
    x = np.array([0.5, -0.5, 0.25])
    direct = np.prod(1 + np.outer(process.stakes, x), axis=1)
    np.testing.assert_allclose(np.exp(process.log_capital), direct, rtol=1e-12)
    assert process.e_value == pytest.approx(direct.mean(), rel=1e-12)
    assert process.samples == 3


def test_the_capital_is_a_fair_bet_whatever_the_distribution():
    # The expectation over a two-point law with mean 0.3 is exactly 1 after one and two samples.
    total = 0.0
    for first, p in ((0.0, 0.7), (1.0, 0.3)):
        for second, q in ((0.0, 0.7), (1.0, 0.3)):
            total += p * q * EProcess.start(0.3, 0.0, 1.0).observe([first, second]).e_value
    assert total == pytest.approx(1.0, rel=1e-12)


def test_batches_do_not_matter():
    x = np.random.default_rng(5).random(300)
    whole = EProcess.start(0.4, 0.0, 1.0).observe(x)
    parts = EProcess.start(0.4, 0.0, 1.0).observe(x[:120]).observe([]).observe(x[120:])
    np.testing.assert_allclose(parts.log_capital, whole.log_capital, rtol=1e-10)
    assert parts.log_best == pytest.approx(whole.log_best, rel=1e-12)
    assert parts.samples == whole.samples == 300


def test_no_bet_loses_more_than_half_in_one_step():
    process = EProcess.start(0.2, 0.0, 1.0)
    for worst in (0.0, 1.0):
        losses = np.exp(process.observe([worst]).log_capital)
        assert losses.min() == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.1, 0.9])
def test_a_bet_finds_discrepancies_of_either_sign(value):
    x = np.random.default_rng(9).random(200)
    assert EProcess.start(value, 0.0, 1.0).observe(x).rejects(1e-6)


def test_a_bet_rejects_exactly_at_one_over_alpha():
    process = EProcess.start(0.5, 0.0, 1.0).observe(np.ones(10))
    assert process.e_value == pytest.approx(math.exp(process.log_best))
    assert process.rejects(1.01 / process.e_value)
    assert not process.rejects(0.99 / process.e_value)


def test_the_best_moment_counts_and_not_the_last():
    process = EProcess.start(0.5, 0.0, 1.0).observe(np.ones(60))
    later = process.observe(np.zeros(60))
    assert process.rejects(1e-6)
    assert later.e_value < 1e6
    assert later.rejects(1e-6)


def test_a_bet_finds_the_discrepancy_that_it_promises_to_find():
    rng, n, alpha, beta = np.random.default_rng(6), 4000, 1e-6, 0.1
    least = sequential_discrepancy(math.sqrt(1 / 12), n, alpha, beta)
    found = sum(
        EProcess.start(0.5 - least, 0.0, 1.0).observe(rng.random(n)).rejects(alpha)
        for _ in range(100)
    )
    assert found >= 90
    assert least < 1.8 * smallest_discrepancy(math.sqrt(1 / 12 / n), n, alpha, beta)


def test_evidence_of_a_bet():
    held = EProcess.start(0.5, 0.0, 1.0).observe([0.4, 0.6]).evidence(1e-6)
    assert held.holds is True
    assert held.figures["samples"] == 2
    refuted = EProcess.start(0.5, 0.0, 1.0).observe(np.ones(60)).evidence(1e-6, "n = 4")
    assert refuted.holds is False
    assert refuted.detail.startswith("n = 4: claimed mean 0.5, e-value ")


@pytest.mark.parametrize("value", [0.0, 1.0, 2.0, math.nan])
def test_a_bet_against_the_impossible_is_refused(value):
    with pytest.raises(ValueError, match=r"strictly inside \[0.0, 1.0\]"):
        EProcess.start(value, 0.0, 1.0)


@pytest.mark.parametrize("sample", [1.5, -0.1, math.nan, math.inf])
def test_a_sample_that_breaks_the_bound_is_refused(sample):
    with pytest.raises(ValueError, match=r"sample"):
        EProcess.start(0.5, 0.0, 1.0).observe([0.5, sample])


def test_shapes_are_refused_by_name():
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        compare_samples(np.ones((2, 2)), 1.0, 0.1, 0.1)
    with pytest.raises(ValueError, match="at least 2"):
        compare_samples([1.0], 1.0, 0.1, 0.1)
