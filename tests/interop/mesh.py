"""Two Go peers and three of ours, all connected, with faults between them: cut links, lost payloads, kills."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.interop.driver import GoPeer, PeerProcess, PythonPeer

NAMES = ("go1", "go2", "py1", "py2", "py3")
FLUSH_INTERVAL_S = 0.5
ANNOUNCE_S = 1.0


class Mesh:
    """Five replicas by name, what each acknowledged, and how to start one again at the same address."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        start_go: Callable[..., GoPeer],
        start_python: Callable[..., PythonPeer],
        loss: float = 0.0,
    ) -> None:
        self._directory, self._start_go, self._start_python = directory, start_go, start_python
        self._seed, self._loss, self._starts = seed, loss, 0
        self._listen: dict[str, str] = {}
        self._blocked: dict[tuple[str, str], float] = {}
        self.peers: dict[str, PeerProcess] = {}
        self.generations: dict[str, set[str]] = {}
        self.truth: Counter[str] = Counter()
        self.steps = 0
        self.story: list[str] = []
        self._began = time.monotonic()
        for name in NAMES:
            self.start(name)

    def tell(self, what: str) -> None:
        """For whoever reads why it failed."""
        self.story.append(f"{time.monotonic() - self._began:.2f} {what}")

    # ---- lives

    def start(self, name: str) -> None:
        """Start a replica, again in its old directory and at its old address where it had one."""
        others = [peer.addr for peer in self.peers.values()]
        listen = self._listen.get(name, "/ip4/127.0.0.1/tcp/0")
        self._starts += 1
        loss = {"seed": self._seed * 1000 + self._starts, "in": self._loss, "out": self._loss}
        if name.startswith("go"):
            peer: PeerProcess = self._start_go(
                seed=name, dir=self._directory / name, listen=listen, rebroadcast=f"{ANNOUNCE_S}s"
            )
            for address in others:
                peer.call("connect", addr=address)
            peer.call("loss", **loss)
            self.generations.setdefault(name, set()).add(peer.generation)
        else:
            peer = self._start_python(
                name,
                *others,
                listen=[listen],
                flush_interval_s=FLUSH_INTERVAL_S,
                announce_interval_s=ANNOUNCE_S,
                faults=True,
            )
            peer.call("fault", fault={"loss": loss})
        self._listen[name] = peer.addr.split("/p2p/")[0]
        self.peers[name] = peer
        self.tell(f"start {name}")

    def kill(self, name: str) -> None:
        self.tell(f"kill {name}")
        self._blocked = {pair: until for pair, until in self._blocked.items() if name not in pair}
        self.peers.pop(name).kill()

    # ---- links

    def cut(self, one: str, other: str, seconds: float) -> None:
        """No connection between the two for so long."""
        self.tell(f"cut {one} {other} {seconds:.1f}")
        if one.startswith("go") and other.startswith("py"):
            one, other = other, one
        peer_id = self.peers[other].peer_id
        if one.startswith("py"):
            self.peers[one].call("fault", fault={"cut": peer_id, "seconds": seconds})
            if other.startswith("py"):
                fault = {"cut": self.peers[one].peer_id, "seconds": seconds}
                self.peers[other].call("fault", fault=fault)
        else:
            self.peers[one].call("block", peer=peer_id)
            self._blocked[one, other] = time.monotonic() + seconds

    def drop(self, one: str, other: str) -> None:
        """End their connections once. Ours dial again at once, and a Go peer may still be sending."""
        self.tell(f"drop {one} {other}")
        go, peer = (one, other) if one.startswith("go") else (other, one)
        self.peers[go].call("disconnect", peer=self.peers[peer].peer_id)
        if peer.startswith("go"):
            self._blocked[go, peer] = time.monotonic()

    def mend(self, *, all_: bool = False) -> None:
        """Go peers do not dial again by themselves: let those whose time is over find each other."""
        for (one, other), until in list(self._blocked.items()):
            if all_ or until <= time.monotonic():
                del self._blocked[one, other]
                self.peers[one].call("unblock", peer=self.peers[other].peer_id)
                self.peers[one].call("connect", addr=self.peers[other].addr)
                self.tell(f"mend {one} {other}")

    # ---- counts

    def count(self, name: str, counts: dict[str, tuple[int, int]]) -> None:
        """Count in one commit, and remember it once it was acknowledged."""
        self.peers[name].call("count", counts=counts)
        self._acknowledged(counts)

    def step(self, name: str, chance: random.Random, keys: list[str], calls: int) -> None:
        """Count by many calls: a Go peer writes a block for each."""
        drawn = [(chance.choice(keys), chance.choice([1, 1, 1, -1])) for _ in range(calls)]
        if name.startswith("go"):
            for key, amount in drawn:
                self.peers[name].call("incr" if amount > 0 else "decr", key=key)
        else:
            self.peers[name].call("steps", steps=drawn)
        for key, amount in drawn:
            self._acknowledged({key: (max(amount, 0), max(-amount, 0))})

    def _acknowledged(self, counts: dict[str, tuple[int, int]]) -> None:
        for key, (increments, decrements) in counts.items():
            self.truth[key] += increments - decrements
            self.steps += increments + decrements

    def sub_counters(self, name: str) -> dict[str, int]:
        """What a Go peer holds, key by key."""
        return {key: int(value, 16) for key, value in self.peers[name].call("query", key="/STATS").items()}

    def shown(self, name: str) -> dict[str, int]:
        """The value of each key, which may be negative."""
        if name.startswith("py"):
            return {key: value for key, value in self.peers[name].call("items").items() if value}
        values: Counter[str] = Counter()
        for key, value in self.sub_counters(name).items():
            _, _, kind, *parts = key.split("/")
            values["/".join(parts[:-2])] += value if kind == "incr" else -value
        return {key: value for key, value in values.items() if value}

    def expected(self) -> dict[str, int]:
        return {key: value for key, value in self.truth.items() if value}

    def converged(self) -> bool:
        expected = self.expected()
        return all(self.shown(name) == expected for name in self.peers)

    # ---- why not

    def describe(self) -> Any:
        """Who differs, in which sub-counters, and what the Go peers wait for."""
        expected = self.expected()
        wrong = {name: shown for name in self.peers if (shown := self.shown(name)) != expected}
        go = {name: peer for name, peer in self.peers.items() if isinstance(peer, GoPeer)}
        py = {name: peer for name, peer in self.peers.items() if not isinstance(peer, GoPeer)}
        entries = {name: self.sub_counters(name) for name in go}
        differ = {
            key: [of.get(key, 0) for of in entries.values()]
            for key in {key for of in entries.values() for key in of}
            if len({of.get(key) for of in entries.values()}) > 1
        }
        states = {name: peer.call("status") for name, peer in go.items()}
        wanted: dict[str, Any] = {}
        for name, peer in go.items():
            for cid in [entry["/"] for entry in peer.call("wantlist") or []]:
                wanted.setdefault(cid, {"wants": [], "has": []})["wants"].append(name)
        for cid, where in wanted.items():
            for name, peer in go.items():
                if peer.call("has_block", cids=[cid]):
                    where["has"].append(name)
            for name, peer in py.items():
                if peer.call("holds", cid=cid):
                    where["has"].append(name)
        names = {peer.peer_id: name for name, peer in self.peers.items()}
        connected = {
            name: sorted(names.get(other, other) for other in peer.call("peers")["host"] or [])
            for name, peer in go.items()
        } | {
            name: sorted(names.get(other, other) for other in peer.call("status")["peers"])
            for name, peer in py.items()
        }
        for state in states.values():
            state["heads"] = len(state["heads"])
        return {
            "seed": self._seed,
            "peers": names,
            "connected": connected,
            "wrong": {
                n: {
                    k: (of.get(k, 0), expected.get(k, 0))
                    for k in of.keys() | expected.keys()
                    if of.get(k) != expected.get(k)
                }
                for n, of in wrong.items()
            },
            "sub-counters that differ": differ,
            "go": states,
            "wanted": wanted,
            "py": {name: peer.call("status") for name, peer in py.items()},
            "log": {name: peer.call("log")["lines"][-20:] for name, peer in go.items()},
            "story": self.story,
        }
