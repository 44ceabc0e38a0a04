"""Blocks by CID, from and to connected peers: asks one peer after another, and again, until it has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from crdtstats.errors import ClosedError, UsageError
from crdtstats.protocols import DeliverBlock, ServeBlock

if TYPE_CHECKING:
    from crdtstats.memory_network.host import MemoryHost

WANTS_MAX = 16_384
"""Blocks wanted at once; beyond it the oldest goes, one without a connected announcer first."""
WANTS_PER_MESSAGE_MAX = 64
"""CIDs in one request: what a Go peer takes at once."""
WAITING_PER_PEER_MAX = 1024
"""Wants of one peer that are remembered until the block is there; beyond it the oldest is forgotten."""
ANNOUNCERS_MAX = 16
"""Peers that one want remembers as its announcers."""
RETRY_S_MIN = 0.5
"""How long a peer may take to answer before the next one is asked; doubled each time that all were asked."""
RETRY_S_MAX = 16.0
"""Where the doubling ends."""


@dataclass(eq=False)
class _Want:
    announcers: list[str]
    asked: set[str] = field(default_factory=set[str])  # in this round
    told: set[str] = field(default_factory=set[str])  # who remembers this want: to be told when it is over
    bad: set[str] = field(default_factory=set[str])  # sent a block that is not it: asked last
    waiting_for: str | None = None
    rounds: int = 0
    due: float = 0.0
    timed: bool = False


class MemoryExchange:
    """An ``Exchange`` in a ``MemoryNetwork``; made by ``network.exchange(host)``.

    Requests and answers are messages with the network's faults. A peer without a block says so and
    remembers the want: it answers after ``have``. A block that fails the network's ``check`` is dropped and
    counted, and another peer is asked. Each want is delivered at most once.
    """

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._network = host.network
        # All of this is guarded by the network's lock.
        self._serve: ServeBlock | None = None
        self._deliver: DeliverBlock | None = None
        self._closed = False
        self._wants: dict[bytes, _Want] = {}
        self._waiting: dict[str, dict[bytes, None]] = {}  # peer -> CIDs that it waits for, oldest first
        self._stats = {
            "asked": 0,
            "delivered": 0,
            "served": 0,
            "bad_blocks": 0,
            "unwanted": 0,
            "wants_dropped": 0,
            "waiting_dropped": 0,
        }

    @property
    def stats(self) -> dict[str, int]:
        """CIDs ``asked`` for; blocks ``delivered``, ``served``, ``bad_blocks``, ``unwanted`` (late, twice);
        and what the limits dropped: ``wants_dropped``, ``waiting_dropped``."""
        with self._network.lock:
            return dict(self._stats)

    @property
    def wanted(self) -> list[bytes]:
        """What is wanted and not there yet, sorted."""
        with self._network.lock:
            return sorted(self._wants)

    def start(self, serve: ServeBlock, deliver: DeliverBlock, walk: object = None) -> None:
        """Begin to serve and to fetch; see ``Exchange``. The callbacks may call this object."""
        with self._network.lock:
            self._check_open()
            if self._serve is not None:
                raise UsageError("this exchange is started already")
            self._serve, self._deliver = serve, deliver
            for _, peer in sorted(self._host.links.items()):
                if peer.exchange is not None:
                    peer.exchange.peer_up(self._host)
        self._network.pump()

    def want(self, cids: Sequence[bytes], peers: Sequence[str] = ()) -> None:
        """Ask for blocks, ``peers`` first; it asks again, with back-off, until delivered or cancelled."""
        with self._network.lock:
            self._check_started()
            fresh: list[bytes] = []
            for cid in cids:
                want = self._wants.get(cid)
                if want is None:
                    self._make_room()
                    want = self._wants[cid] = _Want([])
                    fresh.append(cid)
                elif want.waiting_for is None and any(peer not in want.asked for peer in peers):
                    fresh.append(cid)
                for peer in peers:
                    if peer not in want.announcers and len(want.announcers) < ANNOUNCERS_MAX:
                        want.announcers.append(peer)
            self._ask(cid for cid in fresh if cid in self._wants)  # the limit may have dropped some
        self._network.pump()

    def cancel(self, cids: Sequence[bytes]) -> None:
        """Want these no longer."""
        with self._network.lock:
            self._check_started()
            self._forget(cids)
        self._network.pump()

    def have(self, cids: Sequence[bytes]) -> None:
        """These can be served from now on: answers the peers that wait for them."""
        with self._network.lock:
            self._check_started()
            peers = sorted(self._waiting)
            waiting = [(cid, peer) for cid in cids for peer in peers if cid in self._waiting[peer]]
        blocks: dict[bytes, bytes | None] = {}
        for cid, peer in waiting:
            if cid not in blocks:
                blocks[cid] = self.serves(cid)
            self._answer(peer, cid, blocks[cid])
        self._network.pump()

    def close(self) -> None:
        """End: no callback is begun from now on. Closing twice is no error."""
        with self._network.lock:
            self._closed = True
            self._wants.clear()
            self._waiting.clear()
            if self._host.exchange is self:
                self._host.exchange = None

    def serves(self, cid: bytes) -> bytes | None:
        """The block that would be served now. The lock is not held."""
        serve = self._serve
        return None if serve is None or self._closed else self._network.call(serve, cid)

    # -- what the network calls --

    def receive(self, kind: str, source: MemoryHost, body: Any) -> None:
        """A message has arrived. The lock is not held."""
        if kind == "block":
            self._on_block(source, *body)
        elif kind == "want":
            self._on_want(source, body)
        else:
            with self._network.lock:
                if kind == "cancel":
                    for cid in body:
                        self._waiting.get(source.peer_id, {}).pop(cid, None)
                else:
                    self._ask_next(cid for cid in body if self._waits_for(cid, source.peer_id))
        self._network.pump()

    def peer_up(self, peer: MemoryHost) -> None:
        """A peer came, or began to serve: ask it for what nobody else is asked for now. The lock is held."""
        if self._deliver is not None:
            idle = [cid for cid, want in self._wants.items() if want.waiting_for is None]
            for cid in idle:
                self._wants[cid].asked.discard(peer.peer_id)
            self._ask(idle)

    def peer_down(self, peer: MemoryHost) -> None:
        """A peer is gone, and what it was asked and asked for with it. The lock is held."""
        self._waiting.pop(peer.peer_id, None)
        for want in self._wants.values():
            want.told.discard(peer.peer_id)
            want.asked.discard(peer.peer_id)
        self._ask_next([cid for cid, want in self._wants.items() if want.waiting_for == peer.peer_id])

    # -- answering: the lock is not held --

    def _on_want(self, source: MemoryHost, cids: Sequence[bytes]) -> None:
        with self._network.lock:
            if self._closed:
                return
            waiting = self._waiting.setdefault(source.peer_id, {})
            for cid in cids:  # remembered before serve is asked: a have() in between answers it
                waiting[cid] = None
            while len(waiting) > WAITING_PER_PEER_MAX:
                del waiting[next(iter(waiting))]
                self._stats["waiting_dropped"] += 1
        missing = [cid for cid in cids if not self._answer(source.peer_id, cid, self.serves(cid))]
        if missing:
            with self._network.lock:
                self._send("dont-have", source, missing)

    def _answer(self, peer: str, cid: bytes, block: bytes | None) -> bool:
        """Send a block to a peer that waits for it; false when there is no block."""
        if block is None:
            return False
        with self._network.lock:
            target = self._host.links.get(peer)
            waiting = self._waiting.get(peer, {})
            if target is not None and cid in waiting:  # else it went, cancelled, or was answered meanwhile
                del waiting[cid]
                self._stats["served"] += 1
                self._network.send("block", self._host, target, (cid, block), len(cid) + len(block))
        return True

    def _on_block(self, source: MemoryHost, cid: bytes, block: bytes) -> None:
        peer = source.peer_id
        with self._network.lock:
            want = self._wants.get(cid)
            deliver = self._deliver
            if want is None or deliver is None:
                self._stats["unwanted"] += 1
                return
        good = self._is_good(cid, block)
        with self._network.lock:
            if self._wants.get(cid) is not want:
                self._stats["unwanted"] += 1
                return
            if not good:
                self._stats["bad_blocks"] += 1
                want.bad.add(peer)
                if want.waiting_for == peer:
                    self._ask_next([cid])
                return
            want.told.discard(peer)
            self._forget([cid])
            self._stats["delivered"] += 1
        self._network.call(deliver, cid, block, peer)

    def _is_good(self, cid: bytes, block: bytes) -> bool:
        check = self._network.check
        try:
            if check is not None:
                check(cid, block)
        except Exception:  # noqa: BLE001 - whatever it raises says that the block is bad
            return False
        return True

    # -- asking: the lock is held --

    def _ask_next(self, cids: Iterable[bytes]) -> None:
        cids = list(cids)
        for cid in cids:
            self._wants[cid].waiting_for = None
        self._ask(cids)

    def _ask(self, cids: Iterable[bytes]) -> None:
        """Ask the next peer for each; if all were asked, wait for the back-off, a peer or a have()."""
        requests: dict[str, list[bytes]] = defaultdict(list)
        for cid in cids:
            want = self._wants[cid]
            peer = want.waiting_for = self._next_peer(cid, want)
            if peer is not None:
                want.asked.add(peer)
                want.told.add(peer)
                requests[peer].append(cid)
            want.due = self._network.time() + min(RETRY_S_MIN * 2 ** min(want.rounds, 16), RETRY_S_MAX)
            if not want.timed:
                want.timed = True
                self._network.at(want.due, partial(self._on_timer, cid, want))
        for peer, wanted in requests.items():
            self._stats["asked"] += len(wanted)
            self._send("want", self._host.links[peer], wanted)

    def _next_peer(self, cid: bytes, want: _Want) -> str | None:
        """Announcers first, then the others (each CID from another start), who sent bad bytes last."""
        connected = sorted(self._host.links)
        turn = cid[-1] % len(connected) if cid and connected else 0
        ordered = [peer for peer in want.announcers if peer in self._host.links]
        ordered += connected[turn:] + connected[:turn]
        left = [peer for peer in ordered if peer not in want.asked]
        return next((peer for peer in left if peer not in want.bad), left[0] if left else None)

    def _on_timer(self, cid: bytes, want: _Want) -> None:
        """The lock is not held."""
        with self._network.lock:
            if self._closed or self._wants.get(cid) is not want:
                return
            want.timed = False
            if self._network.time() < want.due:  # asked again since this timer was set
                want.timed = True
                self._network.at(want.due, partial(self._on_timer, cid, want))
                return
            if want.waiting_for is None or self._next_peer(cid, want) is None:
                want.asked.clear()
                want.rounds += 1
            self._ask_next([cid])
        self._network.pump()

    def _waits_for(self, cid: bytes, peer: str) -> bool:
        want = self._wants.get(cid)
        return want is not None and want.waiting_for == peer

    def _forget(self, cids: Iterable[bytes]) -> None:
        cancels: dict[str, list[bytes]] = defaultdict(list)
        for cid in cids:
            want = self._wants.pop(cid, None)
            if want is not None:
                for peer in sorted(want.told):
                    cancels[peer].append(cid)
        for peer, cancelled in cancels.items():
            if peer in self._host.links:
                self._send("cancel", self._host.links[peer], cancelled)

    def _make_room(self) -> None:
        while len(self._wants) >= WANTS_MAX:
            links = self._host.links
            oldest = next(iter(self._wants))
            orphan = next(
                (
                    cid
                    for cid, want in self._wants.items()
                    if not any(peer in links for peer in want.announcers)
                ),
                oldest,
            )
            self._forget([orphan])
            self._stats["wants_dropped"] += 1

    def _send(self, kind: str, target: MemoryHost, cids: Sequence[bytes]) -> None:
        for start in range(0, len(cids), WANTS_PER_MESSAGE_MAX):
            part = tuple(cids[start : start + WANTS_PER_MESSAGE_MAX])
            self._network.send(kind, self._host, target, part, sum(map(len, part)))

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the exchange of {self._host.peer_id} is closed")

    def _check_started(self) -> None:
        self._check_open()
        if self._serve is None:
            raise UsageError("start the exchange first")
