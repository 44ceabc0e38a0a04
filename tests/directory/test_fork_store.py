"""A forked child does not inherit a running store (api: "Details that are easy to get wrong")."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crdtstats import opening
from crdtstats.errors import ClosedError
from tests.directory.child import fork_in_c, fork_in_python, in_child

FORKS = pytest.mark.parametrize("fork", [fork_in_python, fork_in_c])


@FORKS
def test_an_inherited_store_is_closed_and_the_parents_counts_on(fork, tmp_path: Path) -> None:
    with opening.open(tmp_path / "d") as stats:
        counter = stats.counter("a")
        counter.inc()
        stats.flush()
        calls = [lambda: stats.increment("a"), lambda: stats.get("a"), stats.flush, stats.status, counter.inc]

        def refused() -> bool:
            for call in calls:
                with pytest.raises(ClosedError, match="fork"):
                    call()
            stats.close()
            with opening.open(tmp_path / "child") as own:
                own.increment("a", 7)
                return own.get("a") == 7

        assert in_child(refused, fork)
        counter.inc()
        stats.flush()
        assert stats.get("a") == 2
    with opening.open(tmp_path / "d") as stats:
        assert stats.get("a") == 2


@FORKS
def test_a_child_that_drops_the_store_disturbs_nothing(fork, tmp_path: Path) -> None:
    held = [opening.open(tmp_path / "d")]
    held[0].increment("a")

    def drop() -> bool:
        held.clear()
        gc.collect()
        return True

    assert in_child(drop, fork)
    held[0].increment("a")
    held[0].flush()
    held[0].close()
    with opening.open(tmp_path / "d") as stats:
        assert stats.get("a") == 2


PREFORK = """
import os, sys, time
from crdtstats import opening
stats = opening.open(sys.argv[1])
stats.increment("a", 41)
workers = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        sys.stdout.close()
        time.sleep(60)
        os._exit(0)
    workers.append(pid)
stats.increment("a")
print(*workers, flush=True)
time.sleep(60)
"""


def test_a_killed_prefork_server_lost_nothing_and_its_directory_opens_within_a_second(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", PREFORK, str(tmp_path / "d")], stdout=subprocess.PIPE, text=True
    )
    workers: list[int] = []
    try:
        assert server.stdout is not None
        workers = [int(pid) for pid in server.stdout.readline().split()]
        assert len(workers) == 3
        server.kill()
        server.wait(10)
        since = time.monotonic()
        with opening.open(tmp_path / "d") as stats:
            assert time.monotonic() - since < 1.0
            assert stats.get("a") == 42
        assert not list((tmp_path / "d" / "journal").glob("*.journal"))
        for pid in workers:
            os.kill(pid, 0)
    finally:
        server.kill()
        server.wait(10)
        if server.stdout is not None:
            server.stdout.close()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
