"""The mutator: what it changes, what it leaves out, and that its names last."""

import pytest
import sympy

from proofs_check.claim import Claim, Evidence, Kind, Leg, Mutant
from proofs_check.mutation import mutants_of, mutations

s = sympy.Symbol("s", positive=True)
n = sympy.Symbol("n", integer=True, positive=True)
VARIANCE = sympy.coth(s) / s - sympy.csch(s) ** 2


def expressions(formula):
    return {mutation.expression for mutation in mutations(formula)}


@pytest.mark.parametrize(
    "wrong",
    [
        sympy.Rational(51, 50) * VARIANCE,
        (1 + sympy.Rational(1, 10**6)) * VARIANCE,
        -VARIANCE,
        sympy.coth(s) / s + sympy.csch(s) ** 2,
        -sympy.coth(s) / s - sympy.csch(s) ** 2,
        sympy.coth(s) / s,
        -(sympy.csch(s) ** 2),
        sympy.coth(s) - sympy.csch(s) ** 2,
        1 / s - sympy.csch(s) ** 2,
        sympy.coth(s) / s - 2 * sympy.csch(s) ** 2,
        sympy.coth(s) / s - sympy.csch(s),
        sympy.coth(s) / s - sympy.csch(s) ** 3,
        sympy.coth(s) / s**2 - sympy.csch(s) ** 2,
        sympy.tanh(s) / s - sympy.csch(s) ** 2,
        sympy.coth(s) / s - sympy.sech(s) ** 2,
        sympy.coth(sympy.Rational(51, 50) * s) / s - sympy.csch(s) ** 2,
    ],
)
def test_the_laplace_variance_is_set_wrong_in_every_way(wrong):
    assert wrong in expressions(VARIANCE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (sympy.sqrt(s), s),
        (1 / sympy.sqrt(s), 1 / s),
        (sympy.exp(-s), sympy.exp(s)),
        (sympy.sin(s), sympy.cos(s)),
        (sympy.tanh(s), sympy.sinh(s)),
        (sympy.tanh(s), sympy.coth(s)),
        (sympy.elliptic_k(s), sympy.elliptic_e(s)),
        (sympy.elliptic_e(s), sympy.elliptic_k(s)),
        (3 * s, 4 * s),
        (3 * s, 2 * s),
        (sympy.Rational(2, 3) + s, sympy.Rational(5, 3) + s),
        (sympy.pi * s, sympy.Rational(51, 50) * sympy.pi * s),
        (s**n, s ** (n + 1)),
        (s**n, s ** (n - 1)),
        (sympy.Sum(1 / s**n, (n, 1, sympy.oo)), sympy.Sum(1 / s**n, (n, 2, sympy.oo))),
        (sympy.Integer(5), sympy.Integer(6)),
    ],
)
def test_other_rules(right, wrong):
    assert wrong in expressions(right)


def test_no_mutation_is_the_original_or_occurs_twice():
    for formula in (VARIANCE, s + s**2, sympy.Integer(1), sympy.sqrt(2) * s / 3):
        found = [mutation.expression for mutation in mutations(formula)]
        assert formula not in found
        assert len(found) == len(set(found)) > 0


def test_mutations_stay_real_numbers():
    wrong = expressions(sympy.sqrt(1 - s) + sympy.zeta(2, evaluate=False))
    assert not any(w.has(sympy.nan, sympy.zoo, sympy.I) for w in wrong)
    assert len(wrong) > 10
    assert sympy.I * sympy.sqrt(2) in expressions(sympy.I * sympy.sqrt(3))  # complex as it was


def test_the_names_are_unique_readable_and_the_same_every_time():
    names = [
        mutation.description for mutation in mutations(2 * sympy.sin(2 * s) + sympy.cos(2 * s))
    ]
    assert len(names) == len(set(names))
    assert names[:2] == ["everything * 51/50", "everything * (1 + 1e-6)"]
    assert "sin(2*s) -> cos in 2*sin(2*s)" in names
    assert names == [m.description for m in mutations(2 * sympy.sin(2 * s) + sympy.cos(2 * s))]
    laplace = [mutation.description for mutation in mutations(VARIANCE)]
    assert "exponent 2 -> 3 of csch(s) in -csch(s)**2" in laplace
    assert "factor coth(s) dropped in -csch(s)**2 + coth(s)/s" in laplace


def test_two_places_that_look_the_same_are_told_apart():
    formula = sympy.sin(2 * s) + sympy.sin(2 * s) ** 2
    names = [mutation.description for mutation in mutations(formula)]
    assert "2 -> 3 in 2*s" in names
    assert "2 -> 3 in 2*s (place 2)" in names
    assert sympy.sin(3 * s) + sympy.sin(2 * s) ** 2 in expressions(formula)
    assert sympy.sin(2 * s) + sympy.sin(3 * s) ** 2 in expressions(formula)


def test_a_polynomial_root_is_one_number():
    root = sympy.CRootOf(s**5 - s - 1, 0)
    assert root + 1 in expressions(root)
    assert sympy.Rational(51, 50) * root in expressions(root)


def test_an_unknown_function_is_mutated_too():
    f = sympy.Function("f")
    assert f(sympy.Rational(51, 50) * s) in expressions(f(s))


class Form:
    """Carries an expression, as closed forms do, and refuses exponents other than 2."""

    def __init__(self, expression):
        if not expression.has(s**2):
            raise TypeError("no square")
        self.expression = expression

    def replace_expression(self, expression):
        return Form(expression)


LEG = Leg("any", Kind.DIRECT, lambda formulas, setting: Evidence(True), ("f",))


def claim(formula, **other):
    return Claim("demo.mutants", "t", "s", "here", formulas={"f": formula}, legs=(LEG,), **other)


def test_objects_that_carry_an_expression_are_mutated():
    found = mutants_of(claim(Form(3 * s**2)))
    names = [mutant.name for mutant in found]
    assert "f: 3 -> 4 in 3*s**2" in names
    assert not any("exponent" in name for name in names)  # those cannot be built
    assert all(isinstance(mutant.formulas["f"], Form) for mutant in found)


def test_algorithms_are_mutated_by_hand_only():
    by_hand = Mutant("returns nothing", {"f": lambda x: None})
    assert mutants_of(claim(lambda x: x, mutants=(by_hand,))) == (by_hand,)


def test_a_reason_reaches_its_mutant_and_no_other():
    reason = "even in s"
    found = mutants_of(claim(s**2, equivalents={"f: everything negated": reason}))
    assert {mutant.name: mutant.equivalent for mutant in found}["f: everything negated"] == reason
    assert sum(bool(mutant.equivalent) for mutant in found) == 1


def test_a_reason_without_a_mutant_is_an_error():
    with pytest.raises(ValueError, match="'f: gone', which is no mutant"):
        mutants_of(claim(s**2, equivalents={"f: gone": "was equivalent once"}))
