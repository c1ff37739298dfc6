"""States of sentences in few coordinates, and the areas by which the claim judges them."""

import numpy as np
import pytest
import torch

from numerics.concepts.sentences import SHARED
from numerics.concepts.text_states import split_states
from proofs_check.claims.concepts.detection import NEEDS
from proofs_check.claims.concepts.detection_readings import FOLDS, area, read

REASON = "the extra agop-theory[concepts] is not installed"


def rng():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def found():
    for name in NEEDS:
        pytest.importorskip(name, reason=REASON)
    from numerics.concepts.encoder import SentenceEncoder

    return split_states(SentenceEncoder(), rng(), train=64, held_out=24, layers=[1, 4], dimension=6)


def test_states_are_centred_scaled_and_uncorrelated_on_the_training_text_only(found):
    assert list(found.train) == list(found.held_out) == ["encoder.layer.1", "encoder.layer.4"]
    for name, X in found.train.items():
        assert (X.shape, found.held_out[name].shape) == ((64, 6), (24, 6))
        np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
        assert np.mean((X**2).sum(axis=1)) == pytest.approx(1)
        covariance = X.T @ X
        np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-10)
        assert np.all(np.diff(np.diag(covariance)) < 0)
        assert np.abs(found.held_out[name].mean(axis=0)).max() > 1e-3


class Lengths:
    """Stands for an encoder, whose states are the texts' number, length and token's length."""

    def hidden_states(self, texts, layers, token):
        rows = [[i, len(text), len(token)] for i, text in enumerate(texts)]
        return {name: torch.tensor(rows, dtype=torch.float32) for name in layers}


def test_a_split_holds_both_halves_of_the_words():
    found = split_states(Lengths(), rng(), train=30, held_out=9, layers=["a"], dimension=2)
    train, held_out = (
        {word for text in part.texts for word in text.strip(".").split(" ")}
        for part in (found.train_text, found.held_out_text)
    )
    assert train & held_out <= SHARED
    assert (len(found.train_text.texts), len(found.held_out_text.texts)) == (30, 9)
    texts = [*found.train_text.texts, *found.held_out_text.texts]
    X = np.array([[i, len(text)] for i, text in enumerate(texts)], dtype=float)
    centred = X - X[:30].mean(0)
    _, axes = np.linalg.eigh(centred[:30].T @ centred[:30])
    expected = centred @ axes[:, ::-1] / np.sqrt(np.mean((centred[:30] ** 2).sum(1)))
    states = np.concatenate([found.train["a"], found.held_out["a"]])
    np.testing.assert_allclose(np.abs(states), np.abs(expected), atol=1e-12)


def test_more_axes_than_there_are_are_refused():
    with pytest.raises(ValueError, match="dimension = 30 must be less than train = 30"):
        split_states(Lengths(), rng(), train=30, held_out=9, dimension=30)
    with pytest.raises(ValueError, match="dimension = 4 must be at most 3"):
        split_states(Lengths(), rng(), train=30, held_out=9, layers=["a"], dimension=4)
    with pytest.raises(ValueError, match="n = 7 must be an integer >= 8"):
        split_states(Lengths(), rng(), train=30, held_out=7, dimension=4)


def test_the_area_is_the_share_of_ordered_pairs():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    scores, positive = rng.integers(5, size=50) * 1.0, rng.random(50) < 0.4
    assert area(scores, positive) == pytest.approx(roc_auc_score(positive, scores), rel=1e-12)
    assert area(-scores, positive) == pytest.approx(1 - area(scores, positive), rel=1e-12)


@pytest.mark.parametrize("probe", ["mean_difference", "pca", "rfm"])
def test_readings_are_those_of_the_detector(found, probe):
    from numerics.concepts.detector import ConceptDetector

    labels = found.train_text.label("sentiment")
    features = "predictions" if probe == "rfm" else "projections"
    detector = ConceptDetector(probe, "logistic", features=features, folds=FOLDS, random_state=3)
    seed = detector._plan().seed
    detector.fit(found.train, labels)
    mine = read(found, probe, labels, seed)
    np.testing.assert_array_equal(mine.whole, detector.decision_function(found.held_out))
    np.testing.assert_array_equal(mine.layers, detector.layer_scores(found.held_out))
    np.testing.assert_array_equal(mine.directions, list(detector.directions().values()))


def test_the_block_is_chosen_on_the_training_text(found):
    labels = found.train_text.label("sentiment")
    noise = np.random.default_rng(0).normal(size=(88, 6))
    names = list(found.train)
    train, held_out = {names[0]: noise[:64]}, {names[0]: noise[64:]}
    train[names[1]], held_out[names[1]] = found.train[names[1]], found.held_out[names[1]]
    states = type(found)(found.train_text, found.held_out_text, train, held_out)
    assert read(states, "mean_difference", labels, 0).chosen == 1
    swapped = {name: train[name] for name in reversed(names)}
    states = type(found)(found.train_text, found.held_out_text, swapped, held_out)
    assert read(states, "mean_difference", labels, 0).chosen == 0
