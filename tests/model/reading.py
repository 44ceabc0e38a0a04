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


def check_whole(stats: CRDTStatsStore, values: Mapping[str, int]) -> None:
    """The store holds ``values`` and nothing else."""
    assert dict(stats.items()) == values
    assert stats.total() == sum(values.values())
    for n in (1, 3):
        assert stats.top("", n) == Reads(values).top("", n)
    assert list(stats.children().items()) == Reads(values).children("")
    assert stats.status()["keys"] == len(values)
