"""The ledger as JSON, as a table on the terminal, and as the README's table of claims."""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .claim import Kind
from .ledger import Judgement, Ledger, Verdict
from .trials import Figure, LegResult, MutantResult, Outcome

COLOURS = {
    Verdict.PROVED: "green",
    Verdict.SUPPORTED: "cyan",
    Verdict.UNKNOWN: "yellow",
    Verdict.REFUTED: "red",
    Verdict.FAILED: "red",
    Verdict.TOOTHLESS: "magenta",
}

LIBRARIES = ("agop-theory", "mpmath", "numpy", "python-flint", "scipy", "sympy", "torch")

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"


def as_data(ledger: Ledger) -> dict[str, Any]:
    """Everything that the run found, as plain data.

    It is the same in every run with the same seed and versions, except for `timings`.
    """
    return {
        "seed": ledger.setting.seed,
        "budget": str(ledger.setting.budget),
        "alpha_per_random_leg": ledger.setting.alpha,
        "exit_code": ledger.exit_code,
        "versions": versions(),
        "claims": {j.claim: _judgement_data(ledger, j) for j in ledger.judgements},
        "without_a_leg_of_the_kind": list(ledger.unfitting),
        "timings": {j.claim: _timings(j) for j in ledger.judgements},
    }


def _timings(judgement: Judgement) -> dict[str, float]:
    ran = {leg.label: round(leg.seconds, 4) for leg in judgement.legs if leg.outcome.ran}
    return ran | {"with mutants": round(judgement.seconds, 4)}


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _judgement_data(ledger: Ledger, judgement: Judgement) -> dict[str, Any]:
    claim = ledger.claims[judgement.claim]
    return {
        "title": claim.title,
        "statement": claim.statement,
        "source": claim.source,
        "hypotheses": [hypothesis.text for hypothesis in claim.hypotheses],
        "uses": list(claim.uses),
        "refutes": claim.refutes,
        "verdict": str(judgement.verdict),
        "headline": ledger.headline(judgement),
        "given": list(ledger.given(claim.id)),
        "why": list(judgement.why),
        "legs": [_leg_data(leg) for leg in judgement.legs],
        "mutants": [_mutant_data(mutant) for mutant in judgement.mutants],
        "mutants_killed": judgement.killed,
    }


def _leg_data(leg: LegResult) -> dict[str, Any]:
    return {
        "name": leg.name,
        "kind": str(leg.kind),
        "whole": leg.whole,
        "outcome": str(leg.outcome),
        "figures": {name: _json_number(value) for name, value in leg.figures.items()},
        "detail": leg.detail,
    }


def _json_number(value: Figure) -> Figure:
    # JSON knows no infinity; NaN cannot occur, because it breaks the leg.
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _mutant_data(mutant: MutantResult) -> dict[str, Any]:
    return {
        "description": mutant.description,
        "status": mutant.status,
        "killed_by": mutant.killed_by,
        "reason": mutant.reason,
        "pending": list(mutant.pending),
        "trials": [{"leg": t.leg, "fate": str(t.fate), "detail": t.detail} for t in mutant.trials],
    }


def write_json(ledger: Ledger, path: Path) -> None:
    """Write the run as JSON, all of it or nothing."""
    write_atomically(path, json.dumps(as_data(ledger), indent=2, allow_nan=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a file under a temporary name beside it and rename it: no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)  # mkstemp's files are readable by their owner only
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def print_report(ledger: Ledger, console: Console) -> None:
    """Print the table, what failed and how to reproduce it, and what was skipped."""
    table = Table(show_lines=False)
    for column in ("claim", "verdict", "evidence", "mutants", "time"):
        table.add_column(column, no_wrap=column in ("claim", "mutants", "time"))
    for judgement in ledger.judgements:
        table.add_row(*_row(ledger, judgement))
    console.print(table)
    for judgement in ledger.judgements:
        if not judgement.verdict.holds:
            print_failure(ledger, judgement, console)
    for line in summary(ledger):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _row(ledger: Ledger, judgement: Judgement) -> tuple[str, ...]:
    colour = COLOURS[judgement.verdict]
    kinds = dict.fromkeys(leg.kind for leg in judgement.legs)
    evidence = "\n".join(
        kind_line(kind, [leg for leg in judgement.legs if leg.kind is kind]) for kind in kinds
    )
    return (
        judgement.claim,
        f"[{colour}]{_brief(ledger, judgement)}[/{colour}]",
        escape(evidence),
        f"{judgement.killed}/{len(judgement.mutants)}",
        f"{judgement.seconds:.1f} s",
    )


def _brief(ledger: Ledger, judgement: Judgement) -> str:
    """The verdict in a narrow column; the summary below the table says the rest."""
    given = ledger.given(judgement.claim) if judgement.verdict.holds else ()
    return f"{judgement.verdict}, given {len(given)} more" if given else str(judgement.verdict)


# What a kind of evidence is worth is told by its weakest leg: fewest digits, largest z or radius.
WEAKEST: dict[str, Callable[[list[float]], float]] = {
    "digits": min,
    "radius": max,
    "z": lambda scores: max(scores, key=abs),
}


def kind_line(kind: Kind, legs: list[LegResult]) -> str:
    """How many legs of a kind held, and the figures of the weakest; failures by name."""
    held = [leg for leg in legs if leg.outcome is Outcome.HELD]
    others = [f"{leg.name} {str(leg.outcome).upper()}" for leg in legs if leg not in held]
    figures = []
    for name, weakest in WEAKEST.items():
        values = [float(leg.figures[name]) for leg in held if name in leg.figures]
        if values:
            figures.append(f"{name} {_short(weakest(values))}")
    counted = [f"{len(held)} {kind}"] if held else []
    return "; ".join(counted + figures + others)


def leg_line(leg: LegResult) -> str:
    """A leg, what became of it, and its figures, in one line."""
    figures = ", ".join(f"{name} {_short(value)}" for name, value in leg.figures.items())
    outcome = "" if leg.outcome is Outcome.HELD else f" {str(leg.outcome).upper()}"
    return f"{leg.label}{outcome}" + (f": {figures}" if figures else "")


def _short(value: Figure) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_failure(ledger: Ledger, judgement: Judgement, console: Console) -> None:
    """Print why a claim does not hold and the one command that shows it again."""
    console.print(f"[bold]{judgement.claim}[/bold]: {judgement.verdict}", highlight=False)
    for reason in judgement.why:
        console.print("  " + escape(reason), highlight=False, soft_wrap=True)
    command = reproduce(ledger, judgement)
    console.print(f"  reproduce: {escape(command)}", highlight=False, soft_wrap=True)


def reproduce(ledger: Ledger, judgement: Judgement) -> str:
    """The command that shows a claim's failure again."""
    bad = [leg for leg in judgement.legs if leg.outcome.failed]
    # Mutants need all legs: one that is left out might be the one that kills.
    kind = f" --leg {bad[0].kind}" if bad else ""
    budget = f" --budget {ledger.setting.budget}" if ledger.setting.budget != "fast" else ""
    return f"proofs-check {judgement.claim}{kind}{budget} --seed {ledger.setting.seed}"


def summary(ledger: Ledger) -> list[str]:
    """Counts of verdicts, then everything that was not run: nothing is skipped in silence."""
    verdicts = [judgement.verdict for judgement in ledger.judgements]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in Verdict if v in verdicts)
    setting = ledger.setting
    lines = [
        f"{len(verdicts)} claims: {counts or 'none'} (budget {setting.budget}, seed {setting.seed})"
    ]
    for judgement in ledger.judgements:
        headline = ledger.headline(judgement)
        if headline != str(judgement.verdict):
            lines.append(f"{judgement.claim}: {headline}")
        lines += _left_undone(judgement)
    if ledger.unfitting:
        lines.append(f"no leg of this kind: {', '.join(ledger.unfitting)}")
    return lines


def _left_undone(judgement: Judgement) -> list[str]:
    skipped = [leg.label for leg in judgement.legs if leg.outcome is Outcome.SKIPPED]
    pending = sum(mutant.status == "pending" for mutant in judgement.mutants)
    lines = []
    if skipped:
        lines.append(f"skipped, over budget: {judgement.claim} {', '.join(skipped)}")
    for leg in judgement.legs:
        if leg.outcome is Outcome.MISSING:
            lines.append(f"skipped, {leg.detail} not installed: {judgement.claim} {leg.label}")
    if pending:
        lines.append(f"{judgement.claim}: {pending} mutants wait for legs that were not run")
    return lines


def readme_table(ledger: Ledger) -> str:
    """The table of claims in Markdown."""
    rows = ["| id | statement | verdict | mutants killed |", "|---|---|---|---|"]
    for judgement in ledger.judgements:
        cells = (
            f"`{judgement.claim}`",
            judgement.title,
            ledger.headline(judgement),
            f"{judgement.killed} of {len(judgement.mutants)}",
        )
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


def write_readme(ledger: Ledger, path: Path) -> None:
    """Replace the table of claims between the markers of a README.

    Raises:
        ValueError: The file has not exactly one of each marker, the first one first.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{path} must contain {BEGIN} and, after it, {END}, once each")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_atomically(path, f"{before}{BEGIN}\n{readme_table(ledger)}\n{END}{after}")
