"""A store that closes waits for evidence, not for luck: a peer says that it has what was counted."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import pytest

import crdtstats
from tests.replication.test_libp2p import join, until

KEYS = 100_000
LONE_CLOSE_S_MAX = 1.0
WRITERS = 4

COUNT_AND_DIE = """
import sys, time, crdtstats
store = crdtstats.open(sys.argv[1], flush_interval_s=3600)
store.increment("k", 5)
store.flush()
store.increment("k", 6)
print("counted", flush=True)
time.sleep(60)
"""


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def killed_with_a_leftover_journal(directory: Path) -> None:
    """5 are flushed, 6 more are in the journal only."""
    command = [sys.executable, "-c", COUNT_AND_DIE, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"counted\n"
        finally:
            process.send_signal(signal.SIGKILL)
    assert list((directory / "journal").iterdir())


def test_what_short_lived_writers_counted_is_at_the_peer_when_close_returns(
    tmp_path: Path, closing: ExitStack
) -> None:
    stays = closing.enter_context(join(tmp_path / "stays"))
    for n in range(WRITERS):
        with join(tmp_path / f"writer{n}", stays) as writer:
            writer.update({"a/b": 3, "a/c": 4})
        # It has the block; that its merge is over may take a moment more.
        until(lambda n=n: stays.total("a") == 7 * (n + 1), 1.0)


def test_a_flush_of_many_blocks_is_at_the_peer_when_close_returns(
    tmp_path: Path, closing: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    stays = closing.enter_context(join(tmp_path / "stays"))
    with join(tmp_path / "writer", stays, close_timeout_s=20.0) as writer:
        writer.update([f"many/{n}" for n in range(KEYS)])
        writer.flush()
        assert writer.status()["last_flush"]["blocks"] > 1
    assert not [r for r in caplog.records if r.name == "crdtstats.store" and r.levelno >= logging.WARNING]
    until(lambda: stays.total("many") == KEYS, 1.0)


def test_a_peer_that_comes_up_while_the_writer_closes_is_told(tmp_path: Path, closing: ExitStack) -> None:
    port = free_port()
    listen = [f"/ip4/127.0.0.1/tcp/{port}"]
    with crdtstats.open(tmp_path / "late", network=crdtstats.Network(name="test", listen=listen)) as late:
        (address,) = late.addrs
    closer = crdtstats.open(
        tmp_path / "writer", network=crdtstats.Network(name="test", peers=[address]), close_timeout_s=20.0
    )
    closing.callback(closer.close)
    closer.increment("k", 7)
    command = [
        sys.executable,
        "-c",
        "import sys, time, crdtstats\n"
        "network = crdtstats.Network(name='test', listen=[sys.argv[2]])\n"
        "time.sleep(1)\n"
        "with crdtstats.open(sys.argv[1], network=network) as late:\n"
        "    end = time.monotonic() + 20\n"
        "    while late.get('k') != 7 and time.monotonic() < end: time.sleep(0.02)\n"
        "    print(late.get('k'))\n",
        str(tmp_path / "late"),
        listen[0],
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            closer.close()
            output, _ = process.communicate(timeout=40)
        finally:
            process.kill()
    assert output == "7\n"


def test_close_waits_for_nobody_when_no_peer_was_ever_named(tmp_path: Path) -> None:
    store = join(tmp_path / "lone")
    assert store.addrs
    store.increment("k")
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < LONE_CLOSE_S_MAX


def test_close_gives_up_in_time_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with join(tmp_path / "other") as other:
        gone = other.addrs
    network = crdtstats.Network(name="test", peers=gone)
    store = crdtstats.open(tmp_path / "writer", network=network, close_timeout_s=0.5)
    store.increment("k")
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 3.0
    assert "closed before a peer had all of it" in caplog.text
    with crdtstats.open(tmp_path / "writer") as again:
        assert again.get("k") == 1


@pytest.mark.parametrize("third", [False, True], ids=["alone", "with a third"])
def test_a_copy_with_a_leftover_journal_counts_nothing_twice(
    tmp_path: Path, closing: ExitStack, third: bool
) -> None:
    killed_with_a_leftover_journal(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    network = crdtstats.Network(name="default")
    original = closing.enter_context(crdtstats.open(tmp_path / "original", network=network))
    beside = crdtstats.Network(name="default", peers=original.addrs)
    copy = closing.enter_context(crdtstats.open(tmp_path / "copy", network=beside))
    assert original.status()["peer_id"] != copy.status()["peer_id"]
    stores = [original, copy]
    if third:
        between = crdtstats.Network(name="default", peers=copy.addrs)
        stores.append(closing.enter_context(crdtstats.open(tmp_path / "third", network=between)))
    assert [store.get("k") for store in stores[:2]] == [11, 11]
    original.increment("k", 100)
    copy.increment("k", 1000)
    until(lambda: all(store.get("k") == 1111 for store in stores))
    time.sleep(1.5)  # longer than a flush: nothing may come on top
    assert [store.get("k") for store in stores] == [1111] * len(stores)


def test_a_replica_that_missed_every_broadcast_catches_up(tmp_path: Path, closing: ExitStack) -> None:
    one = closing.enter_context(join(tmp_path / "one"))
    other = closing.enter_context(join(tmp_path / "other"))
    for n in range(30):
        one.increment(f"one/{n}")
        other.increment(f"other/{n}")
        one.flush()
        other.flush()
    # Nobody heard anybody until here, and nothing is counted from here on: only announcements can tell.
    joined = closing.enter_context(join(tmp_path / "between", one, other))
    stores = [one, other, joined]
    until(lambda: all((s.total("one"), s.total("other")) == (30, 30) for s in stores), 30.0)
