"""The network itself: who is connected, what is under way, and what time it is."""

from __future__ import annotations

import heapq
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import combinations
from random import Random
from types import TracebackType
from typing import Any

from crdtstats.errors import ClosedError, InternalError, UsageError
from crdtstats.memory_network.broadcaster import MemoryBroadcaster
from crdtstats.memory_network.exchange import MemoryExchange
from crdtstats.memory_network.faults import Faults
from crdtstats.memory_network.host import Identity, MemoryHost, NamedIdentity
from crdtstats.memory_network.message import Message
from crdtstats.memory_network.router import MemoryRouter
from crdtstats.protocols import Payload

HOSTS_MAX = 1000
"""Hosts at one time; a full mesh of so many has half a million links."""
IN_FLIGHT_MAX = 200_000
"""Messages under way; what is sent beyond is lost and counted (``queue_full``)."""
EVENTS_PER_ADVANCE_MAX = 5_000_000
"""Deliveries in one ``advance``: beyond it, hosts answer each other without end."""
TRACE_MAX = 10_000
"""Newest lines of ``trace`` that are kept."""

CheckBlock = Callable[[bytes, bytes], None]
_log = logging.getLogger("crdtstats.memory_network")


class _Thread(threading.local):
    """What one thread has sent in a realtime network and not delivered yet."""

    def __init__(self) -> None:
        self.outbox: deque[Message] = deque()
        self.busy = False


class MemoryNetwork:
    """Hosts, links and messages in one process, with faults. Any thread may call.

    Args:
        seed: of every fault; with the same calls, the same seed gives the same ``trace``.
        loss, duplicate, reorder, delay_s: see ``Faults``; ``set_faults`` changes them later.
        realtime: deliver each message in the thread that sent it, before its call returns (so never call
            in while holding a lock that the callbacks take); no clock, no faults.
        check: raises when a block (second) does not match its CID (first); without it every block is taken.

    Messages between two hosts arrive in the order they were sent, unless ``reorder`` says otherwise.
    Callbacks are called without a lock held; one that raises is logged and counted (``callbacks_failed``),
    and stops nothing.
    """

    def __init__(
        self,
        seed: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay_s: tuple[float, float] = (0.0, 0.0),
        *,
        realtime: bool = False,
        check: CheckBlock | None = None,
    ) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.realtime = realtime
        self.check = check
        self._random = Random(seed)
        self._faults = Faults()
        self._now = 0.0
        self._count = 0
        self._events: list[tuple[float, int, Message | Callable[[], None]]] = []
        self._in_flight = 0
        self._latest: dict[tuple[str, str], float] = {}
        self._hosts: dict[str, MemoryHost] = {}
        self._wanted: set[tuple[str, str]] = set()  # links that should be, each with its names sorted
        self._groups: dict[str, int] = {}
        self._stats: Counter[str] = Counter()
        self._trace: deque[tuple[float, str, str, str, str, int]] = deque(maxlen=TRACE_MAX)
        self._thread = _Thread()
        self._advancing: int | None = None
        self.set_faults(loss=loss, duplicate=duplicate, reorder=reorder, delay_s=delay_s)

    # -- what a test does --

    def set_faults(
        self,
        *,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """What happens to messages sent from now on; no argument: nothing."""
        faults = Faults(loss, duplicate, reorder, delay_s)
        if self.realtime and faults.any:
            raise UsageError("a realtime network has neither faults nor a clock: leave realtime out")
        with self.lock:
            self._faults = faults

    def join(self, identity: Identity | str) -> MemoryHost:
        """A new host, connected to nobody yet. A name stands for a ``NamedIdentity``.

        A peer id that is in the network already is a ``UsageError``; after ``stop`` it may come back.
        """
        who = NamedIdentity(identity) if isinstance(identity, str) else identity
        host = MemoryHost(self, who)
        with self.lock:
            if host.peer_id in self._hosts:
                raise UsageError(f"{host.peer_id} is in this network already: stop it first")
            if len(self._hosts) >= HOSTS_MAX:
                raise UsageError(f"a memory network has at most {HOSTS_MAX} hosts")
            self._hosts[host.peer_id] = host
            self._find_components()
        return host

    def broadcaster(self, host: MemoryHost) -> MemoryBroadcaster:
        """The broadcaster of ``host``; one at a time."""
        with self.lock:
            self._check_member(host)
            if host.broadcaster is not None:
                raise UsageError(f"{host.peer_id} has a broadcaster already: close it first")
            host.broadcaster = MemoryBroadcaster(host)
            return host.broadcaster

    def exchange(self, host: MemoryHost) -> MemoryExchange:
        """The exchange of ``host``; one at a time."""
        with self.lock:
            self._check_member(host)
            if host.exchange is not None:
                raise UsageError(f"{host.peer_id} has an exchange already: close it first")
            host.exchange = MemoryExchange(host)
            return host.exchange

    def router(self, host: MemoryHost) -> MemoryRouter:
        """A router for ``host``."""
        return MemoryRouter(host)

    def connect(self, one: MemoryHost, other: MemoryHost) -> None:
        """Link two hosts; across a partition the link comes up when it heals."""
        self._link([(one, other)])

    def reach(self, host: MemoryHost, peer: str) -> None:
        """Link ``host`` with the host of that peer id, if there is one."""
        with self.lock:
            other = self._hosts.get(peer)
        if other is not None and other is not host:
            self._link([(host, other)])

    def connect_all(self) -> None:
        """Link every host with every other."""
        with self.lock:
            hosts = list(self._hosts.values())
        self._link(combinations(hosts, 2))

    def disconnect(self, one: MemoryHost, other: MemoryHost) -> None:
        """Cut the link between two hosts, if there is one; what is under way on it is lost."""
        with self.lock:
            self._wanted.discard(_pair(one, other))
            changed = self._update_links()
        self.notify(changed)

    def partition(self, *groups: Iterable[MemoryHost]) -> None:
        """Let links stand only within each group; hosts in none are one more. Replaces the last one."""
        members: dict[str, int] = {}
        for number, group in enumerate(groups, start=1):
            for host in group:
                if members.setdefault(host.peer_id, number) != number:
                    raise UsageError(f"{host.peer_id} is in two groups of one partition")
        with self.lock:
            self._groups = members
            changed = self._update_links()
        self.notify(changed)

    def heal(self) -> None:
        """End the partition: the links that it cut come back."""
        self.partition()

    def stop(self, host: MemoryHost) -> None:
        """Take ``host`` away for ever: links, messages, broadcaster, exchange. Twice is no error."""
        with self.lock:
            if not host.alive:
                return
            host.listeners.clear()
            host.notices.clear()
            self._wanted = {pair for pair in self._wanted if host.peer_id not in pair}
            changed = self._update_links()
            host.alive = False
            del self._hosts[host.peer_id]
            self._groups.pop(host.peer_id, None)
            self._latest = {pair: due for pair, due in self._latest.items() if host.peer_id not in pair}
            self._find_components()
            broadcaster, exchange = host.broadcaster, host.exchange
        if broadcaster is not None:
            broadcaster.close()
        if exchange is not None:
            exchange.close()
        self.notify(changed)

    def close(self) -> None:
        """Stop every host: what waits in a ``next`` wakes up."""
        with self.lock:
            hosts = list(self._hosts.values())
        for host in hosts:
            self.stop(host)

    def __enter__(self) -> MemoryNetwork:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def advance(self, now: float) -> int:
        """Go to the time ``now`` (seconds, never back) and deliver what is due by then, in order.

        What a delivery sends without delay is delivered too. Returns the count of messages delivered. In a
        realtime network there is nothing to do. One thread at a time.
        """
        if self.realtime:
            return 0
        with self.lock:
            if now < self._now:
                raise UsageError(f"time does not go back: it is {self._now}, not {now}")
            if self._advancing is not None:
                raise UsageError("advance() is running already, in a callback or in another thread")
            self._advancing = threading.get_ident()
        delivered = 0
        try:
            for _ in range(EVENTS_PER_ADVANCE_MAX):
                with self.lock:
                    if not self._events or self._events[0][0] > now:
                        self._now = now
                        return delivered
                    due, _, event = heapq.heappop(self._events)
                    self._now = max(self._now, due)
                    if isinstance(event, Message):
                        self._in_flight -= 1
                if isinstance(event, Message):
                    delivered += self._deliver(event)
                else:
                    event()
        finally:
            with self.lock:
                self._advancing = None
        raise InternalError(
            f"over {EVENTS_PER_ADVANCE_MAX} events by {now}: hosts answer each other for ever"
        )

    @property
    def now(self) -> float:
        """The time, in seconds since the network was made; 0 in a realtime network."""
        with self.lock:
            return self._now

    def next_due(self) -> float | None:
        """When the next message or retry is due: where ``advance`` should go; ``None`` when nothing is."""
        with self.lock:
            return self._events[0][0] if self._events else None

    @property
    def in_flight(self) -> int:
        """Messages under way (retries that wait are none)."""
        with self.lock:
            return self._in_flight

    @property
    def stats(self) -> dict[str, int]:
        """Counts of messages by what became of them, and of callbacks that failed; absent is 0.

        ``sent``, ``delivered``, ``lost``, ``duplicated``, ``reordered``, ``cut`` (no link or path on
        arrival), ``unheard`` (nobody there to take it), ``queue_full``, ``callbacks_failed``.
        """
        with self.lock:
            return dict(sorted(self._stats.items()))

    @property
    def trace(self) -> list[tuple[float, str, str, str, str, int]]:
        """The newest (time, what became of it, kind, source, target, bytes)."""
        with self.lock:
            return list(self._trace)

    # -- what hosts, broadcasters and exchanges do --

    def gossip(self, source: MemoryHost, data: bytes) -> None:
        """Send ``data`` to every host that ``source`` can reach."""
        with self.lock:
            for peer in self._reachable(source):
                self.send("gossip", source, peer, data, len(data), direct=False)
        self.pump()

    def reachable(self, host: MemoryHost) -> list[MemoryHost]:
        """Every other host that there is a path to, sorted by peer id."""
        with self.lock:
            return self._reachable(host)

    def send(
        self, kind: str, source: MemoryHost, target: MemoryHost, body: Any, size: int, *, direct: bool = True
    ) -> None:
        """Put a message on its way. The lock is held; ``pump`` follows once it is not."""
        self._stats["sent"] += 1
        message = Message(kind, source, target, body, size, direct)
        if self.realtime:
            self._thread.outbox.append(message)
            return
        fate = self._faults.fate(self._random)
        if fate.lost:
            self._record("lost", message)
            return
        due = self._now + fate.delay_s
        pair = (source.peer_id, target.peer_id)
        if fate.reordered:
            self._stats["reordered"] += 1
        else:
            due = self._latest[pair] = max(due, self._latest.get(pair, 0.0))
        self._enqueue(message, due)
        if fate.copy_after_s is not None:
            self._stats["duplicated"] += 1
            self._enqueue(message, due + fate.copy_after_s)

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Call ``call`` at that time, without the lock; the lock is held. Never in a realtime network."""
        if not self.realtime:
            self._count += 1
            heapq.heappush(self._events, (due, self._count, call))

    def time(self) -> float:
        """``now``, where the lock is held."""
        return self._now

    def pump(self) -> None:
        """Realtime: deliver what this thread has sent, until nothing is left. The lock is not held.

        Inside a delivery it does nothing: the outermost call goes on, so answers do not nest.
        """
        if not self.realtime or self._thread.busy:
            return
        outbox = self._thread.outbox
        self._thread.busy = True
        try:
            while outbox:
                self._deliver(outbox.popleft())
        finally:
            self._thread.busy = False

    def call(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        """What a callback gives; ``None`` when it raises, which is logged and counted. No lock is held."""
        try:
            return callback(*arguments)
        except Exception:  # noqa: BLE001 - it is the user's code: whatever it raises stops nothing here
            _log.exception("a callback failed; the network goes on")
            with self.lock:
                self._stats["callbacks_failed"] += 1
            return None

    def notify(self, hosts: Iterable[MemoryHost]) -> None:
        """Tell the listeners of these hosts what changed, then deliver. The lock is not held."""
        for host in hosts:
            while True:
                with self.lock:
                    if host.notifying or not host.notices:
                        break  # another thread tells this host: it will tell the rest too
                    host.notifying = True
                    changed, peer, connected = host.notices.popleft()
                try:
                    self.call(changed, peer, connected)
                finally:
                    with self.lock:
                        host.notifying = False
        self.pump()

    # -- inside: the lock is held unless it says otherwise --

    def _enqueue(self, message: Message, due: float) -> None:
        if self._in_flight >= IN_FLIGHT_MAX:
            self._record("queue_full", message)
            return
        self._in_flight += 1
        self._count += 1
        heapq.heappush(self._events, (due, self._count, message))

    def _deliver(self, message: Message) -> bool:
        """Hand a message to its receiver. The lock is not held."""
        source, target = message.source, message.target
        with self.lock:
            if message.direct:
                there = (
                    target.links.get(source.peer_id) is source and source.links.get(target.peer_id) is target
                )
            else:
                there = source.alive and target.alive and source.component == target.component
            receiver = target.exchange if message.direct else target.broadcaster
            heard = receiver is not None
            self._record("delivered" if there and heard else "unheard" if there else "cut", message)
            if (
                there and not heard and message.kind == "want"
            ):  # no such protocol there: the asker learns at once
                self.send("dont-have", target, source, message.body, message.size)
        if not there or receiver is None:
            return False
        if isinstance(receiver, MemoryBroadcaster):
            receiver.receive(Payload(message.body, source.peer_id))
        else:
            receiver.receive(message.kind, source, message.body)
        return True

    def _record(self, what: str, message: Message) -> None:
        self._stats[what] += 1
        self._trace.append(
            (self._now, what, message.kind, message.source.peer_id, message.target.peer_id, message.size)
        )

    def _check_member(self, host: MemoryHost) -> None:
        if host.network is not self:
            raise UsageError(f"{host.peer_id} is in another network")
        if not host.alive:
            raise ClosedError(f"{host.peer_id} has left the network: join again")

    def _link(self, pairs: Iterable[tuple[MemoryHost, MemoryHost]]) -> None:
        """The lock is not held."""
        with self.lock:
            for one, other in pairs:
                self._check_member(one)
                self._check_member(other)
                if one is other:
                    raise UsageError(f"{one.peer_id} cannot be linked with itself")
                self._wanted.add(_pair(one, other))
            changed = self._update_links()
        self.notify(changed)

    def _update_links(self) -> list[MemoryHost]:
        """Bring links up and down as they should be; gives the hosts that have something to tell."""
        up = {
            (one, other)
            for one, other in self._wanted
            if self._groups.get(one, 0) == self._groups.get(other, 0)
        }
        down = {
            (one, other)
            for one, host in self._hosts.items()
            for other in host.links
            if one < other and (one, other) not in up
        }
        changed: dict[str, MemoryHost] = {}
        for pair in sorted(down):
            for one, other in (pair, pair[::-1]):
                host, peer = self._hosts[one], self._hosts[other]
                del host.links[other]
                host.notices.extend((listener, other, False) for listener in host.listeners)
                changed[one] = host
                if host.exchange is not None:
                    host.exchange.peer_down(peer)
        fresh = [pair for pair in sorted(up) if pair[1] not in self._hosts[pair[0]].links]
        for one, other in fresh:
            self._hosts[one].links[other] = self._hosts[other]
            self._hosts[other].links[one] = self._hosts[one]
        for pair in fresh:
            for one, other in (pair, pair[::-1]):
                host, peer = self._hosts[one], self._hosts[other]
                host.notices.extend((listener, other, True) for listener in host.listeners)
                changed[one] = host
                if host.exchange is not None:
                    host.exchange.peer_up(peer)
        self._find_components()
        return list(changed.values())

    def _find_components(self) -> None:
        for host in self._hosts.values():
            host.component = -1
        for number, start in enumerate(self._hosts.values()):
            todo = [start] if start.component < 0 else []
            while todo:
                host = todo.pop()
                if host.component < 0:
                    host.component = number
                    todo.extend(peer for peer in host.links.values() if peer.component < 0)

    def _reachable(self, host: MemoryHost) -> list[MemoryHost]:
        if not host.alive:
            return []
        return [
            peer
            for _, peer in sorted(self._hosts.items())
            if peer is not host and peer.component == host.component
        ]


def _pair(one: MemoryHost, other: MemoryHost) -> tuple[str, str]:
    first, second = sorted((one.peer_id, other.peer_id))
    return first, second
