"""The two languages take turns on the same data and are compared after each step; each restarts now and then."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crdtstats
from tests.interop.driver import GoPeer, meet, until
from tests.interop.heads import heads

PATHS = (
    "likes",
    "likes/post1",
    "likes/post1/de",
    "likes2",
    "views/a",
    "views/a b",
    "views/ü",
    "deep/1/2/3/4",
)
STEPS = 30
RESTARTS = (8, 14, 20, 26)


class Turns:
    """One Go peer and one store of ours, and what both acknowledged."""

    def __init__(self, seed: int, directory: Path, start_go: Callable[..., GoPeer], open_store: Any) -> None:
        self.seed, self.chance = seed, random.Random(seed)
        self._directory, self._start_go, self._open_store = directory, start_go, open_store
        self.truth = dict.fromkeys(PATHS, 0)
        self.listen = "/ip4/127.0.0.1/tcp/0"
        self.generations: set[str] = set()
        self.start_go()
        self.open_store()

    def start_go(self) -> None:
        self.go = self._start_go(seed="alice", dir=self._directory / "go", listen=self.listen)
        self.listen = self.go.addr.split("/p2p/")[0]
        self.generations.add(self.go.generation)

    def open_store(self) -> None:
        self.store: crdtstats.CRDTStatsStore = self._open_store("ours", self.go.addr)
        meet(self.go, self.store)

    def restart(self, which: str) -> None:
        if which == "ours":
            self.store.close()
            self.open_store()
            return
        if which == "go-killed":
            self.go.kill()
        else:
            self.go.assert_healthy()
            self.go.close()
        self.start_go()
        until(lambda: self.go.peer_id in self.store.status()["peers"], what=self.store.status)
        meet(self.go, self.store)

    def count(self) -> None:
        """One of the two counts; more decrements than increments as well, so that values fall below 0."""
        counts = {
            path: self.chance.choice([(self.chance.randrange(1, 1000), 0), (0, 700), (5, 900), (3, 3)])
            for path in self.chance.sample(PATHS, self.chance.randrange(1, 4))
        }
        for path, (increments, decrements) in counts.items():
            self.truth[path] += increments - decrements
        if self.chance.random() < 0.5:
            self.go.call("count", counts=counts)
            return
        for path, (increments, decrements) in counts.items():
            self.store.increment(path, increments)
            self.store.decrement(path, decrements)
        self.store.flush()

    def prefixes(self) -> list[str]:
        parts = [path.split("/") for path in PATHS]
        return sorted({"/".join(of[:depth]) for of in parts for depth in range(1, len(of) + 1)})

    def compare(self) -> None:
        """The same values, the same aggregates of every prefix, and our heads are heads there."""
        until(lambda: {path: self.store.get(path) for path in PATHS} == self.truth, what=self.difference)
        for prefix in self.prefixes():
            below = (v for path, v in self.truth.items() if f"{path}/".startswith(f"{prefix}/"))
            assert self.store.total(prefix) == sum(below), (self.seed, prefix)
        until(lambda: self.aggregates() == self.ours(), what=self.difference)
        # A value is merged before the head moves, so a write in between forks the DAG: the same for all.
        until(lambda: set(heads(self.store)) <= set(self.go.call("status")["heads"]), what=self.difference)

    def aggregates(self) -> dict[str, int]:
        return {prefix: self.go.call("aggregated", key=prefix) for prefix in self.prefixes()}

    def ours(self) -> dict[str, int]:
        return {prefix: self.store.get_aggregated_stat(prefix) for prefix in self.prefixes()}

    def difference(self) -> Any:
        return (
            self.seed,
            self.truth,
            self.aggregates(),
            self.ours(),
            self.go.call("status"),
            self.store.status(),
        )


@pytest.mark.parametrize("seed", range(4))
def test_equal_after_each_step(
    seed: int, tmp_path: Path, start_go: Callable[..., GoPeer], open_store: Any
) -> None:
    print(f"seed {seed}")
    turns = Turns(seed, tmp_path, start_go, open_store)
    whom = turns.chance.sample(["ours", "ours", "go-closed", "go-killed"], len(RESTARTS))
    lowest = 0
    for step in range(STEPS):
        turns.count()
        turns.compare()
        lowest = min(lowest, *turns.truth.values())
        if step in RESTARTS:
            turns.restart(whom[RESTARTS.index(step)])
            turns.compare()
    assert lowest < 0
    assert len(turns.generations) == 3
    turns.store.increment(PATHS[0])
    turns.store.flush()
    until(
        lambda: len(heads(turns.store)) == 1 and heads(turns.store)[0] in turns.go.call("status")["heads"],
        what=turns.difference,
    )
    turns.go.assert_healthy()
