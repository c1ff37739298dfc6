"""The ledger: every verdict is reached by the evidence for it and by nothing else."""

import json
import math
import re
import warnings
from dataclasses import replace
from fractions import Fraction
from io import StringIO

import numpy as np
import pytest
import sympy
from rich.console import Console

from proofs_check.claim import (
    Budget,
    Claim,
    Evidence,
    Hypothesis,
    Kind,
    Leg,
    Mutant,
    Setting,
    UndecidedError,
)
from proofs_check.claims import collect, load, select
from proofs_check.explain import explain
from proofs_check.html import page, write_html
from proofs_check.ledger import Verdict, judge, run, share_of_budget
from proofs_check.legs import derivation_leg, digits_leg
from proofs_check.report import (
    as_data,
    print_report,
    readme_table,
    summary,
    write_json,
    write_readme,
)
from proofs_check.trials import Fate, Outcome, run_leg
from theory.derivation import Derivation, Step

x = sympy.Symbol("x", positive=True)
TANH = (sympy.exp(2 * x) - 1) / (sympy.exp(2 * x) + 1)
FAST, FULL = Setting(), Setting(Budget.FULL)


def points(formulas, setting):
    for point in (Fraction(3, 7), Fraction(5, 2)):
        at = sympy.Rational(point.numerator, point.denominator)
        yield f"x = {point}", formulas["f"].subs(x, at).evalf(60), sympy.tanh(at).evalf(60)


def derivation(claimed):
    sinh, cosh = (sympy.exp(x) - sympy.exp(-x)) / 2, (sympy.exp(x) + sympy.exp(-x)) / 2
    return Derivation(
        "tanh from its definition",
        (
            Step("Euler: cosh² - sinh² = 1", lambda: sympy.expand(cosh**2 - sinh**2 - 1)),
            Step("the quotient", lambda: sympy.simplify(claimed - sinh / cosh)),
        ),
        ("nothing",),
    )


DIGITS = digits_leg("points", points, ("f",), 40)
EXACT = derivation_leg("derivation", derivation, ("f",), whole=True)


def claim(*legs, name="demo.tanh", formula=TANH, **other):
    formulas = other.pop("formulas", {"f": formula})
    return Claim(name, "tanh by exponentials", r"\tanh x", "F, here", (), formulas, legs, **other)


def leg(name="l", kind=Kind.DIRECT, holds=True, reads=("f",), **other):
    def judge_f(formulas, setting):
        return Evidence(bool(formulas["f"] == TANH) is holds, {"n": 1}, "x = 1: 2 against 3")

    return Leg(name, kind, judge_f, reads, **other)


def raising(error, name="l"):
    def run_it(formulas, setting):
        raise error

    return Leg(name, Kind.DIRECT, run_it, ("f",))


def ledger_of(*claims, setting=FAST, **options):
    known = {c.id: c for c in claims}
    return run(known, tuple(known), setting, **options)


PROOF = leg("proof", Kind.EXACT, whole=True)


# ---------------------------------------------------------------- verdicts


def test_a_whole_exact_leg_proves():
    found = judge(claim(DIGITS, EXACT), FAST)
    assert found.verdict is Verdict.PROVED
    assert found.killed == len(found.mutants) > 20
    assert found.legs[0].figures["points"] == 2
    assert found.legs[0].figures["digits"] >= 40
    assert found.legs[1].figures == {"steps": 2, "cited_theorems": 1, "residual": 0}


def test_a_leg_for_some_cases_only_supports():
    assert judge(claim(DIGITS), FAST).verdict is Verdict.SUPPORTED
    partial = derivation_leg("derivation", derivation, ("f",))
    assert judge(claim(DIGITS, partial), FAST).verdict is Verdict.SUPPORTED


def test_a_wrong_formula_is_refuted_with_the_point_and_both_values():
    found = judge(claim(DIGITS, EXACT, formula=TANH * sympy.Rational(1001, 1000)), FAST)
    assert found.verdict is Verdict.REFUTED
    assert found.mutants == ()
    points_failed, derivation_failed = found.why
    assert re.search(r"x = 3/7: .*0\.4045.* against .*0\.4041.*3\.0 digits agree", points_failed)
    assert "the step 'the quotient' leaves" in derivation_failed


def test_every_step_of_a_derivation_counts():
    def broken(claimed):
        right = derivation(claimed)
        return replace(right, steps=(Step("a slip", lambda: sympy.Integer(1)), *right.steps))

    found = judge(claim(derivation_leg("derivation", broken, ("f",), whole=True)), FAST)
    assert found.verdict is Verdict.REFUTED
    assert found.why == ("exact:derivation: the step 'a slip' leaves 1",)
    assert found.legs[0].figures == {"steps": 3, "cited_theorems": 1, "residual": "1"}


def test_an_exception_is_a_failure_and_never_a_pass():
    found = judge(claim(PROOF, raising(RuntimeError("first\nsecond"))), FAST)
    assert found.verdict is Verdict.FAILED
    assert found.why == ("direct:l: RuntimeError: first",)


def test_undecided_is_unknown():
    found = judge(claim(PROOF, raising(UndecidedError("no more digits"))), FAST)
    assert found.verdict is Verdict.UNKNOWN
    assert found.why == ("direct:l is undecided: no more digits",)


def test_no_leg_is_unknown():
    assert judge(claim(), FAST).verdict is Verdict.UNKNOWN
    assert judge(claim(leg(budget=Budget.FULL)), FAST).why == ("no leg ran",)


def test_what_was_never_mutated_is_unknown():
    unread = Leg("constant", Kind.EXACT, lambda f, s: Evidence(True), whole=True)
    found = judge(claim(unread, formulas={}), FAST)
    assert found.verdict is Verdict.UNKNOWN
    assert "no leg has shown that it can fail" in found.why[0]


def test_a_formula_that_no_leg_reads_is_toothless():
    found = judge(claim(DIGITS, formulas={"f": TANH, "g": x}), FAST)
    assert found.verdict is Verdict.TOOTHLESS
    assert "g: everything * 51/50 (no leg reads it)" in found.why[0]


def test_a_leg_that_ignores_its_formula_is_toothless_beside_one_that_does_not():
    blind = Leg("blind", Kind.EXACT, lambda f, s: Evidence(True), ("f",), whole=True)
    found = judge(claim(DIGITS, blind), FAST)
    assert found.verdict is Verdict.TOOTHLESS
    assert found.why == ("exact:blind kills no mutant",)


def test_refuted_beats_broken_beats_undecided():
    wrong, broken = leg("w", holds=False), raising(KeyError("k"), "b")
    doubt = raising(UndecidedError("d"), "u")
    assert judge(claim(doubt, broken, wrong), FAST).verdict is Verdict.REFUTED
    assert judge(claim(doubt, broken), FAST).verdict is Verdict.FAILED


# ---------------------------------------------------------------- mutants


def test_a_surviving_mutant_needs_a_reason():
    # The sum is symmetric in the sign of x, so a check of x² cannot see it.
    square = {"f": -x}

    def squares(formulas, setting):
        yield "x = 2", formulas["f"].subs(x, 2) ** 2, 4

    bare = claim(digits_leg("square", squares, ("f",), 15), formulas=square)
    assert judge(bare, FAST).verdict is Verdict.TOOTHLESS
    reasons = {"f: everything negated": "only the square is claimed"}
    excused = judge(replace(bare, equivalents=reasons), FAST)
    assert excused.verdict is Verdict.SUPPORTED
    assert [m.reason for m in excused.mutants if m.status == "equivalent"] == list(reasons.values())


def test_an_outdated_reason_fails_the_claim():
    found = judge(claim(DIGITS, equivalents={"f: gone": "was equivalent"}), FAST)
    assert found.verdict is Verdict.FAILED
    assert "which is no mutant" in found.why[0]


def by_hand(mutant, *, value=None, error=None):
    """A claim about an algorithm whose mutant returns a value or raises an error."""

    def run_it(formulas, setting):
        return formulas["f"]()

    def wrong():
        if error:
            raise error
        return value

    right = Evidence(True)
    worker = Leg("run", Kind.DIRECT, run_it, ("f",))
    good = Mutant("good", {"f": lambda: Evidence(False, {}, "seen")})
    other = Mutant(mutant, {"f": wrong})
    return claim(worker, formulas={"f": lambda: right}, mutants=(good, other))


@pytest.mark.parametrize("error", [ZeroDivisionError("0"), ValueError("v"), ArithmeticError("a")])
def test_evaluation_errors_kill_and_are_recorded(error):
    found = judge(by_hand("bad", error=error), FAST)
    assert found.verdict is Verdict.SUPPORTED
    assert found.mutants[1].killed_by == "direct:run"
    assert found.mutants[1].trials[0].fate is Fate.KILLED_BY_ERROR
    assert type(error).__name__ in found.mutants[1].trials[0].detail


@pytest.mark.parametrize("error", [TypeError("t"), KeyError("k"), AttributeError("a")])
def test_bugs_do_not_kill(error):
    found = judge(by_hand("bad", error=error), FAST)
    assert found.verdict is Verdict.TOOTHLESS
    assert f"broke the leg {type(error).__name__}" in found.why[0]


def test_undecided_does_not_kill():
    found = judge(by_hand("bad", error=UndecidedError("u")), FAST)
    assert found.verdict is Verdict.TOOTHLESS


def test_nan_kills_by_error_and_a_false_truth_value_does_not_kill():
    nan = judge(by_hand("bad", value=Evidence(True, {"z": math.nan})), FAST)
    assert nan.mutants[1].trials[0].fate is Fate.KILLED_BY_ERROR
    numpy_false = judge(by_hand("bad", value=Evidence(np.False_)), FAST)
    assert numpy_false.verdict is Verdict.TOOTHLESS


def test_warnings_of_a_mutant_do_not_disturb():
    def wrong():
        warnings.warn("far off", RuntimeWarning, stacklevel=1)
        return Evidence(bool(np.log(np.array(-1.0)) > 0), {}, "negative")

    worker = Leg("run", Kind.DIRECT, lambda f, s: f["f"](), ("f",))
    one = claim(
        worker, formulas={"f": lambda: Evidence(True)}, mutants=(Mutant("w", {"f": wrong}),)
    )
    assert judge(one, FAST).verdict is Verdict.SUPPORTED


def test_errors_alone_give_a_leg_no_teeth():
    raises = Mutant("raises", {"f": lambda: 1 / 0})
    worker = Leg("run", Kind.DIRECT, lambda f, s: f["f"](), ("f",))
    one = claim(worker, formulas={"f": lambda: Evidence(True)}, mutants=(raises,))
    assert judge(one, FAST).why == ("direct:run kills no mutant",)


def test_the_cheapest_leg_kills_and_the_others_show_their_teeth_once():
    found = judge(claim(EXACT, DIGITS), FAST)
    assert {mutant.killed_by for mutant in found.mutants} == {"direct:points"}
    assert sum(t.leg == "exact:derivation" for m in found.mutants for t in m.trials) == 1


def test_a_leg_meets_only_the_mutants_of_what_it_reads():
    reads_g = Leg("g", Kind.EXACT, lambda f, s: Evidence(f["g"] == x, {}, "g"), ("g",))
    found = judge(claim(leg(), reads_g, formulas={"f": TANH, "g": x}), FAST)
    assert found.verdict is Verdict.SUPPORTED
    for mutant in found.mutants:
        expected = "direct:l" if mutant.description.startswith("f: ") else "exact:g"
        assert [trial.leg for trial in mutant.trials] == [expected]


def test_the_kill_matrix_runs_every_leg_on_every_mutant():
    found = judge(claim(leg("a"), leg("b", Kind.EXACT)), FAST, matrix=True)
    assert all(len(mutant.trials) == 2 for mutant in found.mutants)


def test_a_leg_can_be_spared_the_mutants():
    found = judge(claim(DIGITS, leg("slow", on_mutants=False)), FAST)
    assert found.verdict is Verdict.SUPPORTED
    assert all(trial.leg == "direct:points" for m in found.mutants for trial in m.trials)


def test_a_mutant_may_wait_for_a_leg_that_was_not_run():
    blunt = Leg("blunt", Kind.DIRECT, lambda f, s: Evidence(f["f"] != -TANH, {}, "sign"), ("f",))
    sharp = leg("sharp", Kind.EXACT, budget=Budget.FULL, whole=True)
    fast = judge(claim(blunt, sharp), FAST)
    assert fast.verdict is Verdict.SUPPORTED
    assert sum(mutant.status == "pending" for mutant in fast.mutants) > 20
    assert judge(claim(blunt, sharp), FULL).verdict is Verdict.PROVED
    assert judge(claim(blunt), FAST).verdict is Verdict.TOOTHLESS


# ---------------------------------------------------------------- runs


def test_a_proof_rests_on_what_it_uses():
    base = claim(DIGITS, name="demo.base")
    middle = claim(PROOF, name="demo.middle", uses=("demo.base",))
    top = claim(PROOF, name="demo.top", uses=("demo.middle",))
    ledger = ledger_of(base, middle, top)
    assert [ledger.headline(j) for j in ledger.judgements] == [
        "supported",
        "proved, given demo.base",
        "proved, given demo.base",
    ]
    whole = ledger_of(replace(base, legs=(PROOF,)), middle, top)
    assert [whole.headline(j) for j in whole.judgements] == ["proved"] * 3
    known = {c.id: c for c in (base, middle, top)}
    alone = run(known, ("demo.top",), FAST)
    assert alone.headline(alone.judgements[0]) == "proved, given demo.base, demo.middle"


def test_a_counterexample_refutes_the_printed_statement():
    ledger = ledger_of(claim(PROOF, refutes="tanh x = x"))
    assert ledger.headline(ledger.judgements[0]) == "proved, refutes: tanh x = x"
    failed = ledger_of(claim(leg(holds=False), refutes="tanh x = x"))
    assert failed.headline(failed.judgements[0]) == "refuted"


@pytest.mark.parametrize(
    ("legs", "code"),
    [
        ((DIGITS,), 0),
        ((DIGITS, leg("late", budget=Budget.FULL)), 0),
        ((leg(holds=False),), 1),
        ((raising(KeyError("k")),), 1),
        ((Leg("blind", Kind.DIRECT, lambda f, s: Evidence(True), ("f",)),), 1),
        ((raising(UndecidedError("u")),), 2),
        ((leg("late", budget=Budget.FULL),), 2),
        ((), 2),
    ],
)
def test_exit_codes(legs, code):
    assert ledger_of(claim(*legs)).exit_code == code


def test_one_kind_of_leg_judges_only_the_claims_that_have_it():
    both, other = claim(DIGITS, PROOF), claim(DIGITS, name="demo.other")
    ledger = ledger_of(both, other, kind=Kind.EXACT)
    assert [j.claim for j in ledger.judgements] == ["demo.tanh"]
    assert ledger.unfitting == ("demo.other",)
    assert ledger.judgements[0].legs[0].outcome is Outcome.LEFT_OUT
    assert ledger_of(both, kind=Kind.TRAINED).exit_code == 2


def test_a_leg_without_its_extra_is_no_pass():
    absent = leg("real", needs=("no_such_module", "no_such_module_either"))
    ledger = ledger_of(claim(PROOF, absent))
    assert ledger.exit_code == 2
    assert ledger.judgements[0].verdict is Verdict.UNKNOWN
    words = "not run: no_such_module, no_such_module_either not installed"
    assert words in ledger.judgements[0].why[0]
    assert any("skipped, no_such_module" in line for line in summary(ledger))
    assert ledger_of(claim(absent)).judgements[0].why[-1] == "no leg ran"
    assert ledger_of(claim(PROOF, leg("real", needs=("json",)))).exit_code == 0
    with pytest.raises(TypeError, match="needs is the string 'json'"):
        leg("real", needs="json")


def test_the_false_fail_budget_is_shared_by_all_random_legs():
    one = claim(leg("a", Kind.SIMULATED), leg("b", Kind.TRAINED), DIGITS)
    two = claim(leg("c", Kind.SIMULATED), name="demo.two")
    assert share_of_budget([one, two]) == pytest.approx(1e-6 / 3)
    known = {c.id: c for c in (one, two)}
    assert run(known, ("demo.two",), FAST).setting.alpha == pytest.approx(1e-6 / 3)


def test_a_generator_depends_on_its_seed_and_key_only():
    draw = Setting(seed=5).generator("a").integers(2**62)
    assert Setting(Budget.FULL, 5, 0.1).generator("a").integers(2**62) == draw
    others = {Setting(seed=5).generator("b").integers(2**62), FAST.generator("a").integers(2**62)}
    assert draw not in others
    assert len(others) == 2
    assert Setting(seed=0).generator("ledger").integers(1000) == 464  # in every version


def test_figures_become_plain_numbers():
    evidence = Evidence(True, {"a": np.float32(0.5), "b": np.int64(3), "c": "d"})
    found = run_leg(Leg("l", Kind.DIRECT, lambda f, s: evidence), {}, FAST)
    assert found.figures == {"a": 0.5, "b": 3, "c": "d"}
    assert [type(value) for value in found.figures.values()] == [float, int, str]
    strange = Evidence(True, {"a": [1.0]})
    broken = run_leg(Leg("l", Kind.DIRECT, lambda f, s: strange), {}, FAST)
    assert broken.outcome is Outcome.BROKEN
    assert run_leg(Leg("l", Kind.DIRECT, lambda f, s: None), {}, FAST).outcome is Outcome.BROKEN


# ---------------------------------------------------------------- claims and registry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "tanh"}, "id is 'tanh'"),
        ({"id": "demo.a b"}, "slice.name"),
        ({"legs": (DIGITS, DIGITS)}, "legs has the name 'points' twice"),
        ({"legs": (leg(reads=("g",)),)}, "leg 'l' reads 'g'; its formulas are: f"),
        ({"mutants": (Mutant("m", {"g": x}),)}, "mutant 'm' replaces 'g'"),
        ({"equivalents": {"f: x": " "}}, "has no reason"),
    ],
)
def test_a_claim_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(claim(DIGITS), **change)


def test_only_proofs_cover_whole_statements():
    with pytest.raises(ValueError, match="only exact and certified"):
        leg(kind=Kind.SIMULATED, whole=True)
    with pytest.raises(TypeError, match="reads is the string 'f'"):
        leg(reads="f")


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("alpha", 0.0), ("alpha", 1.0)])
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        Setting(**{name: value})


def test_a_hypothesis_refuses_what_breaks_it():
    positive = Hypothesis("c > 0", lambda c: c > 0)
    positive.require(1)
    Hypothesis("the design is a grid").require(-1)
    with pytest.raises(ValueError, match=r"\(-1,\) break the hypothesis: c > 0"):
        positive.require(-1)


def test_the_registry_refuses_what_does_not_fit():
    a, b = claim(name="demo.a", uses=("demo.b",)), claim(name="demo.b")
    assert list(collect({"demo": (a, b)})) == ["demo.a", "demo.b"]
    with pytest.raises(ValueError, match="occurs twice"):
        collect({"demo": (a, b, b)})
    with pytest.raises(ValueError, match=r"uses the unknown claim 'demo\.b'"):
        collect({"demo": (a,)})
    with pytest.raises(ValueError, match="listed in the slice 'other'"):
        collect({"other": (a, b)})
    with pytest.raises(ValueError, match="rests on itself"):
        collect({"demo": (a, replace(b, uses=("demo.a",)))})


def test_selecting_by_id_and_slice():
    known = {i: claim(name=i) for i in ("demo.a", "demo.b", "other.c")}
    assert select(known, []) == ("demo.a", "demo.b", "other.c")
    assert select(known, ["other", "demo.a"]) == ("demo.a", "other.c")
    with pytest.raises(KeyError, match=r"did you mean demo\.b or demo\.a"):
        select(known, ["demo.bb"])


def test_the_real_registry_loads():
    assert all(name == claim.id for name, claim in load().items())


# ---------------------------------------------------------------- reports


def mixed_ledger():
    good = claim(DIGITS, PROOF, leg("late", budget=Budget.FULL))
    bad = claim(leg(holds=False), name="demo.bad", uses=("demo.tanh",))
    return ledger_of(good, replace(bad, title="a | b <c>"))


def test_json_is_complete_and_the_same_but_for_timings(tmp_path):
    path = tmp_path / "deep" / "report.json"
    write_json(mixed_ledger(), path)
    first = json.loads(path.read_text())
    second = as_data(mixed_ledger())
    assert first.pop("timings").keys() == {"demo.tanh", "demo.bad"}
    second.pop("timings")
    assert first == second
    found = first["claims"]["demo.tanh"]
    assert found["verdict"] == "proved"
    assert found["mutants"][0]["killed_by"] == "direct:points"
    assert found["legs"][2]["outcome"] == "over budget"
    assert first["seed"] == 0
    assert first["exit_code"] == 1
    assert {"python", "sympy", "numpy"} <= first["versions"].keys()
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]  # nothing half-written


def test_json_has_no_infinities(tmp_path):
    worker = Leg("l", Kind.DIRECT, lambda f, s: Evidence(True, {"e": math.inf}))
    write_json(ledger_of(claim(worker)), tmp_path / "r.json")
    legs = json.loads((tmp_path / "r.json").read_text())["claims"]["demo.tanh"]["legs"]
    assert legs[0]["figures"] == {"e": "inf"}


def test_the_terminal_shows_failures_and_how_to_reproduce_them():
    out = StringIO()
    print_report(mixed_ledger(), Console(file=out, width=200))
    text = out.getvalue()
    assert "x = 1: 2 against 3" in text
    assert "reproduce: proofs-check demo.bad --leg direct --seed 0" in text
    assert "skipped, over budget: demo.tanh direct:late" in text
    assert "2 claims: 1 proved, 1 refuted (budget fast, seed 0)" in text


def test_the_page_is_complete_and_escaped(tmp_path):
    path = write_html(mixed_ledger(), tmp_path / "report")
    text = path.read_text()
    assert text.count("a | b &lt;c&gt;") == 2  # in the table and in the claim's own section
    assert "<c>" not in text
    assert '<span class="v refuted">refuted</span>' in text
    assert '<a href="#demo.tanh">' in text
    assert r"\tanh x" in text
    assert "http" not in text  # it needs nothing else
    assert text == page(mixed_ledger())


def test_the_readme_table_is_rewritten_between_its_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- claims:begin -->\nold\n<!-- claims:end -->\nb\n")
    write_readme(mixed_ledger(), readme)
    once = readme.read_text()
    assert once.startswith("# A\n<!-- claims:begin -->\n| id | statement |")
    assert once.endswith("|\n<!-- claims:end -->\nb\n")
    assert r"| `demo.bad` | a \| b <c> | refuted | 0 of 0 |" in once
    assert "old" not in once
    write_readme(mixed_ledger(), readme)
    assert readme.read_text() == once
    assert readme_table(mixed_ledger()) in once


@pytest.mark.parametrize(
    "text", ["", "<!-- claims:end --><!-- claims:begin -->", "<!-- claims:begin -->"]
)
def test_a_readme_without_markers_is_refused(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match="must contain"):
        write_readme(mixed_ledger(), readme)
    assert readme.read_text() == text


def test_steps_are_explained_once():
    """A derivation that is all of another, and more, prints its own steps only."""

    def longer(claimed):
        own = derivation(claimed)
        return replace(own, goal="more", steps=(*own.steps, Step("one more", lambda: claimed * 0)))

    whole = derivation_leg("whole", longer, ("f",), whole=True)
    lines = explain(claim(whole, EXACT, formulas={"f": TANH})).splitlines()
    start = lines.index("derivation whole: more")
    assert lines[start + 1 : start + 3] == ["  all of derivation", "  1. one more"]
    assert [line for line in lines if "the quotient" in line] == ["  2. the quotient"]
    same = derivation_leg("same", derivation, ("f",))
    text = explain(claim(same, EXACT, formulas={"f": TANH}))
    assert text.count("the quotient") == 2


def test_explaining_a_claim():
    text = explain(claim(DIGITS, EXACT, formulas={"f": TANH, "run": points}, notes="A note."))
    for part in (
        r"\tanh x",
        "kernel ridgeless regression",
        r"f = \frac{e^{2 x} - 1}{e^{2 x} + 1}",
        "run = an algorithm, points",
        "exact:derivation, reads f (whole statement)",
        "2. the quotient",
        "by nothing",
        "A note.",
    ):
        assert part in text
