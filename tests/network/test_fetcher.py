"""Which way a wanted block comes: walks of a peer are few and full, and a Go peer is asked for what it announced."""

import pytest
import trio
import trio.testing

from crdtstats.network import fetcher as fetcher_module
from crdtstats.network.fetcher import Fetcher
from tests.network.conftest import cid_of_block

BLOCKS = [b"%d" % n for n in range(300)]
CIDS = [cid_of_block(block) for block in BLOCKS]


class Parts:
    """The parts beneath a fetcher, as one double: host, link to the parent, walk and bitswap."""

    def __init__(self, *peers):
        self.peers = list(peers)
        self.walked, self.by_bitswap, self.delivered = [], [], []
        self.has = {peer: dict(zip(CIDS, BLOCKS, strict=True)) for peer in peers}
        self.silent = set()
        self.counts = {}

    def get_connected_peers(self):
        return self.peers

    async def ancestors(self, *limits): ...

    async def send(self, kind, data):
        self.delivered.append(data)

    async def ask(self, peer, cids, ahead, still):
        self.walked.append((peer, list(cids), ahead))
        await trio.sleep(1)  # the peer is busy
        if peer in self.silent:
            return False
        found = [(cid, self.has[peer][cid]) for cid in cids if cid in self.has[peer]]
        if found:
            await self.fetcher._deliver(peer, found)
        return True

    def want(self, cids, hints):
        self.by_bitswap += [(cid, tuple(hints)) for cid in cids]

    def cancel(self, cids): ...

    async def run(self, task_status):
        task_status.started()


def run(parts, scenario, monkeypatch):
    monkeypatch.setattr(fetcher_module, "Walk", lambda *_: parts)
    monkeypatch.setattr(fetcher_module, "Bitswap", lambda *_: parts)

    async def main():
        async with trio.open_nursery() as nursery:
            parts.fetcher = Fetcher(parts, parts)
            await parts.fetcher.begin(nursery)
            await scenario(parts.fetcher)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_waits_is_asked_for_in_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts("ours")

    async def scenario(fetcher):
        began = trio.current_time()
        for cid in CIDS:  # one by one, as they are announced
            fetcher.want([cid], ["ours"], 0)
            await trio.sleep(0.001)
        while fetcher.status()["wanted"]:
            await trio.sleep(0.1)
        assert trio.current_time() - began < 4

    run(parts, scenario, monkeypatch)
    assert len(parts.walked) <= 3
    assert not parts.by_bitswap


def test_how_far_the_walk_may_go_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new head alone brings no ancestors, also beside a walk down a chain."""
    parts = Parts("ours")

    async def scenario(fetcher):
        fetcher.want(CIDS[:1], ["ours"], 0)
        await trio.sleep(0.1)
        fetcher.want(CIDS[1:3], ["ours"], 255)
        fetcher.want(CIDS[3:6], ["ours"], 0)

    run(parts, scenario, monkeypatch)
    assert parts.walked == [("ours", CIDS[:1], 0), ("ours", CIDS[1:3], 255), ("ours", CIDS[3:6], 0)]


def test_what_a_peer_has_not_or_does_not_answer_goes_to_bitswap(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts("go", "ours")
    parts.silent = {"go"}
    parts.has["ours"] = dict(zip(CIDS[:5], BLOCKS[:5], strict=True))

    async def scenario(fetcher):
        fetcher.want(CIDS[10:12], ["go"], 0)
        await trio.sleep(0.1)
        fetcher.want(CIDS[12:14], ["go"], 0)
        await trio.sleep(2)
        assert [cid for cid, _ in parts.by_bitswap] == CIDS[10:14]  # those in the queue too, at once
        # From now on it is known not to walk: what it announced is asked of it without a detour.
        fetcher.want(CIDS[20:22], ["go"], 0)
        assert parts.by_bitswap[4:] == [(cid, ("go",)) for cid in CIDS[20:22]]
        # What lies below is walked where somebody does.
        fetcher.want([CIDS[0], CIDS[22]], [], 7)
        await trio.sleep(2)

    run(parts, scenario, monkeypatch)
    assert parts.walked[-1][:2] in (("ours", [CIDS[0], CIDS[22]]), ("ours", [CIDS[22]]))
    assert parts.by_bitswap[-1][0] == CIDS[22]
