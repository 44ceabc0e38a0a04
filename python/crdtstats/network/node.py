"""The libp2p node as the child process runs it: host, gossip, blocks, redial, and the parent's frames."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.abc import INotifee
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from crdtstats.network import hardened
from crdtstats.network.fetcher import Fetcher
from crdtstats.network.frames import Kind, pack, unpack
from crdtstats.network.link import ParentLink
from crdtstats.network.muxer import Muxer
from crdtstats.network.pacing import Pacer
from crdtstats.network.psk import PrivateNetwork
from crdtstats.network.redial import Redial

log = logging.getLogger("crdtstats.network.node")

STATUS_S = 1.0
CLOSE_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 1.0
"""What was broadcast before the stop has so long to leave."""
WATCH_PARENT_S = 1.0


@dataclass(frozen=True)
class Settings:
    """What the parent sends first."""

    seed: bytes
    psk: bytes
    """Of a private network; empty: an open one."""
    listen: Sequence[str]
    peers: Sequence[str]
    dht: bool
    """Be a server of the DHT, and look there for blocks that no connected peer has."""
    parent: int
    """Process id of the parent."""


class Node(INotifee):
    """One life of the node: ``run`` ends when the parent says so or is gone."""

    def __init__(self, settings: Settings, link: ParentLink) -> None:
        self._settings, self._link = settings, link
        self._host: Any = None
        self._pubsub: Any = None
        self._topics: set[str] = set()
        self._messages = 0
        self._private = PrivateNetwork(settings.psk) if settings.psk else None

    async def run(self) -> None:
        """Raises ``OSError`` or a libp2p error when it cannot listen; anything else is a bug."""
        hardened.patch()
        self._host = host = hardened.make_host(self._settings.seed, self._private)
        self._pubsub, gossip = hardened.make_pubsub(host)
        self._fetcher = Fetcher(host, self._link)
        listen = [Multiaddr(address) for address in self._settings.listen]
        async with host.run(listen_addrs=listen):
            if len(host.get_network().listeners) < len(listen):  # the library only logs it
                raise OSError(f"cannot listen on {', '.join(map(str, self._settings.listen))}")
            try:
                async with (
                    background_trio_service(self._pubsub),
                    background_trio_service(gossip),
                    trio.open_nursery() as nursery,
                ):
                    await self._pubsub.wait_until_ready()
                    await self._work(nursery, gossip)
                    nursery.cancel_scope.cancel()
            finally:
                await hardened.close(host, self._pubsub, CLOSE_TIMEOUT_S)

    async def _work(self, nursery: trio.Nursery, gossip: Any) -> None:
        host = self._host
        self._nursery = nursery
        fetcher = self._fetcher
        self._redial = Redial(host, nursery)
        self._routing = await self._route(nursery, fetcher) if self._settings.dht else None
        self._pacer = Pacer(self._publish)
        await fetcher.begin(nursery)
        network = host.get_network()
        network.register_notifee(self)
        for connections in list(network.connections.values()):  # peers that were faster
            for connection in list(connections):
                await self.connected(network, connection)
        nursery.start_soon(self._link.write)
        nursery.start_soon(self._pacer.run)
        nursery.start_soon(hardened.prune, gossip)
        nursery.start_soon(self._report)
        nursery.start_soon(self._watch_parent, nursery.cancel_scope)
        addresses = [str(address) for address in host.get_addrs()]
        await self._link.send(Kind.READY, pack(text.encode() for text in (str(host.get_id()), *addresses)))
        for peer in self._settings.peers:
            self._connect(peer)
        hardened.settle()
        async for kind, payload in self._link.read():
            if kind == Kind.STOP:
                with trio.move_on_after(DRAIN_TIMEOUT_S):
                    await self._drain()
                return
            await self._obey(kind, payload)

    async def _route(self, nursery: trio.Nursery, fetcher: Fetcher) -> Any:
        from crdtstats.network.routing import Routing  # late: 60 ms that most networks have no use for

        routing = Routing(self._host, nursery, fetcher.bitswap.stuck)
        nursery.start_soon(routing.run)
        return routing

    async def _obey(self, kind: int, payload: bytes) -> None:
        if kind == Kind.PUBLISH:
            topic, data = unpack(payload)
            self._pacer.put(topic.decode(), data)
        elif kind == Kind.WANT:
            names, *cids = unpack(payload, 4)
            self._fetcher.want(cids, _peers(names), int.from_bytes(payload[:4], "big"))
        elif kind == Kind.CANCEL:
            self._fetcher.cancel(unpack(payload))
        elif kind == Kind.HAVE:
            cids = unpack(payload)
            self._fetcher.have(cids)
            if self._routing is not None:
                self._routing.have(cids)
        elif kind == Kind.CONFIRM:
            self._fetcher.confirm(unpack(payload))
        elif kind == Kind.SUBSCRIBE:
            await self._subscribe(payload.decode())
        elif kind == Kind.CONNECT:
            self._connect(payload.decode())
        else:
            log.error("frame of kind %d from the parent", kind)

    def _connect(self, address: str) -> None:
        try:
            self._redial.add(address)
        except ValueError as error:
            log.error("%s", error)

    # ---- gossip

    async def _publish(self, topic: str, data: bytes) -> None:
        try:
            await self._pubsub.publish(topic, data)
        except Exception as error:  # noqa: BLE001 - a broadcast is a hint: the next one goes out
            log.warning("publishing on %s: %r", topic, error)

    async def _subscribe(self, topic: str) -> None:
        if topic not in self._topics:
            self._topics.add(topic)
            subscription = await self._pubsub.subscribe(topic)
            self._nursery.start_soon(self._relay, topic.encode(), subscription)

    async def _relay(self, topic: bytes, subscription: Any) -> None:
        own = self._host.get_id().to_bytes()
        async for message in subscription:
            if message.from_id != own:
                self._messages += 1
                author = str(ID(message.from_id)).encode()
                self._link.offer(Kind.MESSAGE, pack([topic, author, message.data]))

    async def _drain(self) -> None:
        await self._pacer.drained()
        while any(len(queue) for queue in self._pubsub.peer_queues.values()):
            await trio.sleep(0.005)
        await trio.sleep(0.02)  # the last one has left its queue, not yet the socket

    # ---- connections (INotifee)

    async def connected(self, network: Any, conn: Any) -> None:
        peer = conn.muxed_conn.peer_id
        self._fetcher.connected(peer)
        if self._routing is not None:
            self._routing.connected(peer)
        await self._link.send(Kind.PEER, b"\1", str(peer).encode())

    async def disconnected(self, network: Any, conn: Any) -> None:
        peer = conn.muxed_conn.peer_id
        if not network.get_connections(peer):
            self._fetcher.disconnected(peer)
            await self._link.send(Kind.PEER, b"\0", str(peer).encode())

    async def opened_stream(self, *_: Any) -> None: ...
    async def closed_stream(self, *_: Any) -> None: ...
    async def listen(self, *_: Any) -> None: ...
    async def listen_close(self, *_: Any) -> None: ...

    # ---- the parent

    async def _report(self) -> None:
        """Task: counters every second; a child that says nothing for long is taken for dead."""
        while True:
            status = self._fetcher.status() | {
                "messages_received": self._messages,
                "messages_published": self._pacer.published,
                "publish_dropped": self._pacer.dropped,
                "parent_behind_dropped": self._link.dropped,
                "dials": self._redial.attempts,
                "credit_overruns": Muxer.overruns,
                "dht": {} if self._routing is None else self._routing.counts,
                "refused": {} if self._private is None else self._private.refused,
            }
            self._link.offer(Kind.STATUS, json.dumps(status).encode())
            await trio.sleep(STATUS_S)

    async def _watch_parent(self, scope: trio.CancelScope) -> None:
        """Task: end of file does not come while a forked worker lives, and prctl may be refused."""
        while True:
            if os.getppid() != self._settings.parent:
                log.info("the parent is gone")
                scope.cancel()
            await trio.sleep(WATCH_PARENT_S)


def _peers(names: bytes) -> list[ID]:
    """Those of ``names`` that are peer ids: hints may come from any transport."""
    peers: list[ID] = []
    for name in names.split():
        with contextlib.suppress(ValueError, KeyError):
            peers.append(ID.from_base58(name.decode()))
    return peers
