"""An answer to a walk has an end, whatever the peer sends; then what was asked for is asked of others."""

import pytest
import trio
import trio.testing

from crdtstats.network import fetcher as fetcher_module
from crdtstats.network.fetcher import Fetcher
from crdtstats.network.walk import ANSWER_S, BYTES_MAX, COUNT_MAX, STALL_S, encode_piece
from tests.network.conftest import cid_of_block

PEER = "peer"
WANTED = cid_of_block(b"what the peer never sends")
OTHER = b"right, and not what was asked for"


class Peer:
    """A host with one peer behind it, whose answer goes on for ever: ``pieces`` gives (seconds to wait, bytes)."""

    def __init__(self, pieces):
        self.pieces = pieces()
        self.connected = [PEER]
        self.resets = 0
        self.got_bytes = 0
        self.by_bitswap = []  # (when, CID)

    # What a fetcher and a walk ask of a host, of a stream of it, and of the link to the parent.

    def set_stream_handler(self, protocol, handler): ...

    def get_connected_peers(self):
        return self.connected

    async def disconnect(self, peer):
        self.connected.remove(peer)

    async def new_stream(self, peer, protocols):
        return self

    async def write(self, data): ...

    async def read(self, size):
        wait_s, data = next(self.pieces)
        await trio.sleep(wait_s)
        return data

    async def reset(self):
        self.resets += 1

    async def ancestors(self, *limits): ...

    async def send(self, kind, data):
        self.got_bytes += len(data)

    # In place of bitswap.

    def want(self, cids, hints):
        self.by_bitswap += [(trio.current_time(), cid) for cid in cids]

    def cancel(self, cids): ...

    async def run(self, task_status):
        task_status.started()


def ask(peer, ahead, monkeypatch):
    """Want one block of it, until bitswap is asked. Returns the fetcher and the seconds that it took."""
    monkeypatch.setattr(fetcher_module, "Bitswap", lambda *_: peer)
    fetchers = []

    async def main():
        async with trio.open_nursery() as nursery:
            fetchers.append(fetcher := Fetcher(peer, peer))
            await fetcher.begin(nursery)
            began = trio.current_time()
            fetcher.want([WANTED], [PEER], ahead)
            with trio.move_on_after(10 * ANSWER_S):
                while not peer.by_bitswap:
                    await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        assert [cid for _, cid in peer.by_bitswap] == [WANTED]
        return peer.by_bitswap[0][0] - began

    took = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return fetchers[0], took


def blocks_in_drops():
    while True:
        yield 0.8 * STALL_S, encode_piece([(cid_of_block(OTHER), OTHER)])


def a_piece_in_drops():
    yield 0, (1000).to_bytes(4, "big")
    while True:
        yield 0.2 * STALL_S, b"x"


@pytest.mark.parametrize(
    ("pieces", "longest_s"),
    [(blocks_in_drops, ANSWER_S), (a_piece_in_drops, STALL_S)],
    ids=["blocks", "bytes"],
)
def test_an_answer_in_drops_is_ended(pieces, longest_s, monkeypatch):
    peer = Peer(pieces)
    fetcher, took = ask(peer, COUNT_MAX - 1, monkeypatch)
    assert took <= longest_s + 1
    assert peer.resets == 1
    assert fetcher.walk.counts["failed"] == 1
    assert peer.connected == [
        PEER
    ]  # slow is not wrong: it is asked for no walk for a while, and keeps its connection


def many_bytes():
    block = bytes(1 << 20)
    while True:
        yield 0.01, encode_piece([(cid_of_block(block), block)])


def many_blocks():
    while True:
        yield 0.01, encode_piece([(cid_of_block(OTHER), OTHER)])


@pytest.mark.parametrize(
    ("pieces", "ahead", "bytes_max"),
    [(many_bytes, COUNT_MAX - 1, BYTES_MAX + (1 << 20)), (many_blocks, 9, 10 * (len(OTHER) + 100))],
    ids=["bytes", "blocks"],
)
def test_an_answer_of_more_than_was_asked_for_is_ended_and_blamed(pieces, ahead, bytes_max, monkeypatch):
    peer = Peer(pieces)
    fetcher, took = ask(peer, ahead, monkeypatch)
    assert took < STALL_S
    assert 0 < peer.got_bytes <= bytes_max
    assert fetcher.walk.counts["bad"] == 1
    assert fetcher.blamed == {PEER: 1}
    assert peer.connected == []
