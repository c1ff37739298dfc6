"""The ledger as pytest sees it: every claim and leg is one item, named by its id.

Beside its legs every claim has an item for its mutants. What needs more than the fast budget is
marked slow.
"""

from collections.abc import Iterator

import pytest

from proofs_check.cite import papers_of
from proofs_check.claim import Budget, Claim, Leg, Setting
from proofs_check.claims import load
from proofs_check.ledger import Verdict, judge, share_of_budget
from proofs_check.trials import Outcome, run_leg, toothless_legs, try_mutants

CLAIMS = load()
ALPHA = share_of_budget(CLAIMS.values())


def marks(budget: Budget) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.slow,) if budget is Budget.FULL else ()


def legs() -> Iterator[object]:
    for claim in CLAIMS.values():
        for leg in claim.legs:
            yield pytest.param(claim, leg, id=f"{claim.id}-{leg.label}", marks=marks(leg.budget))


def budgets() -> Iterator[object]:
    for claim in CLAIMS.values():
        for budget in sorted({leg.budget for leg in claim.legs if leg.on_mutants}):
            yield pytest.param(
                claim, budget, id=f"{claim.id}-mutants-{budget}", marks=marks(budget)
            )


@pytest.mark.parametrize(("claim", "leg"), list(legs()))
def test_leg(claim: Claim, leg: Leg):
    if leg.missing:
        pytest.skip(f"{', '.join(leg.missing)} not installed")
    found = run_leg(leg, claim.formulas, Setting(leg.budget, alpha=ALPHA))
    assert found.outcome is Outcome.HELD, f"{claim.id} {found.label}: {found.detail}"


@pytest.mark.parametrize(("claim", "budget"), list(budgets()))
def test_mutants(claim: Claim, budget: Budget):
    affordable = [leg for leg in claim.legs if budget.allows(leg.budget) and not leg.missing]
    if not affordable:
        pytest.skip("what every leg of this budget needs is not installed")
    found = try_mutants(claim, affordable, Setting(budget, alpha=ALPHA))
    assert [m.description for m in found if m.status == "survived"] == []
    assert toothless_legs(affordable, found) == ()
    assert any(m.killed_by for m in found)


def test_every_source_can_be_cited():
    sources = {claim.source for claim in CLAIMS.values()}
    assert all(isinstance(papers_of(source), tuple) for source in sources)


def test_a_claim_without_evidence_would_be_noticed():
    assert judge(Claim("demo.empty", "t", "s", "here"), Setting()).verdict is Verdict.UNKNOWN
