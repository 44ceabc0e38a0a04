"""The two languages take turns on the same data and are compared after each step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import crdtstats
from tests.interop.driver import GoPeer, meet, until
from tests.interop.heads import heads

PATHS = ("likes", "likes/post1", "likes/post1/de", "likes2", "views/a", "views/a b", "views/ü")


def aggregates(go: GoPeer) -> dict[str, int]:
    return {prefix: go.call("aggregated", key=prefix) for prefix in prefixes()}


def prefixes() -> set[str]:
    return {"/".join(path.split("/")[:depth]) for path in PATHS for depth in range(1, 4)}


def ours(store: crdtstats.CRDTStatsStore) -> dict[str, int]:
    return {prefix: store.get_aggregated_stat(prefix) for prefix in prefixes()}


@pytest.mark.parametrize("seed", range(3))
def test_equal_after_each_step(seed: int, start_go: Callable[..., GoPeer], open_store: Any) -> None:
    chance = random.Random(seed)
    go = start_go()
    store = open_store("ours", go.addr)
    meet(go, store)
    truth = dict.fromkeys(PATHS, 0)

    def statuses() -> Any:
        return go.call("status"), store.status()

    for _ in range(30):
        counts = {
            path: (chance.randrange(1, 1000), chance.choice([0, 0, chance.randrange(2000)]))
            for path in chance.sample(PATHS, chance.randrange(1, 4))
        }
        for path, (increments, decrements) in counts.items():
            truth[path] += increments - decrements
        if chance.random() < 0.5:
            go.call("count", counts=counts)
        else:
            for path, (increments, decrements) in counts.items():
                store.increment(path, increments)
                store.decrement(path, decrements)
            store.flush()
        until(lambda: {path: store.get(path) for path in PATHS} == truth)
        until(
            lambda: aggregates(go) == ours(store),
            what=lambda: {"seed": seed, "go": aggregates(go), "ours": ours(store)},
        )
        # A value is merged before the head moves, so a write in between forks the DAG: the same for all.
        until(lambda: set(heads(store)) <= set(go.call("status")["heads"]), what=statuses)
    store.increment(PATHS[0])
    store.flush()
    until(lambda: len(heads(store)) == 1 and heads(store)[0] in go.call("status")["heads"], what=statuses)
    go.assert_healthy()
