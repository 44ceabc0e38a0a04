"""Whatever a peer sends, the node goes on: no restart, gossip and blocks as before."""

import random
import socket
import struct

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from crdtstats.network import bitswap_wire, walk
from crdtstats.network.content import uvarint
from crdtstats.network.hardened import quietly
from tests.network.conftest import cid_of_block, wait_for
from tests.network.foreign import foreign_host, until

MESHSUB = "/meshsub/1.1.0"


@pytest.fixture(autouse=True)
def all_goes_on(alice, bob, noise):
    """After each test: the same two children, gossip, and a block."""
    bob.hears(alice)
    before = alice.node.status()["pid"], bob.node.status()["pid"]
    yield
    bob.hears(alice)
    alice.hears(bob)
    (cid,) = alice.put(noise(400))
    bob.node.exchange.want([cid], [alice.node.peer_id])
    bob.wait_blocks([cid])
    assert (alice.node.status()["pid"], bob.node.status()["pid"]) == before


def framed(message):
    return uvarint(len(message)) + message


def gossip_frames():
    rpc = rpc_pb2.RPC
    yield framed(b"\xff\xff\xff\xff garbage")
    yield b"\xff" * 12
    yield framed(b"") * 3
    rsa = b"\x12\x20" + bytes(32)
    for fields in (
        {"from_id": rsa, "key": b"\xff\xff bad"},
        {"from_id": rsa, "key": b"\x08\x07\x12\x01a"},
        {"from_id": b"", "seqno": b""},
        {"from_id": b"\x00\x24\x08\x01\x12\x20" + b"\xff" * 32},
    ):
        message = rpc_pb2.Message(
            **(
                {"data": b"d", "topicIDs": ["/crdtstats/1/test"], "seqno": b"1" * 8, "signature": b"s"}
                | fields
            )
        )
        yield framed(rpc(publish=[message]).SerializeToString())
    control = rpc()
    control.control.iwant.add().messageIDs.append(b"not hex")
    control.control.ihave.add().topicID = "/crdtstats/1/test"
    control.control.ihave[0].messageIDs.append(b"\xff")
    yield framed(control.SerializeToString())
    prune = rpc()
    pruned = prune.control.prune.add()
    pruned.topicID = "/crdtstats/1/test"
    exchange = pruned.peers.add()
    exchange.peerID, exchange.signedPeerRecord = b"zz", b"junk"
    yield framed(prune.SerializeToString())
    yield framed(rpc(senderRecord=b"garbage").SerializeToString())


def bitswap_frames(seed):
    choose = random.Random(seed)
    parts = [
        bitswap_wire.wantlist([bitswap_wire.want_entry(cid_of_block(b"q"))]),
        bitswap_wire.wantlist([bitswap_wire.want_entry(cid_of_block(b"q"), cancel=True)]) + b"\x10\x01",
        bitswap_wire.block_part(cid_of_block(b"pushed"), b"pushed"),
        bitswap_wire.presence_part(cid_of_block(b"z"), False),
        b"\x28\x05",
    ]
    for _ in range(150):
        message = bytearray(b"".join(choose.choices(parts, k=choose.randint(1, 4))))
        for _ in range(choose.randint(0, 6)):
            message[choose.randrange(len(message))] = choose.randrange(256)
        yield framed(bytes(message[: choose.randrange(len(message)) + 1]))
    yield b"\xff" * 12
    yield uvarint(8 << 20)


def walk_frames():
    yield struct.pack(">I", 0xFFFFFFFF)
    yield struct.pack(">I", 3) + b"abc"
    yield struct.pack(">III", 8, 0xFFFFFFFF, 0xFFFFFFFF)
    yield walk.encode_question([b"abcd"], 0, 0)[:-1] + b"\0\0"
    yield struct.pack(">IIIH", 10, 1, 1, 500)


@pytest.mark.parametrize(
    ("protocol", "frames"),
    [
        (MESHSUB, list(gossip_frames())),
        (bitswap_wire.PROTOCOL, list(bitswap_frames(1))),
        (walk.PROTOCOL, list(walk_frames())),
    ],
    ids=["gossip", "bitswap", "walk"],
)
def test_malformed_frames_stop_nothing(alice, protocol, frames):
    async def attack():
        async with foreign_host(alice, **{MESHSUB: lambda stream: trio.sleep_forever()}) as (host, target):
            for data in frames:
                try:
                    stream = await host.new_stream(target, [protocol])
                    await stream.write(data)
                    await stream.close()
                except Exception:  # noqa: BLE001 - it may hang up on us: that is its right
                    await trio.sleep(0.01)
            await trio.sleep(0.3)

    trio.run(attack)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff" * 200],
)
def test_noise_on_the_port_stops_nothing(alice, data):
    port = int(alice.node.addrs[0].split("/")[4])
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(data)


def test_plaintext_is_refused(alice):
    async def attack():
        pair = create_new_key_pair()
        host = new_host(key_pair=pair, sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(pair)})
        async with host.run(listen_addrs=[]):
            with pytest.raises(Exception):  # noqa: B017, PT011 - the library's choice which
                with trio.fail_after(10):
                    await host.connect(info_from_p2p_addr(Multiaddr(alice.node.addrs[0])))

    trio.run(attack)


def test_wrong_bytes_of_a_walk_are_refused_and_counted(alice, bob, noise):
    block = noise(500)
    cid = cid_of_block(block)
    asked = trio.Event()

    async def lie(stream):
        asked.set()
        await stream.read(1000)
        await stream.write(walk.encode_piece([(cid, b"wrong" + block)]) + b"\0\0\0\0")

    liars = []

    async def attack():
        async with foreign_host(alice, **{walk.PROTOCOL: lie}) as (host, _):
            liars.append(str(host.get_id()))
            await until(lambda: liars[0] in alice.node.connections())
            alice.node.exchange.want([cid], liars)
            with trio.fail_after(10):
                await asked.wait()
            await until(lambda: liars[0] in (alice.node.status()["child"].get("blamed") or ()))
            await until(lambda: liars[0] not in alice.node.connections())

    trio.run(attack)
    assert cid not in alice.got
    bob.put(block)
    bob.node.exchange.have([cid])
    alice.wait_blocks([cid])
    assert alice.got[cid] == (block, bob.node.peer_id)


def test_blocks_that_nobody_wanted_are_counted_and_dropped(alice, noise):
    block = noise(200)

    def unsolicited():
        return alice.node.status()["child"].get("bitswap", {}).get("unsolicited", 0)

    before = unsolicited()

    async def attack():
        async with foreign_host(alice) as (host, target):
            stream = await host.new_stream(target, [bitswap_wire.PROTOCOL])
            await stream.write(bitswap_wire.envelope([bitswap_wire.block_part(cid_of_block(block), block)]))
            await until(lambda: unsolicited() > before)

    trio.run(attack)
    assert cid_of_block(block) not in alice.got


def test_a_peer_that_sends_without_credit_is_cut_off_and_counted(alice):
    def overruns():
        return alice.node.status()["child"].get("credit_overruns", 0)

    before = overruns()

    async def attack():
        async with foreign_host(alice) as (host, target):
            await until(lambda: str(host.get_id()) in alice.node.connections())
            stream = await host.new_stream(target, [bitswap_wire.PROTOCOL])
            size = 512 << 10
            frame = struct.pack("!BBHII", 0, 0, 0, stream.muxed_stream.stream_id, size) + bytes(size)
            await quietly(stream.muxed_stream.conn._write_frame(frame))  # cut off before it is out
            await until(lambda: overruns() == before + 1)
            await until(lambda: str(host.get_id()) not in alice.node.connections())

    trio.run(attack)


def test_a_flood_of_wants_stops_nothing(alice):
    """5,000 wants from one peer; what matters is ``all_goes_on``."""

    async def attack():
        async with foreign_host(alice) as (host, target):
            stream = await host.new_stream(target, [bitswap_wire.PROTOCOL])
            lines = [bitswap_wire.want_entry(cid_of_block(b"%d" % number)) for number in range(5000)]
            await stream.write(bitswap_wire.envelope([bitswap_wire.wantlist(lines)]))
            await trio.sleep(0.5)

    trio.run(attack)
    wait_for(lambda: alice.node.status()["ready"])
