"""Running the legs, and deriving the verdicts from what they found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .claim import FALSE_FAIL_BUDGET, Claim, Kind, Leg, Setting
from .claims import supports
from .trials import (
    LegResult,
    MutantResult,
    Outcome,
    last_line,
    run_leg,
    toothless_legs,
    try_mutants,
    unrun,
)


class Verdict(StrEnum):
    """What the legs of a claim amount to."""

    PROVED = "proved"
    SUPPORTED = "supported"
    UNKNOWN = "unknown"
    REFUTED = "refuted"
    FAILED = "failed"
    TOOTHLESS = "toothless"

    @property
    def holds(self) -> bool:
        """Whether the claim passes. Unknown does not."""
        return self in (Verdict.PROVED, Verdict.SUPPORTED)


@dataclass(frozen=True)
class Judgement:
    """A claim's results and the verdict that follows from them.

    Attributes:
        claim: The claim's id.
        title: Its title.
        legs: One result per leg, the ones that did not run included.
        mutants: One result per mutant; empty if a leg failed, because mutants then show nothing.
        verdict: The verdict.
        why: The reasons for a verdict that is not a pass, one sentence each.
        seconds: Time that the legs and the mutants took together.
    """

    claim: str
    title: str
    legs: tuple[LegResult, ...]
    mutants: tuple[MutantResult, ...]
    verdict: Verdict
    why: tuple[str, ...]
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        """Number of mutants that were killed."""
        return sum(mutant.status == "killed" for mutant in self.mutants)


@dataclass(frozen=True)
class Ledger:
    """The result of a run.

    Attributes:
        claims: All registered claims, also those that were not run.
        judgements: What was run, in the ledger's order.
        setting: Budget, seed and each simulated leg's false-fail probability.
        unfitting: Ids that were asked for but have no leg of the kind that was asked for.
    """

    claims: Mapping[str, Claim]
    judgements: tuple[Judgement, ...]
    setting: Setting
    unfitting: tuple[str, ...] = ()

    def given(self, claim: str) -> tuple[str, ...]:
        """Ids of the claims on which this one rests and that this run did not prove."""
        proved = {j.claim for j in self.judgements if j.verdict is Verdict.PROVED}
        return tuple(used for used in supports(claim, self.claims) if used not in proved)

    def headline(self, judgement: Judgement) -> str:
        """The verdict in words, with what it is conditional on and what it refutes."""
        words = str(judgement.verdict)
        if judgement.verdict.holds and (given := self.given(judgement.claim)):
            words += f", given {', '.join(given)}"
        if judgement.verdict.holds and (refuted := self.claims[judgement.claim].refutes):
            words += f", refutes: {refuted}"
        return words

    @property
    def exit_code(self) -> int:
        """0 if all hold, 1 if a claim is refuted, failed or toothless, 2 if one is unknown."""
        verdicts = [judgement.verdict for judgement in self.judgements]
        if any(not v.holds and v is not Verdict.UNKNOWN for v in verdicts):
            return 1
        return 2 if not verdicts or Verdict.UNKNOWN in verdicts else 0


def share_of_budget(claims: Iterable[Claim]) -> float:
    """The false-fail probability of each leg that draws random numbers.

    The budget of 1e-6 is shared over all such legs of the registry, whether they are run or not:
    a leg then has the same threshold when it is run alone, and its failure can be reproduced.
    """
    random = (Kind.SIMULATED, Kind.TRAINED)
    number = sum(leg.kind in random for claim in claims for leg in claim.legs)
    return FALSE_FAIL_BUDGET / max(1, number)


def judge(
    claim: Claim, setting: Setting, kind: Kind | None = None, matrix: bool = False
) -> Judgement:
    """Run the legs that the budget allows, of one kind or of all, and their mutants.

    With `matrix`, every mutant meets every leg, also after one has killed it.
    """
    start = time.perf_counter()
    results = tuple(_run_or_skip(leg, claim, setting, kind) for leg in claim.legs)
    held = [leg for leg, r in zip(claim.legs, results, strict=True) if r.outcome is Outcome.HELD]
    mutants: tuple[MutantResult, ...] = ()
    try:
        if held and not any(result.outcome.failed for result in results):
            mutants = try_mutants(claim, held, setting, matrix)
        verdict, why = derive(held, results, mutants)
    except Exception as error:  # for example an outdated list of equivalents: never a pass
        verdict, why = Verdict.FAILED, (f"the mutants could not be run: {last_line(error)}",)
    seconds = time.perf_counter() - start
    return Judgement(claim.id, claim.title, results, mutants, verdict, why, seconds)


def _run_or_skip(leg: Leg, claim: Claim, setting: Setting, kind: Kind | None) -> LegResult:
    if kind is not None and leg.kind is not kind:
        return unrun(leg, Outcome.LEFT_OUT)
    if not setting.budget.allows(leg.budget):
        return unrun(leg, Outcome.SKIPPED)
    if leg.missing:
        return unrun(leg, Outcome.MISSING, ", ".join(leg.missing))
    return run_leg(leg, claim.formulas, setting)


def derive(
    held: Sequence[Leg], legs: Sequence[LegResult], mutants: Sequence[MutantResult]
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict that follows from the results, and the reasons if it is not a pass."""
    for outcome, verdict in ((Outcome.REFUTED, Verdict.REFUTED), (Outcome.BROKEN, Verdict.FAILED)):
        if bad := [leg for leg in legs if leg.outcome is outcome]:
            return verdict, tuple(f"{leg.label}: {leg.detail}" for leg in bad)
    if complaints := tuple(_complaints(held, mutants)):
        return Verdict.TOOTHLESS, complaints
    if doubts := tuple(_doubts(legs, mutants)):
        return Verdict.UNKNOWN, doubts
    return (Verdict.PROVED if any(leg.whole for leg in held) else Verdict.SUPPORTED), ()


def _complaints(held: Sequence[Leg], mutants: Sequence[MutantResult]) -> Iterator[str]:
    for mutant in mutants:
        if mutant.status == "survived":
            notes = "; ".join(f"{t.leg} {t.fate} {t.detail}".strip() for t in mutant.trials)
            yield f"the mutant survives: {mutant.description} ({notes or 'no leg reads it'})"
    for label in toothless_legs(held, mutants):
        yield f"{label} kills no mutant"


def _doubts(legs: Sequence[LegResult], mutants: Sequence[MutantResult]) -> Iterator[str]:
    for leg in legs:
        if leg.outcome is Outcome.MISSING:
            yield f"{leg.label} was not run: {leg.detail} not installed"
    if not any(leg.outcome.ran for leg in legs):
        yield "no leg ran"
        return
    for leg in legs:
        if leg.outcome is Outcome.UNDECIDED:
            yield f"{leg.label} is undecided: {leg.detail}"
    if not any(mutant.killed_by for mutant in mutants):
        yield "no mutant was killed, so no leg has shown that it can fail"


def run(
    claims: Mapping[str, Claim],
    ids: Sequence[str],
    setting: Setting,
    kind: Kind | None = None,
    jobs: int = 1,
    matrix: bool = False,
    progress: Callable[[Judgement], None] = lambda _: None,
) -> Ledger:
    """Judge claims.

    Args:
        claims: The registry; `setting.alpha` is replaced by its share of the false-fail budget.
        ids: The claims to judge.
        setting: Budget and seed.
        kind: Run only the legs of this kind, on the claims that have one.
        jobs: Number of processes. More than one needs claims that are registered in
            `proofs_check.claims`, because every process loads its own.
        matrix: Run every leg on every mutant instead of stopping at the first kill.
        progress: Called after every claim.
    """
    setting = Setting(setting.budget, setting.seed, share_of_budget(claims.values()))
    fitting = [i for i in ids if kind is None or any(x.kind is kind for x in claims[i].legs)]
    judgements = []
    for judgement in _judgements(claims, fitting, jobs, setting, kind, matrix):
        progress(judgement)
        judgements.append(judgement)
    left = tuple(i for i in ids if i not in fitting)
    return Ledger(claims, tuple(judgements), setting, left)


def _judgements(
    claims: Mapping[str, Claim],
    ids: Sequence[str],
    jobs: int,
    setting: Setting,
    kind: Kind | None,
    matrix: bool,
) -> Iterator[Judgement]:
    if jobs == 1:
        yield from (judge(claims[i], setting, kind, matrix) for i in ids)
        return
    from joblib import Parallel, delayed

    tasks = (delayed(_judge_registered)(i, setting, kind, matrix) for i in ids)
    yield from Parallel(n_jobs=jobs, return_as="generator")(tasks)


def _judge_registered(claim: str, setting: Setting, kind: Kind | None, matrix: bool) -> Judgement:
    # Claims hold closures, which do not travel between processes; ids do.
    from .claims import load

    return judge(load()[claim], setting, kind, matrix)
