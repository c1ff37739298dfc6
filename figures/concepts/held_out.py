"""Scores of detectors on sentences of held-out words, and the Gaussian laws beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plot import Floats
from ..style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SOLID, Look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numerics.concepts.detector import ConceptDetector
    from numerics.concepts.text_states import SplitStates
    from theory.concepts.class_moments import ClassMoments

PROBES = {
    "rfm": ("RFM", Look(BLUE, SOLID, "o", filled=True)),
    "linear": ("ridge", Look(BLACK, SOLID, "D")),
    "logistic": ("logistic", Look(ORANGE, SOLID, "s")),
    "mean_difference": ("mean difference", Look(GREEN, SOLID, "^")),
    "pca": ("PCA of pairs", Look(PURPLE, SOLID, "v")),
}
CONCEPTS = {"sentiment": "sentiment", "sentiment*tense": "sentiment × tense"}


def detector(states: SplitStates, probe: str, concept: str, seed: int) -> ConceptDetector:
    """A detector that learned a concept from the training sentences, in two folds.

    Of "rfm" the logistic aggregator sees the machines' predictions, of the others projections.
    """
    from numerics.concepts.detector import ConceptDetector

    features = "predictions" if probe == "rfm" else "projections"
    model = ConceptDetector(probe, "logistic", features=features, folds=2, random_state=seed)
    return model.fit(states.train, states.train_text.label(concept))


def score_moments(scores: Floats, labels: NDArray[np.int64]) -> ClassMoments:
    """Of scores along a direction v: vᵀm, vᵀμ and vᵀΣ_±v of the states, as matrices of size 1."""
    from theory.concepts.class_moments import moments_of_states

    return moments_of_states(scores[:, None], labels)
