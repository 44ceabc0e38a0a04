"""Batches, reads, flushes and openings at the sizes where a table grows, a group ends or a slice is cut."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crdtstats
from crdtstats.errors import CounterOverflowError, UsageError
from crdtstats.store import CRDTStatsStore
from tests.model.dicts import AMOUNT_MAX, Reads
from tests.model.reading import check_whole

EDGES = [2**n + by for n in (0, 5, 6, 10, 12, 13) for by in (-1, 0, 1)]
MANY = 30_000
PREFIXES = ["", "p0", "p1/q1", "p2/q2/r2", "p3/q3/r3/0", "absent"]


@pytest.fixture
def draw() -> random.Random:
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


def key_of(number: int) -> str:
    """Some are paths of others, and lengths differ."""
    path = f"p{number % 5}/q{number % 7}/r{number % 11}"
    return path if number < 77 else f"{path}/{number}{'-' * (number % 40)}"


def check(stats: CRDTStatsStore, want: dict[str, int]) -> None:
    check_whole(stats, want)
    reads = Reads(want)
    for prefix in PREFIXES:
        assert list(stats.items(prefix)) == reads.items(prefix)
        assert stats.total(prefix) == reads.total(prefix)
        assert list(stats.children(prefix).items()) == reads.children(prefix)
        for n in (1, 10, MANY):
            assert stats.top(prefix, n) == reads.top(prefix, n)


def update_by_keys(stats: CRDTStatsStore, keys: list[str], amounts: list[int]) -> Counter[str]:
    stats.update(keys)
    return Counter(keys)


def update_by_mapping(stats: CRDTStatsStore, keys: list[str], amounts: list[int]) -> Counter[str]:
    batch = dict(zip(keys, amounts, strict=True))
    stats.update(batch)
    return Counter(batch)


def update_by_columns(stats: CRDTStatsStore, keys: list[str], amounts: list[int]) -> Counter[str]:
    stats.update(keys, amounts)
    out: Counter[str] = Counter()
    for key, n in zip(keys, amounts, strict=True):
        out[key] += n
    return out


def one_by_one(stats: CRDTStatsStore, keys: list[str], amounts: list[int]) -> Counter[str]:
    out: Counter[str] = Counter()
    for key, n in zip(keys, amounts, strict=True):
        stats.increment(key, n)
        out[key] += n
    return out


def by_counters(stats: CRDTStatsStore, keys: list[str], amounts: list[int]) -> Counter[str]:
    out: Counter[str] = Counter()
    for counter, n in zip([stats.counter(key) for key in keys], amounts, strict=True):
        counter.dec(n)
        out[counter.key] -= n
    return out


WAYS: list[Callable[[CRDTStatsStore, list[str], list[int]], Counter[str]]] = [
    update_by_keys,
    update_by_mapping,
    update_by_columns,
    one_by_one,
    by_counters,
]


def test_batches_of_every_size_count_right(tmp_path: Path, draw: random.Random) -> None:
    want: dict[str, int] = {}
    with crdtstats.open(tmp_path / "stats.d", flush_interval_s=3600) as stats:
        stats.flush()
        sizes = [*EDGES, MANY]
        draw.shuffle(sizes)
        for size in sizes:
            # Old keys and new ones, some of them twice in the batch.
            keys = [key_of(draw.randrange(MANY)) for _ in range(size)]
            amounts = [draw.choice((-1, 1)) * draw.randint(1, 2**33) for _ in range(size)]
            dirty = stats.status()["dirty"]
            counted = draw.choice(WAYS)(stats, keys, amounts)
            for key, n in counted.items():
                want[key] = want.get(key, 0) + n
            assert stats.total() == sum(want.values())
            assert max(dirty, len(counted)) <= stats.status()["dirty"] <= dirty + len(counted)
            if draw.random() < 0.4:
                stats.flush()
                assert stats.status()["dirty"] == 0
        check(stats, want)
    with crdtstats.open(tmp_path / "stats.d") as stats:
        check(stats, want)


@pytest.mark.parametrize("size", [33, 4097, 20_000])
def test_one_bad_line_anywhere_in_a_large_batch_counts_nothing(
    tmp_path: Path, draw: random.Random, size: int
) -> None:
    with crdtstats.open(tmp_path / "stats.d", flush_interval_s=3600) as stats:
        want = {key_of(number): number for number in range(0, 2 * size, 2)}
        stats.update(want)
        want = {key: n for key, n in want.items() if n}
        full = key_of(2)
        stats.update([full, full], [AMOUNT_MAX, AMOUNT_MAX - 1])
        want[full] += 2 * AMOUNT_MAX - 1
        stats.flush()
        keys = [key_of(number) for number in range(size) if number != 2]
        size = len(keys)
        bad: list[tuple[str, Any, type[Exception]]] = [
            ("good", 2**63, UsageError),
            ("good", True, UsageError),
            ("/", 1, UsageError),
            ("\ud800", 1, UsageError),
            ("k" * 897, 1, UsageError),
            (full, 1, CounterOverflowError),
        ]
        for key, n, error in bad:
            for at in (0, draw.randrange(size), size):
                columns = [*keys[:at], key, *keys[at:]], [*([3] * at), n, *([3] * (len(keys) - at))]
                with pytest.raises(error):
                    stats.update(*columns, cursor=("log", 1))
                with pytest.raises(error):
                    stats.update(dict(zip(*columns, strict=False)) | {key: n})
        assert stats.cursor("log") is None
        assert stats.status()["dirty"] == 0
        check_whole(stats, want)
        # The sum of a key's lines counts, wherever they stand.
        with pytest.raises(CounterOverflowError):
            stats.update(["twice", *keys, "twice", "twice"], [AMOUNT_MAX] * (len(keys) + 3))
        check_whole(stats, want)


def test_reads_are_exact_however_much_was_counted_since_the_last(tmp_path: Path, draw: random.Random) -> None:
    keys = [key_of(number) for number in range(MANY)]
    want = dict.fromkeys(keys, 1)
    with crdtstats.open(tmp_path / "stats.d", flush_interval_s=3600) as stats:
        stats.update(keys)
        for touched in (0, 1, 2, 1000, 4095, 4096, 4097, 12_289, MANY):
            for key in draw.sample(keys, touched):
                stats.increment(key, 3)
                want[key] += 3
            read = draw.choice(keys)
            assert stats.get(read) == want[read]
            assert stats.total("p1") == Reads(want).total("p1")
            if touched % 2:
                stats.flush()
        check(stats, want)
