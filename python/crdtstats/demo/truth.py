"""What every counter must show in the end, computed without any counter store.

Lines come from the tree at the end alone (``tree_rows``), commits and authors from a plain tally.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from crdtstats.demo.history import Change, Step
from crdtstats.demo.keys import KeyRules
from crdtstats.demo.traffic import AUTHORS, COMMITS, LINES


@dataclass(frozen=True, slots=True)
class Truth:
    """Expected reads.

    Attributes:
        values: Each key that was counted under, and its own value.
        probes: Each key, path and directory that ever existed, and every prefix of a key: (own value, total).
    """

    values: dict[str, int]
    probes: dict[str, tuple[int, int]]


def truth(history: Iterable[Step], tree: Iterable[Change], binary: set[bytes], rules: KeyRules) -> Truth:
    """The expected reads for ``history``, which ends in ``tree``."""
    touched: Counter[bytes] = Counter()
    authors: Counter[bytes] = Counter()
    moved: set[bytes] = set()
    for step in history:
        authors[step.author] += 1
        for row in step.changes:
            touched[row.path] += 1
            if row.added or row.deleted:
                moved.add(row.path)

    left = {row.path: row.added or 0 for row in tree if not row.binary}
    # Sums, because two paths may come to one key (a name that looks like the encoded form of another).
    values: defaultdict[str, int] = defaultdict(int)
    zeros: set[str] = set()
    for path, count in touched.items():
        if (key := rules.path(COMMITS, path)) is not None:
            values[key] += count
        if (key := rules.path(LINES, path)) is None:
            continue
        if path in moved and path not in binary:
            values[key] += left.get(path, 0)
        else:
            zeros.add(key)
    for author, count in authors.items():
        if (key := rules.name(AUTHORS, author)) is not None:
            values[key] += count
    for directory in _directories(touched):
        for kind in (LINES, COMMITS):
            if (key := rules.prefix(kind, directory)) is not None:
                zeros.add(key)

    totals: defaultdict[str, int] = defaultdict(int)
    for key, value in values.items():
        for prefix in _prefixes(key):
            totals[prefix] += value
    probes = {key: (values.get(key, 0), totals.get(key, 0)) for key in sorted({*totals, *zeros})}
    return Truth(dict(sorted(values.items())), probes)


def _directories(paths: Iterable[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for path in paths:
        while (path := path.rpartition(b"/")[0]) and path not in found:
            found.add(path)
    return found


def _prefixes(key: str) -> Iterable[str]:
    while key:
        yield key
        key = key.rpartition("/")[0]
