"""A progress bar for fits that take long."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from .machine import Round

LONG = 10.0
"""Seconds that a fit must be expected to take for a bar to appear unasked."""


class _Bar:
    """Appears after round 0 if the rounds to come are worth it."""

    def __init__(self, rounds: int, always: bool, stack: ExitStack) -> None:
        self.rounds, self.always, self.stack = rounds, always, stack
        self.started = time.monotonic()
        self.shown = False

    def __call__(self, done: Round) -> None:
        expected = (time.monotonic() - self.started) * self.rounds
        if done.number == 0 and (self.always or expected > LONG):
            self._show()
        if self.shown:
            error = "" if done.error is None else f", error {done.error:.4g}"
            text = f"round {done.number} of {self.rounds}{error}"
            self.bar.update(self.task, completed=done.number + 1, description=text)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self.bar = self.stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        self.task = self.bar.add_task("round 0", total=self.rounds + 1)
        self.shown = True


@contextmanager
def progress_bar(rounds: int, shown: bool | str) -> Iterator[_Bar | None]:
    """A callback for `fit_rfm` that draws a bar on standard error.

    Args:
        rounds: Number of rounds after round 0.
        shown: True, False, or "auto": on a terminal, once the fit is expected to take 10 s.

    Raises:
        ValueError: If `shown` is something else.
    """
    auto = isinstance(shown, str) and shown == "auto"
    if not (auto or isinstance(shown, bool | np.bool_)):
        raise ValueError(f"progress = {shown!r} must be True, False or 'auto'")
    if not shown or (auto and not sys.stderr.isatty()):
        yield None
        return
    with ExitStack() as stack:
        yield _Bar(rounds, not auto, stack)
