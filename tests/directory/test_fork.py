"""A forked child holds nothing of its parent's directory, and disturbs nothing."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crdtstats.directory import DataDirectory
from crdtstats.errors import ClosedError, UnavailableError
from tests.directory.child import fork_in_c, fork_in_python, in_child

FORKS = pytest.mark.parametrize("fork", [fork_in_python, fork_in_c])


@FORKS
def test_every_call_on_an_inherited_directory_names_the_remedy(fork, tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "d") as directory:
        calls: list[Callable[[], object]] = [
            lambda: directory.identity,
            directory.keys,
            directory.disk_bytes,
            directory.rotate_identity,
            lambda: directory.key_of("x", "y"),
        ]

        def refused() -> int:
            for call in calls:
                with pytest.raises(ClosedError, match="before fork"):
                    call()
            return directory.closed

        assert in_child(refused, fork) is True
        assert not directory.closed


@FORKS
def test_a_child_that_closes_or_drops_the_directory_leaves_the_lock_with_the_parent(
    fork, tmp_path: Path
) -> None:
    held = [DataDirectory.open(tmp_path / "d")]

    def close_and_drop() -> str:
        held[0].close()
        held.clear()
        gc.collect()
        with pytest.raises(UnavailableError) as caught:
            DataDirectory.open(tmp_path / "d")
        return str(caught.value)

    assert str(os.getpid()) in in_child(close_and_drop, fork)
    with pytest.raises(UnavailableError):
        DataDirectory.open(tmp_path / "d")
    held[0].close()
    DataDirectory.open(tmp_path / "d").close()


@FORKS
def test_a_child_opens_its_own_directory_and_closing_the_inherited_one_does_not_touch_it(
    fork, tmp_path: Path
) -> None:
    with DataDirectory.open(tmp_path / "parent") as inherited:

        def open_own() -> bool:
            with DataDirectory.open(tmp_path / "child") as own:  # gets the same descriptor number
                inherited.close()
                with pytest.raises(UnavailableError):
                    DataDirectory.open(tmp_path / "child")
                return not own.closed

        assert in_child(open_own, fork)


def test_the_parent_closes_while_a_child_lives_and_the_directory_is_free(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path / "d")
    pid = os.fork()
    if pid == 0:
        time.sleep(30)
        os._exit(0)
    try:
        directory.close()
        DataDirectory.open(tmp_path / "d").close()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


PREFORK = """
import os, sys, time
from crdtstats.directory import DataDirectory
directory = DataDirectory.open(sys.argv[1])
workers = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        sys.stdout.close()
        time.sleep(60)
        os._exit(0)
    workers.append(pid)
print(*workers, flush=True)
time.sleep(60)
"""


def test_a_killed_prefork_server_frees_its_directory_while_its_workers_live(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", PREFORK, str(tmp_path / "d")], stdout=subprocess.PIPE, text=True
    )
    workers: list[int] = []
    try:
        assert server.stdout is not None
        workers = [int(pid) for pid in server.stdout.readline().split()]
        assert len(workers) == 3
        with pytest.raises(UnavailableError, match=f"process {server.pid}:") as caught:
            DataDirectory.open(tmp_path / "d")
        assert caught.value.pid == server.pid
        server.kill()
        server.wait(10)
        since = time.monotonic()
        DataDirectory.open(tmp_path / "d").close()
        assert time.monotonic() - since < 1.0
        for pid in workers:
            os.kill(pid, 0)
    finally:
        server.kill()
        server.wait(10)
        if server.stdout is not None:
            server.stdout.close()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
