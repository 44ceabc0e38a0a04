"""Reads the first-parent history of a repository as steps: who, and which lines of which files.

The steps telescope: for a file that is text throughout, the sum of ``added - deleted`` over all steps is its
number of lines at the end. A merge counts by what it changed against its first parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from crdtstats.demo.git import DIFF_OPTIONS, Repository, fields
from crdtstats.errors import DataError

LOG_OPTIONS = (
    "--first-parent",
    "--diff-merges=first-parent",
    "--reverse",
    *DIFF_OPTIONS,
    # The name as the commit has it, in UTF-8 where the commit says what it is written in.
    "--format=commit %H %an",
    "--encoding=UTF-8",
    "--no-mailmap",
    "--no-show-signature",
    "--no-notes",
    "--no-decorate",
)
_HEADER = re.compile(rb"commit ([0-9a-f]{40,64}) (.*)", re.DOTALL)
_ROW = re.compile(rb"(\d+|-)\t(\d+|-)\t(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Change:
    """What one step did to one path; ``None`` where git calls a side binary."""

    path: bytes
    added: int | None
    deleted: int | None

    @property
    def binary(self) -> bool:
        """Whether git shows no line counts for it."""
        return self.added is None


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of the first-parent line, oldest first."""

    commit: bytes
    author: bytes
    changes: list[Change]


def log_stream(repository: Repository, commit: str):
    """The raw log of ``commit`` (a full id), to be parsed with ``steps``."""
    return repository.stream("log", *LOG_OPTIONS, commit, "--")


def steps(stream: IO[bytes]) -> Iterator[Step]:
    """Parse a raw log.

    With ``-z`` a header ends with NUL; where rows follow, the first begins with a newline and each ends with
    NUL. A row begins with a number and a tab, a header with ``commit``, so a commit without changes, or a
    name with a newline in it, is no riddle.

    Raises:
        DataError: The output is not of this form.
    """
    step: Step | None = None
    for field in fields(stream):
        header = _HEADER.fullmatch(field)
        if header:
            if step is not None:
                yield step
            step = Step(header[1], header[2], [])
        elif step is None:
            raise DataError(f"git log began with {field[:80]!r} instead of a commit")
        else:
            step.changes.append(change(field if step.changes else field.removeprefix(b"\n")))
    if step is not None:
        yield step


def change(row: bytes) -> Change:
    """Parse one ``--numstat -z`` row (without its NUL).

    Raises:
        DataError: It is none.
    """
    found = _ROW.fullmatch(row)
    if found is None or (found[1] == b"-") != (found[2] == b"-"):
        raise DataError(f"git gave {row[:80]!r} instead of a row of numstat")
    if found[1] == b"-":
        return Change(found[3], None, None)
    return Change(found[3], int(found[1]), int(found[2]))


def tree_rows(repository: Repository, commit: str) -> Iterator[Change]:
    """Every file of ``commit`` as git counts it against the empty tree: the truth at the end."""
    with repository.stream("diff", *DIFF_OPTIONS, repository.empty_tree(), commit, "--") as stream:
        yield from map(change, fields(stream))


def binary_paths(history: Iterable[Step], tree: Iterable[Change]) -> set[bytes]:
    """The paths that git shows as binary in any step or at the end: their lines are counted by nobody."""
    binary = {row.path for row in tree if row.binary}
    for step in history:
        binary.update(row.path for row in step.changes if row.binary)
    return binary
