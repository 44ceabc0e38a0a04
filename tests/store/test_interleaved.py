"""Flushes, merges of a peer's blocks, reads and increments, all at once: afterwards it is what was acknowledged."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crdtstats
from crdtstats import _core
from crdtstats.datastores import MemoryDatastore
from crdtstats.memory_network import MemoryNetwork
from crdtstats.store import CRDTStatsStore
from tests.store.interleaving import BOTH, UP, WAYS, Crew, Writer, acknowledged

RUN_S = 2.5
LARGE_S = 1.5
BATCH_KEYS = 8000
CONVERGE_S_MAX = 60.0


@pytest.fixture(autouse=True)
def _often_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    # So that threads change places anywhere, not just every 5 ms.
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def seed() -> int:
    """Of what the threads do; in which order they do it is the machine's."""
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    return seed


def join(network: MemoryNetwork, journal_dir: Path, datastore: MemoryDatastore) -> CRDTStatsStore:
    journal_dir.mkdir(exist_ok=True)
    host = network.join(_core.Identity.generate())
    return CRDTStatsStore(
        network.broadcaster(host),
        datastore,
        host,
        exchange=network.exchange(host),
        journal_dir=journal_dir,
        flush_interval_s=0.01,
        announce_interval_s=0.1,
        close_timeout_s=0.1,
    )


def reading(stats: CRDTStatsStore, here: list[Writer], everywhere: list[Writer]) -> Callable[[], None]:
    """A reader's round: no value is below what was acknowledged before, or above what was begun until after."""
    least: dict[str, int] = {}

    def read() -> None:
        for value_of in (
            lambda: stats.get(UP),
            lambda: stats.total(UP),
            lambda: dict(stats.items(UP)).get(UP, 0),
            lambda: dict(stats.top("shared")).get(UP, 0),
            lambda: stats.children("shared").get("up", 0),
            lambda: stats.counter(UP).value,
        ):
            done = sum(writer.done for writer in here)
            found = value_of()
            assert max(done, least.get(UP, 0)) <= found <= sum(writer.begun for writer in everywhere)
            least[UP] = found
        items = dict(stats.items())
        assert list(items) == sorted(items)
        # Nobody decrements another key than BOTH, so none may fall, whoever counts on it.
        for key, value in items.items():
            assert key == BOTH or value >= least.get(key, 0), key
        least.update(items)
        assert stats.status()["keys"] >= len(items)

    return read


def test_flushes_merges_reads_and_increments_lose_nothing(tmp_path: Path, seed: int) -> None:
    network = MemoryNetwork(realtime=True, check=_core.check_block)
    datastore = MemoryDatastore()
    one = join(network, tmp_path / "one", datastore)
    other = join(network, tmp_path / "other", MemoryDatastore())
    network.connect_all()
    here = [Writer(way.__name__, seed) for way in WAYS]
    there = [Writer("other-batches", seed)]
    crew = Crew()
    for way, writer in zip(WAYS, here, strict=True):
        crew.write(one, writer, way)
    crew.write(other, there[0], WAYS[3])
    crew.repeat(reading(one, here, here + there))
    crew.repeat(lambda: (one.flush(), other.flush(), one.status()))
    try:
        crew.run(RUN_S)
        want = acknowledged(here + there)
        one.flush()
        other.flush()
        deadline = time.monotonic() + CONVERGE_S_MAX
        while not (nonzero(one) == nonzero(other) == want):
            assert time.monotonic() < deadline, differences(want, one, other)
            time.sleep(0.05)
        assert one.cursor(here[3].name) == here[3].position
    finally:
        one.close()
        other.close()
        network.close()
    assert_reopened(tmp_path / "one", datastore, want)


def test_large_batches_and_readers_that_let_others_run_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Both take long enough to meet inside: a batch of thousands of keys, and reads that bring them in."""
    keys = [f"k{n % 7}/{n}" for n in range(BATCH_KEYS)]
    writers = [Writer(str(n), seed) for n in range(4)]
    crew = Crew()
    with crdtstats.open(tmp_path / "stats.d", datastore="memory:", flush_interval_s=3600) as stats:
        for writer in writers:

            def batch(writer: Writer = writer) -> None:
                some = writer.draw.sample(keys, BATCH_KEYS // 2)
                stats.update(some)
                stats.update(dict.fromkeys(some[:1000], -3))
                writer.done += len(some) - 3000

            crew.repeat(batch)
        for read in (stats.children, stats.items, lambda: stats.top("k1", 3), stats.status, stats.flush):
            crew.repeat(read)
        crew.run(LARGE_S)
        total = sum(writer.done for writer in writers)
        assert stats.total() == sum(value for _, value in stats.items()) == total
        assert sum(stats.children().values()) == total
        assert {key for key, _ in stats.items()} <= set(keys)
        stats.flush()
        assert stats.status()["dirty"] == 0


def nonzero(stats: CRDTStatsStore) -> dict[str, int]:
    return {key: value for key, value in stats.items() if value}


def differences(want: dict[str, int], *stores: CRDTStatsStore) -> list[tuple[str, int, list[int]]]:
    found = [nonzero(store) for store in stores]
    keys = sorted(set(want).union(*found))
    wrong = [(key, want.get(key, 0), [values.get(key, 0) for values in found]) for key in keys]
    return [line for line in wrong if set(line[2]) != {line[1]}][:20]


def assert_reopened(journal_dir: Path, datastore: MemoryDatastore, want: dict[str, int]) -> None:
    """What blocks and journal hold, told by a store that has neither network nor memory."""
    with MemoryNetwork() as alone:
        host = alone.join(_core.Identity.generate())
        store = CRDTStatsStore(None, datastore, host, journal_dir=journal_dir)
        found = nonzero(store)
        store.close()
    assert found == want


def test_a_close_amid_counting_threads_keeps_exactly_what_was_acknowledged(tmp_path: Path, seed: int) -> None:
    for life in range(5):
        directory = tmp_path / str(life)
        stats = crdtstats.open(directory, flush_interval_s=0.01)
        writers = [Writer(f"{way.__name__}-{n}", seed + life) for n, way in enumerate([*WAYS, *WAYS[:3]])]
        crew = Crew()
        for writer, way in zip(writers, [*WAYS, *WAYS[:3]], strict=True):
            crew.write(stats, writer, way)
        before = threading.active_count()
        crew.run(0.1 + 0.02 * life, then=stats.close)
        assert threading.active_count() <= before
        with crdtstats.open(directory) as again:
            assert nonzero(again) == acknowledged(writers)
            for writer in writers:
                assert (again.cursor(writer.name) or 0) == writer.position
