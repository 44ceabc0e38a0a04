"""A node and a peer that speaks bitswap only, as a Go peer does."""

import time

import pytest
import trio

from crdtstats.network.bitswap import Bitswap, _Peer
from crdtstats.network.bitswap_wire import Entry, Message, block_part, want_entry
from tests.network.conftest import cid_of_block
from tests.network.foreign import foreign_host, until


class Store:
    """The foreign side's blocks, and what it fetched."""

    def __init__(self, *blocks):
        self.blocks = {cid_of_block(block): block for block in blocks}
        self.got = {}

    async def find(self, cids):
        return {cid: self.blocks.get(cid) for cid in cids}

    async def take(self, peer, pairs):
        self.got.update(pairs)


class NoHost:
    """For tests of the state alone."""

    def set_stream_handler(self, protocol, handler): ...


def with_bitswap(peer, store, scenario):
    async def main():
        async with foreign_host(peer) as (host, target), trio.open_nursery() as nursery:
            bitswap = Bitswap(host, store.find, store.take)
            await nursery.start(bitswap.run)
            await until(lambda: str(host.get_id()) in peer.node.connections())
            await scenario(bitswap, target, str(host.get_id()))
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_node_serves_it(alice, noise):
    small, large = alice.put(noise(300), noise(1 << 20))
    many = alice.put(*(noise(250) for _ in range(200)))
    store = Store()

    async def scenario(bitswap, target, own):
        bitswap.want([small, large, *many], [target])
        await until(lambda: len(store.got) == 202, 20)

    with_bitswap(alice, store, scenario)
    assert store.got[large] == alice.blocks[large]


def test_a_node_fetches_from_it_one_by_one_and_at_once(alice, noise):
    blocks = [noise(300) for _ in range(150)] + [noise(1 << 20) for _ in range(3)]
    store = Store(*blocks)
    cids = list(store.blocks)

    async def scenario(bitswap, target, own):
        for cid in cids[:20]:
            alice.node.exchange.want([cid], [own])
            await until(lambda cid=cid: cid in alice.got)
        alice.node.exchange.want(cids[20:], [own])
        await until(lambda: all(cid in alice.got for cid in cids), 20)

    with_bitswap(alice, store, scenario)
    assert alice.got[cids[-1]][0] == blocks[-1]


def test_late_blocks_are_pushed_both_ways(alice, noise):
    ours, theirs = noise(500), noise(501)
    store = Store()

    async def scenario(bitswap, target, own):
        bitswap.want([cid_of_block(ours)], [target])
        alice.node.exchange.want([cid_of_block(theirs)], [own])
        await until(lambda: cid_of_block(ours) in alice.asked)
        await trio.sleep(0.5)
        started = time.monotonic()
        alice.node.exchange.have(alice.put(ours))
        await until(lambda: store.got.get(cid_of_block(ours)) == ours)
        store.blocks[cid_of_block(theirs)] = theirs
        bitswap.have([cid_of_block(theirs)])
        await until(lambda: cid_of_block(theirs) in alice.got)
        assert time.monotonic() - started < 3

    with_bitswap(alice, store, scenario)


def test_what_one_peer_lacks_is_asked_of_another(alice, bob, noise):
    (cid,) = bob.put(noise(600))

    async def scenario(bitswap, target, own):
        alice.node.exchange.want([cid], [own])
        await until(lambda: cid in alice.got)

    with_bitswap(alice, Store(), scenario)
    assert alice.got[cid][1] == bob.node.peer_id


@pytest.mark.parametrize("sooner", [True, False], ids=["have first", "block first"])
def test_who_asks_for_presence_and_block_at_once_gets_the_block(sooner, noise):
    """boxo does, in a session: the second question comes while the first one is being answered."""
    block = noise(5000)
    cid = cid_of_block(block)
    bitswap = Bitswap(NoHost(), None, None)
    state = _Peer("theirs")

    second = [Entry(cid, have_only=not sooner)]

    async def find_slowly(cids):
        if second:
            bitswap._take_wants(state, Message(entries=[second.pop()]))
        return {cid: block}

    async def main():
        bitswap._blocks = find_slowly
        bitswap._take_wants(state, Message(entries=[Entry(cid, have_only=sooner)]))
        said = []
        while state.owed:
            said += await bitswap._answers(state)
        assert block_part(cid, block) in said
        assert not state.theirs

    trio.run(main)


def test_a_peer_that_restarted_is_asked_again_at_once(noise):
    """Its new connection comes before the old one is known to be dead."""
    cid = cid_of_block(noise(100))

    async def main():
        async with trio.open_nursery() as nursery:
            bitswap = Bitswap(NoHost(), None, None)
            bitswap._nursery = nursery
            bitswap._peers["theirs"] = state = _Peer("theirs")
            bitswap.want([cid])
            assert list(state.lines) == [cid]
            state.lines.clear()  # said to its life before
            bitswap.connected("theirs")
            assert not state.lines
            bitswap.connected("theirs", again=True)
            assert state.lines == {cid: want_entry(cid)}

    trio.run(main)
