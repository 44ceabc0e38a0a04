"""What a run works from: the shares, the truth, and the questions to ask in the end."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crdtstats.demo.git import Repository
from crdtstats.demo.history import Step, binary_paths, log_stream, steps, tree_rows
from crdtstats.demo.keys import KeyMaker, KeyRules
from crdtstats.demo.traffic import Share, deal
from crdtstats.demo.truth import Truth, truth
from crdtstats.errors import UsageError

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """A history, made ready for a number of replicas.

    Attributes:
        commit: The id at which the history ends.
        commits: Steps on its first-parent line.
        shares: One for each replica.
        truth: What must be read in the end.
        probes: A file of the keys to read, one JSON text a line, sorted.
        binary_paths: Paths whose lines nobody counts.
        refused_keys: Keys that the key rules refuse; left out on both sides.
    """

    commit: str
    commits: int
    shares: list[Share]
    truth: Truth
    probes: Path
    binary_paths: int
    refused_keys: int

    @property
    def increments(self) -> int:
        """Elements in all shares together."""
        return sum(share.elements for share in self.shares)


def make_plan(repository: Repository, replicas: int, make_key: KeyMaker, directory: Path) -> Plan:
    """Read the history up to HEAD and write shares and probes to ``directory``.

    Raises:
        UsageError: No commit, or not enough of them for so many replicas.
    """
    commit = repository.commit()
    raw = directory / "history.log"
    # Git computes each difference once; the passes after that read the file.
    with log_stream(repository, commit) as stream, raw.open("wb") as file:
        while piece := stream.read(_COPY_BYTES):
            file.write(piece)
    try:
        tree = list(tree_rows(repository, commit))
        with _steps(raw) as history:
            binary = binary_paths(history, tree)
        rules = KeyRules(make_key)
        with _steps(raw) as history:
            shares = deal(history, replicas, binary, rules, directory)
        with _steps(raw) as history:
            expected = truth(history, tree, binary, rules)
    finally:
        raw.unlink()
    if not expected.values:
        raise UsageError(f"{repository.path}: the key rules refuse all there is to count")
    probes = directory / "probes.jsonl"
    with probes.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(key) + "\n" for key in expected.probes)
    commits = sum(share.commits for share in shares)
    return Plan(commit, commits, shares, expected, probes, len(binary), len(rules.refused))


@contextmanager
def _steps(raw: Path) -> Generator[Iterator[Step]]:
    with raw.open("rb") as file:
        yield steps(file)
