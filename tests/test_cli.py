"""The command line: exit codes, refusals, files, and that it works from any folder."""

import json
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import sympy

from proofs_check import claims as registry
from proofs_check.__main__ import main
from proofs_check.cite import OWN, PAPERS, papers_of
from proofs_check.claim import Budget, Claim, Evidence, Kind, Leg, UndecidedError

x = sympy.Symbol("x", positive=True)


def square(formulas, setting):
    difference = sympy.expand(formulas["f"] - x**2)
    return Evidence(bool(difference == 0), {"residual": str(difference)}, f"leaves {difference}")


def undecided(formulas, setting):
    raise UndecidedError("no time")


EXACT = Leg("square", Kind.EXACT, square, ("f",), whole=True)
SIMULATED = Leg("draws", Kind.SIMULATED, square, ("f",))
FULL = Leg("more", Kind.CERTIFIED, square, ("f",), budget=Budget.FULL)


def claim(name, *legs, formula=x**2, source="F, here"):
    return Claim(name, f"about {name}", "x^2", source, (), {"f": formula}, legs)


@pytest.fixture
def ledger(monkeypatch):
    """Makes the command line judge the given claims."""

    def install(*claims):
        known = registry.collect({claims[0].slice: claims}) if claims else {}
        monkeypatch.setattr(registry, "load", lambda: known)

    install(claim("demo.good", EXACT, SIMULATED, FULL), claim("demo.other", EXACT))
    return install


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 0),
        (["demo"], 0),
        (["demo.good", "--leg", "exact"], 0),
        (["--budget", "full", "--matrix"], 0),
        (["--leg", "trained"], 2),
        (["--leg", "certified"], 2),
        (["--help"], 0),
        (["demo.god"], 3),
        (["--leg", "astrology"], 3),
        (["--budget", "infinite"], 3),
        (["--seed", "-1"], 3),
        (["--seed", "1", "--vary-seed"], 3),
        (["--jobs", "0"], 3),
        (["--frobnicate"], 3),
        (["demo.good", "--readme", "README.md"], 3),
        (["--readme", "/nonexistent/README.md"], 3),
        (["explain"], 3),
        (["explain", "demo.god"], 3),
        (["cite", "demo.god"], 3),
        (["explain", "demo.good"], 0),
        (["cite", "demo.good"], 0),
    ],
)
def test_exit_codes(ledger, capsys, arguments, code):
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert bool(captured.err) == (code == 3)
    assert captured.out or captured.err


def test_verdicts_set_the_exit_code(ledger, capsys):
    ledger(claim("demo.bad", EXACT, formula=x**3), claim("demo.good", EXACT))
    assert main([]) == 1
    assert "reproduce: proofs-check demo.bad --leg exact --seed 0" in capsys.readouterr().out
    assert main(["demo.good"]) == 0
    ledger(claim("demo.open", EXACT, Leg("u", Kind.DIRECT, undecided, ("f",))))
    assert main([]) == 2
    ledger(claim("demo.late", FULL))
    assert main([]) == 2
    assert main(["--budget", "full"]) == 0


def test_a_misspelt_name_is_answered_with_the_nearest(ledger, capsys):
    main(["demo.god"])
    assert "did you mean demo.good" in capsys.readouterr().err


@pytest.mark.parametrize("selection", [["demo.good"], ["--leg", "exact"]])
def test_a_readme_is_never_rewritten_from_a_part(ledger, tmp_path, capsys, selection):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- claims:begin --><!-- claims:end -->")
    assert main([*selection, "--readme", str(readme)]) == 3
    assert "needs the whole ledger" in capsys.readouterr().err
    assert readme.read_text() == "<!-- claims:begin --><!-- claims:end -->"


def test_skipped_legs_are_listed(ledger, capsys):
    main([])
    assert "skipped, over budget: demo.good certified:more" in capsys.readouterr().out


def test_fresh_seeds_are_printed_and_reported(ledger, capsys, tmp_path):
    assert main(["--vary-seed", "--json", str(tmp_path / "r.json")]) == 0
    seed = json.loads((tmp_path / "r.json").read_text())["seed"]
    assert f"seed {seed}" in capsys.readouterr().out.splitlines()[0]
    assert seed > 0


def test_files_are_written(ledger, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- claims:begin --><!-- claims:end -->")
    arguments = ["--seed", "7", "--json", str(tmp_path / "a" / "r.json")]
    arguments += ["--html", str(tmp_path / "h"), "--readme", str(readme)]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "a" / "r.json").read_text())["seed"] == 7
    assert "demo.other" in (tmp_path / "h" / "index.html").read_text()
    assert "| `demo.good` | about demo.good | proved |" in readme.read_text()


def test_no_progress_bar_and_no_colours_unless_on_a_terminal(ledger, capsys):
    main([])
    assert "\x1b" not in capsys.readouterr().out


def test_it_runs_from_any_folder(tmp_path):
    command = [sys.executable, "-m", "proofs_check", "--help"]
    script = [str(Path(sys.executable).with_name("proofs-check")), "no.such.claim"]
    helped = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    refused = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert "exit codes: 0 all hold" in helped.stdout
    assert refused.returncode == 3
    assert "no claim or slice 'no.such.claim'" in refused.stderr


def test_jobs_change_nothing_but_the_time(ledger, tmp_path, capsys):
    def results(*arguments):
        main([*arguments, "--json", str(tmp_path / "r.json")])
        data = json.loads((tmp_path / "r.json").read_text())
        del data["timings"]
        return data

    with joblib.parallel_config(backend="threading"):  # threads see the claims of this test
        assert results("--jobs", "2") == results("--jobs", "1")


def test_citing_a_claim(ledger, capsys):
    main(["cite", "demo.good"])
    text = capsys.readouterr().out
    assert "eprint        = {2205.13525}" in text
    assert "claim demo.good" in text
    assert text.count("@") == 2


def test_sources_name_papers_or_this_project():
    assert papers_of("this project") == ()
    assert papers_of("C (that alignment occurs), here") == (PAPERS["C"],)
    assert [p.arxiv for p in papers_of("FACT, M, K")] == ["2507.05644", "2207.06569", "2110.03922"]
    assert OWN == ("here", "this project")
    for wrong in ("Q", "", "F and C"):
        with pytest.raises(ValueError, match="source is"):
            papers_of(wrong)


def test_every_paper_has_its_own_entry():
    entries = [paper.bibtex() for paper in PAPERS.values()]
    assert len({paper.key for paper in PAPERS.values()}) == len({*entries}) == 13
    assert all(entry.count("{") == entry.count("}") for entry in entries)
