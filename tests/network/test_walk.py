"""First sync: a chain whose every block is known only after the one before."""

import queue
import time

import pytest

from tests.network.conftest import Peer, cid_of_block

CHAIN = 1000
SECONDS = 10.0
"""Measured: 0.1 s on a quiet machine of two cores."""


def make_chain(noise, count, size=200):
    blocks, link = {}, bytes(36)
    for _ in range(count):
        block = link + noise(size)
        link = cid_of_block(block)
        blocks[link] = block
    return link, blocks


def walker(blocks):
    def walk(cid, count_max, bytes_max):
        while count_max > 0 and bytes_max > 0 and (block := blocks.get(cid)) is not None:
            yield cid, block
            count_max, bytes_max, cid = count_max - 1, bytes_max - len(block), block[:36]

    return walk


class Follower(Peer):
    """Wants what each block links to."""

    def __init__(self, **options):
        super().__init__(**options)
        self.queue = queue.SimpleQueue()

    def _deliver(self, cid, block, peer):
        self.queue.put((cid, block))

    def follow(self, head, source):
        count = 0
        self.node.exchange.want([head], [source])
        while True:
            _, block = self.queue.get(timeout=10)
            count += 1
            if block[:36] == bytes(36):
                return count
            self.node.exchange.want([block[:36]], [source])


@pytest.fixture(scope="module")
def follower():
    source, follower = Peer(), Follower()
    with source.node, follower.node:
        source.node.wait_ready(20)
        follower.node.connect(source.node.addrs[0])
        follower.wait_connected(source)
        source.start(lambda *limits: walker(source.blocks)(*limits))
        follower.start()
        yield source, follower


def test_a_chain_is_walked_in_few_questions(follower, noise):
    source, follower = follower
    head, blocks = make_chain(noise, CHAIN)
    source.blocks = blocks
    source.asked.clear()
    started = time.monotonic()
    assert follower.follow(head, source.node.peer_id) == CHAIN
    took = time.monotonic() - started
    assert took < SECONDS, f"{CHAIN} blocks in {took:.2f} s"
    assert len(source.asked) < 20
    assert not follower.node.exchange._early.keys() & blocks.keys()


def test_what_came_early_and_is_not_wanted_does_not_slow_down_the_next_walk(follower, noise):
    """An answer may bring more than anybody goes down to; it is kept for a while."""
    source, follower = follower
    exchange = follower.node.exchange
    with exchange._lock:
        for block in (noise(64) for _ in range(40)):
            exchange._keep_early(cid_of_block(block), block, source.node.peer_id)
    test_a_chain_of_large_blocks_is_walked((source, follower), noise)
    head, source.blocks = make_chain(noise, CHAIN)
    source.asked.clear()
    assert follower.follow(head, source.node.peer_id) == CHAIN
    assert len(source.asked) < 20
    assert exchange.status()["early_held"] >= 40
    with exchange._lock:
        exchange._early.clear()
        exchange._early_bytes = 0


def test_what_comes_late_of_another_walk_does_not_slow_down_this_one(follower, noise):
    """It came after this one began, so it is not among what was left over before."""
    source, follower = follower
    exchange = follower.node.exchange
    head, source.blocks = make_chain(noise, CHAIN)
    source.asked.clear()
    exchange.want([head], [source.node.peer_id])
    _, block = follower.queue.get(timeout=10)
    with exchange._lock:
        for late in (noise(64) for _ in range(40)):
            exchange._keep_early(cid_of_block(late), late, source.node.peer_id)
    assert follower.follow(block[:36], source.node.peer_id) == CHAIN - 1
    assert len(source.asked) < 20
    with exchange._lock:
        exchange._early.clear()
        exchange._early_bytes = 0


def test_nothing_unasked_is_delivered(follower, noise):
    source, follower = follower
    head, source.blocks = make_chain(noise, 50)
    follower.node.exchange.want([head], [source.node.peer_id])
    assert follower.queue.get(timeout=10)[0] == head
    time.sleep(0.3)
    assert follower.queue.empty()
    # Of this chain: an answer to the test before may come as late as now.
    assert not follower.node.exchange._early.keys() & source.blocks.keys(), (
        "a new head alone brings no ancestors"
    )


def test_a_chain_of_large_blocks_is_walked(follower, noise):
    source, follower = follower
    head, source.blocks = make_chain(noise, 12, 1 << 20)
    assert follower.follow(head, source.node.peer_id) == 12


def test_without_a_walk_the_blocks_come_one_by_one(follower, noise):
    source, follower = follower
    head, source.blocks = make_chain(noise, 50)
    source.node.exchange.start(source._serve, source._deliver, None)
    try:
        assert follower.follow(head, source.node.peer_id) == 50
    finally:
        source.start(lambda *limits: walker(source.blocks)(*limits))
