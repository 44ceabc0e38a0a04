"""The command ``crdtstats demo``, from its options to its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

from crdtstats.demo.driver import NotConvergedError, Run
from crdtstats.demo.git import Repository
from crdtstats.demo.keys import KeyMaker
from crdtstats.demo.plan import make_plan
from crdtstats.demo.replica import OPENER
from crdtstats.demo.report import Lines, progress, write_json, write_table
from crdtstats.errors import DataError, UsageError


def run(
    *,
    repo: str,
    replicas: int,
    timeout_s: float,
    directory: str | None,
    as_json: bool,
    opener: str = OPENER,
    make_key: KeyMaker | None = None,
) -> int:
    """Run the demo and write what came out.

    Args:
        repo: Any local repository.
        replicas: How many processes count.
        timeout_s: For the replicas to agree.
        directory: Where data stays; ``None``: in a temporary directory, removed in the end.
        as_json: One JSON object instead of tables.
        opener: ``module:function`` that opens a replica's store.
        make_key: Like ``crdtstats.key``.

    Returns:
        0.

    Raises:
        CrdtStatsError: Of the kind that says what to do; the command line makes an exit code of it.
    """
    if make_key is None:
        import crdtstats

        make_key = crdtstats.CRDTStatsStore.key
    repository = Repository(repo)
    with _ended_in_order(), _directory(directory) as work:
        Lines(None if as_json else sys.stderr).phase("reading the history")
        plan = make_plan(repository, replicas, make_key, work)
        try:
            with progress(plan, quiet=as_json) as shown:
                outcome = Run(plan, work, shown, timeout_s, opener).run()
        except NotConvergedError as error:
            if as_json:
                told = {"replicas": replicas, "converged": False, "matches_git": False, "error": str(error)}
                sys.stdout.write(json.dumps(told) + "\n")
            raise
    if as_json:
        write_json(sys.stdout, outcome)
    if outcome.difference is not None:
        raise DataError(f"totals differ from git; first key {outcome.difference}")
    if not as_json:
        write_table(sys.stdout, outcome)
    return 0


@contextlib.contextmanager
def _directory(kept: str | None) -> Generator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="crdtstats-demo-") as made:
            yield Path(made)
        return
    path = Path(os.path.abspath(kept))
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise UsageError(f"{kept}: not empty; the demo counts from zero, so name a new directory", path=kept)
    yield path


@contextlib.contextmanager
def _ended_in_order() -> Generator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: its processes and directories go first."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before: dict[signal.Signals, Any] = {}
    with contextlib.suppress(ValueError):  # not in the main thread: signals are somebody else's
        for number in (signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
