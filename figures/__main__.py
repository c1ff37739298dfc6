"""The command line: `python -m figures [names] [--out DIR]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .registry import UnknownFigureError, load, select

SKIPPED, USAGE = 2, 3
"""Exit codes, as of proofs-check: something was left out; the call makes no sense."""


class Parser(argparse.ArgumentParser):
    """An argument parser that leaves with 3."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and leave."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> Parser:
    parser = Parser(
        "python -m figures",
        description="Draw the figures as PDF and PNG: theory as lines, numerics as points.",
        epilog="exit codes: 0 drawn, 2 a figure needs an extra that is not installed, 3 usage "
        "(unknown name, folder that cannot be written)",
    )
    parser.add_argument("names", nargs="*", help="figures or slices; default all")
    parser.add_argument(
        "--out", type=Path, default=Path("build/figures"), metavar="DIR", help="default %(default)s"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Draw what is asked for, print what was written, and return the exit code."""
    try:
        options = _parser().parse_args(argv)
        return _draw(options.names, options.out)
    except (UnknownFigureError, OSError) as error:
        print(f"python -m figures: {error}", file=sys.stderr)
        return USAGE
    except SystemExit as leaving:  # argparse leaves for --help and for errors
        return leaving.code if isinstance(leaving.code, int) else 0


def _draw(names: Sequence[str], folder: Path) -> int:
    from .saving import save  # loads matplotlib

    figures, code = load(), 0
    for name in select(figures, names):
        try:
            plot = figures[name]()
        except ImportError as error:
            print(f"python -m figures: {name} is not drawn: {error}", file=sys.stderr)
            code = SKIPPED
            continue
        for path in save(plot, folder):
            print(path, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
