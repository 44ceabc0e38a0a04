"""``GossipBroadcaster`` over a transport that only records: the inbox rules of the seed."""

import threading

import pytest

from crdtstats.errors import ClosedError, UsageError
from crdtstats.gossip import INBOX_MAX, PAYLOAD_BYTES_MAX, GossipBroadcaster
from crdtstats.protocols import Broadcaster


class Recorder:
    def __init__(self):
        self.sent, self.handlers = [], {}

    def publish_raw(self, topic, data):
        self.sent.append((topic, data))

    def subscribe_raw(self, topic, handler):
        self.handlers[topic] = handler


@pytest.fixture
def gossip():
    return Recorder()


@pytest.fixture
def broadcaster(gossip):
    return GossipBroadcaster(gossip, "/t")


def test_is_a_broadcaster(broadcaster):
    assert isinstance(broadcaster, Broadcaster)


def test_broadcast_goes_to_its_topic(gossip, broadcaster):
    broadcaster.broadcast(b"head")
    assert gossip.sent == [("/t", b"head")]


def test_received_payloads_come_in_order_with_their_peer(gossip, broadcaster):
    gossip.handlers["/t"](b"one", "peer-a")
    gossip.handlers["/t"](b"two", None)
    first, second = broadcaster.next(0), broadcaster.next(0)
    assert (first, first.peer, second, second.peer) == (b"one", "peer-a", b"two", None)


def test_next_gives_none_after_the_timeout(broadcaster):
    assert broadcaster.next(0.01) is None


def test_a_full_inbox_drops_the_oldest_and_counts(broadcaster):
    for number in range(INBOX_MAX + 3):
        broadcaster.receive(b"%d" % number)
    assert broadcaster.dropped == 3
    assert broadcaster.next(0) == b"3"


def test_a_waiting_thread_gets_what_arrives(broadcaster):
    got = []
    thread = threading.Thread(target=lambda: got.append(broadcaster.next(5)))
    thread.start()
    broadcaster.receive(b"late")
    thread.join(5)
    assert got == [b"late"]


def test_close_wakes_those_who_wait(broadcaster):
    raised = threading.Event()

    def wait():
        with pytest.raises(ClosedError):
            broadcaster.next()
        raised.set()

    thread = threading.Thread(target=wait)
    thread.start()
    broadcaster.close()
    thread.join(5)
    assert raised.is_set()
    with pytest.raises(ClosedError):
        broadcaster.broadcast(b"x")
    broadcaster.receive(b"too late")


def test_a_payload_that_gossip_loses_is_refused(gossip, broadcaster):
    broadcaster.broadcast(bytes(PAYLOAD_BYTES_MAX))
    with pytest.raises(UsageError, match="1048426"):
        broadcaster.broadcast(bytes(PAYLOAD_BYTES_MAX + 1))
    assert len(gossip.sent) == 1
