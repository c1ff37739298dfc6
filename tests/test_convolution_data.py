"""Images of the convolution slice: their formulas, seeds, digits, and the user's own files."""

import numpy as np
import pytest
import torch
from PIL import Image

from numerics.alignment.data import digits
from numerics.alignment.images import image_folder
from numerics.convolution.data import (
    bars,
    digits_images,
    labelled_images,
    noisy_digits,
    patch_toy,
    star_images,
)

STAR = """
...#...
..###..
#######
.#####.
..###..
.#####.
.##.##.
"""


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (star_images, (3, 32, 32)),
        (bars, (1, 16, 16)),
        (patch_toy, (32, 16, 1)),
        (noisy_digits, (1, 12, 12)),
        (digits_images, (1, 8, 8)),
    ],
)
def test_shapes_types_and_seeds(make, shape):
    first, second, other = make(9, seed=1), make(9, seed=1), make(9, seed=2)
    assert first.images.shape == (9, *shape)
    assert (first.images.dtype, first.labels.dtype) == (torch.float64, torch.int64)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.images, other.images)
    single = make(9, seed=1, dtype=torch.float32)
    assert torch.equal(single.images, first.images.float())


@pytest.mark.parametrize("make", [star_images, bars, patch_toy])
def test_classes_are_balanced_in_a_random_order(make):
    labels = make(101, seed=3).labels
    assert labels.bincount().tolist() == [51, 50]
    assert 20 < int(labels[:50].sum()) < 31


def test_the_star_is_drawn_whole_on_two_channels_of_half_of_the_images():
    drawn = star_images(400, seed=0)
    rows = STAR.split()
    star = torch.tensor([[mark == "#" for mark in row] for row in rows])
    assert star.sum() == 28
    places = set()
    for pixels, label in zip(drawn.images, drawn.labels, strict=True):
        ones = pixels == 1
        assert not ones[2].any()
        if not label:
            assert not ones.any()
            continue
        assert torch.equal(ones[0], ones[1])
        assert int(ones[0].sum()) == 28
        where = torch.nonzero(ones[0])
        top, left = where.min(0).values.tolist()
        assert torch.equal(ones[0, top : top + 7, left : left + 7], star)
        places.add((top - 3, left - 7))
    offsets = torch.tensor(sorted(places))
    assert offsets.amin(0).tolist() == [0, 0]
    assert offsets.amax(0).tolist() == [17, 17]
    assert len(places) > 100


def test_noise_has_the_stated_deviation():
    noise = star_images(100, seed=1).images[:, 2].flatten()
    assert float(noise.std()) == pytest.approx(0.3, rel=4 / (2 * len(noise)) ** 0.5)
    noise = bars(200, seed=1).images.flatten()
    noise = noise[noise != 1]
    assert float(noise.std()) == pytest.approx(1.5, rel=4 / (2 * len(noise)) ** 0.5)
    rows = patch_toy(200, seed=1, noise=2.0).images.flatten()
    rows = rows[rows.abs() != 1 / 32**0.5]
    assert float(rows.var()) == pytest.approx(2 / 32, rel=4 * (2 / len(rows)) ** 0.5)


def test_bars_lie_or_stand_inside_the_image():
    drawn = bars(300, seed=2)
    corners = []
    for pixels, label in zip(drawn.images[:, 0], drawn.labels, strict=True):
        where = torch.nonzero(pixels == 1)
        assert len(where) == 21
        span = (where.amax(0) - where.amin(0) + 1).tolist()
        assert span == ([7, 3] if label else [3, 7])
        if label:
            corners.append(where.amin(0))
    corners = torch.stack(corners)
    assert corners.amin(0).tolist() == [0, 0]
    assert corners.amax(0).tolist() == [9, 13]


def test_one_row_of_the_patch_toy_is_the_label():
    drawn = patch_toy(60, seed=4)
    value = 1 / 32**0.5
    rows = drawn.images[..., 0].mT
    signal = (rows.abs() == value).all(2)
    assert torch.equal(signal.sum(1), torch.ones(60, dtype=torch.int64))
    torch.testing.assert_close(rows[signal].square().sum(1), torch.ones(60).double())
    assert torch.equal(rows[signal][:, 0] > 0, drawn.labels == 1)
    assert len(set(signal.nonzero()[:, 1].tolist())) > 10


@pytest.mark.parametrize("placement", ["added", "replaced"])
def test_a_digit_lies_somewhere_on_the_canvas(placement):
    quiet = noisy_digits(40, seed=5, noise=0.0, placement=placement)
    loud = noisy_digits(40, seed=5, placement=placement)
    originals = digits_images(40, seed=5)
    assert torch.equal(quiet.labels, originals.labels)
    places = set()
    for canvas, noisy, digit in zip(quiet.images, loud.images, originals.images, strict=True):
        matches = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if torch.equal(canvas[:, r : r + 8, c : c + 8], digit)
        ]
        assert canvas.sum() == digit.sum()
        clean = [(r, c) for r, c in matches if torch.equal(noisy[:, r : r + 8, c : c + 8], digit)]
        assert len(clean) == (1 if placement == "replaced" else 0)
        places.update(clean)
    if placement == "replaced":
        offsets = torch.tensor(sorted(places))
        assert (offsets.amin(0).tolist(), offsets.amax(0).tolist()) == ([0, 0], [4, 4])
        assert len(places) > 10
    rest = (loud.images - quiet.images).flatten()
    rest = rest[rest != 0]
    assert float(rest.std()) == pytest.approx(0.3, rel=4 / (2 * len(rest)) ** 0.5)


def test_digits_are_those_of_scikit_learn_each_once():
    drawn, bundle = digits_images(), digits()
    assert len(drawn) == 1797
    pixels = torch.from_numpy(bundle.inputs).reshape(-1, 64)
    order = torch.from_numpy(np.random.default_rng([0]).permutation(1797))
    assert torch.equal(drawn.images.flatten(1), pixels[order])
    assert torch.equal(drawn.labels, torch.from_numpy(bundle.labels)[order])


def test_chosen_digits_are_numbered_in_the_given_order():
    drawn = digits_images(classes=(7, 1))
    assert drawn.names == ("7", "1")
    every = digits()
    assert drawn.labels.bincount().tolist() == [(every.labels == c).sum() for c in (7, 1)]
    seven = {tuple(row) for row in every.inputs[every.labels == 7]}
    first = drawn.images[drawn.labels == 0].flatten(1).tolist()
    assert all(tuple(row) in seven for row in first)
    assert noisy_digits(5, seed=0, classes=(7, 1)).names == ("7", "1")


def test_parts_are_consecutive_and_apart():
    drawn = digits_images(20)
    train, test = drawn.split(12, 5)
    assert (len(train), len(test)) == (12, 5)
    assert torch.equal(torch.cat([train.images, test.images]), drawn.images[:17])
    assert torch.equal(test.labels, drawn.labels[12:17])
    onehot = drawn.onehot()
    assert torch.equal(onehot.argmax(1), drawn.labels)
    assert onehot.sum() == 20


def test_a_users_folder_becomes_tensors(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2):
            pixels = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    found = labelled_images(image_folder(tmp_path), dtype=torch.float32)
    assert found.images.shape == (4, 3, 5, 4)
    assert found.names == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(found.images[3, 1, 2], torch.tensor(pixels[2, :, 1] / 255).float())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: star_images(0, seed=1), "samples = 0"),
        (lambda: star_images(2, seed=-1), "seed = -1"),
        (lambda: star_images(2, seed=1, noise=-1.0), r"noise = -1\.0"),
        (lambda: bars(2, seed=1, side=6), "side = 6"),
        (lambda: patch_toy(2, seed=1, rows=0), "rows = 0"),
        (lambda: patch_toy(2, seed=1, dimension=0), "dimension = 0"),
        (lambda: noisy_digits(1798, seed=1), "at most the 1797 digits"),
        (lambda: noisy_digits(2, seed=1, side=7), "side = 7"),
        (lambda: noisy_digits(2, seed=1, placement="under"), "placement = 'under'"),
        (lambda: digits_images(classes=(1, 1)), "different numbers in 0, ..., 9"),
        (lambda: digits_images(classes=(10,)), "different numbers in 0, ..., 9"),
        (lambda: digits_images(9).split(5, 5), "at most the 9 images"),
        (lambda: digits_images(9).split(), "at most the 9 images"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_types_are_refused_by_name():
    with pytest.raises(TypeError, match=r"samples = 2\.5"):
        star_images(2.5, seed=1)
    for dtype in (torch.int64, "float32"):
        for make in (star_images, noisy_digits, digits_images):
            with pytest.raises(TypeError, match="must be a floating dtype of torch"):
                make(2, seed=1, dtype=dtype)
    with pytest.raises(TypeError, match="must be the Images"):
        labelled_images(torch.zeros(2, 1, 3, 3))
