"""One formula, four ways to evaluate it."""

from theory.closed_form.form import ClosedForm

__all__ = ["ClosedForm"]
