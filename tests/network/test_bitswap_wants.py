"""Wants that nobody can serve: asked again ever less often, at once of whoever comes, and in nobody's way."""

from itertools import pairwise
from types import SimpleNamespace

import trio
import trio.testing

from crdtstats.network import bitswap_wire as wire
from crdtstats.network.bitswap import HELLO_S, RETRY_S, RETRY_S_MAX, Bitswap
from crdtstats.network.content import read_uvarint
from tests.network.conftest import cid_of_block

PEER = "peer"
MISSING = cid_of_block(b"nobody has it")


class Other:
    """A host with one peer behind it, that answers each want as Go does: here it is, or I have none."""

    def __init__(self, *blocks):
        self.blocks = {cid_of_block(block): block for block in blocks}
        self.connections = {}
        self.asked = []  # (when, CID)
        self.messages = []  # when anything came
        self.refuses = False
        self.got = {}
        self.bitswap = Bitswap(self, None, self._take)

    async def _take(self, peer, pairs):
        self.got.update(pairs)

    def get_network(self):
        return self

    def set_stream_handler(self, protocol, handler): ...

    async def new_stream(self, peer, protocols):
        await trio.lowlevel.checkpoint()
        return self

    async def write(self, data):
        if self.refuses:
            raise OSError("not now")
        self.messages.append(trio.current_time())
        size, start = read_uvarint(data, 0)
        parts = []
        for entry in wire.decode(data[start : start + size]).entries:
            if not entry.cancel:
                self.asked.append((trio.current_time(), entry.cid))
                block = self.blocks.get(entry.cid)
                part = wire.presence_part(entry.cid, False) if block is None else None
                parts.append(part or wire.block_part(entry.cid, block))
        if parts and (state := self.bitswap._peers.get(PEER)):
            answer = wire.envelope(parts)
            message = wire.decode(answer[read_uvarint(answer, 0)[1] :])
            state.heard = trio.current_time()
            await self.bitswap._take_presence(state, message)
            await self.bitswap._take_blocks(state, message)

    async def reset(self): ...

    def when_asked(self, cid):
        return [when for when, asked in self.asked if asked == cid]


def run(other, scenario):
    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(other.bitswap.run)
            await scenario()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_nobody_has_is_asked_for_less_and_less_often_and_holds_up_nothing():
    blocks = [b"%d" % n for n in range(30)]
    other = Other(*blocks)

    async def scenario():
        other.bitswap.connected(PEER)
        other.bitswap.want([MISSING])
        for block in blocks:
            await trio.sleep(20)
            other.bitswap.want([cid_of_block(block)])
            await trio.sleep(0.1)
            assert cid_of_block(block) in other.got

    run(other, scenario)
    when = other.when_asked(MISSING)
    gaps = [round(b - a) for a, b in pairwise(when)]
    assert gaps[:3] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert set(gaps[3:]) == {RETRY_S_MAX}


def test_a_peer_that_comes_back_is_asked_at_once():
    """As when it restarted: it knows no want of ours any more, and may have by now what it lacked."""
    other = Other()

    async def scenario():
        other.bitswap.connected(PEER)
        other.bitswap.want([MISSING])
        await trio.sleep(1)
        assert len(other.asked) == 1
        for again in (False, True):
            if not again:
                other.bitswap.disconnected(PEER)
            other.bitswap.connected(PEER, again=again)
            await trio.sleep(0.1)
        assert len(other.asked) == 3

    run(other, scenario)


def test_a_silent_peer_hears_from_us_though_nothing_is_asked():
    """A Go peer that failed to reach us asks us for nothing until then."""
    other = Other()

    async def scenario():
        other.bitswap.connected(PEER)
        await trio.sleep(10 * HELLO_S)

    run(other, scenario)
    assert other.messages[0] < 2
    assert max(later - sooner for sooner, later in pairwise(other.messages)) < HELLO_S + 1
    assert len(other.messages) <= 11


def test_a_peer_that_nothing_could_be_sent_to_is_tried_again():
    other = Other()

    async def scenario():
        other.refuses = True
        other.bitswap.connected(PEER)
        await trio.sleep(5)
        other.refuses = False
        other.bitswap.want([MISSING])
        await trio.sleep(2 * RETRY_S)
        assert other.when_asked(MISSING)

    run(other, scenario)


class Inbound:
    """A stream of theirs, that lives as long as the connection."""

    def __init__(self):
        self.muxed_conn = SimpleNamespace(peer_id=PEER)
        self.send, self._receive = trio.open_memory_channel(100)

    async def read(self, size):
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return b""

    async def close(self): ...


def test_what_a_peer_asks_is_answered_though_it_was_given_up_once():
    """Its stream outlives our giving up: its wants must not end where nobody answers from."""
    other = Other()
    block = b"ours"
    written = []

    async def blocks(cids):
        return dict.fromkeys(cids, block)

    async def write(data):
        if other.refuses:
            raise OSError("not now")
        written.append(data)

    other.write = write
    other.bitswap = Bitswap(other, blocks, other._take)

    async def scenario():
        stream = Inbound()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.bitswap._inbound, stream)
            await trio.sleep(0.1)
            other.refuses = True
            other.bitswap.want([MISSING])
            await trio.sleep(5)  # three attempts, and we gave it up
            other.refuses = False
            stream.send.send_nowait(wire.envelope([wire.wantlist([wire.want_entry(cid_of_block(block))])]))
            await trio.sleep(1)
            stream.send.close()

    run(other, scenario)
    assert any(block in data for data in written)
    assert any(MISSING in data for data in written)
