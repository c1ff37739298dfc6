"""Paper F's slice: the exact risk of interpolation on the torus, and why it does not go to zero."""

from . import boundary, closed_forms, design, grid, inconsistency

CLAIMS = (
    *grid.CLAIMS,
    *closed_forms.CLAIMS,
    *boundary.CLAIMS,
    *inconsistency.CLAIMS,
    *design.CLAIMS,
)
