"""``bench``: its options; the work is in ``crdtstats.bench``."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any, *, formatter: type[argparse.HelpFormatter]) -> None:
    """Add the command to the command line."""
    says = "measure the store beside a dict, Counter, prometheus_client, numpy, Redis and SQLite"
    parser = commands.add_parser("bench", help=says, description=says, formatter_class=formatter)
    parser.add_argument(
        "rows",
        metavar="ROW",
        nargs="*",
        help="only these rows; with * for anything: 'flush*' (default: all below 10 million keys)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="only the rows that take some seconds each")
    size.add_argument(
        "--full", action="store_true", help="also the rows with 10 million keys: minutes and gigabytes"
    )
    parser.add_argument(
        "--dir", metavar="DIR", help="make files below DIR (default: the temporary directory)"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a table")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from crdtstats.bench.command import run

    return run(
        options.rows,
        size="quick" if options.quick else "full" if options.full else "normal",
        as_json=options.json,
        directory=options.dir,
    )
