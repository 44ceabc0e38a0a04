"""The application's side of the network node: starts the child, talks to it, starts it again when it dies.

No public call waits for the network or the child: each one only changes state that a writer thread carries
over. Imports neither trio nor libp2p.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from crdtstats.errors import ClosedError, UnavailableError, UsageError
from crdtstats.network.exchange import CheckBlock, NetworkExchange
from crdtstats.network.frames import FRAME_BYTES_MAX, HEADER, Kind, frame, pack, unpack
from crdtstats.network.peer_id import peer_id_of
from crdtstats.network.process import REAP_TIMEOUT_S, Child, require_libp2p
from crdtstats.protocols import PeerChanged

log = logging.getLogger("crdtstats.network")

PAYLOAD_BYTES_MAX = 1_048_426
"""What a gossipsub message of 1 MiB carries on a topic of up to 24 bytes; Go loses more silently."""
TOPIC_BYTES_FREE = 24
BROADCASTS_MAX = 256
"""Broadcasts that wait for the child; the oldest is dropped and counted."""
EVENTS_MAX = 4096
"""Messages that wait for the application's handlers; a new one is dropped and counted."""
RESTART_S_MIN = 0.5
RESTART_S_MAX = 10.0
STEADY_S = 30.0
"""A child that lived so long starts the back-off again from its smallest."""
SILENCE_S_MAX = 30.0
"""The child speaks every second; one that does not for so long hangs, and is replaced."""

Handler = Callable[[bytes, str | None], None]


class Signer(Protocol):
    """Signs with the identity key."""

    def sign(self, data: bytes) -> bytes: ...


class NetworkNode:
    """A libp2p node in a child process: ``Host``, ``GossipPubSuber``, and an ``Exchange`` as ``.exchange``.

    Args:
        identity: Ed25519 private key as libp2p marshals it; goes to the child over its socket only.
        topic: subscribed from the start; others with ``subscribe_raw``.
        listen: multiaddrs to listen on; a port that the system chose is kept over restarts of the child.
        peers: multiaddrs with ``/p2p/``; kept connected. Several for one peer are tried in turn.
        psk: 32 bytes, the key of a private network; it goes the same way.
        dht: look for blocks that no connected peer has in the DHT, and be found there.
        check_block: called with (CID, block) for each block before it is delivered, raises ``RemoteError``
            on a mismatch. The child has checked already: ``None`` leaves it at that.
        signer: signs for ``Host.sign``; by default ``crdtstats._core.Identity`` of ``identity``.

    Raises:
        UsageError: ``identity`` or a peer's address is malformed.
        UnavailableError: libp2p is not installed.

    Cost: returns at once; the child is ready after about half a second (``wait_ready``).
    """

    def __init__(
        self,
        identity: bytes,
        topic: str,
        listen: Sequence[str] = ("/ip4/127.0.0.1/tcp/0",),
        peers: Sequence[str] = (),
        check_block: CheckBlock | None = None,
        *,
        psk: bytes | None = None,
        dht: bool = False,
        signer: Signer | None = None,
    ) -> None:
        self._peer_id = peer_id_of(identity)
        self._seed = bytes(identity[4:36])
        self._psk = psk or b""
        self._dht = dht
        self._signer = signer if signer is not None else _core_signer(identity)
        for address in peers:
            _check_address(address)
        require_libp2p()
        self._listen = tuple(listen)
        self._bound: tuple[str, ...] = ()
        self._addresses: tuple[str, ...] = ()
        self._known = dict.fromkeys(peers)
        self._topics: dict[str, list[Handler]] = {topic: []}
        self._observers: list[PeerChanged] = []
        self._connected: dict[str, None] = {}
        self._counts = dict.fromkeys(
            ("restarts", "broadcasts", "dropped_child_behind", "dropped_application_behind", "messages"), 0
        )
        self._child_status: dict[str, Any] = {}
        self._failure: str | None = None
        self._child: Child | None = None
        self._life = 0
        self._closed = self._abandoned = False
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._control: deque[bytes] = deque()
        self._broadcasts: deque[bytes] = deque()
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.exchange = NetworkExchange(self._wake, self._answer, check_block)
        self._threads = [
            threading.Thread(target=target, name=f"crdtstats-{name}", daemon=True)
            for name, target in (("network", self._keep), ("write", self._write), ("events", self._call))
        ]
        for thread in self._threads:
            thread.start()

    # ---- Host

    @property
    def peer_id(self) -> str:
        return self._peer_id

    @property
    def identity(self) -> Signer | None:
        """Who signs, where that is at hand: a store signs with it directly."""
        return self._signer

    def sign(self, data: bytes) -> bytes:
        """64 bytes. Raises ``UnavailableError`` when there is nothing to sign with."""
        if self._signer is None:
            raise UnavailableError("no signer: crdtstats._core is not built, and none was given")
        return self._signer.sign(data)

    def connections(self) -> list[str]:
        return list(self._connected)

    @property
    def expects_peers(self) -> bool:
        """Whether it was told of any peer: then one may still connect when none is connected."""
        return bool(self._known)

    def on_peer(self, changed: PeerChanged) -> None:
        self._usable()
        with self._changed:
            self._observers.append(changed)
            for peer in self._connected:
                self._events.put(lambda peer=peer: changed(peer, True))

    # ---- GossipPubSuber

    def publish_raw(self, topic: str, data: bytes) -> None:
        """Hand ``data`` to the child; when it is behind, the oldest waiting one is dropped and counted.

        Raises ``UsageError`` above ``PAYLOAD_BYTES_MAX`` (less what a topic has beyond ``TOPIC_BYTES_FREE``).
        """
        limit = PAYLOAD_BYTES_MAX - max(0, len(topic.encode()) - TOPIC_BYTES_FREE)
        if len(data) > limit:
            raise UsageError(f"payload of {len(data)} bytes; the limit is {limit}: split it", limit=limit)
        self._usable()
        message = frame(Kind.PUBLISH, pack([topic.encode(), data]))
        with self._changed:
            if len(self._broadcasts) >= BROADCASTS_MAX:
                self._broadcasts.popleft()
                self._counts["dropped_child_behind"] += 1
            self._broadcasts.append(message)
            self._counts["broadcasts"] += 1
            self._changed.notify_all()

    def subscribe_raw(self, topic: str, handler: Handler) -> None:
        """Call ``handler(data, author's peer id)`` for each message of ``topic``, from one thread."""
        self._usable()
        with self._changed:
            if topic not in self._topics:
                self._topics[topic] = []
                self._control.append(frame(Kind.SUBSCRIBE, topic.encode()))
            self._topics[topic].append(handler)
            self._changed.notify_all()

    # ---- the node

    @property
    def addrs(self) -> tuple[str, ...]:
        """Where peers reach this node, with ``/p2p/``; empty until the child listens."""
        return self._addresses

    def connect(self, addr: str) -> None:
        """Connect to ``addr`` (with ``/p2p/``), and keep connected."""
        _check_address(addr)
        self._usable()
        with self._changed:
            if addr not in self._known:
                self._known[addr] = None
                self._control.append(frame(Kind.CONNECT, addr.encode()))
                self._changed.notify_all()

    def reach(self, peer: str) -> None:
        """Connect to ``peer`` where it is an address; of a mere peer id only the DHT knows where it is."""
        if peer.startswith("/"):
            self.connect(peer)

    def wait_ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the child listens: for command lines and tests; nothing needs it.

        Raises ``UnavailableError`` when it cannot, or not in time; it goes on trying.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.05):
            self._usable()
            if self._failure is not None:
                raise UnavailableError(f"the network node does not start: {self._failure}")
            if time.monotonic() > deadline:
                raise UnavailableError(f"the network node did not start within {timeout_s} s")

    def status(self) -> dict[str, Any]:
        """Counters since the start; those of ``child`` since its own. Costs no question to the child."""
        child = self._child
        return {
            "peer_id": self._peer_id,
            "ready": self._ready.is_set(),
            "failure": self._failure,
            "pid": None if child is None else child.pid,
            "addrs": list(self._addresses),
            "peers": list(self._connected),
            **self._counts,
            "exchange": self.exchange.status(),
            "child": self._child_status,
        }

    def close(self) -> None:
        """End the child and all threads, in a few seconds at most. Twice is fine."""
        if self._abandoned or self._closed:
            return
        self._closed = True
        self._stop.set()
        self.exchange.close()
        with self._changed:
            if self._child is not None and not self._ready.is_set():
                self._child.kill()  # still importing: it holds nothing that is worth a second
            self._changed.notify_all()
        self._events.put(None)
        deadline = time.monotonic() + REAP_TIMEOUT_S
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.1, deadline - time.monotonic()))
                if thread.is_alive() and (child := self._child) is not None:
                    child.kill()  # does not stop, or does not read: its end wakes all others
                    thread.join(1.0)

    def descriptors(self) -> list[int]:
        """Open descriptors that a forked process inherits."""
        child = self._child
        return [] if child is None else child.descriptors()

    def abandon(self) -> None:
        """After ``fork()``, in the new process: close what was inherited, and be closed. Takes no lock."""
        self._abandoned = self._closed = True
        self.exchange.abandon()
        child, self._child = self._child, None
        if child is not None:
            child.abandon()

    def __enter__(self) -> NetworkNode:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _usable(self) -> None:
        if self._closed:
            raise ClosedError("the network node is closed")

    # ---- to the child

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _answer(self, life: int, message: bytes) -> None:
        with self._changed:
            if life == self._life:  # else its asker is dead, and the number may mean another question
                self._control.append(message)
                self._changed.notify_all()

    def _write(self) -> None:
        """Thread: carries what waits to the child of the moment."""
        while True:
            with self._changed:
                while not self._closed and (
                    self._child is None
                    or not (
                        self._control or self.exchange.pending or (self._broadcasts and self._ready.is_set())
                    )
                ):
                    self._changed.wait()
                child = self._child
                if child is None:
                    return
                out = list(self._control)
                self._control.clear()
                if self._ready.is_set():
                    out += self._broadcasts
                    self._broadcasts.clear()
            out += self.exchange.frames()
            if self._closed:  # last: what was broadcast before still goes out
                out.append(frame(Kind.STOP))
            try:
                for message in out:
                    child.socket.sendall(message)
            except OSError:  # dead, or it hangs: the keeper sees it too
                child.kill()
                with self._changed:
                    if self._child is child:
                        self._child = None
            if out and out[-1][4] == Kind.STOP:
                return

    # ---- the child's life

    def _keep(self) -> None:
        """Thread: starts the child, reads what it says, reaps it, again. The child dies with this thread."""
        backoff = RESTART_S_MIN
        while not self._closed:
            born = time.monotonic()
            try:
                child = Child()
            except OSError as error:
                self._failure = str(error)
                log.warning("cannot start the network child: %s", error)
            else:
                self._listen_to(child)
                if time.monotonic() - born > STEADY_S:
                    backoff = RESTART_S_MIN
            if self._closed or self._stop.wait(backoff * random.uniform(0.8, 1.2)):
                break
            backoff = min(2 * backoff, RESTART_S_MAX)
            self._counts["restarts"] += 1
        self._wake()

    def _listen_to(self, child: Child) -> None:
        child.socket.settimeout(SILENCE_S_MAX)
        with self._changed:
            self._life += 1
            self._control.clear()
            self._control.append(self._start_frame())
            self._control += [frame(Kind.SUBSCRIBE, topic.encode()) for topic in self._topics]
            self.exchange.renew()
            self._child = child
            if self._closed:  # it was being started while we closed: nobody else will stop it
                child.kill()
            self._changed.notify_all()
        try:
            self._read(child)
        except (OSError, ValueError) as error:
            if not self._closed:
                log.warning("network child %d: %s", child.pid, error or type(error).__name__)
            child.kill()
        finally:
            self._ready.clear()
            with self._changed:
                if self._child is child:
                    self._child = None
                gone = list(self._connected)
            code, errors = child.reap(REAP_TIMEOUT_S - 1.0)
            for peer in gone:
                self._peer_changed(peer, False)
            self._child_status = {}
        if not self._closed:
            log.warning("network child %d ended with %d; starting another", child.pid, code)
            if errors:
                log.warning("its last words: %s", errors.strip())

    def _start_frame(self) -> bytes:
        settings = {
            "listen": self._bound or self._listen,
            "dht": self._dht,
            "path": sys.path,
            "level": log.getEffectiveLevel(),
            "libp2p_log": logging.getLogger("crdtstats.network.libp2p").isEnabledFor(logging.DEBUG),
        }
        return frame(
            Kind.START,
            pack([self._seed, self._psk, json.dumps(settings).encode(), *(p.encode() for p in self._known)]),
        )

    def _read(self, child: Child) -> None:
        with child.socket.makefile("rb", 1 << 18) as source:
            while True:
                head = source.read(HEADER.size)
                if len(head) < HEADER.size:
                    return
                size, kind = HEADER.unpack(head)
                if not 1 <= size <= FRAME_BYTES_MAX:
                    raise ValueError(f"frame of {size} bytes")
                payload = source.read(size - 1)
                if len(payload) < size - 1:
                    return
                self._take(kind, payload)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.MESSAGE:
            topic, author, data = unpack(payload)
            self._counts["messages"] += 1
            self._spread(self._topics.get(topic.decode(), ()), data, author.decode())
        elif kind in (Kind.BLOCKS, Kind.AHEAD):
            self.exchange.arrived(unpack(payload), early=kind == Kind.AHEAD)
        elif kind == Kind.CONFIRMED:
            self.exchange.confirmed(unpack(payload))
        elif kind == Kind.SERVE:
            self.exchange.asked(self._life, Kind.SERVE, payload[:4], unpack(payload, 4))
        elif kind == Kind.WALK:
            self.exchange.asked(self._life, Kind.WALK, payload[:12], unpack(payload, 12))
        elif kind == Kind.PEER:
            self._peer_changed(payload[1:].decode(), payload[:1] == b"\1")
        elif kind == Kind.STATUS:
            self._child_status = json.loads(payload)
        elif kind == Kind.LOG:
            name, text = unpack(payload, 1)
            _relog(payload[0], name.decode(), text.decode())
        elif kind == Kind.READY:
            peer, *addresses = (item.decode() for item in unpack(payload))
            if peer != self._peer_id:
                log.error("the child is %s, we are %s", peer, self._peer_id)
            self._addresses = tuple(addresses)
            self._bound = tuple(address.split("/p2p/")[0] for address in addresses)
            self._failure = None
            self._ready.set()
            self._wake()
        elif kind == Kind.FAILED:
            text, details = (item.decode() for item in unpack(payload))
            self._failure = text
            if self._bound:
                self._bound = ()  # the old port may be taken: any port is better than none
            log.warning("network child: %s", text)
            log.debug("%s", details)

    # ---- to the application

    def _spread(self, handlers: Sequence[Handler], data: bytes, author: str) -> None:
        for handler in handlers:
            if self._events.qsize() >= EVENTS_MAX:
                self._counts["dropped_application_behind"] += 1
            else:
                self._events.put(lambda handler=handler: handler(data, author))

    def _peer_changed(self, peer: str, connected: bool) -> None:
        with self._changed:
            if connected == (peer in self._connected):
                return
            if connected:
                self._connected[peer] = None
            else:
                del self._connected[peer]
            for changed in self._observers:
                self._events.put(lambda changed=changed: changed(peer, connected))

    def _call(self) -> None:
        """Thread: runs the application's handlers, one after the other."""
        while (event := self._events.get()) is not None:
            if self._closed:
                return
            try:
                event()
            except Exception:
                log.exception("a handler of the network raised")


def _core_signer(identity: bytes) -> Signer | None:
    with contextlib.suppress(ImportError):
        from crdtstats._core import Identity  # type: ignore[import-not-found]

        return Identity(identity)
    return None


def _check_address(address: str) -> None:
    if not address.startswith("/") or "/p2p/" not in address:
        raise UsageError(f"{address!r} is no multiaddr with /p2p/", address=address)


def _relog(level: int, name: str, text: str) -> None:
    if not name.startswith("crdtstats."):
        name = f"crdtstats.network.{name}"
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        logger.log(level, "%s", text)
