"""Detectors in files: bit-identical, atomic, and refused by name if they are anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from numerics.concepts.detector import ConceptDetector, ConceptRegressor

pytest.importorskip("safetensors")
from numerics.concepts import saving


def states(n=60, classes=2):
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    layers = {name: rng.normal(size=(n, 6)).astype(np.float32) for name in ("low", 7)}
    layers["low"][np.arange(n), y] += 2
    return layers, y


@pytest.mark.parametrize("aggregator", ["linear", "logistic", "rfm", None])
@pytest.mark.parametrize("classes", [2, 3])
def test_loaded_detector_predicts_bit_identically(tmp_path, aggregator, classes):
    layers, y = states(classes=classes)
    labels = np.array(["no", "yes", "perhaps"])[y]
    detector = ConceptDetector("pca", aggregator, random_state=0).fit(layers, labels)
    saving.save(detector, tmp_path / "a")
    loaded = saving.load(tmp_path / "a")
    for name in ("decision_function", "predict_proba", "layer_scores", "predict"):
        assert np.array_equal(getattr(loaded, name)(layers), getattr(detector, name)(layers))
    assert loaded.get_params() == detector.get_params()
    assert loaded.classes_.dtype == detector.classes_.dtype
    target = labels[0]
    ours, theirs = detector.directions(target), saving.load_directions(tmp_path / "a", target)
    assert all(np.array_equal(ours[name], theirs[name]) for name in layers)


def test_regressor_is_saved(tmp_path):
    layers, _ = states()
    y = layers["low"][:, 2] * 3.0 + 1
    model = ConceptRegressor("linear", random_state=0).fit(layers, y)
    saving.save(model, tmp_path / "a")
    assert np.array_equal(saving.load(tmp_path / "a").predict(layers), model.predict(layers))
    assert np.array_equal(saving.load_directions(tmp_path / "a")[7], model.directions()[7])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("aggregator", "classes"), [("linear", 2), ("logistic", 3)])
def test_machines_of_probes_are_saved(tmp_path, dtype, aggregator, classes):
    layers, y = states(classes=classes)
    layers = {name: X.astype(dtype) for name, X in layers.items()}
    model = ConceptDetector("rfm", aggregator, features="predictions", folds=2, random_state=0)
    saving.save(model.fit(layers, y), tmp_path / "a")
    loaded = saving.load(tmp_path / "a")
    assert loaded.get_params() == model.get_params()
    assert loaded.probes_["low"].machine.centres.numpy().dtype == dtype
    for n in (60, 7, 1):
        some = {name: X[:n] for name, X in layers.items()}
        for method in ("decision_function", "layer_scores"):
            assert np.array_equal(getattr(loaded, method)(some), getattr(model, method)(some))
    saving.save(loaded, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("probe", ["linear", "rfm"])
def test_regressor_of_predictions_is_saved(tmp_path, probe):
    layers, _ = states()
    y = layers["low"][:, 2] * 3.0 + 1
    model = ConceptRegressor(probe, features="predictions", folds=2, random_state=0).fit(layers, y)
    saving.save(model, tmp_path / "a")
    assert np.array_equal(saving.load(tmp_path / "a").predict(layers), model.predict(layers))


def test_file_of_version_1_is_read(tmp_path):
    """It has neither features nor offsets."""
    layers, y = states()
    path = saved(tmp_path)
    description, arrays = saving._read(path)
    description["version"] = 1
    del description["parameters"]["features"], description["kernel"]
    for i in range(len(layers)):
        del arrays[f"layers.{i}.offset"]
    text = json.dumps(description)
    envelope = {"description": text, "digest": saving._digest(text, arrays)}
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(arrays, path, metadata={saving.FORMAT: json.dumps(envelope)})
    model = ConceptDetector("mean_difference", random_state=0).fit(layers, y)
    loaded = saving.load(path)
    assert np.array_equal(loaded.decision_function(layers), model.decision_function(layers))
    assert loaded.features == "projections"


def test_same_seed_same_bytes(tmp_path):
    layers, y = states()
    for name, features in (("a", "projections"), ("b", "projections"), ("c", "predictions")):
        model = ConceptDetector("rfm", "rfm", features=features, folds=2, random_state=3)
        saving.save(model.fit(layers, y), tmp_path / name)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_directions_need_no_scikit_learn(tmp_path):
    layers, y = states()
    saving.save(ConceptDetector("linear", random_state=0).fit(layers, y), tmp_path / "a")
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from numerics.concepts.saving import load_directions\n"
        f"print(sorted(map(str, load_directions({str(tmp_path / 'a')!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['7', 'low']"


def saved(tmp_path):
    layers, y = states()
    path = tmp_path / "a"
    saving.save(ConceptDetector("mean_difference", random_state=0).fit(layers, y), path)
    return path


def test_other_files_are_refused(tmp_path):
    from safetensors.numpy import save_file

    path = saved(tmp_path)
    content = path.read_bytes()
    for cut in (0, 5, 100, len(content) - 8):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"truncated|not a file"):
            saving.load(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="edited"):
        saving.load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="not a file that"):
        saving.load(path)
    with pytest.raises(FileNotFoundError):
        saving.load(tmp_path / "none")


@pytest.mark.parametrize(("version", "match"), [(3, "newer"), (2, "edited"), (1, "edited")])
def test_newer_version_and_edited_description_are_refused(tmp_path, version, match):
    path = saved(tmp_path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    envelope = json.loads(header["__metadata__"][saving.FORMAT])
    description = json.loads(envelope["description"]) | {"version": version, "classes": [0, 2]}
    envelope["description"] = json.dumps(description)
    header["__metadata__"][saving.FORMAT] = json.dumps(envelope)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    with pytest.raises(ValueError, match=match):
        saving.load(path)


def forged(path, **changes):
    """The file with another description, and a digest that is right."""
    description, arrays = saving._read(path)
    text = json.dumps(description | changes)
    envelope = {"description": text, "digest": saving._digest(text, arrays)}
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(arrays, path, metadata={saving.FORMAT: json.dumps(envelope)})
    return path


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kind": "check_is_fitted"}, "kind = 'check_is_fitted' must be one of ConceptDetector"),
        ({"layers": ["low", 7, "top"]}, "lacks or mistakes a part of a detector: IndexError"),
        ({"parameters": {"kernel": 3}}, "lacks or mistakes a part of a detector: TypeError"),
    ],
)
def test_descriptions_that_fit_no_detector_are_refused(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        saving.load(forged(saved(tmp_path), **changes))


def test_a_file_gives_no_other_attributes(tmp_path):
    loaded = saving.load(forged(saved(tmp_path), attributes={"predict": 3, "n_features_in_": 4}))
    assert callable(loaded.predict)
    assert loaded.n_features_in_ == 4


def test_every_cut_and_every_changed_byte_is_noticed(tmp_path):
    path = saved(tmp_path)
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(len(content), size=60):
        for damaged in (
            content[:place],
            content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :],
            content[:place] + content[place + 1 :],
            content + content[place:],
        ):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"not a file|newer|truncated|edited"):
                saving.load(path)


def test_directions_of_files_are_named_by_class(tmp_path):
    layers, y = states()
    model = ConceptDetector("linear", random_state=0).fit(layers, y)
    saving.save(model, tmp_path / "a")
    for target in (None, 0, 1):
        found, wanted = saving.load_directions(tmp_path / "a", target), model.directions(target)
        assert list(found) == ["low", 7]
        assert all(np.array_equal(found[name], wanted[name]) for name in layers)
    for wrong in (2, [0, 1]):
        with pytest.raises(ValueError, match=r"must be one of the classes \[0, 1\]"):
            saving.load_directions(tmp_path / "a", wrong)


def test_tables_columns_and_parameters_are_kept(tmp_path):
    pandas = pytest.importorskip("pandas")
    layers, y = states()
    table = pandas.DataFrame(layers["low"], columns=list("abcdef"))
    options = {"vectors_per_layer": np.int64(2), "random_state": np.random.RandomState(0)}
    model = ConceptDetector("pca", **options).fit(table, y == 1)
    saving.save(model, tmp_path / "a")
    loaded = saving.load(tmp_path / "a")
    assert (loaded.vectors_per_layer, loaded.random_state) == (2, None)
    assert loaded.feature_names_in_.tolist() == list("abcdef")
    assert loaded.n_features_in_ == 6
    assert loaded.classes_.dtype == bool
    assert loaded.probes_[0].chosen == model.probes_[0].chosen
    assert np.array_equal(loaded.predict(table), model.predict(table))
    saving.save(loaded, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_classes_that_json_has_not_are_refused(tmp_path):
    layers, y = states()
    detector = ConceptDetector("mean_difference", random_state=0).fit(layers, y)
    detector.classes_ = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]")
    with pytest.raises(TypeError, match="must be strings, numbers or bools to be saved"):
        saving.save(detector, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved(tmp_path)
    content = path.read_bytes()
    layers, y = states(80)
    detector = ConceptDetector("linear", random_state=0).fit(layers, y)

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        saving.save(detector, path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match="must be one of ConceptDetector"):
        saving.save(3, tmp_path / "a")
    with pytest.raises(ValueError, match="not fitted"):
        saving.save(ConceptDetector(), tmp_path / "a")
