"""Claims, their legs and their mutants: what the judge is given.

A claim is data. Its verdict is not among the fields, because the ledger derives it from what the
legs find when they run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec

import numpy as np

FALSE_FAIL_BUDGET = 1e-6
"""Probability that a whole run with fresh seeds fails although every claim is true."""

Formulas = Mapping[str, object]
"""Name of a formula -> SymPy expression (mutated automatically), an object that carries one and
can replace it (`theory.closed_form.ClosedForm`), or any other object, usually a callable, which
only hand-written mutants replace."""


class Kind(StrEnum):
    """The kinds of evidence."""

    EXACT = "exact"
    CERTIFIED = "certified"
    DIRECT = "direct"
    SIMULATED = "simulated"
    TRAINED = "trained"

    @property
    def proves(self) -> bool:
        """Whether such a leg, if it covers the whole statement, is a proof of it."""
        return self in (Kind.EXACT, Kind.CERTIFIED)


class Budget(StrEnum):
    """How long a run may take: `fast` for every day, `full` for everything."""

    FAST = "fast"
    FULL = "full"

    def allows(self, needed: Budget) -> bool:
        """Whether a run on this budget can afford something that needs the other one.

        >>> Budget.FULL.allows(Budget.FAST), Budget.FAST.allows(Budget.FULL)
        (True, False)
        """
        return self is Budget.FULL or needed is Budget.FAST


class UndecidedError(Exception):
    """Raised by a leg that could decide neither way: precision, time or data ran out.

    It makes the claim unknown, which is not a pass.
    """


@dataclass(frozen=True)
class Setting:
    """What the ledger hands to a leg.

    Attributes:
        budget: How long the run may take.
        seed: Entropy of every random number that the leg draws.
        alpha: The probability with which this leg may fail although the claim is true. The ledger
            sets it to the leg's share of the run's budget of 1e-6.
    """

    budget: Budget = Budget.FAST
    seed: int = 0
    alpha: float = FALSE_FAIL_BUDGET

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; a non-negative integer is allowed")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}; a probability strictly between 0 and 1")

    def generator(self, key: str) -> np.random.Generator:
        """A random generator of its own for every key, the same in every run with this seed.

        The key is hashed with SHA-256, because Python's own string hash changes between runs.
        """
        words = np.frombuffer(hashlib.sha256(key.encode()).digest(), dtype="<u4")
        sequence = np.random.SeedSequence(self.seed, spawn_key=tuple(int(w) for w in words))
        return np.random.default_rng(sequence)


@dataclass(frozen=True)
class Evidence:
    """What a leg found.

    Attributes:
        holds: A real `bool`. Anything else (NumPy's bool, None, an unevaluated SymPy relation)
            counts as a failure, because its truth value may not mean what it seems to.
        figures: The numbers worth keeping: residual, radius, digits agreed, z, samples, ...
            A NaN among them is a failure, whatever `holds` says.
        detail: On failure: the point, both values, and the widths or z.
    """

    holds: bool
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class Leg:
    """One kind of evidence for a claim.

    Attributes:
        name: Unique among the legs of its claim.
        kind: What kind of evidence it is.
        run: Judges the given formulas, which may be mutants, and never looks elsewhere for them.
        reads: The formulas on which it depends; it runs on the mutants of these.
        whole: It covers the whole statement, not only some of its cases.
        budget: The budget without which it does not run at all.
        on_mutants: Whether it runs on mutants.
        needs: Modules of an optional extra, without which it cannot run.
    """

    name: str
    kind: Kind
    run: Callable[[Formulas, Setting], Evidence]
    reads: tuple[str, ...] = ()
    whole: bool = False
    budget: Budget = Budget.FAST
    on_mutants: bool = True
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("reads", "needs"):
            if isinstance(value := getattr(self, name), str):
                raise TypeError(f"{name} is the string {value!r}; a tuple of names is allowed")
        if self.whole and not self.kind.proves:
            raise ValueError(
                f"whole is set on the {self.kind} leg {self.name!r}; only exact and certified "
                "evidence can cover a whole statement"
            )

    @property
    def label(self) -> str:
        """Kind and name, as in `exact:derivation`."""
        return f"{self.kind}:{self.name}"

    @property
    def missing(self) -> tuple[str, ...]:
        """What it needs and is not installed."""
        return tuple(name for name in self.needs if find_spec(name) is None)


@dataclass(frozen=True)
class Mutant:
    """A claim set wrong on purpose.

    Attributes:
        name: What was done to it, readable and unique within the claim.
        formulas: The replacements, by the names of the formulas that they replace.
        equivalent: The reason, if the mutant is known to say the same on the stated domain.
    """

    name: str
    formulas: Formulas
    equivalent: str = ""


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis in words and, where it can be executed, as a predicate."""

    text: str
    holds: Callable[..., bool] | None = None

    def require(self, *arguments: object) -> None:
        """Refuse arguments that break the hypothesis.

        Raises:
            ValueError: The predicate does not hold for the arguments.
        """
        if self.holds is not None and not self.holds(*arguments):
            raise ValueError(f"the arguments {arguments!r} break the hypothesis: {self.text}")


@dataclass(frozen=True, eq=False)
class Claim:
    """A statement with everything that is needed to judge it.

    Attributes:
        id: Permanent: `slice.name`.
        title: A few words.
        statement: The statement in LaTeX.
        source: Letters of the papers that state it, "here" for this project's own, or both.
        hypotheses: What it assumes.
        formulas: The formulas that it claims.
        legs: The evidence.
        mutants: Hand-written wrong versions, beside the automatic ones.
        uses: Ids of the claims on which its proof rests.
        refutes: A statement, false as printed, which this claim's counterexample refutes.
        equivalents: Automatic mutants that are known to be equivalent: description -> reason.
        notes: Whatever a reader should know besides.
    """

    id: str
    title: str
    statement: str
    source: str
    hypotheses: tuple[Hypothesis, ...] = ()
    formulas: Formulas = field(default_factory=dict)
    legs: tuple[Leg, ...] = ()
    mutants: tuple[Mutant, ...] = ()
    uses: tuple[str, ...] = ()
    refutes: str = ""
    equivalents: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        self._check_id()
        self._check_unique("legs", [leg.name for leg in self.legs])
        self._check_unique("mutants", [mutant.name for mutant in self.mutants])
        for leg in self.legs:
            self._check_known(f"leg {leg.name!r} reads", leg.reads)
        for mutant in self.mutants:
            self._check_known(f"mutant {mutant.name!r} replaces", mutant.formulas)
        self._check_reasons()

    @property
    def slice(self) -> str:
        """The part of the id before the first dot."""
        return self.id.partition(".")[0]

    def _check_id(self) -> None:
        if not all(part.isidentifier() for part in self.id.split(".")) or "." not in self.id:
            raise ValueError(f"id is {self.id!r}; an id has the form slice.name")

    def _check_unique(self, what: str, names: list[str]) -> None:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.id}: {what} has the name {twice[0]!r} twice")

    def _check_known(self, what: str, names: Mapping[str, object] | tuple[str, ...]) -> None:
        unknown = [name for name in names if name not in self.formulas]
        if unknown:
            allowed = ", ".join(self.formulas) or "none"
            raise ValueError(f"{self.id}: {what} {unknown[0]!r}; its formulas are: {allowed}")

    def _check_reasons(self) -> None:
        for description, reason in self.equivalents.items():
            if not reason.strip():
                raise ValueError(f"{self.id}: the equivalent {description!r} has no reason")
