"""Real nodes on 127.0.0.1, each with its child process; all closed at the end, whatever happens."""

import hashlib
import random
import threading
import time

import pytest

pytest.importorskip("libp2p")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crdtstats.network import NetworkNode

TOPIC = "/crdtstats/1/test"


def new_identity() -> bytes:
    key = Ed25519PrivateKey.generate()
    return b"\x08\x01\x12\x40" + key.private_bytes_raw() + key.public_key().public_bytes_raw()


def cid_of_block(block: bytes) -> bytes:
    return b"\x01\x70\x12\x20" + hashlib.sha256(block).digest()


def wait_for(condition, timeout_s=15.0, what="condition"):
    """Poll until ``condition()`` is true; gives its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} not reached within {timeout_s} s"
        time.sleep(0.01)
    return value


class Peer:
    """A node with a dict of blocks and everything that it received."""

    def __init__(self, topic=TOPIC, **options):
        self.blocks, self.got, self.messages = {}, {}, []
        self.arrived = threading.Condition()
        self.asked = []
        self.node = NetworkNode(options.pop("identity", None) or new_identity(), topic, **options)
        self.node.subscribe_raw(topic, lambda data, peer: self.messages.append((data, peer)))

    def start(self, walk=None):
        self.node.exchange.start(self._serve, self._deliver, walk)
        return self

    def _serve(self, cid):
        self.asked.append(cid)
        return self.blocks.get(cid)

    def _deliver(self, cid, block, peer):
        with self.arrived:
            self.got[cid] = block, peer
            self.arrived.notify_all()

    def put(self, *blocks):
        cids = [cid_of_block(block) for block in blocks]
        self.blocks.update(zip(cids, blocks, strict=True))
        return cids

    def wait_blocks(self, cids, timeout_s=15.0):
        with self.arrived:
            assert self.arrived.wait_for(lambda: all(cid in self.got for cid in cids), timeout_s), (
                f"{sum(cid in self.got for cid in cids)} of {len(cids)} blocks within {timeout_s} s; "
                f"{self.node.status()}"
            )

    def hears(self, sender, timeout_s=15.0):
        """``sender`` broadcasts until one of its messages arrives here."""
        word = b"%016x" % random.getrandbits(64)

        def heard():
            sender.node.publish_raw(TOPIC, word)
            time.sleep(0.05)
            return any(data == word and peer == sender.node.peer_id for data, peer in self.messages)

        wait_for(heard, timeout_s, "gossip")

    def wait_connected(self, other, timeout_s=15.0):
        wait_for(lambda: other.node.peer_id in self.node.connections(), timeout_s, "connection")


@pytest.fixture
def peers():
    """Make peers; all are closed after the test."""
    made = []

    def make(**options):
        peer = Peer(**options)
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.node.close()


@pytest.fixture(scope="module")
def pair():
    """Two connected peers, shared by the tests of a module: they use blocks of their own."""
    first = Peer()
    try:
        first.node.wait_ready(20)
        second = Peer(peers=first.node.addrs)
        try:
            second.wait_connected(first)
            first.wait_connected(second)
            yield first.start(), second.start()
        finally:
            second.node.close()
    finally:
        first.node.close()


@pytest.fixture
def alice(pair):
    return pair[0]


@pytest.fixture
def bob(pair):
    return pair[1]


@pytest.fixture
def noise(request):
    """Random bytes of a test, the same in each run."""
    generator = random.Random(request.node.name)
    return generator.randbytes
