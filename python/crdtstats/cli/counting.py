"""``incr``, ``get``, ``total``, ``top``, ``ls``: one store, one call, one answer."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from crdtstats.cli.shown import shown
from crdtstats.errors import UsageError

DIRECTORY_VARIABLE = "CRDTSTATS_DIR"
DIRECTORY_DEFAULT = "stats.d"
TOP_DEFAULT = 10


def add_to(commands: Any, *, formatter: type[argparse.HelpFormatter]) -> None:
    """Add these commands to the command line."""

    def command(name: str, run: Any, says: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=says, description=says, formatter_class=formatter)
        parser.add_argument(
            "--dir",
            metavar="DIR",
            default=os.environ.get(DIRECTORY_VARIABLE) or DIRECTORY_DEFAULT,
            help=f"the data directory (default: ${DIRECTORY_VARIABLE}, else {DIRECTORY_DEFAULT})",
        )
        parser.set_defaults(run=run)
        return parser

    incr = command("incr", _incr, "add to one counter (a negative N takes away)")
    incr.add_argument("key", metavar="KEY")
    incr.add_argument("amount", metavar="N", nargs="?", type=int, default=1)

    for name, run, says, what in (
        ("get", _get, "show one counter: exactly this key", "KEY"),
        ("total", _total, "show the total of a key and all below it", "PREFIX"),
        ("top", _top, "show the largest keys below a prefix", "PREFIX"),
        ("ls", _ls, "show what lies directly below a prefix, with totals", "PREFIX"),
    ):
        reader = command(name, run, says)
        if name == "get":
            reader.add_argument("key", metavar=what)
        else:  # the root (everything) can be read, but it is no key
            reader.add_argument("key", metavar=what, nargs="?", default="")
        reader.add_argument("--json", action="store_true", help="write one JSON object")
        if name == "top":
            reader.add_argument("-n", "--count", metavar="N", type=_count, default=TOP_DEFAULT)


def _incr(options: argparse.Namespace) -> int:
    import crdtstats

    with crdtstats.open(options.dir) as stats:
        stats.increment(options.key, options.amount)
    return 0


def _get(options: argparse.Namespace) -> int:
    with _opened(options) as stats:
        _value(options, stats.get(options.key))
    return 0


def _total(options: argparse.Namespace) -> int:
    with _opened(options) as stats:
        _value(options, stats.total(options.key))
    return 0


def _top(options: argparse.Namespace) -> int:
    with _opened(options) as stats:
        _rows(options, stats.top(options.key, options.count))
    return 0


def _ls(options: argparse.Namespace) -> int:
    with _opened(options) as stats:
        _rows(options, sorted(stats.children(options.key).items()))
    return 0


def _opened(options: argparse.Namespace) -> Any:
    # A reader makes no directory: a wrong path should not look like a store in which all is 0.
    if not os.path.isdir(options.dir):
        raise UsageError(f"{options.dir}: no data directory there; name one with --dir", path=options.dir)
    import crdtstats

    return crdtstats.open(options.dir)


def _value(options: argparse.Namespace, value: int) -> None:
    sys.stdout.write(json.dumps({"key": options.key, "value": value}) if options.json else str(value))
    sys.stdout.write("\n")


def _rows(options: argparse.Namespace, rows: list[tuple[str, int]]) -> None:
    if options.json:
        listed = [{"key": key, "value": value} for key, value in rows]
        sys.stdout.write(json.dumps({"prefix": options.key, "rows": listed}) + "\n")
        return
    width = max((len(str(value)) for _, value in rows), default=0)
    for key, value in rows:
        sys.stdout.write(f"{value:>{width}}  {shown(key)}\n")


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return count
