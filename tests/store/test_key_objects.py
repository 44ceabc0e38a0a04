"""A store may know a key's object again by its address: never does an address stand for another key's text."""

from __future__ import annotations

import gc
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import crdtstats
from crdtstats.errors import UsageError

MANY = 150_000
"""More objects than a store keeps in mind at first; those that come again and again it does."""

LETTING_GO_S = 60.0
"""Within this time a store that goes on counting has let go of objects that nobody else holds."""


def test_objects_that_die_at_once_share_addresses_and_are_told_apart(tmp_path: Path) -> None:
    want: Counter[str] = Counter()
    seen: set[int] = set()
    repeated = 0
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for n in range(50_000):
            key = f"fresh/{n * 7919 % 1000}"
            repeated += id(key) in seen
            seen.add(id(key))
            stats.increment(key)
            want[str(n * 7919 % 1000)] += 1
            del key
        assert stats.children("fresh") == dict(sorted(want.items()))
    assert repeated > 1000


def test_objects_that_were_kept_in_mind_and_then_died_are_told_apart(tmp_path: Path) -> None:
    draw = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    want: Counter[str] = Counter()
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for generation in range(4):
            keys = [f"{(n + generation) % 1009}" for n in range(MANY // 4)]
            for _ in range(2):
                draw.shuffle(keys)
                for key in keys:
                    stats.increment(key)
                want.update(keys)
            # Half of them die: those that come next may lie where they lay.
            del keys[::2]
            stats.update(keys)
            want.update(keys)
            del keys, key
            gc.collect()
        assert dict(stats.items()) == want


def test_more_objects_than_are_kept_in_mind_count_right(tmp_path: Path) -> None:
    keys = [f"many/{n}" for n in range(MANY)]
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for n in (1, 2, 3):
            for key in keys:
                stats.increment(key, n)
            keys.reverse()
        stats.update(keys)
        assert stats.total("many") == 7 * MANY
        assert all(value == 7 for _, value in stats.items("many"))
        assert [stats.get(key) for key in keys[::1000]] == [7] * len(keys[::1000])


@pytest.mark.parametrize("way", ["close", "collect"])
def test_a_store_lets_go_of_the_objects(tmp_path: Path, way: str) -> None:
    keys = [f"held/{n}" for n in range(5000)]
    before = [sys.getrefcount(key) for key in keys]
    stats = crdtstats.open(tmp_path / "stats.d")
    for _ in range(3):
        for key in keys:
            stats.increment(key)
            stats.get(key)
    stats.update(keys)
    counter = stats.counter(keys[0])
    del key
    if way == "close":
        stats.close()
    else:
        del stats, counter
        gc.collect()
    assert [sys.getrefcount(key) for key in keys] == before


def test_objects_that_nobody_else_holds_are_let_go_of_while_the_store_counts(tmp_path: Path) -> None:
    """Many came again, so many are kept. The caller drops most; a store that counts on others lets go of them, too."""
    with crdtstats.open(tmp_path / "stats.d", flush_interval_s=0.05) as stats:
        stats.increment("other")
        before = sys.getallocatedblocks()
        if before == 0:
            pytest.skip("with PYTHONMALLOC=malloc the interpreter does not count its blocks")
        keys = [f"held/{n}" for n in range(MANY)]
        for _ in range(8):
            for key in keys:
                stats.increment(key)
        del keys[1000:], key
        assert sys.getallocatedblocks() - before > MANY * 9 // 10, "they were not kept"
        until = time.monotonic() + LETTING_GO_S
        while sys.getallocatedblocks() - before > MANY // 10:
            assert time.monotonic() < until, "they are kept for ever"
            stats.increment("other")
            time.sleep(0.01)
        # What the caller holds still counts as before.
        for key in keys:
            stats.increment(key)
        assert stats.total("held") == 8 * MANY + len(keys)


def test_letting_go_of_a_key_may_run_code_that_empties_the_list_being_counted(tmp_path: Path) -> None:
    batch: list[str] = []

    class Key(str):
        __slots__ = ()

        def __del__(self) -> None:
            batch.clear()

    keys = [Key(f"k/{n}") for n in range(MANY)]
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for _ in range(8):
            for key in keys:
                stats.increment(key)
        again = [f"again/{n}" for n in range(2000)]
        for key in again:
            stats.increment(key)
        del keys, key
        for first in range(0, len(again), 64):
            # These are kept now, and the lines looked over for them hold keys that are nobody else's.
            batch += [*again[first : first + 64], f"\ud800{first}"]
            with pytest.raises(UsageError, match="UTF-8"):
                stats.update(batch)
            batch.clear()
        assert stats.total("k") == 8 * MANY
        assert stats.total("again") == len(again)


def test_one_text_in_many_objects_is_one_key(tmp_path: Path) -> None:
    class Named(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError("a key is its text, whatever its class says")

        __hash__ = None  # pyright: ignore[reportAssignmentType]

    forms = ["a/é", "/a/é", "a//é/", "a/é".encode().decode(), Named("a/é"), Named("./a/é")]
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for _ in range(3):
            for form in forms:
                stats.increment(form)
                stats.decrement(form, 2)
                stats.counter(form).inc(3)
                stats.update([form], [-1])
                stats.update(dict.fromkeys(forms[:1], 2))
        assert dict(stats.items()) == {"a/é": 3 * len(forms) * (1 - 2 + 3 - 1 + 2)}


@pytest.mark.parametrize("enabled", [True, False])
def test_a_batch_leaves_the_garbage_collector_as_it_was(tmp_path: Path, enabled: bool) -> None:
    class Counts:
        """What is collected may count, too: never in the middle of a batch."""

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            stats.increment("collected")

    thresholds = gc.get_threshold()
    with crdtstats.open(tmp_path / "stats.d") as stats:
        try:
            gc.set_threshold(1)
            (gc.enable if enabled else gc.disable)()
            for n in range(300):
                Counts()
                with pytest.raises(UsageError, match="UTF-8"):
                    stats.update(["good", f"bad-{n}-\ud800"])
                stats.update(["good"])
                assert gc.isenabled() == enabled
            gc.enable()
            gc.collect()
        finally:
            gc.set_threshold(*thresholds)
            gc.enable()
        assert dict(stats.items()) == {"collected": 300, "good": 300}
