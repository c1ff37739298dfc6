"""Data for the networks: laws of the synthetic samples, and image files read or refused by name."""

import gzip
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from numerics.alignment.data import (
    Images,
    centred_onehot,
    chain_monomial,
    classification,
    digits,
    gaussian_inputs,
    low_rank_quadratic,
    power_law_spectrum,
)
from numerics.alignment.images import ImageOptions, cifar, idx, image_folder, svhn


def rng(seed=0):
    return np.random.default_rng(seed)


# Synthetic samples


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.5])
def test_the_covariance_of_gaussian_inputs_is_the_power_law(decay):
    n = 20_000
    x = gaussian_inputs(n, 4, rng(), decay=decay)
    spectrum = power_law_spectrum(4, decay)
    np.testing.assert_allclose(spectrum, [(1 + k) ** -decay for k in range(4)], rtol=1e-15)
    scale = np.sqrt(np.outer(spectrum, spectrum))
    assert np.max(np.abs(x.T @ x / n - np.diag(spectrum)) / scale) < 6 * np.sqrt(2 / n)


def test_chains_are_products_of_successive_coordinates():
    product = chain_monomial(50, 7, 3, rng())
    x = product.inputs
    np.testing.assert_allclose(product.targets, x[:, 0] * x[:, 1] * x[:, 2], rtol=1e-15)
    ring = chain_monomial(50, 7, 4, rng(), kind="ring")
    x = ring.inputs
    expected = (x[:, 0] * x[:, 1] + x[:, 1] * x[:, 2] + x[:, 2] * x[:, 3] + x[:, 3] * x[:, 0]) / 2
    np.testing.assert_allclose(ring.targets, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "sample",
    [
        chain_monomial(40_000, 5, 2, rng()),
        chain_monomial(40_000, 5, 3, rng(), kind="ring"),
        low_rank_quadratic(40_000, 5, 2, rng()),
    ],
)
def test_targets_have_mean_0_and_variance_1(sample):
    assert abs(sample.targets.mean()) < 6 / np.sqrt(len(sample))
    assert sample.targets.var() == pytest.approx(1, abs=0.1)


def test_a_low_rank_target_has_that_many_directions():
    sample = low_rank_quadratic(400, 6, 2, rng())
    x = sample.inputs
    upper = np.triu_indices(6)
    pairs = (x[:, :, None] * x[:, None, :])[:, upper[0], upper[1]]
    features = np.column_stack([pairs, np.ones(len(x))])
    fitted = np.linalg.lstsq(features, sample.targets, rcond=None)[0]
    form = np.zeros((6, 6))
    form[upper] = fitted[:-1]
    eigenvalues = np.sort(np.linalg.eigvalsh((form + form.T) / 2))
    np.testing.assert_allclose(eigenvalues, [0, 0, 0, 0, 0.5, 0.5], atol=1e-10)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    first, again, other = (chain_monomial(9, 4, 2, rng(s)) for s in (1, 1, 2))
    assert first.inputs.tobytes() == again.inputs.tobytes()
    assert first.targets.tobytes() == again.targets.tobytes()
    assert first.inputs.tobytes() != other.inputs.tobytes()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: chain_monomial(0, 4, 2, rng()), ValueError, "n = 0 must be an integer >= 1"),
        (lambda: chain_monomial(9, 4, 5, rng()), ValueError, "length = 5 must be at most d = 4"),
        (lambda: chain_monomial(9, 4, 2, rng(), kind="ring"), ValueError, "length = 2 must be"),
        (lambda: chain_monomial(9, 4, 2, rng(), kind="sum"), ValueError, "kind = 'sum' must be"),
        (lambda: chain_monomial(9, 4, 2, 7), TypeError, "rng = 7 must be a numpy.random.Gen"),
        (lambda: gaussian_inputs(9, 4, rng(), decay=-1), ValueError, "decay = -1 must be"),
        (lambda: low_rank_quadratic(9, 4, 5, rng()), ValueError, "rank = 5 must be at most d = 4"),
        (lambda: centred_onehot([0, 3], 3), ValueError, "labels holds 3, must be in 0, ..., 2"),
        (lambda: centred_onehot([-1], 3), ValueError, "labels holds -1"),
        (lambda: centred_onehot([0.5], 3), TypeError, "labels has dtype float64"),
        (lambda: centred_onehot([[0]], 3), ValueError, r"labels has shape \(1, 1\)"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Digits and their preparation


def test_digits_are_images_with_ten_classes():
    images = digits()
    assert images.inputs.shape == (1797, 64)
    assert (images.inputs.min(), images.inputs.max()) == (0.0, 1.0)
    assert images.names == tuple("0123456789")
    assert np.bincount(images.labels).min() == 174
    assert images.inputs.dtype == np.float64


def test_classification_standardises_by_the_training_images_alone():
    split = classification(digits(), 1000, 500, rng())
    assert split.train.inputs.mean() == pytest.approx(0, abs=1e-12)
    assert split.train.inputs.std(ddof=1) == pytest.approx(1, rel=1e-12)
    assert abs(split.test.inputs.mean()) > 1e-6
    np.testing.assert_allclose(split.train.targets.sum(axis=1), 0, atol=1e-12)
    assert set(np.round(np.unique(split.train.targets), 12)) == {-0.1, 0.9}


def test_classification_keeps_inputs_and_labels_together():
    images = digits()
    split = classification(images, 1000, 500, rng())
    raw = split.train.inputs[3]
    levels = (images.inputs - images.inputs.mean()) / images.inputs.std()
    nearest = np.argmax(levels @ raw / np.linalg.norm(levels, axis=1))
    assert np.argmax(split.train.targets[3]) == images.labels[nearest]
    in_order = classification(images, 10, 0)
    np.testing.assert_array_equal(np.argmax(in_order.train.targets, axis=1), images.labels[:10])


def test_classification_treats_every_channel_by_itself():
    inputs = np.concatenate([rng().random((20, 4)), 0.1 * rng(1).random((20, 4))], axis=1)
    images = Images(inputs, np.arange(20) % 2, ("a", "b"), (2, 2, 2))
    train = classification(images, 20, 0).train.inputs.reshape(20, 2, 4)
    np.testing.assert_allclose(train.std(axis=(0, 2), ddof=1), [1, 1], rtol=1e-12)


def test_classification_refuses_too_few_images_and_dead_channels():
    with pytest.raises(ValueError, match=r"train \+ test = 1800 must be at most the 1797 images"):
        classification(digits(), 1000, 800)
    flat = Images(np.full((4, 2), 0.5), np.array([0, 1, 0, 1]), ("a", "b"), (1, 1, 2))
    with pytest.raises(ValueError, match="channel 0 has the same value"):
        classification(flat, 4, 0)


# Folders


def write_folder(root, sizes=((4, 6),), classes=("cat", "ant"), count=3, ending="png"):
    """Random images; the class k-th in the alphabet has 10 (k+1) in its first pixel's red."""
    for place, name in enumerate(sorted(classes)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            height, width = sizes[i % len(sizes)]
            pixels = rng(10 * place + i).integers(0, 256, (height, width, 3), dtype=np.uint8)
            pixels[0, 0] = 10 * (place + 1), i, 0
            Image.fromarray(pixels).save(root / name / f"{i}.{ending}")
    return root


def test_a_folder_of_classes_is_read_in_alphabetical_order(tmp_path):
    images = image_folder(write_folder(tmp_path))
    assert images.names == ("ant", "cat")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.shape == (3, 4, 6)
    assert images.inputs.shape == (6, 72)
    first = images.inputs.reshape(6, 3, 4, 6)[:, :, 0, 0] * 255
    expected = [[10, 0, 0], [10, 1, 0], [10, 2, 0], [20, 0, 0], [20, 1, 0], [20, 2, 0]]
    np.testing.assert_allclose(first, expected)


def test_every_pixel_arrives_where_it_belongs(tmp_path):
    write_folder(tmp_path, count=1)
    with Image.open(tmp_path / "cat" / "0.png") as image:
        expected = np.asarray(image)
    found = image_folder(tmp_path).inputs[1].reshape(3, 4, 6)
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1) * 255, expected)


def test_images_become_grey_and_small(tmp_path):
    images = image_folder(write_folder(tmp_path), ImageOptions(size=(2, 3), greyscale=True))
    assert images.shape == (1, 2, 3)
    with Image.open(tmp_path / "ant" / "0.png") as image:
        grey = np.asarray(image.convert("L").resize((3, 2), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(images.inputs[0].reshape(2, 3), grey / 255)


def test_limits_keep_the_first_or_a_seeded_draw(tmp_path):
    write_folder(tmp_path, count=5)
    first = image_folder(tmp_path, ImageOptions(per_class=2))
    numbers = first.inputs.reshape(4, 3, 4, 6)[:, 1, 0, 0] * 255
    np.testing.assert_allclose(numbers, [0, 1, 0, 1])
    options = ImageOptions(per_class=3, samples=4)
    drawn, again, other = (image_folder(tmp_path, options, rng(s)) for s in (1, 1, 3))
    assert len(drawn) == 4
    assert np.bincount(drawn.labels).max() <= 3
    assert drawn.inputs.tobytes() == again.inputs.tobytes()
    assert drawn.inputs.tobytes() != other.inputs.tobytes()


@pytest.mark.parametrize("ending", ["png", "jpg", "ppm", "bmp", "gif", "webp", "tiff"])
def test_every_ending_is_read(tmp_path, ending):
    assert image_folder(write_folder(tmp_path, ending=ending)).inputs.shape == (6, 72)


def test_mixed_sizes_need_a_size(tmp_path):
    write_folder(tmp_path, sizes=((4, 6), (5, 5)))
    with pytest.raises(ValueError, match=r"1.png has height and width \(5, 5\).*give ImageOptions"):
        image_folder(tmp_path)
    assert image_folder(tmp_path, ImageOptions(size=(4, 4))).shape == (3, 4, 4)


def test_folders_that_hold_no_images_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no folders in it"):
        image_folder(tmp_path)
    write_folder(tmp_path)
    (tmp_path / ".hidden").mkdir()
    assert image_folder(tmp_path).names == ("ant", "cat")
    (tmp_path / "bee").mkdir()
    (tmp_path / "bee" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"the class .*bee has no images; endings read: \.bmp"):
        image_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image at all", "cut"])
def test_a_corrupt_file_is_named(tmp_path, content):
    path = write_folder(tmp_path) / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    with pytest.raises(ValueError, match=r"cat.1\.png is not a readable image"):
        image_folder(tmp_path)


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.full((3, 3), 40_000, dtype=np.uint16)).save(tmp_path / "deep" / "0.png")
    with pytest.raises(ValueError, match=r"0.png is not a readable image.*has not 8 bits"):
        image_folder(tmp_path)


def test_palettes_are_looked_up(tmp_path):
    (tmp_path / "one").mkdir()
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 0] = 255, 0, 0
    Image.fromarray(pixels).convert("P").save(tmp_path / "one" / "0.png")
    found = image_folder(tmp_path).inputs.reshape(3, 2, 2)
    np.testing.assert_allclose(found[:, 0, 0], [1, 0, 0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": (0, 4)}, ValueError, "size = 0 must be an integer >= 1"),
        ({"size": 8}, ValueError, r"size = 8 must be \(height, width\)"),
        ({"per_class": 0}, ValueError, "per_class = 0 must be"),
        ({"samples": 1.5}, TypeError, "samples = 1.5 must be"),
        ({"greyscale": 1}, TypeError, "greyscale = 1 must be True or False"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        ImageOptions(**options)


# IDX files


def write_idx(path, array, magic, compressed=False):
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def idx_files(tmp_path, request):
    pixels = rng().integers(0, 256, (5, 4, 3), dtype=np.uint8)
    labels = np.array([0, 2, 1, 2, 0], dtype=np.uint8)
    images = write_idx(tmp_path / "images", pixels, 0x803, request.param)
    return images, write_idx(tmp_path / "labels", labels, 0x801, request.param), pixels, labels


def test_idx_files_are_read(idx_files):
    path, beside, pixels, labels = idx_files
    images = idx(path, beside)
    np.testing.assert_array_equal(images.inputs.reshape(5, 4, 3) * 255, pixels)
    assert images.labels.tolist() == labels.tolist()
    assert images.names == ("0", "1", "2")
    assert images.shape == (1, 4, 3)
    assert idx(path, beside, ImageOptions(size=(2, 2), per_class=1)).inputs.shape == (3, 4)
    assert idx(path, beside, names=["shirt", "bag", "coat"]).names == ("shirt", "bag", "coat")


def test_idx_files_with_faults_are_refused_by_name(idx_files, tmp_path):
    path, beside, pixels, labels = idx_files
    with pytest.raises(ValueError, match=r"labels is not an IDX file .*0x803: .*number is 0x801"):
        idx(beside, beside)
    with pytest.raises(ValueError, match="names has 2 entries, the labels reach 2"):
        idx(path, beside, names=["a", "b"])
    fewer = write_idx(tmp_path / "fewer", labels[:4], 0x801)
    with pytest.raises(ValueError, match="there are 5 images and 4 labels"):
        idx(path, fewer)
    write_idx(path, pixels, 0x803)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"images is not an IDX file.*59 bytes follow"):
        idx(path, beside)
    path.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(ValueError, match="images is not an IDX file"):
        idx(path, beside)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*missing"):
        idx(tmp_path / "missing", beside)


# CIFAR


def write_cifar(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def cifar_content(count=3, entry=b"labels", seed=0):
    data = rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {b"data": data, entry: [i % 2 for i in range(count)], b"batch_label": b"one"}


def test_cifar_batches_are_read_together(tmp_path):
    contents = [cifar_content(3), cifar_content(2, seed=1)]
    paths = [write_cifar(tmp_path / f"batch_{i}", c) for i, c in enumerate(contents)]
    images = cifar(paths, names=["plane", "car"])
    expected = np.concatenate([c[b"data"] for c in contents])
    np.testing.assert_array_equal(images.inputs * 255, expected)
    assert images.shape == (3, 32, 32)
    assert images.labels.tolist() == [0, 1, 0, 0, 1]
    assert images.names == ("plane", "car")


def test_cifar_100_has_fine_and_coarse_labels(tmp_path):
    content = cifar_content(entry=b"fine_labels") | {b"coarse_labels": [3, 3, 3]}
    path = write_cifar(tmp_path / "train", content)
    assert cifar([path]).labels.tolist() == [0, 1, 0]
    assert cifar([path], labels="coarse_labels").labels.tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match=r"train is not a CIFAR batch.*no entry 'labels'"):
        cifar([path], labels="labels")


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_nothing_in_a_pickle_is_executed(tmp_path):
    path = write_cifar(tmp_path / "batch", {b"data": Evil(f"touch {tmp_path}/owned")})
    with pytest.raises(ValueError, match=r"batch is not a CIFAR batch.*system, which is not allow"):
        cifar([path])
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["core", "_core"])
def test_arrays_pickled_by_either_generation_of_numpy_are_read(tmp_path, name):
    content = pickle.dumps(cifar_content(), protocol=2)
    for written in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        content = content.replace(written, f"numpy.{name}.multiarray".encode())
    (tmp_path / "batch").write_bytes(content)
    assert len(cifar([tmp_path / "batch"])) == 3


def test_cifar_files_with_faults_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="paths is empty"):
        cifar([])
    path = tmp_path / "batch"
    path.write_bytes(b"\x80\x02}q")
    with pytest.raises(ValueError, match="batch is not a CIFAR batch"):
        cifar([path])
    write_cifar(path, cifar_content() | {b"data": np.zeros((3, 3072))})
    with pytest.raises(ValueError, match=r"batch is not a CIFAR batch.*float64.*uint8"):
        cifar([path])
    write_cifar(path, cifar_content() | {b"labels": [0]})
    with pytest.raises(ValueError, match="there are 3 images and 1 labels"):
        cifar([path])


# SVHN


def test_svhn_calls_its_tenth_digit_zero(tmp_path):
    pixels = rng().integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": pixels, "y": np.array([[1], [10], [9], [10]])})
    images = svhn(tmp_path / "train_32x32.mat")
    assert images.labels.tolist() == [1, 0, 9, 0]
    assert images.names == tuple("0123456789")
    found = images.inputs.reshape(4, 3, 32, 32) * 255
    np.testing.assert_array_equal(found, np.transpose(pixels, (3, 2, 0, 1)))
    grey = svhn(tmp_path / "train_32x32.mat", ImageOptions(greyscale=True))
    with Image.fromarray(pixels[..., 2]) as image:
        np.testing.assert_allclose(
            grey.inputs[2].reshape(32, 32), np.asarray(image.convert("L")) / 255
        )


def test_matlab_files_with_faults_are_refused_by_name(tmp_path):
    path = tmp_path / "train.mat"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"train\.mat is not a MATLAB file"):
        svhn(path)
    savemat(path, {"y": np.array([[1]])})
    with pytest.raises(ValueError, match=r"train\.mat is not a MATLAB file with X and y: KeyError"):
        svhn(path)


def test_files_over_the_limit_are_never_opened(tmp_path):
    write_folder(tmp_path, count=1)
    (tmp_path / "cat" / "zz.png").write_bytes(b"no image")
    assert len(image_folder(tmp_path, ImageOptions(per_class=1))) == 2
