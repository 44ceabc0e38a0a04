"""Reads in detail; `tests/model` tries every call in any order."""

from __future__ import annotations

from pathlib import Path

import crdtstats


def test_ties_in_top_go_by_key_and_the_key_itself_is_no_entry(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        stats.update({"p": 9, "p/b": 5, "p/a": 5, "p/a/c": 7, "p/z": -1, "q": 99})
        assert stats.top("p", 3) == [("p/a/c", 7), ("p/a", 5), ("p/b", 5)]
        assert stats.top("p", 0) == []
        assert [key for key, _ in stats.items("p")] == ["p", "p/a", "p/a/c", "p/b", "p/z"]
        assert stats.children("p") == {"a": 12, "b": 5, "z": -1}


def test_sums_are_exact_beyond_64_bits_and_survive(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for n in range(40):
            stats.increment(f"big/{n}", 2**63 - 1)
            stats.decrement(f"small/{n}", 2**63 - 1)
    with crdtstats.open(tmp_path / "stats.d") as stats:
        assert stats.total("big") == 40 * (2**63 - 1)
        assert stats.total("small") == -40 * (2**63 - 1)
        assert (stats.total(), stats.get_aggregated_stat("small")) == (0, 0)
