"""crdtstats.open: everything is built, and everything is closed again."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from crdtstats import _core, opening
from crdtstats.datastores.memory import MemoryDatastore
from crdtstats.directory import DataDirectory
from crdtstats.errors import DataError, UnavailableError, UsageError
from crdtstats.host import LocalHost
from crdtstats.protocols import Host
from crdtstats.settings import Network


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_was_counted_is_there_again(tmp_path: Path) -> None:
    with opening.open(tmp_path / "d") as stats:
        stats.increment("a/b", 3)
    with opening.open(tmp_path / "d") as stats:
        assert stats.get("a/b") == 3
    assert (tmp_path / "d" / "blocks.sqlite").exists()


def test_close_gives_everything_back(tmp_path: Path) -> None:
    opening.open(tmp_path / "warm").close()
    before = descriptors()
    stats = opening.open(tmp_path / "d")
    with pytest.raises(UnavailableError, match="this one"):
        opening.open(tmp_path / "d")
    stats.close()
    assert descriptors() == before
    opening.open(tmp_path / "d").close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"datastore": "ftp://x"},
        {"datastore": 7},
        {"network": "default"},
        {"identity": b"junk"},
        {"flush_interval_s": 0},
        {"close_timeout_s": -1},
        {"hash": "md5"},
    ],
)
def test_a_wrong_argument_is_refused_and_leaves_nothing_open(arguments, tmp_path: Path) -> None:
    opening.open(tmp_path / "d").close()
    before = descriptors()
    with pytest.raises(UsageError):
        opening.open(tmp_path / "d", **arguments)
    assert descriptors() == before
    opening.open(tmp_path / "d").close()


@pytest.mark.parametrize("network", [None, Network()])
def test_a_store_that_fails_leaves_nothing_open(
    network: Network | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network is not None:
        pytest.importorskip("libp2p")
    opening.open(tmp_path / "d").close()
    before = descriptors()
    threads = threading.active_count()

    def fail(*_: object, **__: object) -> None:
        raise DataError("a journal's key is missing")

    monkeypatch.setattr(opening, "CRDTStatsStore", fail)
    with pytest.raises(DataError, match="key is missing"):
        opening.open(tmp_path / "d", network=network)
    assert descriptors() == before
    assert threading.active_count() == threads
    DataDirectory.open(tmp_path / "d").close()


def test_a_damaged_datastore_leaves_nothing_open(tmp_path: Path) -> None:
    opening.open(tmp_path / "d").close()
    (tmp_path / "d" / "blocks.sqlite").write_bytes(b"no database" * 1000)
    before = descriptors()
    with pytest.raises(DataError):
        opening.open(tmp_path / "d")
    assert descriptors() == before
    DataDirectory.open(tmp_path / "d").close()


def test_a_given_datastore_stays_the_callers(tmp_path: Path) -> None:
    datastore = MemoryDatastore()
    with opening.open(tmp_path / "d", datastore=datastore) as stats:
        stats.increment("a")
    assert list(datastore.query("/"))
    assert not (tmp_path / "d" / "blocks.sqlite").exists()
    datastore.close()


def test_a_datastore_by_url(tmp_path: Path) -> None:
    with opening.open(tmp_path / "d", datastore=f"sqlite:///{tmp_path}/elsewhere.sqlite") as stats:
        stats.increment("a")
    assert (tmp_path / "elsewhere.sqlite").exists()


def test_without_a_network_the_directory_stays_with_its_own(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d", network_topic=Network.warpnet().topic).close()
    with opening.open(tmp_path / "d") as stats:
        stats.increment("a")
        assert stats.status()["peers"] == []
    with pytest.raises(UsageError, match="bound to the network /warpnet"):
        opening.open(tmp_path / "d", network=Network())


def test_an_identity_from_outside_is_the_replica(tmp_path: Path) -> None:
    identity = _core.Identity.generate()
    with opening.open(tmp_path / "d", identity=identity.to_bytes()) as stats:
        assert stats.status()["peer_id"] == identity.peer_id


def test_a_copy_counts_on_beside_its_original(tmp_path: Path) -> None:
    with opening.open(tmp_path / "d") as stats:
        stats.increment("a", 5)
        first = stats.status()["peer_id"]
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    with opening.open(tmp_path / "copy") as copy, opening.open(tmp_path / "d") as original:
        copy.increment("a")
        assert (copy.get("a"), original.get("a")) == (6, 5)
        assert original.status()["peer_id"] == first
        assert copy.status()["peer_id"] != first


def test_a_local_host_has_an_identity_and_nobody_to_talk_to() -> None:
    identity = _core.Identity.generate()
    host = LocalHost(identity)
    assert isinstance(host, Host)
    assert (host.peer_id, host.connections()) == (identity.peer_id, [])
    assert host.sign(b"x") == identity.sign(b"x")
    host.on_peer(lambda *_: pytest.fail("nobody connects"))
    host.close()


def test_a_network_is_joined_and_left(tmp_path: Path) -> None:
    pytest.importorskip("libp2p")
    with opening.open(tmp_path / "d", network=Network("x"), close_timeout_s=0.0) as stats:
        stats.increment("a")
        assert stats.status()["network"]["peer_id"] == stats.status()["peer_id"]
    with DataDirectory.open(tmp_path / "d") as directory:
        assert directory.topic == "/crdtstats/1/x"
