"""Two Go peers and three of ours, all connected, all counting; one of each is killed and started again."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.driver import GoPeer, PeerProcess, PythonPeer, until

KEYS = [f"site/{n}" for n in range(20)]
ROUNDS = 24
FLUSH_INTERVAL_S = 0.5
LISTEN = "/ip4/127.0.0.1/tcp/{}"


class Mesh:
    """Five replicas by name, what each acknowledged, and how to start one again at the same address."""

    def __init__(
        self, directory: Path, start_go: Callable[..., GoPeer], start_python: Callable[..., PythonPeer]
    ) -> None:
        self._directory, self._start_go, self._start_python = directory, start_go, start_python
        self._listen: dict[str, str] = {}
        self.peers: dict[str, PeerProcess] = {}
        self.truth: Counter[str] = Counter()
        for name in ("go1", "go2", "py1", "py2", "py3"):
            self.start(name)

    def start(self, name: str) -> None:
        others = [peer.addr for peer in self.peers.values()]
        listen = self._listen.get(name, "/ip4/127.0.0.1/tcp/0")
        if name.startswith("go"):
            peer: PeerProcess = self._start_go(
                seed=name, dir=self._directory / name, listen=listen, rebroadcast="1s"
            )
            for address in others:
                peer.call("connect", addr=address)
        else:
            peer = self._start_python(
                name,
                *others,
                listen=[listen],
                flush_interval_s=FLUSH_INTERVAL_S,
                announce_interval_s=1.0,
            )
        self._listen[name] = peer.addr.split("/p2p/")[0]
        self.peers[name] = peer

    def kill(self, name: str) -> None:
        self.peers.pop(name).kill()

    def count(self, name: str, counts: dict[str, tuple[int, int]]) -> None:
        """Count, and remember it once it was acknowledged."""
        self.peers[name].call("count", counts=counts)
        for key, (increments, decrements) in counts.items():
            self.truth[key] += increments - decrements

    def shown(self, name: str) -> dict[str, int]:
        return {key: self.peers[name].call("aggregated", key=key) for key in KEYS}

    def expected(self) -> dict[str, int]:
        return {key: max(0, self.truth[key]) for key in KEYS}

    def converged(self) -> bool:
        return all(self.shown(name) == self.expected() for name in self.peers)


@pytest.mark.parametrize("seed", range(2))
def test_five_replicas_come_to_what_was_acknowledged(
    seed: int,
    tmp_path: Path,
    start_go: Callable[..., GoPeer],
    start_python: Callable[..., PythonPeer],
    record_property: Callable[[str, object], None],
) -> None:
    chance = random.Random(seed)
    mesh = Mesh(tmp_path, start_go, start_python)
    killed = {ROUNDS // 3: chance.choice(["go1", "go2"]), ROUNDS // 2: chance.choice(["py1", "py2", "py3"])}
    back: dict[int, str] = {}
    for step in range(ROUNDS):
        for name in list(mesh.peers):
            counts = {key: (chance.randrange(1, 9), chance.randrange(4)) for key in chance.sample(KEYS, 5)}
            mesh.count(name, counts)
        if step in killed:
            mesh.kill(killed[step])
            back[step + 3] = killed[step]
        if step in back:
            mesh.start(back[step])
        time.sleep(0.05)
    took_s = until(mesh.converged, 30.0, what=lambda: describe(mesh, seed))
    record_property("converged_s", took_s)
    for peer in mesh.peers.values():
        if isinstance(peer, GoPeer):
            assert not peer.call("status")["dirty"]
    times = []
    for name in list(mesh.peers):  # now that all is quiet: how long one more count takes to all
        mesh.count(name, dict.fromkeys(KEYS[:2], (1, 0)))
        times.append(until(mesh.converged, 15.0, what=lambda: describe(mesh, seed)))
    assert statistics.median(times) < 3.0 + FLUSH_INTERVAL_S, times
    record_property("last_write_s", times)


def describe(mesh: Mesh, seed: int) -> Any:
    """Who differs, in which sub-counters, and what the Go peers say of themselves."""
    expected = mesh.expected()
    wrong = {name: shown for name in mesh.peers if (shown := mesh.shown(name)) != expected}
    go = {name: peer for name, peer in mesh.peers.items() if isinstance(peer, GoPeer)}
    entries = {name: peer.call("query", key="/STATS") for name, peer in go.items()}
    differ = {
        key: [int(of.get(key, "0"), 16) for of in entries.values()]
        for key in {key for of in entries.values() for key in of}
        if len({of.get(key) for of in entries.values()}) > 1
    }
    states = {name: peer.call("status") for name, peer in go.items()}
    for state in states.values():
        state["heads"] = len(state["heads"])
    return {
        "seed": seed,
        "peer ids": {name: peer.peer_id for name, peer in mesh.peers.items()},
        "wrong": {
            n: {k: (v, expected[k]) for k, v in of.items() if v != expected[k]} for n, of in wrong.items()
        },
        "sub-counters that differ": differ,
        "go": states,
        "log": {name: peer.call("log")["lines"][-20:] for name, peer in go.items()},
    }
