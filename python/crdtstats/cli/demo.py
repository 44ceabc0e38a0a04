"""``demo``: its options; the work is in ``crdtstats.demo``."""

from __future__ import annotations

import argparse
from typing import Any

REPLICAS_DEFAULT, REPLICAS_MAX = 3, 16
"""Each replica is two processes (itself and its network node)."""
TIMEOUT_DEFAULT_S = 120.0


def add_to(commands: Any, *, formatter: type[argparse.HelpFormatter]) -> None:
    """Add the command to the command line."""
    says = "count a git history on several replicas, kill one of them twice, and prove the totals"
    parser = commands.add_parser("demo", help=says, description=says, formatter_class=formatter)
    parser.add_argument(
        "--repo", metavar="PATH", default=".", help="any local git repository (default: this one)"
    )
    parser.add_argument(
        "--replicas",
        metavar="N",
        type=_replicas,
        default=REPLICAS_DEFAULT,
        help=f"how many processes count, 1 to {REPLICAS_MAX} (default: {REPLICAS_DEFAULT})",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=TIMEOUT_DEFAULT_S,
        help=f"give up when the replicas have not agreed by then (default: {TIMEOUT_DEFAULT_S:g})",
    )
    parser.add_argument("--dir", metavar="DIR", help="keep the replicas' data in DIR (new or empty)")
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a table")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from crdtstats.demo.command import run

    return run(
        repo=options.repo,
        replicas=options.replicas,
        timeout_s=options.timeout,
        directory=options.dir,
        as_json=options.json,
    )


def _replicas(text: str) -> int:
    count = int(text)
    if not 1 <= count <= REPLICAS_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {REPLICAS_MAX}")
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time to wait")
    return seconds
