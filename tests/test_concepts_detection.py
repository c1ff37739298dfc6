"""States of sentences in few coordinates, and the areas by which the claim judges them."""

import numpy as np
import pytest

from proofs_check.claims.concepts.detection import NEEDS
from proofs_check.claims.concepts.detection_readings import FOLDS, area, read

REASON = "the extra agop-theory[concepts] is not installed"


@pytest.fixture(scope="module")
def found():
    for name in NEEDS:
        pytest.importorskip(name, reason=REASON)
    from numerics.concepts.encoder import SentenceEncoder
    from numerics.concepts.text_states import split_states

    rng = np.random.default_rng(5)
    return split_states(SentenceEncoder(), rng, train=64, held_out=24, layers=[1, 4], dimension=6)


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
