"""Who has our blocks: asked of all, answered now or later, and by one peer for all of them."""

from crdtstats.network.confirmation import Confirmation


def test_a_peer_that_has_all_confirms(alice, bob, noise):
    blocks = noise(5000), noise(100)
    cids = alice.put(*blocks)
    bob.put(*blocks)
    assert alice.node.exchange.confirm(cids).wait(15)


def test_a_peer_that_gets_it_later_confirms_then(alice, bob, noise):
    block = noise(5000)
    cids = alice.put(block)
    confirmation = alice.node.exchange.confirm(cids)
    assert not confirmation.wait(0.5)
    bob.put(block)
    bob.node.exchange.have(cids)
    assert confirmation.wait(15)


def test_a_peer_that_comes_later_is_asked_too(peers, noise):
    alice = peers().start()
    alice.node.wait_ready(20)
    block = noise(5000)
    confirmation = alice.node.exchange.confirm(alice.put(block))
    bob = peers(peers=alice.node.addrs)
    bob.put(block)
    bob.start()
    assert confirmation.wait(15)


def test_two_peers_with_half_of_it_confirm_nothing():
    confirmation = Confirmation([b"one", b"two"])
    confirmation.heard("alice", [b"one"])
    confirmation.heard("bob", [b"two"])
    assert not confirmation.wait(0)
    confirmation.heard("alice", [b"two"])
    assert confirmation.wait(0)
