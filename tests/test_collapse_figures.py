"""The figures of the collapse slice: what their data must show, at small sizes."""

from functools import partial

import numpy as np
import pytest

from figures.collapse.gram_matrices import gram
from figures.collapse.layers import depth
from figures.collapse.linearised import rate
from figures.collapse.singular import training

SMALL = {
    "gram": partial(gram, (1, 3, 8), per_class=8, width=64),
    "depth": partial(depth, 10, per_class=8, width=64, seeds=2),
    "rate": partial(rate, 16, per_class=6, classes=3, seeds=2),
    "training": partial(training, 25, per_class=15, width=48, seeds=2),
}


@pytest.fixture(scope="module")
def plots():
    return {name: make() for name, make in SMALL.items()}


@pytest.mark.parametrize("name", SMALL)
def test_names_and_drawing(plots, name):
    assert plots[name].name == f"collapse.{name}"
    figure = plots[name].draw()
    assert figure.get_size_inches()[0] == 5.5
    assert all(axes.get_xlabel() and axes.get_title(loc="left") for axes in figure.axes)
    figure.draw_without_rendering()


def test_gram_matrices_become_those_of_a_simplex_only_with_the_agop_step(plots):
    data = plots["gram"].data
    frame = np.kron(np.eye(10) * 10 / 9 - 1 / 9, np.ones((8, 8))).ravel()
    distance = {
        name: np.abs(series.y - frame).mean() for name, series in data.items() if "NC1" not in name
    }
    assert list(distance) == ["layer 1", "layer 3", "layer 8", "layer 8, no AGOP"]
    assert distance["layer 8"] < 0.7 * distance["layer 1"] < distance["layer 8, no AGOP"]
    values = [data[f"{name}: NC1"].y[0] for name in distance]
    assert values[0] > values[1] > 10 * values[2]
    assert values[3] > values[0]


def test_every_seed_collapses_with_the_agop_step_and_none_without(plots):
    data = plots["depth"].data
    assert len(data) == 2 * 3 * 2 * 2
    for seed in range(2):
        for name in ("inputs", "mapped", "features"):
            learned = data[f"nc1: {name}, AGOP, seed {seed}"].y
            fixed = data[f"nc1: {name}, no AGOP, seed {seed}"].y
            assert learned.shape == (10,)
            assert learned[-1] < 0.05 * learned[0]
            assert fixed[-1] > 0.8 * fixed[0]
            second = data[f"nc2: {name}, AGOP, seed {seed}"].y
            assert second[-1] < data[f"nc2: {name}, no AGOP, seed {seed}"].y[-1]
        same = [data[f"nc1: {name}, no AGOP, seed {seed}"].y for name in ("inputs", "mapped")]
        np.testing.assert_array_equal(*same)


def test_the_linearised_run_has_the_rate_and_the_limit_of_the_theory(plots):
    data = plots["rate"].data
    for name, tolerance in (("weak", 1e-4), ("strong", 1e-2)):
        for seed in range(2):
            run = data[f"sine: {name}, seed {seed}"]
            predicted = data[f"sine: {name}, rate, seed {seed}"]
            assert predicted.y[-1] == run.y[-1]
            steps = run.y[1:] / run.y[:-1]
            wanted = predicted.y[-1] / predicted.y[-2]
            assert steps[-1] == pytest.approx(wanted, rel=tolerance)
            assert abs(steps[0] - wanted) > 10 * abs(steps[-1] - wanted)
            limit = data[f"NC1: {name}, fixed point"].y[-1]
            assert data[f"NC1: {name}, seed {seed}"].y[-1] == pytest.approx(limit, rel=1e-3)


def test_training_collapses_what_leaves_a_layer_more_than_what_enters(plots):
    data = plots["training"].data
    for layer in (2, 3, 4):
        for seed in range(2):
            before, after = (
                data[f"layer {layer}: {part}, seed {seed}"].y for part in ("features", "nonlinear")
            )
            assert after[-1] < 0.8 * after[0]
            assert after[-1] < before[-1]
