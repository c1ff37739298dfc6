"""The figures of the convolution slice: what their data must show, at small sizes."""

from functools import partial

import numpy as np
import pytest

from figures.convolution.edges import filters
from figures.convolution.layers import correlations
from figures.convolution.rounds import local_signal

SMALL = {
    "correlations": partial(correlations, seeds=(0, 1), relu_seeds=(0,)),
    "filters": partial(filters, train=600),
    "local_signal": partial(local_signal, star_seeds=(0,), digit_seeds=(0, 1), counts=(1, 2)),
}


@pytest.fixture(scope="module")
def plots():
    return {name: make() for name, make in SMALL.items()}


@pytest.mark.parametrize("name", SMALL)
def test_names_and_drawing(plots, name):
    assert plots[name].name == f"convolution.{name}"
    figure = plots[name].draw()
    assert figure.get_size_inches()[0] == 5.5
    assert all(axes.get_xlabel() and axes.get_title(loc="left") for axes in figure.axes)
    figure.draw_without_rendering()


def test_each_seed_is_shown_and_rises_above_the_threshold(plots):
    data = plots["correlations"].data
    networks = {name.removesuffix(", after") for name in data if name.endswith(", after")}
    assert networks == {
        "tanh, power 1: seed 0",
        "tanh, power 1: seed 1",
        "tanh, power 0.5: seed 0",
        "tanh, power 0.5: seed 1",
        "relu, power 1: seed 0",
    }
    for name in networks:
        before, after = data[f"{name}, before"], data[f"{name}, after"]
        np.testing.assert_array_equal(after.x, [1, 2, 3])
        assert np.all(after.y > before.y)
        assert after.y.min() > data["threshold"].y[0] == 0.7
    for seed in (0, 1):
        assert data[f"tanh: accuracy, seed {seed}"].y[0] > 0.9
        whole, root = (data[f"tanh, power {p}: seed {seed}, after"].y for p in ("1", "0.5"))
        assert np.all(root > whole)


def test_with_relu_the_first_layer_is_above_the_threshold_without_training(plots):
    data = plots["correlations"].data
    assert data["relu, power 1: seed 0, before"].y[0] > 0.7


def test_leading_patches_are_common_to_both_matrices_and_detect_edges(plots):
    data = plots["filters"].data
    for name in ("filter covariance", "patch-AGOP"):
        patches = np.stack([data[f"{name}: {i}"].y for i in range(4)])
        np.testing.assert_allclose(patches @ patches.T, np.eye(4), atol=1e-5)
        spectrum = data[f"{name}: spectrum"].y
        assert np.all(np.diff(spectrum) <= 0)
        assert spectrum.sum() == pytest.approx(1)
    assert data["cosines"].y[:2].min() > 0.9
    assert data["mean share"].y[:2].max() < 0.05
    agop = data["patch-AGOP: 0"].y.reshape(5, 5)
    halves = agop[:2].sum() * agop[3:].sum(), agop[:, :2].sum() * agop[:, 3:].sum()
    assert min(halves) < 0


def test_the_filtered_digit_is_an_inner_product_at_every_pixel(plots):
    data = plots["filters"].data
    digit = np.pad(data["digit"].y.reshape(8, 8), 2)
    patch = data["patch-AGOP: 2"].y.reshape(5, 5)
    expected = [[(digit[r : r + 5, c : c + 5] * patch).sum() for c in range(8)] for r in range(8)]
    np.testing.assert_allclose(data["filtered: 2"].y.reshape(8, 8), expected, atol=1e-5)


@pytest.mark.parametrize(("task", "gain"), [("star", 0.05), ("digits", 0.05)])
def test_the_first_round_sees_what_the_fixed_kernel_misses(plots, task, gain):
    data = plots["local_signal"].data
    curves = [series for name, series in data.items() if name.startswith(f"{task}: seed ")]
    for curve in curves:
        np.testing.assert_array_equal(curve.x, np.arange(len(curve.x)))
        assert curve.y[1] > curve.y[0] + gain
    mean = np.mean([curve.y for curve in curves], axis=0)
    np.testing.assert_allclose(data[f"{task}: mean"].y, mean)
    np.testing.assert_array_equal(data[f"{task}: fixed kernel"].y, np.full(len(mean), mean[0]))


def test_the_chosen_round_is_one_of_those_shown(plots):
    data = plots["local_signal"].data
    chosen = [name for name in data if "chosen" in name]
    assert len(chosen) == 3
    for name in chosen:
        curve, point = data[name.replace("chosen, ", "")], data[name]
        assert curve.at(point.x) == point.y


def test_the_digits_patch_is_an_edge_and_the_stars_is_none(plots):
    data = plots["local_signal"].data
    digits, star = data["digits: patch"].y, data["star: patch"].y.reshape(3, -1)
    assert digits.sum() ** 2 / 25 < 0.2
    assert np.linalg.norm(star[:2]) > 0.9
    assert np.all(star[0] > 0)
