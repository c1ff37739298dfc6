"""Numbers beyond the doubles are refused by name, as infinity is."""

from fractions import Fraction

import pytest

import numerics.validation
import theory.validation
from theory.arrays import finite_array

HUGE = (10**400, -(10**400), Fraction(10**400, 3), float("inf"))


@pytest.mark.parametrize("module", [theory.validation, numerics.validation])
@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("kind", ["positive", "nonnegative"])
def test_numbers(module, value, kind):
    with pytest.raises(ValueError, match=r"rate = .* must be a finite number >"):
        getattr(module, kind)("rate", value)
    assert getattr(module, kind)("rate", Fraction(1, 4)) == 0.25


@pytest.mark.parametrize("value", HUGE[:3])
def test_arrays(value):
    with pytest.raises(ValueError, match="moments holds an entry beyond the doubles"):
        finite_array("moments", [1, value])
