"""Data of the rfm slice: the laws of the targets, altered images, tables and ARFF files."""

import gzip
import hashlib
import json
from urllib.error import URLError

import numpy as np
import pytest

from numerics.alignment.data import Images, digits
from numerics.rfm.data import (
    choose_classes,
    gated_low_rank,
    product,
    quadratic_low_rank,
    side_by_side,
    spurious_square,
    two_thresholds,
)
from numerics.rfm.tables import TABLES, arff_table, bundled_table, openml_table

MAKERS = (product, gated_low_rank, two_thresholds, quadratic_low_rank)


def rng(seed=0):
    return np.random.default_rng(seed)


def z_score(sample, mean):
    """How many standard errors the mean of a bounded or light-tailed sample is off."""
    return (sample.mean() - mean) / (sample.std(ddof=1) / len(sample) ** 0.5)


# Targets of low rank


@pytest.mark.parametrize("make", MAKERS)
def test_the_directions_are_an_orthonormal_basis(make):
    found = make(4, rng())
    gram = found.directions.T @ found.directions
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-14)
    assert found.inputs.shape == (4, len(found.directions))


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_seed_gives_the_same_data_and_another_seed_other_data(make):
    first, second, other = make(5, rng(1)), make(5, rng(1)), make(5, rng(2))
    np.testing.assert_array_equal(first.inputs, second.inputs)
    np.testing.assert_array_equal(first.targets, second.targets)
    assert not np.array_equal(first.inputs, other.inputs)


def test_the_product_has_variance_one():
    found = product(20_000, rng(), d=3)
    np.testing.assert_array_equal(found.targets, found.inputs[:, 0] * found.inputs[:, 1])
    assert abs(z_score(found.targets, 0.0)) < 4
    assert abs(z_score(np.clip(found.targets, -9, 9) ** 2, 1.0)) < 4


def test_the_gate_closes_where_x5_is_negative():
    found = gated_low_rank(20_000, rng())
    x = found.inputs
    assert np.all(found.targets[x[:, 5] <= 0] == 0)
    open_ = x[:, 5] > 0
    np.testing.assert_array_equal(found.targets[open_], (x[:, 0] * x[:, 1])[open_])
    assert abs(z_score(x[:, 7] ** 2, 0.25)) < 4
    assert abs(z_score(found.targets**2, 1 / 32)) < 4
    np.testing.assert_array_equal(np.flatnonzero(found.directions.sum(axis=1)), [0, 1, 5])


def test_the_two_thresholds_are_at_zero_and_one_half():
    found = two_thresholds(2000, rng(), d=4)
    assert found.targets.shape == (2000, 2)
    np.testing.assert_array_equal(found.targets[:, 0], found.inputs[:, 0] > 0)
    np.testing.assert_array_equal(found.targets[:, 1], found.inputs[:, 1] < 0.5)


def test_the_quadratic_target_depends_on_its_directions_alone():
    """Apart from the noise: at the same projections labels agree as often as noise allows."""
    d, rank = 12, 2
    found = quadratic_low_rank(4000, rng(3), d=d, rank=rank)
    same = rng(3)
    U = same.standard_normal((rank, d)) / d**0.5
    w, q = same.standard_normal((2, rank))
    projected = found.directions @ found.directions.T @ U.T
    np.testing.assert_allclose(projected, U.T, atol=1e-13)
    z = found.inputs @ U.T
    score = z @ w + z**2 @ q
    sure = np.abs(score) > 1.0  # four standard deviations of the noise
    np.testing.assert_array_equal(found.targets[sure], score[sure] > 0)
    assert 0 < np.mean(found.targets != (score > 0)) < 0.3
    assert set(found.targets) == {0.0, 1.0}


def test_one_seed_is_one_quadratic_target():
    few, many = (quadratic_low_rank(n, rng(4), d=7, rank=2) for n in (3, 9))
    np.testing.assert_array_equal(few.directions, many.directions)


def test_a_split_keeps_the_order():
    found = product(6, rng(), d=2)
    split = found.split(4)
    assert (len(found), len(split.train), len(split.test)) == (6, 4, 2)
    np.testing.assert_array_equal(split.test.targets, found.targets[4:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: product(0, rng()), "n = 0"),
        (lambda: product(3, rng(), d=1), "d = 1"),
        (lambda: gated_low_rank(3, rng(), d=5), "d = 5"),
        (lambda: two_thresholds(3, rng(), d=1), "d = 1"),
        (lambda: quadratic_low_rank(3, rng(), d=4, rank=5), "rank = 5 must be at most d = 4"),
        (lambda: product(3, rng(), d=2).split(3), "train = 3"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", MAKERS)
def test_seeds_are_no_generators(make):
    with pytest.raises(TypeError, match="Generator"):
        make(3, 0)


# Images


def small_images():
    """Six images of 3 × 4 with two channels and three classes; values count the pixels."""
    values = np.arange(6 * 24, dtype=float).reshape(6, 24) / 1000
    return Images(values, np.array([0, 1, 2, 0, 1, 2]), ("a", "b", "c"), (2, 3, 4))


def test_chosen_classes_are_renumbered_in_the_given_order():
    found = choose_classes(small_images(), 2, 0)
    assert found.names == ("c", "a")
    np.testing.assert_array_equal(found.labels, [1, 0, 1, 0])
    np.testing.assert_array_equal(found.inputs, small_images().inputs[[0, 2, 3, 5]])


def test_the_square_shows_the_class_and_touches_nothing_else():
    images = small_images()
    found = spurious_square(images, side=2)
    pixels, before = (x.inputs.reshape(6, 2, 3, 4) for x in (found, images))
    for image, label in zip(pixels, found.labels, strict=True):
        np.testing.assert_array_equal(image[:, :2, :2], label / 2)
    np.testing.assert_array_equal(pixels[:, :, 2:], before[:, :, 2:])
    np.testing.assert_array_equal(pixels[:, :, :, 2:], before[:, :, :, 2:])
    assert images.inputs[0, 1] == 0.001  # the given images are left alone


def test_the_square_can_show_another_class():
    images = small_images()
    found = spurious_square(images, side=1, labels=2 - images.labels)
    np.testing.assert_array_equal(found.inputs[:, 0], 1 - images.labels / 2)
    np.testing.assert_array_equal(found.labels, images.labels)


def halves(images):
    width = images.shape[2] // 2
    pixels = images.inputs.reshape(len(images), *images.shape)
    return pixels[..., :width], pixels[..., width:]


def test_both_halves_tell_the_class():
    images = digits()
    easy, hard = choose_classes(images, 0, 1), choose_classes(images, 3, 8)
    found = side_by_side(easy, hard, 51, rng())
    assert found.shape == (1, 8, 16)
    assert found.names == ("0|3", "1|8")
    assert np.bincount(found.labels).tolist() == [26, 25]
    for half, source in zip(halves(found), (easy, hard), strict=True):
        for pixels, label in zip(half.reshape(51, -1), found.labels, strict=True):
            own = source.inputs[source.labels == label]
            assert np.any(np.all(own == pixels, axis=1))


def test_halves_need_not_agree():
    images = small_images()
    found = side_by_side(images, images, 60, rng(), agree=False)
    where = {tuple(x): label for x, label in zip(images.inputs, images.labels, strict=True)}
    left, right = (
        np.array([where[tuple(x)] for x in half.reshape(60, -1)]) for half in halves(found)
    )
    np.testing.assert_array_equal(left, found.labels)
    assert 0 < np.mean(right == left) < 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: choose_classes(small_images(), 1), "two or more"),
        (lambda: choose_classes(small_images(), 1, 1), "different"),
        (lambda: choose_classes(small_images(), 0, 3), r"among 0, \.\.\., 2"),
        (lambda: spurious_square(small_images(), side=4), "at most 3"),
        (lambda: spurious_square(small_images(), side=1, labels=np.arange(6)), "6 numbers"),
        (lambda: spurious_square(small_images(), side=1, labels=np.zeros(5)), "6 numbers"),
        (lambda: side_by_side(small_images(), digits(), 3, rng()), "must be equal"),
        (lambda: side_by_side(small_images(), small_images(), 0, rng()), "n = 0"),
    ],
)
def test_images_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_square_needs_two_classes():
    alone = Images(np.zeros((1, 4)), np.array([0]), ("a",), (1, 2, 2))
    with pytest.raises(ValueError, match="at least two"):
        spurious_square(alone, side=1)


# Tables


SHAPES = {
    "breast cancer": (569, 30, 2),
    "wine": (178, 13, 3),
    "digits": (1797, 64, 10),
    "diabetes": (442, 10, 0),
}


@pytest.mark.parametrize("name", TABLES)
def test_bundled_tables(name):
    table = bundled_table(name)
    rows, columns, classes = SHAPES[name]
    assert table.inputs.shape == (len(table), len(table.columns)) == (rows, columns)
    assert len(table.classes) == classes
    assert table.targets.dtype == (np.int64 if classes else np.float64)
    if classes:
        assert set(table.targets) == set(range(classes))


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match="name = 'iris' must be one of 'breast cancer'"):
        bundled_table("iris")


ARFF = """% what OpenML serves looks like this
@RELATION weather

@ATTRIBUTE temperature REAL
@ATTRIBUTE 'sky colour' {blue, 'dark grey'}
@ATTRIBUTE wet INTEGER
@ATTRIBUTE play {yes, no}

@DATA
21.5, blue, 0, yes
-3, 'dark grey', 1,no
8e1,blue,1,yes
"""


def arff(tmp_path, text=ARFF, name="weather.arff"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_arff_file_with_a_nominal_target_is_a_classification(tmp_path):
    table = arff_table(arff(tmp_path))
    assert table.columns == ("temperature", "sky colour=blue", "sky colour=dark grey", "wet")
    assert table.classes == ("yes", "no")
    np.testing.assert_array_equal(table.inputs, [[21.5, 1, 0, 0], [-3, 0, 1, 1], [80, 1, 0, 1]])
    np.testing.assert_array_equal(table.targets, [0, 1, 0])


def test_an_arff_file_with_a_numeric_target_is_a_regression(tmp_path):
    table = arff_table(arff(tmp_path), "temperature")
    assert table.classes == ()
    np.testing.assert_array_equal(table.targets, [21.5, -3, 80])
    assert table.columns[-2:] == ("play=yes", "play=no")


def test_a_compressed_file_reads_the_same(tmp_path):
    path = tmp_path / "weather.arff.gz"
    path.write_bytes(gzip.compress(ARFF.encode()))
    table, plain = arff_table(path), arff_table(arff(tmp_path))
    np.testing.assert_array_equal(table.inputs, plain.inputs)
    np.testing.assert_array_equal(table.targets, plain.targets)


def test_a_sparse_file_is_filled_with_zeros_and_first_values(tmp_path):
    text = ARFF.split("@DATA")[0] + "@DATA\n{0 21.5, 2 1}\n{1 'dark grey', 3 no}\n"
    table = arff_table(arff(tmp_path, text))
    np.testing.assert_array_equal(table.inputs, [[21.5, 1, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(table.targets, [0, 1])


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (ARFF, "rain", "target = 'rain' must be one of 'temperature'"),
        (ARFF.replace("21.5", "?"), None, "'temperature' in row 0 is missing"),
        (ARFF.replace("-3, 'dark grey'", "-3, ?"), None, "'sky colour' in row 1 is missing"),
        (ARFF.replace("1,no", "1,?"), None, "'play' in row 1 is missing"),
        (ARFF.replace("-3, 'dark grey'", "-3, red"), None, "no ARFF file.*red"),
        (ARFF.replace("{yes, no}", "STRING"), None, "'play' is a STRING"),
        (ARFF.replace("REAL", "DATE"), None, "no ARFF file.*type"),
        (ARFF.replace("8e1", "nan"), None, "'temperature' in row 2 is missing"),
        (ARFF.split("@DATA")[0] + "@DATA\n", None, "has no rows"),
        ("@RELATION r\n@ATTRIBUTE a REAL\n@DATA\n1\n", None, "'a' alone"),
        ("temperature,play\n1,yes\n", None, "no ARFF file"),
        ("", None, "no ARFF file"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, text, target, message):
    with pytest.raises(ValueError, match=message):
        arff_table(arff(tmp_path, text), target)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.arff does not exist"):
        arff_table(tmp_path / "none.arff")


def test_a_broken_archive_is_refused(tmp_path):
    path = arff(tmp_path, "no archive", "weather.arff.gz")
    with pytest.raises(ValueError, match="no ARFF file"):
        arff_table(path)


# OpenML: what its server answers lies where scikit-learn keeps it, so that nothing is fetched


FEATURES = [("temperature", "numeric"), ("sky colour", "nominal"), ("wet", "numeric")]


def openml(folder, text=ARFF, targets=("play",), ignored=(), kind="ARFF"):
    """Data set 7, "weather"."""
    features = [
        {
            "index": str(index),
            "name": name,
            "data_type": type_,
            "is_target": str(name in targets).lower(),
            "is_ignore": str(name in ignored).lower(),
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for index, (name, type_) in enumerate([*FEATURES, ("play", "nominal")])
    ]
    description = {
        "id": "7",
        "name": "weather",
        "version": "1",
        "status": "active",
        "format": kind,
        "url": "https://api.openml.org/data/v1/download/7/weather.arff",
        "md5_checksum": hashlib.md5(text.encode()).hexdigest(),
        "description": "made up",
    }
    found = {"did": 7, "name": "weather", "version": 1, "status": "active"}
    rows = str(len(text.split("@DATA")[1].strip().splitlines()))
    answers = {
        "api/v1/json/data/7": {"data_set_description": description},
        "api/v1/json/data/features/7": {"data_features": {"feature": features}},
        "api/v1/json/data/qualities/7": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": rows}]}
        },
        "api/v1/json/data/list/data_name/weather/limit/2/status/active/": {
            "data": {"dataset": [found]}
        },
    }
    files = {path: json.dumps(answer) for path, answer in answers.items()}
    for path, content in {**files, "data/v1/download/7/weather.arff": text}.items():
        file = folder / "openml" / "openml.org" / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(content.encode()))
    return folder


@pytest.mark.parametrize("name", [7, "weather", np.int64(7)])
def test_a_table_of_openml_by_number_and_by_name(tmp_path, name):
    table, same = openml_table(name, folder=openml(tmp_path)), arff_table(arff(tmp_path))
    assert table.columns == same.columns
    assert table.classes == ("no", "yes")
    np.testing.assert_array_equal(table.inputs, same.inputs)
    np.testing.assert_array_equal(table.targets, [1, 0, 1])


def test_another_target_and_ignored_columns_of_openml(tmp_path):
    table = openml_table(7, "temperature", folder=openml(tmp_path, ignored=("wet",)))
    assert table.classes == ()
    assert table.columns == ("sky colour=blue", "sky colour=dark grey", "play=yes", "play=no")
    np.testing.assert_array_equal(table.targets, [21.5, -3, 80])


def test_a_sparse_table_of_openml(tmp_path):
    text = ARFF.split("@DATA")[0] + "@DATA\n{0 21.5, 2 1}\n{1 'dark grey', 3 no}\n"
    table = openml_table(7, folder=openml(tmp_path, text, kind="Sparse_ARFF"))
    np.testing.assert_array_equal(table.inputs, [[21.5, 1, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(table.targets, [1, 0])


@pytest.mark.parametrize(
    ("name", "options", "data", "error", "message"),
    [
        (1.5, {}, {}, TypeError, "name = 1.5 must be an integer"),
        (0, {}, {}, ValueError, "name = 0 must be an integer >= 1"),
        (7, {"target": "rain"}, {}, ValueError, "OpenML 7: target = 'rain' is no column"),
        (7, {"version": 2}, {}, ValueError, "data_id=7 and version=2"),
        (7, {}, {"targets": ()}, ValueError, r"OpenML 7 has the targets \[\]; name one"),
        (7, {}, {"ignored": [n for n, _ in FEATURES]}, ValueError, "'play' alone"),
        (7, {}, {"text": ARFF.replace("21.5", "?")}, ValueError, "OpenML 7: .*'temperature' in r"),
        (7, {}, {"text": ARFF.replace("-3, 'dark grey'", "-3, ?")}, ValueError, "'sky colour' in"),
    ],
)
def test_what_openml_cannot_serve_is_refused(tmp_path, name, options, data, error, message):
    folder = openml(tmp_path, **data)
    with pytest.raises(error, match=message):
        openml_table(name, folder=folder, **options)


def test_openml_out_of_reach(tmp_path, monkeypatch):
    def unreachable(*_args, **_options):
        raise URLError("no network")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", unreachable)
    monkeypatch.setattr("sklearn.datasets._openml.time.sleep", lambda _seconds: None)
    with pytest.warns(UserWarning, match="network error"), pytest.raises(OSError, match="no netw"):
        openml_table(7, folder=tmp_path)
