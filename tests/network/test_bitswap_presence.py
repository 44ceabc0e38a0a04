"""A peer that says it has a block and brings it, late or never."""

from __future__ import annotations

import trio
import trio.testing

from crdtstats.network import bitswap_wire as wire
from crdtstats.network.bitswap import RETRY_S, STALL_S, Bitswap
from crdtstats.network.content import read_uvarint
from tests.network.conftest import cid_of_block

BLOCK = b"somebody has it"
CID = cid_of_block(BLOCK)
LIAR, HONEST = "liar", "honest"
LONGEST_S = 6 * STALL_S
"""A peer that goes on talking keeps a want no longer."""


class Peers:
    """A host whose peers answer each want by what ``says`` gives for them: the block, that they lack it, nothing."""

    def __init__(self, **says):
        self.says = says
        self.connections = {}
        self.asked = {peer: [] for peer in says}  # when for the block
        self.got = {}  # CID -> when
        self.bitswap = Bitswap(self, None, self._take)

    async def _take(self, peer, pairs):
        self.got.update({cid: trio.current_time() for cid, _ in pairs})

    def get_network(self):
        return self

    def set_stream_handler(self, protocol, handler): ...

    async def new_stream(self, peer, protocols):
        await trio.lowlevel.checkpoint()
        return ToPeer(self, peer)

    async def hear(self, peer, part):
        """The node hears ``part`` from ``peer``."""
        answer = wire.envelope([part])
        message = wire.decode(answer[read_uvarint(answer, 0)[1] :])
        state = self.bitswap._peers[peer]
        state.heard = trio.current_time()
        state.stalled = False
        await self.bitswap._take_presence(state, message)
        await self.bitswap._take_blocks(state, message)

    async def says_have(self, peer, every_s):
        """Task: again and again."""
        while True:
            await trio.sleep(every_s)
            await self.hear(peer, wire.presence_part(CID, True))

    def run(self, scenario):
        async def main():
            async with trio.open_nursery() as nursery:
                await nursery.start(self.bitswap.run)
                for peer in self.says:
                    self.bitswap.connected(peer)
                await scenario(nursery)
                nursery.cancel_scope.cancel()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class ToPeer:
    def __init__(self, peers, peer):
        self.peers, self.peer = peers, peer

    async def write(self, data):
        await trio.lowlevel.checkpoint()
        size, start = read_uvarint(data, 0)
        for entry in wire.decode(data[start : start + size]).entries:
            if entry.cancel or entry.cid != CID:
                continue
            self.peers.asked[self.peer].append(trio.current_time())
            if (part := self.peers.says[self.peer]()) is not None:
                await self.peers.hear(self.peer, part)

    async def reset(self): ...


def nothing():
    return None


def missing():
    return wire.presence_part(CID, False)


def the_block():
    return wire.block_part(CID, BLOCK)


def test_a_peer_that_says_have_and_never_brings_it_does_not_keep_the_want():
    peers = Peers(liar=nothing, honest=the_block)

    async def scenario(nursery):
        nursery.start_soon(peers.says_have, LIAR, 1.0)
        peers.bitswap.want([CID], [LIAR])
        await trio.sleep(2 * LONGEST_S)

    peers.run(scenario)
    assert len(peers.asked[LIAR]) == 1
    assert peers.got[CID] <= LONGEST_S + 1


def test_what_a_peer_let_stall_goes_to_the_others_before_it_is_asked_again():
    """It falls silent, is found out, and says again that it has it, while another is asked."""
    peers = Peers(liar=nothing, honest=nothing)

    async def scenario(nursery):
        peers.bitswap.want([CID], [LIAR])
        await trio.sleep(STALL_S + 1)
        assert len(peers.asked[HONEST]) == 1
        assert peers.bitswap._peers[LIAR].misses == 1
        for _ in range(10):
            await peers.hear(LIAR, wire.presence_part(CID, True))
            await trio.sleep(0.1)
        assert len(peers.asked[LIAR]) == 1
        await peers.hear(HONEST, missing())
        await peers.hear(LIAR, wire.presence_part(CID, True))  # nobody else has it: it may try again
        await trio.sleep(0.1)
        assert len(peers.asked[LIAR]) == 2
        # It did not: the next round begins when it was due, with who let nobody down.
        nursery.start_soon(peers.says_have, LIAR, 1.0)
        peers.says[HONEST] = the_block
        await trio.sleep(RETRY_S + 1)
        assert CID in peers.got

    peers.run(scenario)


def test_a_peer_that_lacked_it_and_says_have_is_asked_at_once():
    peers = Peers(late=missing, other=missing)

    async def scenario(nursery):
        peers.bitswap.want([CID], ["late"])
        await trio.sleep(1)
        assert [len(when) for when in peers.asked.values()] == [1, 1]
        peers.says["late"] = the_block
        await peers.hear("late", wire.presence_part(CID, True))
        await trio.sleep(0.1)
        assert peers.got[CID] < 1.1

    peers.run(scenario)
