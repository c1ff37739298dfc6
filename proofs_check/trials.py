"""One leg run once: on the claim itself, and on its mutants.

Nothing that a leg does may be mistaken for a pass: exceptions, NaN, truth values that are not
booleans and figures that are not numbers all count as a broken leg.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from numbers import Integral, Real

import numpy as np

from .claim import (
    Claim,
    Evidence,
    Formulas,
    Kind,
    Leg,
    Mutant,
    Setting,
    UndecidedError,
)

Figure = int | float | str

CHEAPEST_FIRST = (Kind.DIRECT, Kind.EXACT, Kind.CERTIFIED, Kind.SIMULATED, Kind.TRAINED)
"""One generic high-precision point kills nearly every wrong formula, and costs nothing."""


class Outcome(StrEnum):
    """What became of a leg."""

    HELD = "held"
    REFUTED = "refuted"
    BROKEN = "broken"
    UNDECIDED = "undecided"
    SKIPPED = "over budget"
    MISSING = "not installed"
    LEFT_OUT = "left out"

    @property
    def ran(self) -> bool:
        """Whether the leg ran at all."""
        return self not in (Outcome.SKIPPED, Outcome.MISSING, Outcome.LEFT_OUT)

    @property
    def failed(self) -> bool:
        """Whether the leg spoke against the claim, or could not be trusted to speak."""
        return self in (Outcome.REFUTED, Outcome.BROKEN)


class Fate(StrEnum):
    """What a leg did to a mutant."""

    KILLED = "killed"
    KILLED_BY_ERROR = "killed by error"
    SURVIVED = "survived"
    UNDECIDED = "undecided"
    BROKE = "broke the leg"

    @property
    def fatal(self) -> bool:
        """Whether the mutant is dead."""
        return self in (Fate.KILLED, Fate.KILLED_BY_ERROR)


@dataclass(frozen=True)
class LegResult:
    """A leg and what it found, in plain data."""

    name: str
    kind: Kind
    whole: bool
    outcome: Outcome
    figures: Mapping[str, Figure] = field(default_factory=dict)
    detail: str = ""
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Kind and name, as in `exact:derivation`."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Trial:
    """One leg run on one mutant."""

    leg: str
    fate: Fate
    detail: str = ""


@dataclass(frozen=True)
class MutantResult:
    """A mutant and what the legs did to it.

    Attributes:
        description: What was done to the formula.
        trials: The legs that ran on it, in order.
        reason: Why it may live, if it is listed as equivalent.
        pending: Legs that read it and were not run, being over budget or left out.
    """

    description: str
    trials: tuple[Trial, ...]
    reason: str = ""
    pending: tuple[str, ...] = ()

    @property
    def killed_by(self) -> str:
        """The leg that killed it, or the empty string."""
        return next((trial.leg for trial in self.trials if trial.fate.fatal), "")

    @property
    def status(self) -> str:
        """`killed`, `equivalent` (a reason is listed), `pending` or `survived`."""
        if self.killed_by:
            return "killed"
        if self.reason:
            return "equivalent"
        return "pending" if self.pending else "survived"


def run_leg(leg: Leg, formulas: Formulas, setting: Setting) -> LegResult:
    """Run one leg on the claim's own formulas."""
    start = time.perf_counter()
    blank = LegResult(leg.name, leg.kind, leg.whole, Outcome.BROKEN)
    try:
        found = _read(leg.run(formulas, setting), blank)
    except UndecidedError as error:
        found = replace(blank, outcome=Outcome.UNDECIDED, detail=str(error))
    except Exception as error:  # whatever a leg raises must become a failure, never an end
        found = replace(blank, detail=last_line(error))
    return replace(found, seconds=time.perf_counter() - start)


def unrun(leg: Leg, outcome: Outcome, detail: str = "") -> LegResult:
    """The result of a leg that was not run."""
    return LegResult(leg.name, leg.kind, leg.whole, outcome, detail=detail)


def flaw(evidence: object) -> str:
    """Why something that a leg returned cannot be trusted; empty if it can."""
    if not isinstance(evidence, Evidence):
        return f"the leg returned {type(evidence).__name__}, not Evidence"
    if type(evidence.holds) is not bool:
        kind = type(evidence.holds)
        return f"holds is {evidence.holds!r} ({kind.__module__}.{kind.__name__}), not a bool"
    for name, value in evidence.figures.items():
        if not isinstance(value, Real | str):
            return f"the figure {name!r} is {type(value).__name__}, not a number or a string"
        if not isinstance(value, str) and math.isnan(value):
            return f"the figure {name!r} is NaN"
    return ""


def _read(evidence: Evidence, blank: LegResult) -> LegResult:
    if reason := flaw(evidence):
        return replace(blank, detail=reason)
    outcome = Outcome.HELD if evidence.holds else Outcome.REFUTED
    figures = {name: _plain(value) for name, value in evidence.figures.items()}
    return replace(blank, outcome=outcome, figures=figures, detail=evidence.detail)


def _plain(value: Figure) -> Figure:
    if isinstance(value, str):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def last_line(error: BaseException) -> str:
    """An exception in one line, as at the end of its traceback."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def try_mutants(
    claim: Claim, legs: Sequence[Leg], setting: Setting, every_leg: bool = False
) -> tuple[MutantResult, ...]:
    """Run the legs on the claim's mutants.

    Every mutant meets the legs that read its formula, the cheapest first, until one kills it.
    Then every leg that has not yet killed one is tried on the others until it has: a leg that lets
    every mutant live has shown nothing.

    Args:
        claim: The claim.
        legs: The legs that may run; the claim's other legs are named as pending.
        setting: Budget, seed and false-fail probability.
        every_leg: Run every leg on every mutant (the full kill matrix) instead.
    """
    from .mutation import mutants_of  # SymPy loads only when something is mutated

    mutants = mutants_of(claim)
    trials: list[list[Trial]] = [[] for _ in mutants]
    ready = sorted((x for x in legs if x.on_mutants), key=lambda x: CHEAPEST_FIRST.index(x.kind))
    for mutant, done in zip(mutants, trials, strict=True):
        done.extend(_until_killed(_meet(claim, mutant, ready, setting), every_leg))
    for leg in ready:
        _prove_teeth(claim, mutants, trials, leg, setting)
    return tuple(
        MutantResult(m.name, tuple(done), m.equivalent, _pending(claim, m, legs))
        for m, done in zip(mutants, trials, strict=True)
    )


def toothless_legs(legs: Sequence[Leg], mutants: Sequence[MutantResult]) -> tuple[str, ...]:
    """Labels of the legs that ran on mutants and killed none of them by judging it wrong.

    A kill by error does not count: it shows that a mutant cannot be evaluated, not that the leg
    compares anything.
    """
    trials = [trial for mutant in mutants for trial in mutant.trials]
    tried = {trial.leg for trial in trials}
    biting = {trial.leg for trial in trials if trial.fate is Fate.KILLED}
    return tuple(leg.label for leg in legs if leg.label in tried - biting)


def _meet(claim: Claim, mutant: Mutant, legs: Sequence[Leg], setting: Setting) -> Iterator[Trial]:
    return (_attempt(leg, claim, mutant, setting) for leg in legs if _reads(leg, mutant))


def _until_killed(trials: Iterator[Trial], every_leg: bool) -> Iterator[Trial]:
    for trial in trials:
        yield trial
        if trial.fate.fatal and not every_leg:
            return


def _prove_teeth(
    claim: Claim,
    mutants: Sequence[Mutant],
    trials: Sequence[list[Trial]],
    leg: Leg,
    setting: Setting,
) -> None:
    met = [trial for done in trials for trial in done if trial.leg == leg.label]
    if any(trial.fate is Fate.KILLED for trial in met):
        return
    for mutant, done in zip(mutants, trials, strict=True):
        if _reads(leg, mutant) and leg.label not in {trial.leg for trial in done}:
            done.append(_attempt(leg, claim, mutant, setting))
            if done[-1].fate is Fate.KILLED:
                return


def _attempt(leg: Leg, claim: Claim, mutant: Mutant, setting: Setting) -> Trial:
    formulas = {**claim.formulas, **mutant.formulas}
    try:
        # A wrong formula may well overflow or divide by zero on its way to being found out.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            evidence = leg.run(formulas, setting)
    except UndecidedError as error:
        return Trial(leg.label, Fate.UNDECIDED, str(error))
    except (ArithmeticError, ValueError) as error:
        return Trial(leg.label, Fate.KILLED_BY_ERROR, last_line(error))
    except Exception as error:  # a bug in the leg, such as a TypeError, must not pass for a kill
        return Trial(leg.label, Fate.BROKE, last_line(error))
    return Trial(leg.label, *_fate(evidence))


def _fate(evidence: Evidence) -> tuple[Fate, str]:
    reason = flaw(evidence)
    if reason.endswith("is NaN"):
        return Fate.KILLED_BY_ERROR, reason
    if reason:
        return Fate.BROKE, reason
    return (Fate.SURVIVED, "") if evidence.holds else (Fate.KILLED, evidence.detail)


def _reads(leg: Leg, mutant: Mutant) -> bool:
    return any(name in leg.reads for name in mutant.formulas)


def _pending(claim: Claim, mutant: Mutant, legs: Sequence[Leg]) -> tuple[str, ...]:
    ran = {leg.name for leg in legs}
    waiting = [leg for leg in claim.legs if leg.name not in ran and leg.on_mutants]
    return tuple(leg.label for leg in waiting if _reads(leg, mutant))
