"""A live Go process beside our stores, all on 127.0.0.1; whatever happens, none is left behind."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libp2p")

import crdtstats
from tests.interop.driver import GoPeer, PythonPeer, meet

SOURCES = Path(__file__).with_name("gopeer")
BUILD_S = 900.0
"""Cold, with the download of some hundred modules."""


@pytest.fixture(scope="session")
def go_binary(request: pytest.FixtureRequest) -> Path:
    """The Go peer, built once; Go's own cache makes the next time cheap."""
    go = shutil.which("go")
    if go is None:
        reason = "Go is not installed: NOTHING of the interoperability with Go peers is tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    binary = request.config.cache.mkdir("gopeer") / "gopeer"
    done = subprocess.run(
        [go, "build", "-o", str(binary), "."],
        cwd=SOURCES,
        env={**os.environ, "GOFLAGS": "-buildvcs=false -mod=readonly"},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return binary


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_go(go_binary: Path, closing: ExitStack) -> Iterator[Callable[..., GoPeer]]:
    """Start Go peers; those that are left are closed after the test. None of them has anything to complain of by then,
    unless the test gave it reason to, and said so (``troubled``)."""
    peers: list[GoPeer] = []

    def start(**options: Any) -> GoPeer:
        peer = GoPeer(go_binary, **{"rebroadcast": "2s"} | options)
        closing.callback(peer.close)
        peers.append(peer)
        return peer

    yield start
    for peer in peers:
        if peer.alive and not peer.troubled:
            peer.assert_healthy()


@pytest.fixture
def open_store(tmp_path: Path, closing: ExitStack) -> Callable[..., crdtstats.CRDTStatsStore]:
    """Open stores of the Go peers' network, by the name of their directory; addresses of peers follow it."""

    def open_(name: str, *peers: str, **options: Any) -> crdtstats.CRDTStatsStore:
        network = crdtstats.Network.warpnet(
            peers=peers,
            announce_interval_s=options.pop("announce_interval_s", 2.0),
            psk=options.pop("psk", None),
            dht=options.pop("dht", False),
        )
        settings = {"flush_interval_s": 0.1, "close_timeout_s": 1.0} | options
        store = crdtstats.open(tmp_path / name, network=network, **settings)
        closing.callback(store.close)
        return store

    return open_


@pytest.fixture
def start_python(tmp_path: Path, closing: ExitStack) -> Callable[..., PythonPeer]:
    """Start stores in their own processes; those that are left are closed after the test."""

    def start(name: str, *peers: str, **options: Any) -> PythonPeer:
        peer = PythonPeer(tmp_path / name, peers=peers, **{"announce_interval_s": 2.0} | options)
        closing.callback(peer.close)
        return peer

    return start


@pytest.fixture
def noise(request: pytest.FixtureRequest) -> Callable[[int], bytes]:
    """Random bytes of a test, the same in each run."""
    return random.Random(request.node.name).randbytes


@pytest.fixture
def pair(
    start_go: Callable[..., GoPeer], open_store: Callable[..., crdtstats.CRDTStatsStore]
) -> tuple[GoPeer, crdtstats.CRDTStatsStore]:
    """A Go peer and a store of ours that have met."""
    go = start_go()
    store = open_store("ours", go.addr)
    meet(go, store)
    return go, store
