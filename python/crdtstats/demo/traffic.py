"""Turns steps of a history into counter traffic, and deals it out to the replicas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crdtstats.demo.history import Step
from crdtstats.demo.keys import KeyRules
from crdtstats.errors import DataError, UsageError

LINES, COMMITS, AUTHORS = "lines", "commits", "authors"


def elements(step: Step, binary: set[bytes], rules: KeyRules) -> Iterator[tuple[str, int]]:
    """What one step counts: (key, amount), no amount 0.

    ``lines/<path>`` +added and -deleted (not for ``binary`` paths), ``commits/<path>`` +1,
    ``authors/<author>`` +1.
    """
    for row in step.changes:
        if row.path not in binary:
            key = rules.path(LINES, row.path)
            if key is not None and row.added:
                yield key, row.added
            if key is not None and row.deleted:
                yield key, -row.deleted
        key = rules.path(COMMITS, row.path)
        if key is not None:
            yield key, 1
    key = rules.name(AUTHORS, step.author)
    if key is not None:
        yield key, 1


@dataclass(frozen=True, slots=True)
class Share:
    """One replica's part of the traffic: a file of ``[key, amount]`` lines."""

    path: Path
    commits: int
    elements: int


def replica_of(commit: bytes, replicas: int) -> int:
    """Which replica counts this commit: by a hash of its id, so that all of them meet the same keys."""
    return int.from_bytes(hashlib.sha256(commit).digest()[:8], "big") % replicas


def deal(
    history: Iterable[Step], replicas: int, binary: set[bytes], rules: KeyRules, directory: Path
) -> list[Share]:
    """Write each replica's share to ``directory``.

    Raises:
        UsageError: A replica would have nothing to do.
    """
    paths = [directory / f"share-{number}.jsonl" for number in range(1, replicas + 1)]
    commits, counts, total = [0] * replicas, [0] * replicas, 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("w", encoding="ascii")) for path in paths]
        for step in history:
            at = replica_of(step.commit, replicas)
            commits[at] += 1
            total += 1
            for element in elements(step, binary, rules):
                files[at].write(json.dumps(element) + "\n")
                counts[at] += 1
    shares = [Share(*parts) for parts in zip(paths, commits, counts, strict=True)]
    for number, share in enumerate(shares, 1):
        if not share.elements:
            raise UsageError(
                f"replica {number} of {replicas} would have nothing to do, {total} commits were dealt:"
                " ask for fewer with --replicas, or take a longer history",
                replicas=replicas,
            )
    return shares


def read_share(path: Path) -> tuple[list[str], list[int]]:
    """A share as two columns: keys and amounts; element ``n`` has position ``n + 1``."""
    keys: list[str] = []
    amounts: list[int] = []
    same: dict[str, str] = {}
    with path.open(encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            try:
                key, amount = json.loads(line)
            except ValueError:
                raise DataError(f"{path}: line {number} is no element") from None
            keys.append(same.setdefault(key, key))
            amounts.append(amount)
    return keys, amounts
