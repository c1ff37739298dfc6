"""Tables: those that come with scikit-learn, ARFF files, and OpenML's by name or number.

Nothing is downloaded but by `openml_table`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..alignment.data import Labels
from ..validation import RealArray, choice, integer


@dataclass(frozen=True, eq=False)
class Table:
    """A tabular data set.

    Attributes:
        inputs: Shape (n, d).
        targets: Numbers of shape (n,) for a regression, indices of classes for a classification.
        columns: Names of the inputs.
        classes: Names of the classes; empty for a regression.
    """

    inputs: RealArray
    targets: RealArray | Labels
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)


TABLES = ("breast cancer", "wine", "digits", "diabetes")


def bundled_table(name: str) -> Table:
    """One of the tables that come with scikit-learn: three classifications and a regression.

    Raises:
        ValueError: If the name is not "breast cancer", "wine", "digits" or "diabetes".
    """
    from sklearn import datasets

    loaders: dict[str, Callable[[], Any]] = {
        "breast cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "digits": datasets.load_digits,
        "diabetes": datasets.load_diabetes,
    }
    bundle = loaders[choice("name", name, TABLES)]()
    classes = tuple(str(c) for c in bundle.get("target_names", ()))
    targets = bundle.target.astype(np.int64 if classes else np.float64)
    columns = tuple(str(c) for c in bundle.feature_names)
    return Table(bundle.data.astype(np.float64), targets, columns, classes)


def arff_table(path: str | Path, target: str | None = None) -> Table:
    """Read an ARFF file, as OpenML serves its data sets: .arff or .arff.gz, dense or sparse.

    Numbers stay as they are, a nominal attribute becomes one 0/1 column per value, named
    attribute=value. A nominal target makes a classification. The parser is scikit-learn's.

    Args:
        path: The file.
        target: The attribute to predict; the last one by default.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ARFF file of numbers and nominal values, the target is not among
            its attributes or the only one, or a value is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    attributes = _attributes(file)
    names = [attribute.name for attribute in attributes]
    chosen = names[-1] if target is None else choice("target", target, names)
    goal = attributes.pop(names.index(chosen))
    return _table(attributes, goal)


def openml_table(
    name: str | int,
    target: str | None = None,
    *,
    version: int | str = "active",
    folder: str | Path | None = None,
) -> Table:
    """A data set of OpenML, fetched by scikit-learn and kept on disk, so that it is fetched once.

    Columns are made as in `arff_table`; those that OpenML marks as identifiers or to be ignored are
    left out. Classes are sorted.

    Args:
        name: Its name, or its number, which alone is unambiguous.
        target: The column to predict; OpenML's default target by default.
        version: Of a data set given by name: a number, or "active".
        folder: Where to keep it; by default scikit-learn's data folder.

    Raises:
        TypeError: If the name is neither a word nor a number.
        ValueError: If OpenML has no such data set, it has strings, several targets, no inputs or
            missing values, or a version is given beside a number.
        OSError: If OpenML cannot be reached, and the data set is not on disk.
    """
    from sklearn.datasets import fetch_openml

    known = {"name": name} if isinstance(name, str) else {"data_id": integer("name", name, 1)}
    try:
        bunch = fetch_openml(
            **known,
            version=version,
            target_column="default-target" if target is None else target,
            data_home=folder,
            as_frame=False,
            parser="liac-arff",
        )
    except KeyError as error:
        raise ValueError(f"OpenML {name!r}: target = {target!r} is no column of it") from error
    return _table(*_openml_attributes(f"OpenML {name!r}", bunch))


def _openml_attributes(source: str, bunch: Any) -> tuple[list[_Attribute], _Attribute]:
    if len(bunch.target_names) != 1:
        raise ValueError(f"{source} has the targets {bunch.target_names}; name one as target")
    matrix = bunch.data.toarray() if hasattr(bunch.data, "toarray") else bunch.data
    attributes = []
    for column, entries in zip(bunch.feature_names, matrix.T, strict=True):
        values = tuple(bunch.categories.get(column, ()))
        attributes.append(_Attribute(source, column, values, _decoded(entries, values)))
    goal = bunch.target
    classes = () if goal.dtype.kind == "f" else tuple(sorted(set(goal)))
    return attributes, _Attribute(source, bunch.target_names[0], classes, tuple(goal))


def _decoded(entries: RealArray, values: tuple[str, ...]) -> tuple[Any, ...]:
    """A column's entries, nominal values for their codes, None for what is missing."""
    if not values:
        return tuple(entries)
    return tuple(None if np.isnan(entry) else values[int(entry)] for entry in entries)


def _table(inputs: list[_Attribute], goal: _Attribute) -> Table:
    if not inputs:
        raise ValueError(f"{goal.source} has the attribute {goal.name!r} alone; it needs inputs")
    blocks = [attribute.block() for attribute in inputs]
    columns = tuple(column for names, _ in blocks for column in names)
    targets = goal.codes() if goal.values else goal.numbers()
    return Table(np.hstack([block for _, block in blocks]), targets, columns, goal.values)


@dataclass(frozen=True, eq=False)
class _Attribute:
    """A column of a table as it was read.

    Attributes:
        source: Where it was read, for messages.
        name: Its name.
        values: What a nominal attribute can be; empty for numbers.
        entries: What the rows hold.
    """

    source: str
    name: str
    values: tuple[str, ...]
    entries: tuple[Any, ...]

    def __post_init__(self) -> None:
        if None in self.entries:
            raise self._missing(self.entries.index(None))

    def block(self) -> tuple[tuple[str, ...], RealArray]:
        """Names and contents of the columns of inputs that it makes."""
        if not self.values:
            return (self.name,), self.numbers()[:, None]
        onehot: RealArray = np.eye(len(self.values))[self.codes()]
        return tuple(f"{self.name}={value}" for value in self.values), onehot

    def codes(self) -> Labels:
        code = {value: index for index, value in enumerate(self.values)}
        labels: Labels = np.array([code[entry] for entry in self.entries], dtype=np.int64)
        return labels

    def numbers(self) -> RealArray:
        numbers: RealArray = np.array(self.entries, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise self._missing(int(np.flatnonzero(~np.isfinite(numbers))[0]))
        return numbers

    def _missing(self, row: int) -> ValueError:
        return ValueError(
            f"{self.source}: the value of {self.name!r} in row {row} is missing or not finite; "
            "drop or fill such rows before"
        )


def _attributes(file: Path) -> list[_Attribute]:
    content = _parsed(file)
    if not content["data"]:
        raise ValueError(f"{file} has no rows")
    columns = zip(*content["data"], strict=True)
    found = []
    for (name, kind), entries in zip(content["attributes"], columns, strict=True):
        if kind == "STRING":
            raise ValueError(f"{file}: {name!r} is a STRING; numbers and nominals are allowed")
        values = () if isinstance(kind, str) else tuple(kind)
        found.append(_Attribute(str(file), name, values, entries))
    return found


def _parsed(file: Path) -> Any:
    """The file's attributes and rows; a sparse file's rows filled with what zero stands for.

    SciPy's public parser refuses quoted values unless the first row has one, and sparse files.
    """
    from sklearn.externals import _arff

    opener: Any = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8") as stream:
            return _arff.load(stream)
    except (_arff.ArffException, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file} is no ARFF file of numbers and nominals: {error}") from error
