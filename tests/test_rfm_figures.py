"""The figures of the rfm slice: what their data must show, at small sizes."""

from functools import partial

import numpy as np
import pytest

from figures import rfm

SMALL = {
    "rounds": partial(rfm.rounds, n=240, dimensions=(12, 6, 200), count=4),
    "recovery": partial(rfm.recovery, sizes=(60, 90, 140, 200), d=10, seeds=3),
    "images": partial(rfm.images, n=150, test=150, kept=(8, 64)),
    "features": partial(rfm.features, n=400, d=4, width=32, epochs=20, rounds=3),
    "tables": partial(rfm.tables, folds=2, rows=90, names=("wine", "diabetes")),
}


@pytest.fixture(scope="module")
def plots():
    return {name: make() for name, make in SMALL.items()}


def test_every_figure_has_a_small_version():
    assert list(SMALL) == list(rfm.FIGURES)


@pytest.mark.parametrize("name", SMALL)
def test_names_and_drawing(plots, name):
    assert plots[name].name == f"rfm.{name}"
    figure = plots[name].draw()
    assert figure.get_size_inches()[0] == 5.5
    assert all(axes.get_xlabel() and axes.get_title(loc="left") for axes in figure.axes)
    figure.draw_without_rendering()


def test_features_help_where_samples_suffice_and_hurt_where_they_do_not(plots):
    data = plots["rounds"].data
    for target, most in (("product", 0.5), ("gated", 0.8)):
        ridge = data[f"{target}: kernel ridge"].y[0]
        for method in ("AGOP", "root", "diagonal"):
            assert data[f"{target}: {method}"].y[-1] < most * ridge
    for method in ("AGOP", "root"):
        errors = data[f"too few: {method}"].y
        assert errors[1:].min() > errors[0]
    starts = [data[f"product: {method}"].y[0] for method in ("AGOP", "root", "diagonal")]
    np.testing.assert_allclose(starts, starts[0], rtol=1e-9)


def test_the_root_goes_on_where_the_agop_stops(plots):
    data = plots["rounds"].data
    assert data["product: root"].y[-1] < data["product: AGOP"].y[-1]
    assert data["product: root"].y[1] > data["product: AGOP"].y[1]


def test_the_plane_is_found_faster_by_features_and_fits_are_power_laws(plots):
    data = plots["recovery"].data
    fixed, whole, root = (data[f"sine: {m}"].y for m in ("fixed", "AGOP", "root"))
    assert np.all(whole < fixed)
    assert np.all(root[1:] < whole[1:])
    for method in ("AGOP", "root"):
        fit, points = data[f"sine: {method}, fit"], data[f"sine: {method}"]
        slopes = np.diff(np.log(fit.y)) / np.diff(np.log(fit.x))
        np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)
        assert slopes[0] < -0.5
        np.testing.assert_allclose(fit.y, points.at(fit.x), rtol=0.3)
        assert data[f"error: {method}"].y[-1] < 0.5 * data["error: kernel ridge"].y[-1]


def test_the_machine_looks_at_the_square_and_at_the_simple_half(plots):
    data = plots["images"].data
    square = data["square: M"].y.reshape(8, 8)
    outside = square.copy()
    outside[:2, :2] = 0
    assert square[:2, :2].min() > 0.9
    assert outside.max() < 0.1
    assert data["square: accuracy"].y[0] == 1
    assert data["square: accuracy, other class shown"].y[0] < 0.05
    pairs = data["pairs: M"].y.reshape(8, 16)
    assert pairs[:, :8].sum() > 2 * pairs[:, 8:].sum()
    assert data["pairs: accuracy, left half"].y[0] > 0.95
    few, everything = data["kept by M"].y
    assert data["kept at random"].y[0] < few < everything == data["all pixels"].y[0]


def test_learned_features_are_those_of_the_target(plots):
    data = plots["features"].data
    exact = data["population AGOP"].y.reshape(4, 4)
    corner = np.array([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])
    np.testing.assert_array_equal(exact[:3, :3], corner)
    assert not exact[3].any()
    assert data["population AGOP: cosine"].y[0] == pytest.approx(1)
    for name, least in (("M", 0.98), ("network AGOP", 0.97), ("NFM", 0.9)):
        assert data[f"{name}: cosine"].y[0] > least


def test_every_learner_learns_something(plots):
    data = plots["tables"].data
    assert len(data) == 8
    for name, series in data.items():
        assert 0 <= series.y[0] < (0.2 if name.startswith("wine") else 1.0)
    assert data["wine: RFM"].y[0] <= data["wine: kernel ridge"].y[0] + 0.05
