"""Detectors as safetensors files: arrays, and in the header a description in JSON.

The file holds no code. By any reader of safetensors its steering directions are the tensors
`layers.<i>.directions`, and their layers' names are in the description; `load_directions` reads
them without scikit-learn. A digest over the description and all arrays tells edited files.

Feature machines, of an aggregator "rfm" and for predictions of a probe "rfm", are kept with the
points they were fitted to and three matrices d × d, in the precision of the fit. A probe's are four
fifths of the states.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..rfm.kernels import Laplace
from ..rfm.learned_metric import Metric
from ..rfm.machine import Machine
from .aggregators import Aggregate
from .probes import Probe
from .targets import class_number

if TYPE_CHECKING:
    from .detector import ConceptDetector, ConceptRegressor

FORMAT = "agop-theory.concepts"
"""Key of the description in the file's header."""
VERSION = 2
"""1 knew projections only."""
KINDS = ("ConceptDetector", "ConceptRegressor")
PARAMETERS = ("probe", "aggregator", "features", "vectors_per_layer", "folds", "random_state")
ATTRIBUTES = ("mean_", "spread_", "n_features_in_")
"""Those of some detectors only."""

Arrays = dict[str, NDArray[Any]]


def save(detector: ConceptDetector | ConceptRegressor, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector or regressor to a file, which is replaced only when all is written.

    A `random_state` that is no integer is written as None.

    Args:
        detector: Fitted.
        path: The file; its folder must exist.

    Raises:
        TypeError: If it is neither, or a class is no string, number or bool.
        sklearn.exceptions.NotFittedError: If it is not fitted.
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be written.
    """
    from sklearn.utils.validation import check_is_fitted

    if type(detector).__name__ not in KINDS or not hasattr(detector, "get_params"):
        raise TypeError(f"{detector!r} must be one of {', '.join(KINDS)}")
    check_is_fitted(detector)
    arrays: Arrays = {}
    description = {"version": VERSION, **_described(detector, arrays)}
    text = json.dumps(description, allow_nan=False)
    header = {FORMAT: json.dumps({"description": text, "digest": _digest(text, arrays)})}
    _replace(Path(path), _safetensors().save(arrays, metadata=header))


def load(path: str | os.PathLike[str]) -> ConceptDetector | ConceptRegressor:
    """Read a detector or regressor, which predicts as the saved one did, bit by bit.

    Raises:
        ValueError: If the file is no such file, is truncated, was edited, or was written by a newer
            version.
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be read.
    """
    description, arrays = _read(Path(path))
    try:
        made: ConceptDetector | ConceptRegressor = _made(description, arrays)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} lacks or mistakes a part of a detector: {error!r}") from None
    return made


def _made(description: Mapping[str, Any], arrays: Arrays) -> Any:
    from . import detector as home

    if description["kind"] not in KINDS:
        raise ValueError(f"kind = {description['kind']!r} must be one of {', '.join(KINDS)}")
    made: Any = getattr(home, description["kind"])(**description["parameters"])
    made.layers_ = tuple(description["layers"])
    made.probes_, made.aggregates_ = {}, {}
    for i, name in enumerate(made.layers_):
        prefix = f"layers.{i}."
        made.probes_[name] = _probe(arrays, prefix, description, description["chosen"][i])
        made.aggregates_[name] = _aggregate(arrays, prefix + "aggregate.", description)
    made.aggregate_ = None
    if made.aggregator is not None:
        made.aggregate_ = _aggregate(arrays, "aggregate.", description)
    made.vectors_ = {name: probe.vectors for name, probe in made.probes_.items()}
    for name in ATTRIBUTES:
        if name in description["attributes"]:
            setattr(made, name, description["attributes"][name])
    if "classes" in description:
        made.classes_ = np.array(description["classes"], dtype=description["classes_dtype"])
    if "feature_names" in description:
        made.feature_names_in_ = np.array(description["feature_names"], dtype=object)
    return made


def load_directions(path: str | os.PathLike[str], target: Any = None) -> dict[str | int, Any]:
    """By layer the unit vector (d,) that `directions` gives, read without scikit-learn.

    Args:
        path: The file.
        target: A class; by default the second of two. None for a numeric concept.

    Raises:
        ValueError: As `load`; or if the target is not a class, or must be named.
    """
    description, arrays = _read(Path(path))
    classes = description.get("classes", [])
    vectors = {
        name: arrays[f"layers.{i}.directions"] for i, name in enumerate(description["layers"])
    }
    if target is None and len(classes) <= 2:
        return {name: rows[0].copy() for name, rows in vectors.items()}
    number = class_number(target, classes)
    if len(classes) == 2:
        sign = 1.0 if number else -1.0
        return {name: sign * rows[0] for name, rows in vectors.items()}
    return {name: rows[number].copy() for name, rows in vectors.items()}


def _described(detector: Any, arrays: Arrays) -> dict[str, Any]:
    """The description, while the arrays are collected."""
    chosen = []
    for i, name in enumerate(detector.layers_):
        _keep_probe(arrays, f"layers.{i}.", detector.probes_[name])
        _keep_aggregate(arrays, f"layers.{i}.aggregate.", detector.aggregates_[name])
        chosen.append(dict(detector.probes_[name].chosen))
    if detector.aggregate_ is not None:
        _keep_aggregate(arrays, "aggregate.", detector.aggregate_)
    machines = _machines(detector)
    for prefix, machine in machines.items():
        _keep_machine(arrays, prefix + "machine.", machine)
    description = {
        "kind": type(detector).__name__,
        "parameters": _parameters(detector),
        "layers": list(detector.layers_),
        "chosen": chosen,
        "attributes": {a: getattr(detector, a) for a in ATTRIBUTES if hasattr(detector, a)},
        "aggregates": detector.aggregates_[detector.layers_[0]].kind,
        "kernel": "laplace",
        "bandwidths": {prefix: machine.kernel.bandwidth for prefix, machine in machines.items()},
    }
    if hasattr(detector, "classes_"):
        description |= _classes(detector.classes_)
    if hasattr(detector, "feature_names_in_"):
        description["feature_names"] = list(detector.feature_names_in_)
    return description


def _machines(detector: Any) -> dict[str, Machine]:
    """The feature machines of probes and aggregators, by the prefix of their arrays."""
    owners = {"aggregate.": detector.aggregate_}
    for i, name in enumerate(detector.layers_):
        owners[f"layers.{i}."] = detector.probes_[name]
        owners[f"layers.{i}.aggregate."] = detector.aggregates_[name]
    return {
        prefix: owner.machine
        for prefix, owner in owners.items()
        if owner is not None and owner.machine is not None
    }


def _parameters(detector: Any) -> dict[str, Any]:
    values = {name: getattr(detector, name) for name in PARAMETERS}
    for name, value in values.items():
        if isinstance(value, np.integer):
            values[name] = int(value)
    if not isinstance(values["random_state"], int):
        values["random_state"] = None
    return values


def _classes(classes: NDArray[Any]) -> dict[str, Any]:
    values = classes.tolist()
    if not all(isinstance(value, str | int | float) for value in values):
        raise TypeError(f"classes {values} must be strings, numbers or bools to be saved")
    return {"classes": values, "classes_dtype": classes.dtype.str}


def _keep_probe(arrays: Arrays, prefix: str, probe: Probe) -> None:
    for name in ("vectors", "directions", "axes", "mean", "offset"):
        arrays[prefix + name] = np.ascontiguousarray(getattr(probe, name))


def _probe(
    arrays: Arrays, prefix: str, description: Mapping[str, Any], chosen: Mapping[str, Any]
) -> Probe:
    vectors, directions, axes, mean = (
        arrays[prefix + name] for name in ("vectors", "directions", "axes", "mean")
    )
    offset = arrays.get(prefix + "offset", np.zeros(len(axes)))  # version 1 had none
    machine = _machine(arrays, prefix, description)
    return Probe(vectors, directions, axes, mean, offset, chosen, machine)


def _keep_aggregate(arrays: Arrays, prefix: str, aggregate: Aggregate) -> None:
    for name in ("centre", "scale", "weights", "offset"):
        if getattr(aggregate, name) is not None:
            arrays[prefix + name] = np.ascontiguousarray(getattr(aggregate, name))


def _keep_machine(arrays: Arrays, prefix: str, machine: Machine) -> None:
    tensors = {"alpha": machine.alpha, "centres": machine.centres, "agop": machine.agop}
    metric = machine.metric
    tensors |= {"spectrum": metric.spectrum}
    if metric.M is not None and metric.root is not None:
        tensors |= {"M": metric.M, "root": metric.root}
    for name, tensor in tensors.items():
        arrays[prefix + name] = np.ascontiguousarray(tensor.numpy())


def _aggregate(arrays: Arrays, prefix: str, description: Mapping[str, Any]) -> Aggregate:
    centre, scale, offset = (arrays[prefix + name] for name in ("centre", "scale", "offset"))
    machine = _machine(arrays, prefix, description)
    weights = arrays.get(prefix + "weights")
    return Aggregate(description["aggregates"], centre, scale, weights, offset, machine)


def _machine(arrays: Arrays, prefix: str, description: Mapping[str, Any]) -> Machine | None:
    bandwidth = description["bandwidths"].get(prefix)
    if bandwidth is None:
        return None
    prefix += "machine."
    # Made by torch, which aligns memory: products round by that, too.
    parts = {
        name.removeprefix(prefix): torch.tensor(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    metric = Metric(parts.get("M"), parts.get("root"), parts["spectrum"])
    return Machine(Laplace(bandwidth), parts["alpha"], parts["centres"], metric, parts["agop"], 0)


def _digest(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Description and arrays of a file, refused if they are not what was written."""
    content = path.read_bytes()
    library = _safetensors()
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])["__metadata__"][FORMAT]
        envelope = json.loads(header)
        text, digest = envelope["description"], envelope["digest"]
        description = json.loads(text)
        version = description["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is not a file that numerics.concepts saved") from None
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(
            f"{path} has version {version!r}, and versions up to {VERSION} are known: it was "
            "written by a newer agop-theory"
        )
    try:
        arrays = {name: array.copy() for name, array in library.load(content).items()}
    except Exception as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from None
    if digest != _digest(text, arrays):
        raise ValueError(f"{path} was edited after it had been saved: its digest is another")
    return description, arrays


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "saving and loading detectors needs safetensors: pip install 'agop-theory[concepts]'"
        ) from error
    return safetensors.numpy


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file and rename, so that there is never half a file."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
