"""Bitswap with boxo, both ways: sizes, hashes, many at once, late, cancelled, and peers that vanish."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from crdtstats._core import cid as core_cid
from crdtstats.network.bitswap import Bitswap
from tests.interop.driver import GoPeer, until
from tests.interop.heads import bytes_of, text
from tests.network.conftest import TOPIC, Peer, cid_of_block
from tests.network.foreign import foreign_host

SIZES = (300, 10_240, 262_144, 1_048_576, 1_992_294)


@pytest.fixture
def join(start_go: Callable[..., GoPeer], closing: Any) -> Callable[..., Peer]:
    """A node of ours that is connected to the given Go peers."""

    def join(*peers: GoPeer) -> Peer:
        node = Peer(peers=[peer.addr for peer in peers])
        closing.callback(node.node.close)
        node.start()
        until(lambda: len(node.node.connections()) == len(peers))
        return node

    return join


@pytest.fixture
def go(start_go: Callable[..., GoPeer]) -> GoPeer:
    return start_go(topic=TOPIC)


def fetch(go: GoPeer, cids: list[bytes], parallel: int, timeout_s: float = 30.0, **more: Any) -> Any:
    """What Go says of fetching these: it raises when one is missing."""
    return go.call(
        "fetch", timeout_s + 5, cids=[text(c) for c in cids], parallel=parallel, timeout=timeout_s, **more
    )


@pytest.mark.parametrize("session", [False, True])
def test_go_fetches_all_sizes_from_us(
    session: bool, go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    node = join(go)
    blocks = [noise(size + n) for size in SIZES for n in range(4)]
    cids = node.put(*blocks)
    assert fetch(go, cids[::4], 1, session=session)["failed"] == 0
    done = fetch(go, cids, 32, session=session)
    # What it has by now is not asked for again, but counts.
    assert done["bytes"] == sum(map(len, blocks))


def test_we_fetch_all_sizes_from_go(go: GoPeer, join: Callable[..., Peer]) -> None:
    node = join(go)
    for seed, size in enumerate(SIZES):
        cids = [bytes_of(c) for c in go.call("put_random", n=8, size=size, seed=seed)]
        for cid in cids[:2]:
            node.node.exchange.want([cid], [go.peer_id])
            node.wait_blocks([cid])
        node.node.exchange.want(cids)
        node.wait_blocks(cids)
        assert {len(node.got[cid][0]) for cid in cids} == {size}
        assert {node.got[cid][1] for cid in cids} == {go.peer_id}
    until(lambda: node.node.status()["child"]["bitswap"]["received"] >= 8 * len(SIZES))
    assert node.node.status()["child"]["credit_overruns"] == 0


@pytest.mark.parametrize(("name", "code"), [("blake3", 0x1E), ("sha2-512", 0x13), ("blake2b-256", 0xB220)])
def test_other_hashes_go_both_ways(
    name: str, code: int, go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    node = join(go)
    (theirs,) = (bytes_of(c) for c in go.call("put_random", n=1, size=5000, seed=1, hash=code))
    node.node.exchange.want([theirs])
    node.wait_blocks([theirs])
    block = noise(5000)
    ours = core_cid(block, name)
    node.blocks[ours] = block
    assert fetch(go, [ours], 1)["bytes"] == 5000


def test_we_walk_down_a_chain_of_theirs_while_much_else_is_wanted(
    go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    """Which block is next, only the one before tells."""
    node = join(go)
    head = b""
    for _ in range(100):
        block = head + noise(300)
        go.call("put_block", hex=block.hex())
        head = cid_of_block(block)
    others = [bytes_of(c) for c in go.call("put_random", n=1000, size=10_000, seed=7)]
    node.node.exchange.want(others)
    for _ in range(100):
        node.node.exchange.want([head], [go.peer_id])
        node.wait_blocks([head], 5.0)
        head = node.got[head][0][:-300]
    assert head == b""
    node.wait_blocks(others)


def test_go_says_what_it_has_without_sending_it(
    go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    """Want-have of ours: answered at once for what is there, and later for what comes later."""
    node = join(go)
    there, later = noise(50_000), noise(50_001)
    go.call("put_block", hex=there.hex())
    confirmation = node.node.exchange.confirm([cid_of_block(there), cid_of_block(later)])
    assert not confirmation.wait(1.0)
    go.call("put_block", hex=later.hex())
    assert confirmation.wait(10.0)
    assert not node.got


def test_a_want_before_anyone_has_it_is_answered_when_somebody_does(
    go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    node = join(go)
    for size in (500, 50_000):  # small ones come in place of the "have"
        ours, theirs = noise(size), noise(size)
        for session in (False, True):
            block = ours + bytes([session])
            answer = go.begin("fetch", cids=[text(cid_of_block(block))], timeout=15, session=session)
            until(lambda block=block: cid_of_block(block) in node.asked)
            time.sleep(0.3)
            node.node.exchange.have(node.put(block))
            assert answer.result(10)["failed"] == 0
        node.node.exchange.want([cid_of_block(theirs)])
        time.sleep(0.3)
        go.call("put_block", hex=theirs.hex())
        node.wait_blocks([cid_of_block(theirs)], 5.0)


def test_what_one_does_not_have_is_had_from_the_other(
    start_go: Callable[..., GoPeer], join: Callable[..., Peer]
) -> None:
    has_none, has_all = start_go(topic=TOPIC), start_go(topic=TOPIC)
    node = join(has_none, has_all)
    cids = [bytes_of(c) for c in has_all.call("put_random", n=300, size=2000, seed=3)]
    began = time.monotonic()
    node.node.exchange.want(cids, [has_none.peer_id])
    node.wait_blocks(cids)
    assert time.monotonic() - began < 3.0
    assert {peer for _, peer in node.got.values()} == {has_all.peer_id}


def test_go_is_told_what_we_do_not_have_and_finds_it_elsewhere(
    go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    has_none, has_all = join(go), join(go)
    cids = has_all.put(*(noise(2000) for _ in range(100)))
    done = fetch(go, cids, 32)
    assert done["seconds"] < 5.0
    assert not has_none.blocks


def test_a_cancelled_want_of_go_is_not_answered(
    go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    node = join(go)
    kept, dropped = noise(5000), noise(5000)
    answer = go.begin("fetch", cids=[text(cid_of_block(dropped))], timeout=1.0)
    until(lambda: cid_of_block(dropped) in node.asked)
    assert answer.exception(10) is not None
    time.sleep(0.3)  # the cancel travels
    served = node.node.exchange.status()["served"]
    node.node.exchange.have(node.put(kept, dropped))
    assert fetch(go, [cid_of_block(kept)], 1)["failed"] == 0
    assert node.node.exchange.status()["served"] == served + 1
    assert not go.call("has_block", cids=[text(cid_of_block(dropped))])


def test_a_cancelled_want_of_ours_is_off_their_list(go: GoPeer, join: Callable[..., Peer]) -> None:
    node = join(go)
    cid = cid_of_block(b"cancelled")
    node.node.exchange.want([cid])
    time.sleep(0.5)
    node.node.exchange.cancel([cid])
    time.sleep(0.5)
    go.call("put_block", hex=b"cancelled".hex())
    later = [bytes_of(c) for c in go.call("put_random", n=1, size=100, seed=9)]
    node.node.exchange.want(later)
    node.wait_blocks(later)
    assert cid not in node.got
    assert node.node.status()["exchange"]["unwanted"] == 0


def test_a_go_peer_that_gave_us_up_takes_it_back(go: GoPeer, noise: Callable[[int], bytes]) -> None:
    """It was told that we speak no bitswap, and asks us for nothing any more until it hears from us."""
    block = noise(500)
    cid = cid_of_block(block)

    async def blocks(cids: Sequence[bytes]) -> dict[bytes, bytes | None]:
        return {asked: block if asked == cid else None for asked in cids}

    async def take(*_: Any) -> None: ...

    async def scenario() -> Any:
        target = SimpleNamespace(node=SimpleNamespace(addrs=[go.addr]))
        async with foreign_host(target) as (host, _), trio.open_nursery() as nursery:
            answer = go.begin("fetch", cids=[text(cid)], parallel=1, timeout=20.0)
            while not await trio.to_thread.run_sync(lambda: go.call("wantlist")):
                await trio.sleep(0.02)
            await trio.sleep(0.5)  # for its question, and the refusal
            await nursery.start(Bitswap(host, blocks, take).run)
            done = await trio.to_thread.run_sync(lambda: answer.result(25))
            nursery.cancel_scope.cancel()
        return done

    assert trio.run(scenario)["failed"] == 0


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_go_peer_that_vanishes_in_mid_fetch(
    how: str, start_go: Callable[..., GoPeer], join: Callable[..., Peer]
) -> None:
    chance = random.Random(how)
    vanishes, stays = start_go(topic=TOPIC), start_go(topic=TOPIC)
    node = join(vanishes, stays)
    (cids,) = {
        tuple(bytes_of(c) for c in go.call("put_random", n=100, size=200_000, seed=5))
        for go in (vanishes, stays)
    }
    node.node.exchange.want(cids, [vanishes.peer_id])
    until(lambda: len(node.got) > chance.randrange(2, 20))
    if how == "killed":
        vanishes.kill()
    else:
        vanishes.pause(True)
    node.wait_blocks(cids, 20.0)
    assert len(node.got) == 100
    if how == "stopped":
        vanishes.pause(False)


def test_a_node_of_ours_that_vanishes_in_mid_fetch(
    go: GoPeer, join: Callable[..., Peer], noise: Callable[[int], bytes]
) -> None:
    vanishes, stays = join(go), join(go)
    blocks = [noise(200_000) for _ in range(60)]
    cids = vanishes.put(*blocks)
    stays.put(*blocks)
    answer = go.begin("fetch", cids=[text(c) for c in cids], parallel=8, timeout=40)
    until(lambda: len(vanishes.asked) > 5)
    vanishes.node.close()
    assert answer.result(40)["bytes"] == sum(map(len, blocks))


def test_a_wanted_block_comes_from_a_peer_that_connects_later(
    go: GoPeer, start_go: Callable[..., GoPeer], join: Callable[..., Peer]
) -> None:
    node = join(go)
    cids = [bytes_of(c) for c in start_go(topic=TOPIC).call("put_random", n=20, size=400, seed=11)]
    node.node.exchange.want(cids)
    time.sleep(0.5)
    assert not node.got
    late = start_go(topic=TOPIC)
    late.call("put_random", n=20, size=400, seed=11)
    late.call("connect", addr=node.node.addrs[0])
    node.wait_blocks(cids, 5.0)
