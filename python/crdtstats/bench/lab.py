"""Where rows are measured: a directory on a disk, and the one big thing that several rows share."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from crdtstats.bench.outcome import SkippedError
from crdtstats.bench.race import SPIN_S
from crdtstats.store import CRDTStatsStore

T = TypeVar("T")

NEVER_S = 86_400.0
"""A flush interval that no row lives to see: only flushes that are asked for fall into a timing."""


class Lab:
    """The place of one run.

    Args:
        parent: where the directory is made; None: the system's place for temporary files. Memory is no disk: rows
            that flush are true only where files are.
        pairs: how many pairs, or rounds, a row measures; 7 at least.
        full: whether rows may take minutes.
    """

    def __init__(
        self, parent: str | None = None, *, pairs: int = 9, full: bool = False, spin_s: float = SPIN_S
    ) -> None:
        self.pairs = pairs
        self.full = full
        self.spin_s = spin_s
        self.directory = Path(tempfile.mkdtemp(prefix="crdtstats-bench-", dir=parent))
        self._stage = ExitStack()
        self._staged: tuple[object, Any] | None = None
        self._made = 0

    def stage(self, name: object, build: Callable[[], AbstractContextManager[T]]) -> T:
        """What ``build`` makes: kept until another stage is asked for, as rows that share one stand together."""
        if self._staged is None or self._staged[0] != name:
            self.clear()
            self._staged = (name, self._stage.enter_context(build()))
        return self._staged[1]

    def clear(self) -> None:
        """Let go of the stage."""
        self._staged = None
        self._stage.close()

    def path(self, name: str) -> Path:
        """A path in the directory that nothing has yet."""
        self._made += 1
        return self.directory / f"{name}-{self._made}"

    @contextlib.contextmanager
    def store(self, *, flush_interval_s: float | None = NEVER_S) -> Generator[CRDTStatsStore]:
        """An empty store as users have one, removed afterwards; ``None``: flushed as often as theirs."""
        import crdtstats

        path = self.path("stats.d")
        try:
            with crdtstats.open(path, flush_interval_s=flush_interval_s) as stats:
                yield stats
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        self.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def peer_module(name: str) -> Any:
    """Import a peer, late.

    Raises:
        SkippedError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SkippedError(f"{name} is not installed") from error
