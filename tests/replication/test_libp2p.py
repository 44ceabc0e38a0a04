"""Replicas on real libp2p: late, short-lived, copied, killed and gone ones. All become equal, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import crdtstats

FLUSHES = 10_000
SYNC_S_MAX = 60.0


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def join(directory: Path, *peers: crdtstats.CRDTStatsStore, **settings: float) -> crdtstats.CRDTStatsStore:
    addresses = [address for peer in peers for address in peer.addrs]
    return crdtstats.open(directory, network=crdtstats.Network(name="test", peers=addresses), **settings)


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> float:
    """Seconds until ``holds()``; fails when it never does."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < timeout_s, "did not converge"
        time.sleep(0.01)
    return time.monotonic() - began


def test_an_empty_replica_catches_up_with_ten_thousand_flushes(
    tmp_path: Path, closing: ExitStack, record_property: Callable[[str, object], None]
) -> None:
    with crdtstats.open(tmp_path / "a", network=None) as alone:
        for n in range(FLUSHES):
            alone.increment(f"key/{n % 100}")
            alone.flush()
    writer = closing.enter_context(crdtstats.open(tmp_path / "a", network=crdtstats.Network()))
    late = closing.enter_context(
        crdtstats.open(tmp_path / "b", network=crdtstats.Network(peers=list(writer.addrs)))
    )
    equal_s = until(lambda: late.total("key") == FLUSHES, SYNC_S_MAX)
    assert dict(late.items()) == dict(writer.items())
    # The last value of each key is in the newest blocks; the whole chain has to come too.
    whole_s = equal_s + until(lambda: late.status()["blocks"] == FLUSHES, SYNC_S_MAX)
    assert late.status()["missing"] == 0
    assert whole_s < SYNC_S_MAX
    record_property("equal_s", equal_s)
    record_property("whole_s", whole_s)
    sys.stderr.write(f"equal after {equal_s:.1f} s, the whole chain after {whole_s:.1f} s\n")


def test_a_short_lived_writer_is_not_lost(tmp_path: Path, closing: ExitStack) -> None:
    stays = closing.enter_context(join(tmp_path / "stays"))
    with join(tmp_path / "writer", stays) as writer:
        writer.update({"a/b": 3, "a/c": 4})
    until(lambda: stays.total("a") == 7, 2.0)
    with join(tmp_path / "many", stays) as writer:
        writer.update([f"many/{n}" for n in range(30_000)])
    until(lambda: stays.total("many") == 30_000, 5.0)


def test_a_killed_replica_comes_back_and_loses_nothing(tmp_path: Path, closing: ExitStack) -> None:
    stays = closing.enter_context(join(tmp_path / "stays"))
    script = (
        "import crdtstats, sys, time\n"
        "s = crdtstats.open(sys.argv[1], network=crdtstats.Network(name='test', peers=[sys.argv[2]]))\n"
        "s.increment('k', 5); s.flush(); s.increment('k', 6)\n"
        "print('counted', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "killed"), stays.addrs[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        os.kill(process.pid, signal.SIGKILL)
    again = closing.enter_context(join(tmp_path / "killed", stays))
    assert again.get("k") == 11
    again.increment("k")
    until(lambda: stays.get("k") == 12)


def test_original_and_copy_side_by_side(tmp_path: Path, closing: ExitStack) -> None:
    with crdtstats.open(tmp_path / "original", network=crdtstats.Network(name="test")) as store:
        store.increment("k", 10)
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    original = closing.enter_context(join(tmp_path / "original"))
    copy = closing.enter_context(join(tmp_path / "copy", original))
    assert original.status()["peer_id"] != copy.status()["peer_id"]
    assert (original.get("k"), copy.get("k")) == (10, 10)
    original.increment("k", 1)
    copy.increment("k", 2)
    until(lambda: [s.get("k") for s in (original, copy)] == [13, 13])
    original.increment("k", 3)
    copy.increment("k", 4)
    third = closing.enter_context(join(tmp_path / "third", copy))
    until(lambda: [s.get("k") for s in (original, copy, third)] == [20, 20, 20])


def test_the_chain_of_one_that_is_gone_is_had_from_another(tmp_path: Path, closing: ExitStack) -> None:
    middle = closing.enter_context(join(tmp_path / "middle"))
    with join(tmp_path / "gone", middle) as gone:
        for n in range(20):
            gone.increment("k", n)
            gone.flush()
        until(lambda: middle.get("k") == 190)
    shutil.rmtree(tmp_path / "gone")
    late = closing.enter_context(join(tmp_path / "late", middle))
    until(lambda: late.get("k") == 190)


def test_addresses_are_told_once_the_node_listens(tmp_path: Path, closing: ExitStack) -> None:
    store = closing.enter_context(join(tmp_path / "a"))
    assert all(address.endswith("/p2p/" + store.status()["peer_id"]) for address in store.addrs)
    assert store.addrs
    alone = closing.enter_context(crdtstats.open(tmp_path / "alone"))
    assert alone.addrs == ()
