"""The command line: `proofs-check [IDS or slices]`, and the sub-commands of `SUBCOMMANDS`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .claim import Budget, Claim, Kind, Setting

if TYPE_CHECKING:
    from rich.console import Console

    from .ledger import Judgement, Ledger

USAGE = 3
"""Exit code for a call that makes no sense; 1 and 2 are verdicts."""

SUBCOMMANDS = "explain ID | cite ID | certificate ID --json FILE | verify FILE"

EXIT_CODES = "exit codes: 0 all hold, 1 refuted or failed, 2 unknown or nothing run, 3 usage"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors do not look like verdicts."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and leave with 3."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] in (["explain"], ["cite"]):
            return _show(arguments[0], arguments[1:])
        if arguments[:1] == ["certificate"]:
            return _write_certificate(arguments[1:])
        if arguments[:1] == ["verify"]:
            return _verify(arguments[1:])
        return _check(_parser().parse_args(arguments))
    except UsageError as error:
        print(f"proofs-check: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # head or less has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as leaving:  # argparse leaves for --help and for errors
        return leaving.code if isinstance(leaving.code, int) else 0


class UsageError(Exception):
    """The call makes no sense."""


def _parser() -> Parser:
    parser = Parser(
        "proofs-check",
        usage=f"proofs-check [options] [IDS or slices] | {SUBCOMMANDS}",
        description="Judge the claims of the package.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("names", nargs="*", metavar="IDS", help="claims or slices; default all")
    parser.add_argument("--leg", type=Kind, choices=list(Kind), help="run legs of this kind only")
    parser.add_argument("--budget", type=Budget, choices=list(Budget), default=Budget.FAST)
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=_natural, default=0, help="seed of all random numbers")
    seeds.add_argument("--vary-seed", action="store_true", help="draw a fresh seed and print it")
    parser.add_argument("--jobs", type=_positive, default=1, help="number of processes")
    parser.add_argument("--matrix", action="store_true", help="run every leg on every mutant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results as JSON")
    parser.add_argument("--html", type=Path, metavar="DIR", help="write DIR/index.html")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="rewrite its table of claims")
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a non-negative integer")
    return int(text)


def _positive(text: str) -> int:
    if _natural(text) == 0:
        raise argparse.ArgumentTypeError("0 processes run nothing; at least 1")
    return int(text)


def _check(options: argparse.Namespace) -> int:
    from rich.console import Console

    if options.readme and (options.names or options.leg):
        raise UsageError("--readme needs the whole ledger: give neither ids nor --leg")
    claims, ids = _chosen(options.names)
    console = Console()
    if options.vary_seed:
        options.seed = secrets.randbits(63)
        console.print(f"seed {options.seed}", highlight=False)
    ledger = _run(claims, ids, options, console)
    _publish(ledger, options, console)
    return ledger.exit_code


def _chosen(names: Sequence[str]) -> tuple[Mapping[str, Claim], tuple[str, ...]]:
    from .claims import load, select

    claims = load()
    try:
        return claims, select(claims, names)
    except KeyError as error:
        raise UsageError(error.args[0]) from None


def _run(
    claims: Mapping[str, Claim], ids: Sequence[str], options: argparse.Namespace, console: Console
) -> Ledger:
    from rich.progress import Progress

    from .ledger import run

    setting = Setting(options.budget, options.seed)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("claims", total=len(ids))

        def advance(judgement: Judgement) -> None:
            bar.update(task, advance=1, description=judgement.claim)

        return run(claims, ids, setting, options.leg, options.jobs, options.matrix, advance)


def _publish(ledger: Ledger, options: argparse.Namespace, console: Console) -> None:
    from . import report
    from .html import write_html

    report.print_report(ledger, console)
    try:
        if options.json:
            report.write_json(ledger, options.json)
        if options.html:
            write_html(ledger, options.html)
        if options.readme:
            report.write_readme(ledger, options.readme)
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error


def _show(command: str, arguments: Sequence[str]) -> int:
    parser = Parser(f"proofs-check {command}")
    parser.add_argument("id")
    claim = _claim(parser.parse_args(arguments).id)
    if command == "cite":
        from .cite import cite

        print(cite(claim))
    else:
        from .explain import explain

        print(explain(claim))
    sys.stdout.flush()  # here, so that a closed pipe is noticed here
    return 0


def _claim(name: str) -> Claim:
    from .claims import load, unknown_name

    claims = load()
    if name not in claims:
        raise UsageError(unknown_name(name, list(claims)))
    return claims[name]


def _write_certificate(arguments: Sequence[str]) -> int:
    parser = Parser("proofs-check certificate", description="Write what `verify` can check.")
    parser.add_argument("id", choices=["ridgeless.inconsistency"])
    parser.add_argument("--json", type=Path, metavar="FILE", required=True)
    options = parser.parse_args(arguments)
    from .certificate.produce import write_certificate

    try:
        write_certificate(options.json)
    except OSError as error:
        raise UsageError(str(error)) from error
    print(f"wrote {options.json}; check it with: proofs-check verify {options.json}")
    return 0


def _verify(arguments: Sequence[str]) -> int:
    parser = Parser(
        "proofs-check verify",
        description="Check a certificate with nothing but Python and mpmath.",
        epilog="exit codes: 0 it proves what it says, 1 rejected, 3 usage",
    )
    parser.add_argument("file", metavar="FILE")
    file = parser.parse_args(arguments).file
    from .certificate.verify import check_file

    return check_file(Path(file))


if __name__ == "__main__":
    sys.exit(main())
