"""Compiled graphs would bypass hooks that come after their compilation: they run eagerly."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


class _Holders:
    """Torch's stance is one for the process: the first holder sets it, the last one restores it.

    Contexts that overlap, in threads for instance, would otherwise restore one another's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._stance: ExitStack | None = None

    def enter(self) -> None:
        with self._lock:
            if self._stance is None and "torch._dynamo" in sys.modules:
                stack = ExitStack()
                stack.enter_context(torch.compiler.set_stance("force_eager"))
                self._stance = stack
            self._count += 1

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._stance is not None:
                self._stance.close()
                self._stance = None


_HOLDERS = _Holders()


@contextmanager
def eagerly() -> Iterator[None]:
    """What `torch.compile` has compiled runs as plain Python while the context lasts."""
    _HOLDERS.enter()
    try:
        yield
    finally:
        _HOLDERS.leave()
