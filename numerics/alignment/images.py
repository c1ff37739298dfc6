"""Image sets from the user's own files: class folders, CIFAR pickles, IDX files, SVHN's .mat.

Nothing is downloaded, and nothing in a file is executed: pickles are read by an unpickler that
knows arrays and plain containers only.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..validation import RealArray, integer
from .data import Images, Labels, generator

Pixels = NDArray[np.uint8]
Read = Callable[[NDArray[np.intp]], Pixels]
"""Pixels of the images with these indices, shape (n, height, width, 3), or (…, 1) if all grey."""

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
IDX_IMAGES, IDX_LABELS = 0x803, 0x801


@dataclass(frozen=True)
class ImageOptions:
    """What is kept of an image set, and in which form.

    Attributes:
        size: (height, width) to which all images are resized, bilinearly; None leaves them, and
            they must then be of one size.
        greyscale: One channel, by the luma of ITU-R 601, instead of three.
        per_class: At most so many images of each class.
        samples: At most so many images altogether, after `per_class`.

    Raises:
        TypeError: If an option has the wrong type.
        ValueError: If a number is below 1, or the size is no pair.
    """

    size: tuple[int, int] | None = None
    greyscale: bool = False
    per_class: int | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            if not isinstance(self.size, tuple) or len(self.size) != 2:
                raise ValueError(f"size = {self.size!r} must be (height, width), or None")
            for side in self.size:
                integer("size", side, 1)
        for name in ("per_class", "samples"):
            if (value := getattr(self, name)) is not None:
                integer(name, value, 1)
        if not isinstance(self.greyscale, bool):
            raise TypeError(f"greyscale = {self.greyscale!r} must be True or False")


ALL = ImageOptions()


def image_folder(
    root: str | Path, options: ImageOptions = ALL, rng: np.random.Generator | None = None
) -> Images:
    """Read root/class/*.png (or .jpg, .ppm, …): one folder per class, in alphabetical order.

    Args:
        root: The folder of the classes' folders. Names that begin with a dot are passed over.
        options: What is kept.
        rng: Draws the images to keep; without it, the first in alphabetical order.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are no classes, a class has no images, a file is no readable image, or
            sizes differ and none is asked for.
    """
    folder = _existing(Path(root), directory=True)
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise ValueError(f"{folder} has no folders in it; one folder per class is needed")
    files = [_image_files(path) for path in classes]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    flat = [path for paths in files for path in paths]

    def read(chosen: NDArray[np.intp]) -> Pixels:
        return _equal_sizes([flat[i] for i in chosen], options)

    return _assemble(labels, [path.name for path in classes], read, options, rng)


def cifar(
    paths: Sequence[str | Path],
    options: ImageOptions = ALL,
    rng: np.random.Generator | None = None,
    *,
    names: Sequence[str] | None = None,
    labels: str | None = None,
) -> Images:
    """Read CIFAR-10's or CIFAR-100's batches in their Python version, several as one set.

    Args:
        paths: The files, such as data_batch_1, ..., or train.
        options: What is kept.
        rng: Draws the images to keep; without it, the first.
        names: The classes' names; without them, their numbers as strings.
        labels: Which entry holds the labels; by default "labels" or else "fine_labels".

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is no such batch, or holds anything but arrays and plain containers.
    """
    if not paths:
        raise ValueError("paths is empty; at least one batch is needed")
    batches = [_cifar_batch(_existing(Path(path)), labels) for path in paths]
    pixels = np.concatenate([batch[0] for batch in batches])
    return _from_arrays(pixels, np.concatenate([b[1] for b in batches]), names, options, rng)


def idx(
    images: str | Path,
    labels: str | Path,
    options: ImageOptions = ALL,
    rng: np.random.Generator | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Images:
    """Read images and labels in the IDX format of MNIST and Fashion-MNIST, compressed or not.

    Args:
        images: For example train-images-idx3-ubyte.gz.
        labels: For example train-labels-idx1-ubyte.gz.
        options: What is kept.
        rng: Draws the images to keep; without it, the first.
        names: The classes' names; without them, their numbers as strings.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a magic number is wrong, a file is cut short, or the numbers of images and
            labels differ.
    """
    pixels = _idx_array(_existing(Path(images)), IDX_IMAGES)
    values = _idx_array(_existing(Path(labels)), IDX_LABELS)
    return _from_arrays(pixels[..., None], values.astype(np.int64), names, options, rng)


def svhn(
    path: str | Path,
    options: ImageOptions = ALL,
    rng: np.random.Generator | None = None,
) -> Images:
    """Read SVHN's cropped digits, such as train_32x32.mat, where the digit 0 has the label 10.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is no MATLAB file with images X and labels y.
    """
    from scipy.io import loadmat

    file = _existing(Path(path))
    with _named(file, "a MATLAB file with X and y"):
        content = loadmat(str(file), variable_names=["X", "y"])
        pixels = np.moveaxis(_bytes(content["X"], 4), -1, 0)
        labels = np.asarray(content["y"]).reshape(-1).astype(np.int64) % 10
    return _from_arrays(pixels, labels, [str(digit) for digit in range(10)], options, rng)


# What is kept


def _from_arrays(
    pixels: Pixels,
    labels: Labels,
    names: Sequence[str] | None,
    options: ImageOptions,
    rng: np.random.Generator | None,
) -> Images:
    if len(pixels) != len(labels) or not len(labels):
        raise ValueError(f"there are {len(pixels)} images and {len(labels)} labels; as many, >= 1")
    if labels.min() < 0:
        raise ValueError(f"labels hold {labels.min()}, must be >= 0")
    titles = [str(i) for i in range(int(labels.max()) + 1)] if names is None else list(names)
    if labels.max() >= len(titles):
        raise ValueError(f"names has {len(titles)} entries, the labels reach {labels.max()}")
    return _assemble(labels, titles, lambda chosen: _formed(pixels[chosen], options), options, rng)


def _assemble(
    labels: Labels,
    names: Sequence[str],
    read: Read,
    options: ImageOptions,
    rng: np.random.Generator | None,
) -> Images:
    chosen = _chosen(labels, options, rng)
    pixels = read(chosen)
    channels_first = np.moveaxis(pixels, -1, 1)
    inputs: RealArray = channels_first.reshape(len(chosen), -1) / 255.0
    _, channels, height, width = channels_first.shape
    return Images(inputs, labels[chosen].astype(np.int64), tuple(names), (channels, height, width))


def _chosen(
    labels: Labels, options: ImageOptions, rng: np.random.Generator | None
) -> NDArray[np.intp]:
    """Indices that are kept, in their order; drawn without replacement if there is a generator."""
    n = len(labels)
    order = np.arange(n) if rng is None else generator(rng).permutation(n)
    if options.per_class is not None:
        ranks = np.empty(n, dtype=np.intp)
        for label in np.unique(labels):
            places = np.flatnonzero(labels[order] == label)
            ranks[places] = np.arange(len(places))
        order = order[ranks < options.per_class]
    return np.sort(order[: options.samples])


# Pixels


def _formed(pixels: Pixels, options: ImageOptions) -> Pixels:
    """The pixels in the size and with the channels that are asked for."""
    same_size = options.size is None or options.size == pixels.shape[1:3]
    if same_size and (not options.greyscale or pixels.shape[3] == 1):
        return pixels
    images = (Image.fromarray(p[..., 0] if p.shape[-1] == 1 else p) for p in pixels)
    grey = options.greyscale or pixels.shape[3] == 1
    return np.stack([_pixels(image, options.size, grey) for image in images])


def _pixels(image: Image.Image, size: tuple[int, int] | None, grey: bool) -> Pixels:
    if image.mode not in EIGHT_BITS:
        raise ValueError(f"mode {image.mode!r} has not 8 bits; allowed: {', '.join(EIGHT_BITS)}")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # palettes may hold transparency, which RGB drops
    image = image.convert("L" if grey else "RGB")
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels: Pixels = np.asarray(image, dtype=np.uint8)
    return pixels[..., None] if grey else pixels


def _image_files(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
    if not paths:
        raise ValueError(f"the class {folder} has no images; endings read: {', '.join(ENDINGS)}")
    return paths


def _equal_sizes(paths: Sequence[Path], options: ImageOptions) -> Pixels:
    pixels = [_image_file(path, options) for path in paths]
    for path, values in zip(paths, pixels, strict=True):
        if values.shape != pixels[0].shape:
            raise ValueError(
                f"{path} has height and width {values.shape[:2]}, {paths[0]} has "
                f"{pixels[0].shape[:2]}; give ImageOptions a size, or images of one size"
            )
    return np.stack(pixels)


def _image_file(path: Path, options: ImageOptions) -> Pixels:
    with _named(path, "a readable image"), Image.open(path) as image:
        return _pixels(image, options.size, options.greyscale)


# Files


def _existing(path: Path, directory: bool = False) -> Path:
    if not (path.is_dir() if directory else path.is_file()):
        raise FileNotFoundError(f"there is no {'folder' if directory else 'file'} {path}")
    return path


@contextmanager
def _named(path: Path, wanted: str) -> Iterator[None]:
    """Whatever goes wrong while a file is read becomes a ValueError that names the file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not {wanted}: {type(error).__name__}: {error}") from error


def _bytes(value: object, axes: int) -> Pixels:
    array = np.asarray(value)
    if array.dtype != np.uint8 or array.ndim != axes:
        raise ValueError(f"dtype {array.dtype}, shape {array.shape}; uint8 with {axes} axes needed")
    return array


def _idx_array(path: Path, magic: int) -> Pixels:
    with _named(path, f"an IDX file with magic number {magic:#x}"):
        with _unzipped(path) as stream:
            found = int.from_bytes(stream.read(4), "big")
            if found != magic:
                raise ValueError(f"the magic number is {found:#x}")
            axes = magic & 0xFF
            shape = tuple(np.frombuffer(stream.read(4 * axes), ">u4", axes).tolist())
            needed = math.prod(shape)
            # No more is unpacked than the header asks for: a small file may hold a huge one.
            body = np.frombuffer(stream.read(needed + 1), np.uint8)
        if body.size != needed:
            more = " or more" if body.size > needed else ""
            raise ValueError(f"{body.size}{more} bytes follow, shape {shape} needs {needed}")
        return body.reshape(shape)


def _unzipped(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.GzipFile(path) if zipped else path.open("rb")


def _cifar_batch(path: Path, entry: str | None) -> tuple[Pixels, Labels]:
    with _named(path, "a CIFAR batch"):
        batch = _Unpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        fields = {_text(key): value for key, value in batch.items()}
        wanted = entry or ("labels" if "labels" in fields else "fine_labels")
        if wanted not in fields:
            raise ValueError(f"it has no entry {wanted!r}, but {', '.join(fields)}")
        planes = _bytes(fields["data"], 2).reshape(-1, 3, 32, 32)
        return np.moveaxis(planes, 1, -1), np.asarray(fields[wanted], dtype=np.int64)


def _text(key: object) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _latin_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}, which is not allowed")
    return text.encode("latin1")


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): _latin_bytes,
}


class _Unpickler(pickle.Unpickler):
    """Knows NumPy's arrays and nothing else that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return _KNOWN[module, name]
