from __future__ import annotations

import threading

import pytest

from crdtstats.errors import ClosedError
from crdtstats.memory_network import MemoryNetwork
from crdtstats.memory_network.broadcaster import INBOX_MAX, PAYLOAD_BYTES_MAX
from crdtstats.protocols import Broadcaster, Payload
from tests.memory_network.replica import Replica


def heard(replica: Replica) -> list[bytes]:
    payloads: list[bytes] = []
    while (payload := replica.broadcaster.next(0)) is not None:
        payloads.append(payload)
    return payloads


def trio(network: MemoryNetwork) -> list[Replica]:
    replicas = [Replica(network, name) for name in "abc"]
    network.connect_all()
    return replicas


def test_realtime_broadcasts_are_there_when_the_call_returns() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b, c = trio(network)
        assert isinstance(a.broadcaster, Broadcaster)
        a.broadcaster.broadcast(b"hello")
        payload = b.broadcaster.next(0)
        assert isinstance(payload, Payload)
        assert (payload, payload.peer) == (b"hello", "a")
        assert heard(c) == [b"hello"]
        assert heard(a) == []


def test_nothing_moves_before_its_time() -> None:
    with MemoryNetwork(delay_s=(1.0, 1.0)) as network:
        a, b, _ = trio(network)
        a.broadcaster.broadcast(b"late")
        assert network.advance(0.9) == 0
        assert network.in_flight == 2
        assert network.next_due() == 1.0
        assert network.advance(1.0) == 2
        assert heard(b) == [b"late"]


def test_a_broadcast_crosses_hosts_in_between() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b, c = (Replica(network, name) for name in "abc")
        network.connect(a.host, b.host)
        network.connect(b.host, c.host)
        a.broadcaster.broadcast(b"x")
        assert heard(c) == [b"x"]
        network.disconnect(b.host, c.host)
        a.broadcaster.broadcast(b"y")
        assert (heard(b), heard(c)) == ([b"x", b"y"], [])


def test_the_oldest_goes_when_the_inbox_is_full_and_is_counted() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b, _ = trio(network)
        sent = [str(number).encode() for number in range(INBOX_MAX + 7)]
        for data in sent:
            a.broadcaster.broadcast(data)
        assert b.broadcaster.stats["dropped"] == 7
        assert heard(b) == sent[7:]


def test_what_is_too_big_is_lost_and_counted() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b, _ = trio(network)
        a.broadcaster.broadcast(bytes(PAYLOAD_BYTES_MAX + 1))
        a.broadcaster.broadcast(bytes(PAYLOAD_BYTES_MAX))
        assert [len(payload) for payload in heard(b)] == [PAYLOAD_BYTES_MAX]
        assert a.broadcaster.stats["too_big"] == 1


@pytest.mark.parametrize("how", ["close", "stop"])
def test_closing_wakes_a_waiting_next(how: str) -> None:
    with MemoryNetwork(realtime=True) as network:
        a, _, _ = trio(network)
        woken: list[type[BaseException]] = []

        def wait() -> None:
            try:
                a.broadcaster.next()
            except ClosedError as error:
                woken.append(type(error))

        waiter = threading.Thread(target=wait)
        waiter.start()
        if how == "close":
            a.broadcaster.close()
        else:
            network.stop(a.host)
        waiter.join(10)
        assert woken == [ClosedError]
        with pytest.raises(ClosedError):
            a.broadcaster.broadcast(b"x")


def test_a_broadcast_wakes_a_waiting_next() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b, _ = trio(network)
        got: list[bytes | None] = []
        waiter = threading.Thread(target=lambda: got.append(b.broadcaster.next(10)))
        waiter.start()
        a.broadcaster.broadcast(b"x")
        waiter.join(10)
        assert got == [b"x"]
        assert b.broadcaster.next(0.01) is None


def test_loss_loses_about_its_share() -> None:
    with MemoryNetwork(seed=7, loss=0.3) as network:
        a, b, _ = trio(network)
        count = 0
        for turn in range(500):
            a.broadcaster.broadcast(b"x")
            network.advance(turn)
            count += len(heard(b))
        assert 300 < count < 400
        assert network.stats["lost"] == 1000 - network.stats["delivered"]


def test_order_is_kept_unless_reorder_says_otherwise() -> None:
    sent = [bytes([number]) for number in range(90)]
    for reorder in (0.0, 0.3):
        with MemoryNetwork(seed=7, reorder=reorder, delay_s=(0.001, 0.02)) as network:
            a, b, _ = trio(network)
            for number, data in enumerate(sent):
                network.advance(number / 1000)
                a.broadcaster.broadcast(data)
            network.advance(10)
            got = heard(b)
            assert sorted(got) == sent
            assert (got == sent) == (reorder == 0.0)


def test_duplicates_arrive_twice() -> None:
    with MemoryNetwork(seed=7, duplicate=1.0) as network:
        a, b, _ = trio(network)
        a.broadcaster.broadcast(b"x")
        network.advance(1)
        assert heard(b) == [b"x", b"x"]


def test_a_late_host_hears_what_comes_after_it() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, *_ = trio(network)
        a.broadcaster.broadcast(b"before")
        late = Replica(network, "late")
        a.broadcaster.broadcast(b"not connected")
        network.connect(late.host, a.host)
        a.broadcaster.broadcast(b"after")
        assert heard(late) == [b"after"]
