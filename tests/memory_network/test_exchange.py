from __future__ import annotations

import threading

import pytest

from crdtstats.errors import ClosedError, UsageError
from crdtstats.memory_network import MemoryNetwork
from crdtstats.memory_network.exchange import WAITING_PER_PEER_MAX, WANTS_MAX
from crdtstats.protocols import Exchange
from tests.memory_network.replica import Replica, check, cid

HOUR_S = 3600.0
BLOCKS = [f"block {number}".encode() for number in range(100)]


def replicas(network: MemoryNetwork, names: str) -> list[Replica]:
    made = [Replica(network, name) for name in names]
    network.connect_all()
    return made


def test_realtime_blocks_are_there_when_want_returns() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        a, b, _ = replicas(network, "abc")
        assert isinstance(a.exchange, Exchange)
        cids = a.publish(*BLOCKS)
        b.exchange.want(cids, ["a"])
        assert b.blocks == a.blocks
        assert b.fetched == [(each, "a") for each in cids]


def test_a_want_before_anyone_has_it_is_answered_after_have() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        a, b, _ = replicas(network, "abc")
        b.exchange.want([cid(b"later")])
        assert b.exchange.wanted == [cid(b"later")]
        a.publish(b"later")
        assert b.fetched == [(cid(b"later"), "a")]


def test_blocks_come_from_whoever_has_them_not_only_from_who_announced() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        _, b, c, _ = replicas(network, "abcd")
        cids = c.publish(*BLOCKS)
        b.exchange.want(cids, ["a", "nobody"])
        assert b.blocks == c.blocks


def test_a_peer_that_connects_or_starts_later_is_asked() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        b = Replica(network, "b")
        (wanted,) = [cid(b"x")]
        b.exchange.want([wanted])
        host = network.join("a")
        network.connect(host, b.host)
        exchange = network.exchange(host)
        exchange.start({wanted: b"x"}.get, lambda *_: None)
        assert b.fetched == [(wanted, "a")]


def test_a_bad_block_is_dropped_counted_and_asked_elsewhere() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        liar, b, honest = replicas(network, "abc")
        (wanted,) = honest.publish(b"truth")
        liar.blocks[wanted] = b"lie"
        b.exchange.want([wanted], ["a"])
        assert b.fetched == [(wanted, "c")]
        assert b.blocks[wanted] == b"truth"
        assert b.exchange.stats["bad_blocks"] == 1


def test_a_liar_alone_is_asked_again_with_back_off() -> None:
    with MemoryNetwork(check=check) as network:
        liar, b = replicas(network, "ab")
        liar.blocks[cid(b"truth")] = b"lie"
        b.exchange.want([cid(b"truth")], ["a"])
        network.advance(100)
        assert 3 < b.exchange.stats["bad_blocks"] < 20
        liar.blocks[cid(b"truth")] = b"truth"
        network.advance(200)
        assert b.blocks == {cid(b"truth"): b"truth"}


@pytest.mark.parametrize("seed", range(5))
def test_everything_arrives_once_in_spite_of_all_faults(seed: int) -> None:
    faults = {"loss": 0.3, "duplicate": 0.3, "reorder": 0.3, "delay_s": (0.01, 0.8)}
    with MemoryNetwork(seed=seed, check=check, **faults) as network:  # type: ignore[arg-type]
        a, b, c = replicas(network, "abc")
        b.exchange.want([cid(block) for block in BLOCKS], ["a"])
        network.advance(1)
        a.publish(*BLOCKS[:50])
        c.publish(*BLOCKS[50:])
        network.advance(HOUR_S)
        assert len(b.fetched) == len(BLOCKS), f"seed {seed}"
        assert set(b.blocks.values()) == set(BLOCKS), f"seed {seed}"
        assert not b.exchange.wanted
        assert network.next_due() is None


def test_a_cancelled_want_is_not_delivered() -> None:
    with MemoryNetwork(check=check) as network:
        a, b = replicas(network, "ab")
        b.exchange.want([cid(b"x")])
        network.advance(1)
        b.exchange.cancel([cid(b"x")])
        network.advance(2)
        a.publish(b"x")
        network.advance(HOUR_S)
        assert not b.fetched


def test_callbacks_that_raise_stop_nothing() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        broken, b, c = network.join("a"), Replica(network, "b"), Replica(network, "c")
        tried: list[bytes] = []

        def fail(wanted: bytes, *_: object) -> None:
            tried.append(wanted)
            raise RuntimeError("broken")

        exchange = network.exchange(broken)
        exchange.start(fail, fail)
        network.connect_all()
        cids = c.publish(*BLOCKS)
        b.exchange.want(cids, ["a"])
        assert b.blocks == c.blocks
        exchange.want(cids)
        assert len(tried) == 2 * len(BLOCKS)
        assert network.stats["callbacks_failed"] == 2 * len(BLOCKS)


def test_a_walk_from_deliver_goes_as_deep_as_the_chain() -> None:
    with MemoryNetwork(realtime=True) as network:
        a, b = replicas(network, "ab")
        chain = {str(number).encode(): str(number + 1).encode() for number in range(5000)}
        a.blocks.update(chain)
        fetched: list[bytes] = []
        b.exchange.close()
        exchange = network.exchange(b.host)

        def deliver(cid: bytes, block: bytes, peer: str | None) -> None:
            fetched.append(cid)
            if block in chain:
                exchange.want([block], ["a"])

        exchange.start({}.get, deliver)
        exchange.want([b"0"], ["a"])
        assert fetched == list(chain)


def test_threads_fetch_from_each_other_in_real_time() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        made = replicas(network, "abcd")
        sets = [[f"{replica.host.peer_id} {n}".encode() for n in range(200)] for replica in made]
        everything = [cid(block) for blocks in sets for block in blocks]

        def work(replica: Replica, blocks: list[bytes]) -> None:
            for block in blocks:
                replica.publish(block)
            replica.exchange.want([each for each in everything if each not in replica.blocks])

        threads = [threading.Thread(target=work, args=pair) for pair in zip(made, sets, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for replica in made:
            assert set(replica.blocks) == set(everything)
            assert not replica.exchange.wanted


def test_limits_drop_the_oldest_and_count() -> None:
    with MemoryNetwork(realtime=True, check=check) as network:
        a, b = replicas(network, "ab")
        cids = [number.to_bytes(4, "big") for number in range(WANTS_MAX + 3)]
        b.exchange.want(cids[:10], ["a"])  # the oldest, but announced by a connected peer
        b.exchange.want(cids[10:])
        assert len(b.exchange.wanted) == WANTS_MAX
        assert b.exchange.stats["wants_dropped"] == 3
        assert b.exchange.wanted == sorted(cids[:10] + cids[13:])
        # Cancelled wants leave no room behind them: what a remembers is its newest.
        assert a.exchange.stats["waiting_dropped"] >= WANTS_MAX - WAITING_PER_PEER_MAX


def test_use_before_start_and_after_close_is_refused() -> None:
    with MemoryNetwork(realtime=True) as network:
        exchange = network.exchange(network.join("a"))
        with pytest.raises(UsageError):
            exchange.want([b"x"])
        exchange.start({}.get, lambda *_: None)
        with pytest.raises(UsageError):
            exchange.start({}.get, lambda *_: None)
        exchange.close()
        exchange.close()
        with pytest.raises(ClosedError):
            exchange.want([b"x"])
