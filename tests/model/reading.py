"""Every read of a store, against what it should give."""

from __future__ import annotations

from collections.abc import Mapping

from crdtstats.store import CRDTStatsStore
from tests.model.dicts import Reads


def check_reads(stats: CRDTStatsStore, values: Mapping[str, int], prefix: str, n: int) -> None:
    """At and below ``prefix`` every read gives what ``values`` say."""
    want = Reads(values)
    total = want.total(prefix)
    assert stats.get(prefix) == want.get(prefix)
    assert stats.total(prefix) == total
    assert stats.get_aggregated_stat(prefix) == max(0, total)
    assert list(stats.items(prefix)) == want.items(prefix)
    assert list(stats.children(prefix).items()) == want.children(prefix)
    assert stats.top(prefix, n) == want.top(prefix, n)


def check_whole(stats: CRDTStatsStore, values: Mapping[str, int], *, first: int = 0) -> None:
    """The store holds ``values`` and nothing else, by every read.

    ``first``: which read comes first. It alone meets what was counted since the last one.
    """
    want = Reads(values)

    def get() -> None:
        assert {key: stats.get(key) for key in values} == values

    def total() -> None:
        assert stats.total() == sum(values.values())

    def items() -> None:
        assert dict(stats.items()) == values

    def top() -> None:
        assert [stats.top("", n) for n in (1, 3)] == [want.top("", n) for n in (1, 3)]

    def children() -> None:
        assert list(stats.children().items()) == want.children("")

    def status() -> None:
        assert stats.status()["keys"] == len(values)

    checks = [get, total, items, top, children, status]
    for n in range(len(checks)):
        checks[(first + n) % len(checks)]()
