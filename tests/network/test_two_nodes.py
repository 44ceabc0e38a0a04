"""Two nodes: gossip both ways, and blocks, through both child processes."""

import threading
import time

import pytest

from crdtstats.errors import UsageError
from crdtstats.network.client import PAYLOAD_BYTES_MAX
from crdtstats.protocols import Exchange, GossipPubSuber, Host
from tests.network.conftest import TOPIC, cid_of_block, wait_for


def test_a_node_is_host_gossip_and_exchange(alice):
    assert isinstance(alice.node, Host)
    assert isinstance(alice.node, GossipPubSuber)
    assert isinstance(alice.node.exchange, Exchange)


def test_gossip_goes_both_ways(alice, bob):
    bob.hears(alice)
    alice.hears(bob)


def test_a_payload_of_the_greatest_size_arrives(alice, bob, noise):
    bob.hears(alice)
    payload = noise(PAYLOAD_BYTES_MAX)
    alice.node.publish_raw(TOPIC, payload)
    wait_for(lambda: (payload, alice.node.peer_id) in bob.messages)
    with pytest.raises(UsageError, match="1048426"):
        alice.node.publish_raw(TOPIC, payload + b"x")


def test_own_messages_do_not_come_back(alice, bob):
    bob.hears(alice)
    assert all(peer != alice.node.peer_id for _, peer in alice.messages)


def test_a_handler_that_raises_disturbs_nobody(alice, bob, caplog):
    def fail(data, peer):
        raise RuntimeError("from the test")

    bob.node.subscribe_raw("/crdtstats/1/other", fail)
    for _ in range(3):
        alice.node.publish_raw("/crdtstats/1/other", b"x")
    bob.hears(alice)


def test_a_block_is_fetched_from_whoever_announced_it(alice, bob, noise):
    (cid,) = alice.put(noise(5000))
    bob.node.exchange.want([cid], [alice.node.peer_id])
    bob.wait_blocks([cid])
    assert bob.got[cid] == (alice.blocks[cid], alice.node.peer_id)


def test_a_block_is_fetched_without_a_hint(alice, bob, noise):
    (cid,) = bob.put(noise(300))
    alice.node.exchange.want([cid])
    alice.wait_blocks([cid])


def test_a_block_that_comes_later_is_pushed(alice, bob, noise):
    block = noise(2000)
    cid = cid_of_block(block)
    bob.node.exchange.want([cid], [alice.node.peer_id])
    wait_for(lambda: cid in alice.asked)
    time.sleep(0.3)
    assert cid not in bob.got
    alice.put(block)
    told = time.monotonic()
    alice.node.exchange.have([cid])
    bob.wait_blocks([cid])
    assert time.monotonic() - told < 2.0, "not before the next retry"


def test_blocks_of_a_mebibyte(alice, bob, noise):
    cids = alice.put(*(noise(1 << 20) for _ in range(5)))
    bob.node.exchange.want(cids, [alice.node.peer_id])
    bob.wait_blocks(cids, 30)
    assert all(bob.got[cid][0] == alice.blocks[cid] for cid in cids)


def test_the_greatest_block(alice, bob, noise):
    (cid,) = alice.put(noise((4 << 20) - 4096))
    bob.node.exchange.want([cid], [alice.node.peer_id])
    bob.wait_blocks([cid], 30)


def test_a_hundred_blocks_at_once(alice, bob, noise):
    cids = alice.put(*(noise(300) for _ in range(100)))
    bob.node.exchange.want(cids, [alice.node.peer_id])
    bob.wait_blocks(cids)


def test_a_cancelled_want_is_not_delivered(alice, bob, noise):
    block = noise(100)
    cid = cid_of_block(block)
    bob.node.exchange.want([cid])
    bob.node.exchange.cancel([cid])
    alice.put(block)
    alice.node.exchange.have([cid])
    (other,) = alice.put(noise(101))
    bob.node.exchange.want([other])
    bob.wait_blocks([other])
    assert cid not in bob.got


def test_a_blake3_block(alice, bob, noise):
    blake3 = pytest.importorskip("blake3")
    block = noise(1000)
    cid = b"\x01\x70\x1e\x20" + blake3.blake3(block).digest()
    alice.blocks[cid] = block
    bob.node.exchange.want([cid])
    bob.wait_blocks([cid])


def test_status_tells_what_happened(alice, bob, noise):
    (cid,) = alice.put(noise(10))
    bob.node.exchange.want([cid])
    bob.wait_blocks([cid])
    status = bob.node.status()
    assert status["peers"] == [alice.node.peer_id]
    assert status["ready"]
    assert status["exchange"]["delivered"] >= 1
    assert alice.node.status()["exchange"]["served"] >= 1
    wait_for(lambda: bob.node.status()["child"].get("walk"), what="the child's own counters")


def test_observers_learn_of_peers_already_there(alice, bob):
    seen = threading.Event()
    alice.node.on_peer(lambda peer, there: seen.set() if there and peer == bob.node.peer_id else None)
    assert seen.wait(5)


def test_a_block_inside_its_cid_is_delivered_without_a_question(alice, noise):
    block = noise(100)
    inline = b"\x01\x70\x00" + bytes([len(block)]) + block
    raw = b"\x01\x55\x00\x00"  # an empty block is one too
    alice.node.exchange.want([inline, raw])
    alice.wait_blocks([inline, raw])
    assert (alice.got[inline], alice.got[raw]) == ((block, None), (b"", None))
    torn = b"\x01\x70\x00" + bytes([len(block)]) + block[:50]
    alice.node.exchange.want([torn])
    assert torn not in alice.got
    alice.node.exchange.cancel([torn])
