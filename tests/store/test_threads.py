"""Any thread, any call, any end of the process: everything acknowledged is there."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import crdtstats

THREADS = 8
ROUNDS = 300


def test_counting_reading_and_flushing_threads_lose_nothing(tmp_path: Path) -> None:
    acknowledged: Counter[str] = Counter()
    lock = threading.Lock()
    faults: list[BaseException] = []

    def work(number: int, stats: crdtstats.CRDTStatsStore) -> None:
        mine: Counter[str] = Counter()
        try:
            counter = stats.counter("shared/counter")
            for n in range(ROUNDS):
                key = f"k{n % 17}/t{number}"
                stats.increment(key, 2)
                stats.decrement("shared/down")
                counter.inc(3)
                stats.update([key, "shared/batch"], cursor=(f"c{number}", n + 1))
                mine.update({key: 3, "shared/counter": 3, "shared/batch": 1})
                mine["shared/down"] -= 1
                if n % 50 == number:
                    stats.flush()
                assert stats.total(f"k{n % 17}/t{number}") == mine[key]
                stats.children("shared")
        except Exception as error:  # noqa: BLE001 - shown by the test's own assertion
            faults.append(error)
        with lock:
            acknowledged.update(mine)

    before = threading.active_count()
    with crdtstats.open(tmp_path / "stats.d", flush_interval_s=0.01) as stats:
        threads = [threading.Thread(target=work, args=(n, stats)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not faults, faults
        assert dict(stats.items()) == dict(acknowledged)
        assert all(stats.cursor(f"c{n}") == ROUNDS for n in range(THREADS))
    assert threading.active_count() == before
    with crdtstats.open(tmp_path / "stats.d") as stats:
        assert dict(stats.items()) == dict(acknowledged)


def test_a_store_that_is_collected_is_closed(tmp_path: Path) -> None:
    stats = crdtstats.open(tmp_path / "stats.d")
    stats.increment("a", 3)
    del stats
    gc.collect()
    assert not list((tmp_path / "stats.d" / "journal").glob("*.journal"))
    with crdtstats.open(tmp_path / "stats.d") as again:
        assert again.get("a") == 3


def test_a_process_that_ends_normally_closes_its_store(tmp_path: Path) -> None:
    script = "import crdtstats, sys; s = crdtstats.open(sys.argv[1]); s.increment('a', 3)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "stats.d")], check=True, timeout=30)
    assert not list((tmp_path / "stats.d" / "journal").glob("*.journal"))
    with crdtstats.open(tmp_path / "stats.d") as again:
        assert again.get("a") == 3


def test_the_first_change_after_a_quiet_time_is_flushed_by_itself(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        stats.increment("a")
        for _ in range(200):
            if stats.status()["blocks"]:
                break
            threading.Event().wait(0.01)
        assert stats.status()["blocks"] == 1
        threading.Event().wait(0.3)
        assert stats.status()["blocks"] == 1
