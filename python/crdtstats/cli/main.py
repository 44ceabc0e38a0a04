"""Parses the arguments, runs the command, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from crdtstats.cli import bench, counting, demo
from crdtstats.errors import CrdtStatsError, UsageError

OK, REFUSED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
"""130 is the shell's own number for a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code.

    Args:
        arguments: Without the program's name; ``None`` for those of this process.
    """
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as exit_:  # argparse has already said why, or given the help
        return exit_.code if isinstance(exit_.code, int) else WRONG_USE
    out: object = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        # A key may hold what the terminal's encoding does not.
        cast("io.TextIOWrapper[Any]", out).reconfigure(errors="backslashreplace")
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
    except UsageError as error:
        return _complain(str(error), WRONG_USE)
    except CrdtStatsError as error:
        return _complain(str(error), REFUSED)
    except BrokenPipeError:
        # The reader (`head`) has what it wanted. Python would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except OSError as error:
        return _complain(str(error), REFUSED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    return code


def _complain(message: str, code: int) -> int:
    line = " ".join(message.splitlines()) or "failed without a message"
    sys.stderr.write(f"crdtstats: {line}\n")
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage: that is what ``--help`` is for."""
        self.exit(WRONG_USE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="crdtstats",
        description="PN-counters for many replicas and no leader.",
        formatter_class=_formatter(),
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for room in (demo, counting, bench):
        room.add_to(commands, formatter=parser.formatter_class)
    return parser


def _formatter() -> type[argparse.HelpFormatter]:
    # rich-argparse costs more time than a whole `incr`: only for somebody who reads the help.
    wanted = not sys.argv[1:] or any(word in ("-h", "--help") for word in sys.argv[1:])
    if wanted and sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        try:
            from rich_argparse import RichHelpFormatter
        except ImportError:
            pass
        else:
            return RichHelpFormatter
    return argparse.HelpFormatter
