"""Configured peers are kept connected: at once where they come back, patiently where they do not want us."""

from itertools import pairwise

import pytest
import trio
import trio.testing

from crdtstats.network import hardened
from crdtstats.network.peer_id import peer_id_of
from crdtstats.network.redial import BACKOFF_S_MAX, CHECK_S, Redial
from tests.network.conftest import new_identity

ADDRESS = f"/ip4/127.0.0.1/tcp/1/p2p/{peer_id_of(new_identity())}"


class Host:
    """Connected as long as ``keeps`` lets it."""

    def __init__(self, *, keeps):
        self.keeps, self.connected, self.dialled = keeps, [], []

    def get_id(self): ...

    def get_connected_peers(self):
        return self.connected

    def get_peerstore(self):
        return self

    def addrs(self, peer):
        return []

    async def dial(self, host, peer, address):
        self.dialled.append(trio.current_time())
        await trio.sleep(0.01)
        self.connected = [peer] if self.keeps else []
        return True


def run(host, scenario, monkeypatch):
    async def main():
        monkeypatch.setattr(hardened, "dial", host.dial)
        async with trio.open_nursery() as nursery:
            Redial(host, nursery).add(ADDRESS)
            await scenario()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_peer_that_lets_us_in_and_closes_at_once_is_dialled_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(keeps=False)

    async def scenario():
        await trio.sleep(300)

    run(host, scenario, monkeypatch)
    gaps = [later - sooner for sooner, later in pairwise(host.dialled)]
    assert gaps[0] < 2
    assert min(gaps[-5:]) > 0.7 * BACKOFF_S_MAX


def test_a_connection_that_was_lost_is_made_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(keeps=True)

    async def scenario():
        for lives in range(1, 6):
            await trio.sleep(30)
            assert len(host.dialled) == lives
            lost, host.connected = trio.current_time(), []
            await trio.sleep(2 * CHECK_S)
            assert host.dialled[-1] - lost <= CHECK_S

    run(host, scenario, monkeypatch)
