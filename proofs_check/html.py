"""The ledger as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

from .ledger import Judgement, Ledger
from .report import leg_line, summary, versions, write_atomically

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem;
border-bottom:1px solid #ddd;vertical-align:top}code,pre{font-size:.9em;white-space:pre-wrap}
.v{border-radius:.3em;padding:0 .4em;color:#fff;background:#777}
.proved{background:#1b7f3b}.supported{background:#1f6fb2}.unknown{background:#946200}
.refuted,.failed{background:#b3261e}.toothless{background:#8e24aa}
section{border-top:2px solid #ddd;margin-top:2rem}
"""


def write_html(ledger: Ledger, folder: Path) -> Path:
    """Write `index.html` into a folder and return its path."""
    path = folder / "index.html"
    write_atomically(path, page(ledger))
    return path


def page(ledger: Ledger) -> str:
    """The whole page: what holds, what rests on what, and every claim with its evidence."""
    sections = "\n".join(_section(ledger, judgement) for judgement in ledger.judgements)
    lines = "<br>".join(escape(line) for line in summary(ledger))
    built = ", ".join(f"{name} {number}" for name, number in versions().items())
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Claims</title>'
        f"<style>{STYLE}</style>\n<h1>Claims and verdicts</h1>\n<p>{lines}</p>\n"
        f"{_index(ledger)}\n{sections}\n<footer><p>{escape(built)}</p></footer></html>\n"
    )


def _index(ledger: Ledger) -> str:
    rows = "\n".join(
        f"<tr><td>{_link(j.claim)}</td><td>{escape(j.title)}</td><td>{_badge(ledger, j.claim)}</td>"
        f"<td>{j.killed}/{len(j.mutants)}</td><td>{_uses(ledger, j.claim)}</td></tr>"
        for j in ledger.judgements
    )
    head = "<tr><th>id<th>statement<th>verdict<th>mutants killed<th>rests on</tr>"
    return f"<table>{head}\n{rows}\n</table>"


def _link(claim: str) -> str:
    return f'<a href="#{escape(claim)}"><code>{escape(claim)}</code></a>'


def _badge(ledger: Ledger, claim: str) -> str:
    for judgement in ledger.judgements:
        if judgement.claim == claim:
            words = escape(ledger.headline(judgement))
            return f'<span class="v {judgement.verdict}">{words}</span>'
    return '<span class="v">not run</span>'


def _uses(ledger: Ledger, claim: str) -> str:
    used = ledger.claims[claim].uses
    return "<br>".join(f"{_link(i)} {_badge(ledger, i)}" for i in used) or "–"


def _section(ledger: Ledger, judgement: Judgement) -> str:
    claim = ledger.claims[judgement.claim]
    hypotheses = "".join(f"<li>{escape(h.text)}</li>" for h in claim.hypotheses)
    why = "".join(f"<li>{escape(reason)}</li>" for reason in judgement.why)
    return (
        f'<section id="{escape(claim.id)}"><h2><code>{escape(claim.id)}</code> '
        f"{escape(claim.title)}</h2>\n<p>{_badge(ledger, claim.id)} source: "
        f"{escape(claim.source)}</p><ul>{why}</ul>\n<pre>{escape(claim.statement)}</pre>\n"
        f"<h3>Hypotheses</h3><ul>{hypotheses}</ul>\n<h3>Evidence</h3>{_legs(judgement)}\n"
        f"<h3>Mutants</h3>{_mutants(judgement)}\n<p>{escape(claim.notes)}</p></section>"
    )


def _legs(judgement: Judgement) -> str:
    items = (
        f"<li>{escape(leg_line(leg))}{' (whole statement)' if leg.whole else ''} "
        f"{escape(leg.detail)}</li>"
        for leg in judgement.legs
    )
    return f"<ul>{''.join(items)}</ul>"


def _mutants(judgement: Judgement) -> str:
    rows = "\n".join(
        f"<tr><td><code>{escape(m.description)}</code></td><td>{m.status}</td>"
        f"<td>{escape(m.killed_by or m.reason or ', '.join(m.pending))}</td></tr>"
        for m in judgement.mutants
    )
    count = f"<summary>{len(judgement.mutants)} mutants</summary>"
    return f"<details>{count}<table>{rows}</table></details>"
