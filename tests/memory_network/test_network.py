from __future__ import annotations

import asyncio
from random import Random

import pytest

from crdtstats.errors import ClosedError, UsageError
from crdtstats.memory_network import MemoryHost, MemoryNetwork
from crdtstats.protocols import CRDTRouter, Host
from tests.memory_network.replica import Replica, check, cid

Trace = list[tuple[float, str, str, str, str, int]]


def story(seed: int) -> tuple[Trace, dict[str, int]]:
    """Replicas that publish, partition, stop and join, all from one seed."""
    chance = Random(seed)
    with MemoryNetwork(
        seed=seed, loss=0.2, duplicate=0.2, reorder=0.2, delay_s=(0.0, 0.3), check=check
    ) as network:
        replicas = [Replica(network, name) for name in "abcde"]
        network.connect_all()
        for turn in range(100):
            replica = chance.choice(replicas)
            (published,) = replica.publish(f"block {turn}".encode())
            replica.broadcaster.broadcast(published)
            if turn == 30:
                network.partition([replicas[0].host, replicas[1].host])
            if turn == 50:
                network.stop(replicas.pop().host)
            if turn == 60:
                network.heal()
                replicas.append(Replica(network, "late"))
                network.connect_all()
            network.advance(turn / 10)
            for each in replicas:
                while (payload := each.broadcaster.next(0)) is not None:
                    each.exchange.want([bytes(payload)], [payload.peer or ""])
        network.advance(1000)
        return network.trace, network.stats


def test_one_seed_gives_one_trace() -> None:
    assert story(11) == story(11)


def test_another_seed_gives_another_trace() -> None:
    assert story(11) != story(12)


def test_a_host_is_a_host_and_signs() -> None:
    with MemoryNetwork() as network:
        host = network.join("a")
        assert isinstance(host, Host)
        assert host.peer_id == "a"
        assert len(host.sign(b"data")) == 64
        assert host.sign(b"data") != host.sign(b"other")


def test_listeners_hear_of_peers_there_already_and_of_changes() -> None:
    with MemoryNetwork() as network:
        a, b, c = (network.join(name) for name in "abc")
        network.connect(a, b)
        heard: list[tuple[str, bool]] = []
        a.on_peer(lambda peer, connected: heard.append((peer, connected)))
        network.connect(a, c)
        network.disconnect(a, b)
        network.disconnect(a, b)
        network.stop(c)
        assert heard == [("b", True), ("c", True), ("b", False), ("c", False)]
        assert a.connections() == []


def test_a_listener_may_change_the_network_and_may_raise() -> None:
    with MemoryNetwork() as network:
        a, b, c = (network.join(name) for name in "abc")
        heard: list[tuple[str, bool]] = []

        def changed(peer: str, connected: bool) -> None:
            heard.append((peer, connected))
            if len(heard) == 1:
                network.connect(a, c)
            raise RuntimeError("broken")

        a.on_peer(changed)
        network.connect(a, b)
        assert heard == [("b", True), ("c", True)]
        assert network.stats["callbacks_failed"] == 2


def test_a_partition_cuts_links_and_healing_brings_them_back() -> None:
    with MemoryNetwork() as network:
        a, b, c, d = (network.join(name) for name in "abcd")
        network.connect_all()
        network.partition([a, b])
        assert a.connections() == ["b"]
        assert c.connections() == ["d"]
        network.disconnect(a, c)
        network.heal()
        assert a.connections() == ["b", "d"]
        assert c.connections() == ["b", "d"]
        assert d.connections() == ["a", "b", "c"]


def test_what_is_under_way_when_a_link_is_cut_is_lost() -> None:
    with MemoryNetwork(delay_s=(1.0, 1.0)) as network:
        a, b = Replica(network, "a"), Replica(network, "b")
        network.connect_all()
        a.broadcaster.broadcast(b"x")
        network.partition([a.host])
        network.advance(2)
        assert b.broadcaster.next(0) is None
        assert network.stats["cut"] == 1


def test_a_stopped_host_is_gone_and_its_name_may_come_back() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        a, b = Replica(network, "a"), Replica(network, "b")
        network.connect_all()
        (wanted,) = a.publish(b"x")
        a.host.close()
        network.stop(a.host)
        assert b.host.connections() == []
        b.exchange.want([wanted], ["a"])
        assert b.exchange.wanted == [wanted]
        for call in (
            lambda: network.connect(a.host, b.host),
            lambda: network.broadcaster(a.host),
            lambda: a.host.on_peer(lambda *_: None),
            lambda: a.broadcaster.next(0),
        ):
            with pytest.raises(ClosedError):
                call()
        again = Replica(network, "a")
        again.publish(b"x")
        network.connect(again.host, b.host)
        assert b.fetched == [(wanted, "a")]


def test_wrong_use_is_refused() -> None:
    with MemoryNetwork() as network, MemoryNetwork() as other:
        a = network.join("a")
        stranger: MemoryHost = other.join("b")
        network.broadcaster(a)
        network.advance(5)
        for call in (
            lambda: network.join("a"),
            lambda: network.connect(a, a),
            lambda: network.connect(a, stranger),
            lambda: network.broadcaster(a),
            lambda: network.advance(4.9),
            lambda: network.set_faults(loss=1.5),
            lambda: network.set_faults(delay_s=(2, 1)),
            lambda: network.partition([a], [a]),
            lambda: MemoryNetwork(realtime=True, loss=0.1),
        ):
            with pytest.raises(UsageError):
                call()


def test_a_router_finds_who_serves_a_block() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b, c = (Replica(network, name) for name in "abc")
        network.connect(a.host, b.host)
        network.connect(b.host, c.host)
        b.publish(b"x")
        c.publish(b"x")
        router = network.router(a.host)
        assert isinstance(router, CRDTRouter)

        async def find(count: int) -> list[str]:
            return [peer async for peer in router.find_providers(cid(b"x"), count)]

        assert asyncio.run(find(5)) == ["b", "c"]
        assert asyncio.run(find(1)) == ["b"]
