"""Detectors of concepts in the hidden states of a network's layers, as scikit-learn estimators."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .aggregators import AGGREGATORS, probabilities
from .detector_base import ConceptMachine
from .probes import PROBES
from .states import Layer, States, check_range
from .targets import Numbers, Target, class_number


class ConceptDetector(ClassifierMixin, ConceptMachine):  # type: ignore[misc]
    """Detects a concept in the hidden states of all layers (paper A).

    In each layer a probe finds concept vectors. The states' projections onto them, of all layers
    together, go into an aggregator; or the probes' own predictions, which is stacked generalisation
    (Wolpert, Neural Networks 5, 1992). What the aggregator learns of a sample comes from the probes
    of the other folds, so that no label reaches it through the probe; the final probes are fitted
    to all samples. Vectors and directions are the same either way.

    States are a mapping from layers to (n, d_ℓ), an array (n, layers, d) whose layers are named
    0, 1, …, or an array (n, d) of the one layer 0; NumPy's or torch's, on any device. float16 and
    bfloat16 are taken as float32, float32 and float64 as they are, all else as float64. Projections
    and aggregators are in float64, on the CPU. The probes' bandwidths, ridges and penalties are
    paper A's whatever the states' units: with states far from its own, rescale them. With a
    mapping, layers that were not fitted are ignored later. `GridSearchCV` and others that split
    samples need one of the arrays.

    Args:
        probe: "rfm" (AGOP of a recursive feature machine), "linear", "logistic", "mean_difference"
            or "pca" (of the differences of pairs, one of each class); see `probes`.
        aggregator: "linear" (ridge), "logistic", "rfm", or None: the mean of the layers' own
            linear scores, so that nothing is learned across layers.
        features: What the aggregators see of a layer: "projections", or "predictions", one number,
            or for C > 2 classes C. Of "rfm" these are the outputs of the machine whose AGOP gives
            the vectors. No linear or logistic aggregator can read a concept like the sign of x₁x₂
            off projections, but off predictions it can. They need the machine with its states, (n,
            d) in each layer, also in files. Predictions of "linear" and "logistic" are projections
            in other units; those of "mean_difference" and "pca" are the projections.
        vectors_per_layer: Vectors of "rfm" and "pca", by default 5, never more than d. The other
            probes give one vector, or for C > 2 classes C, and ignore it.
        folds: Of the cross-fitting; each class needs as many samples. They are shuffled by the
            samples' positions: the same samples in another order are another draw.
        random_state: Of the folds, and of the parts that tune the probes. The same integer gives
            the same detector, bit by bit, on the same machine with as many threads.

    Attributes:
        classes_: The labels, sorted.
        layers_: The layers, in the order of the states.
        vectors_: By layer the vectors, shape (k, d), of unit norm, the most important first. Their
            projections correlate positively with the second of two classes; of more classes, with
            the one to which the correlation is strongest.
        probes_: By layer the `Probe`, with the parameters that validation chose.
        aggregates_: By layer the aggregator of this layer alone.
        aggregate_: The aggregator of all; None if `aggregator` is.
        n_features_in_: d, where states of shape (n, d) were fitted.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> labels = np.where(np.arange(200) % 2, "yes", "no")
    >>> states = {name: rng.normal(size=(200, 4)) for name in ("first", "second")}
    >>> for state in states.values():
    ...     state[1::2, 0] += 2
    >>> detector = ConceptDetector("mean_difference", random_state=0).fit(states, labels)
    >>> detector.score(states, labels) > 0.9, detector.layer_scores(states).shape
    (True, (200, 2))
    >>> bool(detector.directions()["first"][0] > 0.9)
    True
    """

    _probes = PROBES
    _aggregators = AGGREGATORS

    def fit(self, states: States, y: Any) -> Self:
        """Find the vectors of all layers, and fit the aggregator.

        Args:
            states: See above.
            y: Labels, shape (n,): numbers or strings, at least two different ones.

        Raises:
            TypeError: If states are not real numbers, or a parameter has the wrong type.
            ValueError: If shapes do not fit together, an entry is NaN, infinite or beyond 1e140,
                a layer's states vary by less than 1e-140 but are not constant, y holds one class or
                real numbers, a class has fewer samples than folds, or a parameter is unknown.
            numpy.linalg.LinAlgError: If no matrix of the RFM probe can be inverted.
        """
        plan = self._plan()
        layers, labels = self._read(states, y, numeric=False)
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds 1 class, {self.classes_[0]!r}; there must be at least 2")
        counts = np.bincount(index)
        if counts.min() < plan.folds:
            rare = self.classes_[counts.argmin()]
            raise ValueError(
                f"class {rare!r} has {counts.min()} samples, must have at least folds = "
                f"{plan.folds}"
            )
        self._learn(layers, Target(index.astype(np.float64), len(self.classes_)), plan)
        return self

    def decision_function(self, states: States) -> Numbers:
        """The aggregated score: (n,), positive for the second of two classes; else (n, C)."""
        return self._squeezed(self._scores(states))

    def layer_scores(self, states: States) -> Numbers:
        """Each layer's own score: (n, layers); for C > 2 classes (n, layers, C).

        It comes from an aggregator of the same kind that was fitted to this layer's features alone.
        """
        return self._squeezed(self._layer_scores(self._features(states)))

    def predict(self, states: States) -> NDArray[Any]:
        """The class of the largest score."""
        scores = self.decision_function(states)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[index]
        return labels

    def predict_proba(self, states: States) -> Numbers:
        """Probabilities, shape (n, C), whose largest is that of the predicted class.

        With "logistic" the regression's own. Otherwise the probability vectors nearest to what was
        fitted by least squares, some of whose entries are exactly 0 and 1.
        """
        scores = self._scores(states)
        return probabilities(self.aggregator or "linear", scores)

    def directions(self, target: Any = None) -> dict[Layer, Numbers]:
        """By layer the unit vector (d,) along which a class becomes more likely, for steering.

        For two classes it is the first of `vectors_`, or its negative for the first class. For more
        it is the class's own vector, by that class's sign; for "rfm" and "pca" what of the class's
        mean less the mean of the others lies in the vectors' span.

        Args:
            target: A class; by default the second of two.

        Raises:
            ValueError: If it is not a class, or must be named as there are more than two.
        """
        check_is_fitted(self)
        classes = self.classes_.tolist()
        if target is None and len(classes) == 2:
            target = classes[1]
        number = class_number(target, classes)
        if len(classes) == 2:
            sign = 1.0 if number else -1.0
            return {name: sign * probe.directions[0] for name, probe in self.probes_.items()}
        return {name: probe.directions[number].copy() for name, probe in self.probes_.items()}

    def _squeezed(self, scores: Numbers) -> Numbers:
        return scores[..., 0] if len(self.classes_) == 2 else scores


class ConceptRegressor(RegressorMixin, ConceptMachine):  # type: ignore[misc]
    """Reads a numeric concept off the hidden states of all layers; see `ConceptDetector`.

    Args:
        probe: "rfm" or "linear".
        aggregator: "linear", "rfm", or None for the mean of the layers' own linear predictions.
        features: What the aggregators see of a layer: "projections" or the probe's "predictions".
        vectors_per_layer: Vectors of "rfm", by default 5; "linear" gives one.
        folds: Of the cross-fitting, shuffled; as many samples are needed.
        random_state: Of the folds, and of the parts that tune the probes.

    Attributes:
        mean_: Mean of the numbers.
        spread_: Their standard deviation, 1 if it is 0.
        layers_: The layers.
        vectors_: By layer the vectors, shape (k, d), whose projections correlate positively with
            the number.
        probes_: By layer the `Probe`.
        aggregates_: By layer the aggregator of this layer alone.
        aggregate_: The aggregator of all; None if `aggregator` is.
    """

    _probes = ("rfm", "linear")
    _aggregators = ("linear", "rfm")

    def fit(self, states: States, y: Any) -> Self:
        """Find the vectors of all layers, and fit the aggregator.

        Args:
            states: As for `ConceptDetector`.
            y: Numbers, shape (n,).

        Raises:
            TypeError: If states are not real numbers, or a parameter has the wrong type.
            ValueError: If shapes do not fit together, an entry is NaN, infinite or beyond 1e140, a
                layer's states or the numbers vary by less than 1e-140 but are not constant, there
                are fewer samples than folds, or a parameter is unknown.
        """
        plan = self._plan()
        layers, numbers = self._read(states, y, numeric=True)
        if len(numbers) < plan.folds:
            samples = "1 sample" if len(numbers) == 1 else f"{len(numbers)} samples"
            raise ValueError(f"there must be at least folds = {plan.folds} samples, not {samples}")
        check_range("y", numbers)
        target = Target(numbers.astype(np.float64))
        self.mean_ = float(target.numbers.mean())
        self.spread_ = float(target.numbers.std()) or 1.0
        self._learn(layers, target, plan)
        return self

    def predict(self, states: States) -> Numbers:
        """The number, shape (n,)."""
        scores = self._scores(states)[:, 0]
        return self.mean_ + self.spread_ * scores

    def layer_scores(self, states: States) -> Numbers:
        """Each layer's own prediction, shape (n, layers)."""
        scores = self._layer_scores(self._features(states))[..., 0]
        return self.mean_ + self.spread_ * scores

    def directions(self) -> dict[Layer, Numbers]:
        """By layer the unit vector (d,) along which the number grows: the first of `vectors_`."""
        check_is_fitted(self)
        return {name: probe.directions[0].copy() for name, probe in self.probes_.items()}
