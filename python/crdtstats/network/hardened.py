"""Every work-around for py-libp2p 0.8.1, in one place, each with its reason. Child process only."""

from __future__ import annotations

import gc
import logging
import time
import weakref
from collections.abc import Iterable
from typing import Any

import libp2p.network.swarm as swarm_module
import libp2p.peer.peerstore as peerstore_module
import libp2p.pubsub.gossipsub as gossipsub_module
import libp2p.pubsub.pubsub as pubsub_module
import libp2p.pubsub.rpc_queue as rpc_queue_module
import libp2p.stream_muxer.muxer_multistream as multistream_module
import libp2p.stream_muxer.yamux.yamux as yamux_module
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import YamuxStream

from crdtstats.network.muxer import Muxer
from crdtstats.network.psk import PrivateNetwork, ProtectedConnection
from crdtstats.network.session import Noise

log = logging.getLogger("crdtstats.network.hardened")

QUEUE_MESSAGES_MAX = 4096
"""Stock 32 per subscription and 32 per peer lose messages in the first small burst."""
RECORD_KEEP_S = 60.0
DIAL_TIMEOUT_S = 10.0


def patch() -> None:
    """Apply what can only be changed inside the library's modules. Idempotent."""
    # 32 places: a burst of 33 messages loses one, without an error.
    pubsub_module.SUBSCRIPTION_CHANNEL_SIZE = QUEUE_MESSAGES_MAX
    rpc_queue_module.RpcQueue.__init__.__defaults__ = (
        QUEUE_MESSAGES_MAX,
        rpc_queue_module.DefaultMaxMessageSize,
    )
    # The signed peer record is compared, and often signed anew, for every single message sent.
    gossipsub_module.env_to_send_in_RPC = _cached_record
    pubsub_module.env_to_send_in_RPC = _cached_record
    # The library's private networks are compatible with nobody's.
    swarm_module.new_protected_conn = _protect
    # Credit for every read: the sender answers each with a frame as small, ten times as many as needed.
    YamuxStream._auto_tune_and_send_window_update = _release_by_halves
    # A frame of 64 KiB does not fit into a noise message: each would become two, one of them of some bytes.
    yamux_module.MAX_MESSAGE_SIZE = MAX_PLAINTEXT_LENGTH
    # Several turns of the event loop for each frame: see there. Which class it is cannot be said from outside.
    multistream_module.Yamux = Muxer
    # The stock reader awaits one stream read for each byte of a varint.
    pubsub_module.read_varint_prefixed_bytes_limited = _read_buffered


_records: weakref.WeakKeyDictionary[Any, tuple[float, tuple[bytes, bool]]] = weakref.WeakKeyDictionary()
_stock_record = peerstore_module.env_to_send_in_RPC


def _cached_record(host: Any) -> tuple[bytes, bool]:
    now = time.monotonic()
    kept = _records.get(host)
    if kept is None or now - kept[0] > RECORD_KEEP_S:
        kept = _records[host] = (now, _stock_record(host))
    return kept[1]


def _protect(connection: Any, private: PrivateNetwork) -> ProtectedConnection:
    return private.protect(connection)


async def _release_by_halves(self: Any, *, bytes_read: int = 0) -> None:
    """Give back what was read once it is half of the window, as Go does: the other half keeps the sender busy."""
    del bytes_read
    buffered = len(self.conn.stream_buffers.get(self.stream_id, b""))
    read = self.target_recv_window - (self.recv_window + buffered)
    if read <= 0 or read < self.target_recv_window // 2:
        return
    # No lock: nothing is awaited before the window is what is said of it.
    increment = self._grow_to_delta(buffered) + self._apply_autotune_epoch(buffered)
    await self.send_window_update(increment, skip_lock=True)


async def _read_buffered(stream: Any, limit: int) -> bytes:
    buffer = getattr(stream, "_crdtstats_rest", b"")
    while True:
        length = shift = position = 0
        complete = False
        while position < len(buffer):
            byte = buffer[position]
            position += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                complete = True
                break
            if position >= 10:
                raise pubsub_module.ParseError("varint of more than ten bytes")
        if complete:
            if length > limit:
                raise pubsub_module.MessageTooLarge(f"{length} bytes; the limit is {limit}")
            if len(buffer) >= position + length:
                stream._crdtstats_rest = buffer[position + length :]
                return buffer[position : position + length]
        piece = await stream.read(1 << 16)
        if not piece:
            raise pubsub_module.StreamEOF("end of stream")
        buffer += piece


class HardenedPubsub(Pubsub):
    """A frame that cannot be decoded ends its stream, not the program."""

    async def publish(self, topic_id: str, data: bytes) -> None:  # type: ignore[override]
        """As stock, without the key field: it is in an Ed25519 peer id already, and Go leaves it out too.

        Its 38 bytes take a message with a payload of the greatest size over the limit.
        """
        message = rpc_pb2.Message(
            data=data, topicIDs=[topic_id], from_id=self.my_id.to_bytes(), seqno=self._next_seqno()
        )
        signed = PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString()
        message.signature = self.sign_key.sign(signed)
        await self.push_msg(self.my_id, message)

    async def stream_handler(self, stream: Any) -> None:
        try:
            await super().stream_handler(stream)
        except Exception as error:  # noqa: BLE001 - DecodeError and many others reach trio.run otherwise
            peer = stream.muxed_conn.peer_id
            log.info("gossip stream from %s dropped: %r", peer, error)
            await quietly(stream.reset())
            self._handle_dead_peer(peer)

    def _forget_all_subscriptions(self, peer_id: ID) -> None:
        """Stock does so whenever any stream of the peer ends, also one of its life before this one: a peer that
        restarted says what it subscribes to once, and would never hear from us again."""
        if not self._peer_is_connected(peer_id):
            super()._forget_all_subscriptions(peer_id)

    async def write_msg(self, stream: Any, rpc_msg: Any) -> bool:
        # Replayed messages are written beside the peer's queue, and a write of more than 64 KiB is not
        # atomic: two at a time leave a stream that nobody can read.
        lock = getattr(stream, "_crdtstats_writing", None)
        if lock is None:
            lock = stream._crdtstats_writing = trio.Lock()
        async with lock:
            return await super().write_msg(stream, rpc_msg)

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:  # noqa: BLE001 - e.g. an unknown key type in a message's key field
            log.info("gossip message from %s dropped: %r", msg_forwarder, error)


class HardenedGossipSub(GossipSub):
    """A heartbeat that keeps its second, and goes on."""

    def send_rpc(self, peer_id: Any, rpc: Any, priority: bool = False) -> None:
        if rpc.publish:  # stock sends the signed peer record with every message: 200 bytes, and a check
            rpc.ClearField("senderRecord")
        super().send_rpc(peer_id, rpc, priority)

    def _get_peers_to_send(
        self, topic_ids: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None
    ) -> Iterable[ID]:
        """What we say ourselves goes to ``degree`` subscribers, in the mesh or not: stock tells a peer that
        has just come nothing until the next heartbeat, when a short-lived writer is gone."""
        peers = set(super()._get_peers_to_send(topic_ids, msg_forwarder, origin, msg_id))
        pubsub = self.pubsub
        if pubsub is not None and origin == pubsub.my_id:
            for topic in topic_ids:
                for peer in list(pubsub.peer_topics.get(topic, ())):
                    if len(peers) < self.degree and peer in pubsub.peers and peer != origin:
                        peers.add(peer)
        return peers

    def _adapt_heartbeat_parameters(self, health: Any) -> None:
        """Stock: a healthy small mesh takes it from 1 s to 60 s, and a restarted peer waits for it."""

    async def heartbeat(self) -> None:
        while True:
            try:
                await super().heartbeat()
                return
            except Exception as error:  # noqa: BLE001 - one bad peer would end the heartbeat for all
                log.info("heartbeat: %r", error)
                await trio.sleep(1)


def make_host(seed: bytes, private: PrivateNetwork | None = None) -> Any:
    """A host that speaks noise only: stock also accepts plaintext, unauthenticated."""
    pair = create_new_key_pair(seed)
    security = {NOISE: Noise(pair, noise_privkey=create_noise_key_pair().private_key)}
    host = new_host(key_pair=pair, sec_opt=security)
    network: Any = host.get_network()
    network.psk = private  # only handed on, to `new_protected_conn`
    return host


def make_pubsub(host: Any) -> tuple[HardenedPubsub, HardenedGossipSub]:
    """Gossip as go-libp2p's defaults have it, as far as this library can."""
    gossip = HardenedGossipSub(
        protocols=[TProtocol(f"/meshsub/1.{minor}.0") for minor in (2, 1, 0)],
        degree=6,
        degree_low=5,
        degree_high=12,
        heartbeat_interval=1,
        spam_protection_enabled=False,  # stock limits of a few messages a second drop honest peers
        adaptive_gossip_enabled=False,
    )
    # The validation cache removes from a list of 1,000 for each message; nothing here validates.
    pubsub = HardenedPubsub(host, gossip, validation_cache_size=16)
    # Seconds as the first sequence number: a restart within the same second repeats numbers that
    # peers have seen, and its messages vanish.
    pubsub.counter = time.time_ns()
    return pubsub, gossip


async def dial(host: Any, peer: Any, address: Any) -> bool:
    """Try one address of ``peer``; ``True`` when connected.

    The library tries one TCP address for each dial, prefers any that is not loopback, and after a
    failure refuses the peer for a minute: so only the one address is known while it dials.
    """
    network = host.get_network()
    store = host.get_peerstore()
    network._negative_peer_cache.evict(str(peer))
    store.clear_addrs(peer)
    with trio.move_on_after(DIAL_TIMEOUT_S):
        try:
            await host.connect(PeerInfo(peer, [address]))
            return True
        except Exception as error:  # noqa: BLE001 - any failure means: not connected
            log.debug("dialling %s at %s: %r", peer, address, error)
    network._negative_peer_cache.evict(str(peer))
    return False


async def prune(gossip: GossipSub) -> None:
    """Task: empty a table of deliveries that the library only ever fills."""
    while True:
        await trio.sleep(30)
        gossip.recent_message_deliveries.clear()


async def close(host: Any, pubsub: Pubsub, timeout_s: float) -> None:
    """Close in bounded time: stock waits for peers that do not answer."""
    with trio.move_on_after(timeout_s) as scope:
        scope.shield = True
        await quietly(host.close())
    pubsub.seen_messages._stop_event.set()  # its sweeper is a thread that nobody stops


async def quietly(awaitable: Any) -> None:
    """Await, and take any failure for done: for streams and hosts that go away anyway."""
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001
        log.debug("ignored: %r", error)


def settle() -> None:
    """After start: what is imported stays; collections over 100,000 objects stall gossip by 40 ms.

    The child started with collection off.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    gc.enable()
