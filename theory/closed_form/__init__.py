"""One formula, four ways to evaluate it."""

from .form import ClosedForm

__all__ = ["ClosedForm"]
