"""Carries the core's effects to datastore, broadcaster and exchange, and their answers back.

Has no thread and no clock of its own: whoever drives it (a thread, or a simulation) calls :meth:`Replicator.step`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from crdtstats.errors import CrdtStatsError, RemoteError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crdtstats import _core
    from crdtstats.effects import FlushPlan
    from crdtstats.protocols import Broadcaster, Exchange
    from crdtstats.seeking import Seeker
    from crdtstats.storage import Storage

logger = logging.getLogger("crdtstats.replicator")

FLUSH_DELAY_S = 0.05
"""How long the first change after a quiet time waits for others to share its block."""
RETRY_DELAY_S = 0.2
"""First wait after a datastore refused; doubled up to RETRY_DELAY_S_MAX."""
RETRY_DELAY_S_MAX = 5.0
INBOX_MAX = 4096
"""Payloads and blocks that wait to be merged. More are dropped: they are announced, or asked for, again."""
LARGE_FLUSH_BYTES = 4 << 20
"""After flushes of so many bytes of blocks the memory that they took is given back to the system: when somebody
waited for the flush, or all is quiet. It takes milliseconds, in which others may wait for memory."""
MERGE_MAX = 256
"""Payloads and blocks merged in one step: a flush that is due does not wait for more."""
AGAIN_MAX = 256
"""Kept blocks looked at again in one step: what comes in does not wait for more."""
WALK_BLOCKS_MAX = 2048
"""Blocks in one answer to a peer that walks a chain."""


class Replicator:
    """One replica's traffic.

    Args:
        engine: the open store's core.
        storage: where blocks are kept.
        signer: an ``Identity`` or a host with ``peer_id`` and ``sign``.
        old_signers: those of earlier lives, whose values Go peers shall show too.
        broadcaster: None for a store without a network.
        exchange: None for a store without a network.
        flush_interval_s: least time between two flushes that nobody asked for.
        seeker: asks a router for blocks that stay missing; None without a router.
        wake: called when there is something to do for :meth:`step`.
    """

    def __init__(
        self,
        engine: _core.Engine,
        storage: Storage,
        signer: Any,
        broadcaster: Broadcaster | None,
        exchange: Exchange | None,
        *,
        flush_interval_s: float,
        old_signers: Iterable[Any] = (),
        seeker: Seeker | None = None,
        on_clone: Callable[[], None] | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._signer = signer
        self._signers = (signer, *old_signers)
        self._broadcaster = broadcaster
        self._exchange = exchange
        self._seeker = seeker
        self._flush_interval_s = flush_interval_s
        self._on_clone = on_clone
        self._wake = wake
        self._inbox: deque[tuple[bytes | None, bytes, str | None]] = deque()
        self._flush_lock = threading.Lock()
        self._carry_lock = threading.Lock()
        self._unstored: dict[bytes, bytes] = {}
        self._refused: list[bytes] = []  # not stored yet, either
        self._again: deque[bytes] = deque()
        self._peers_seen: deque[str] = deque()
        self._dirty_since: float | None = None
        self._flushed_at: float | None = None
        self._retry_at: float = 0.0
        self._retry_s = RETRY_DELAY_S
        self.dropped: dict[str, int] = {}
        self.served = 0
        self._untrimmed = 0
        self._hurried = False
        self._large = False
        self.last_flush: dict[str, Any] = {}
        self._written: dict[str, bytes] = {}
        self._leaving = False

    # ---- answers from outside: any thread, never raise, never wait

    def start(self) -> None:
        """Begin to fetch and serve blocks."""
        if self._exchange is not None:
            self._exchange.start(self._serve, self._deliver, self._walk)

    def receive(self, payload: bytes) -> None:
        """Take a payload of the topic; it is merged by the next step."""
        self._put(None, bytes(payload), getattr(payload, "peer", None))

    def peer_changed(self, peer: str, connected: bool) -> None:
        """A peer came or went."""
        if connected:
            self._peers_seen.append(peer)
            self._wake()

    def leave(self) -> None:
        """Take nothing in any more: a store that closes has no use for others' history, and its time is short."""
        self._leaving = True

    def _deliver(self, cid: bytes, block: bytes, peer: str | None) -> None:
        self._put(cid, block, peer)

    def _put(self, cid: bytes | None, data: bytes, peer: str | None) -> None:
        if self._leaving:
            return
        if len(self._inbox) >= INBOX_MAX and cid is None:
            self._count("inbox-full")
            return
        self._inbox.append((cid, data, peer))
        self._wake()

    def _serve(self, cid: bytes) -> bytes | None:
        try:
            if not self._engine.holds(cid):
                return None
            block = self._unstored.get(cid)
            block = self._storage.block_to_serve(cid) if block is None else block
        except CrdtStatsError as error:
            logger.warning("block not served: %s", error)
            return None
        if block is not None:
            self.served += 1
        return block

    def _walk(self, cid: bytes, count: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        out: list[tuple[bytes, bytes]] = []
        size = 0
        for below in self._engine.walk_down(cid, min(count, WALK_BLOCKS_MAX)):
            block = self._serve(below)
            if block is None or (out and size + len(block) > bytes_max):
                break
            size += len(block)
            out.append((below, block))
        return out

    # ---- the work

    def step(self, now_s: float) -> float:
        """Do what is due at ``now_s`` (seconds of any clock that never goes back).

        Returns:
            When to call again at the latest.
        """
        while self._peers_seen:
            self._peers_seen.popleft()
            self._engine.peer_connected(_ms(now_s))
        self._merge_inbox()
        self._carry(now_s)
        due = min(self._flush_when_due(now_s), self._look_again(now_s))
        if self._seeker is not None:
            due = min(due, self._seeker.step(now_s))
        if self._inbox and not self._leaving:
            return now_s
        return min(due, self._engine.due_ms() / 1000) if self._broadcaster is not None else due

    def flush(self, now_s: float, *, asked: bool = False) -> None:
        """Make everything counted so far durable and hand it to the broadcaster.

        Args:
            now_s: the time.
            asked: somebody waits for it; memory is given back at once.

        Raises:
            UnavailableError: the datastore refuses; everything stays dirty.
        """
        blocks = size = 0
        plan: FlushPlan | None
        with self._flush_lock:
            for plan in self._plans(now_s, asked):
                self._storage.put_flush(plan.author or "", plan.blocks, plan.cursors)
                self._engine.flush_stored()
                self.wrote(plan)
                blocks += len(plan.blocks)
                size += sum(len(block) for _, block in plan.blocks)
                self.last_flush = {"blocks": blocks, "bytes": size}
                if self._exchange is not None and plan.blocks:
                    self._exchange.have([cid for cid, _ in plan.blocks])
            plan = None  # its bytes are given back below
            self._flushed_at = now_s
            self._dirty_since = None
        self._untrimmed += size
        if asked:
            self._hurried = True
            self._large = size >= LARGE_FLUSH_BYTES
            self._trim()
        self._carry(now_s)
        if asked and size >= LARGE_FLUSH_BYTES:
            self._wake()  # the totals are brought up to date beside the caller, who need not wait

    def _plans(self, now_s: float, asked: bool) -> Iterator[FlushPlan]:
        """What has to become durable, one after the other; each is, before the next is asked for."""
        if self._engine.heal_due_ms(_ms(now_s)) is not None:
            # Before what was counted since, which stands above it then.
            for signer in self._signers:
                while (plan := self._engine.begin_heal(signer, os.urandom(16), _ms(now_s))) is not None:
                    yield plan
        first = True
        while (plan := self._engine.begin_flush(self._signer, asked, first)) is not None:
            first = False
            goes_on = plan.is_retry or plan.is_partial
            yield plan
            if not goes_on:
                return

    def _trim(self) -> None:
        if self._untrimmed >= LARGE_FLUSH_BYTES:
            self._engine.trim_memory()
            self._untrimmed = 0

    def wrote(self, plan: FlushPlan) -> None:
        """These nodes were stored: their last one is its author's newest."""
        if plan.blocks:
            self._written[plan.author or ""] = plan.blocks[-1][0]

    def written(self, count_max: int) -> list[bytes]:
        """CIDs of the newest nodes written here and of those below them, at most ``count_max`` of each author."""
        return [cid for head in self._written.values() for cid in self._engine.walk_down(head, count_max)]

    def announce_all(self) -> None:
        """Hand every head that is held to the broadcaster."""
        if self._broadcaster is not None:
            for payload in self._engine.announcement():
                self._broadcast(payload)

    def _merge_inbox(self) -> None:
        for _ in range(0 if self._leaving else min(len(self._inbox), MERGE_MAX)):
            cid, data, peer = self._inbox.popleft()
            try:
                if cid is None:
                    self._engine.handle_payload(data, peer)
                else:
                    if self._seeker is not None:
                        self._seeker.over([cid])
                    self._engine.handle_block(cid, data)
            except RemoteError as error:
                # The core counted it. What it came from is bad, not we: go on.
                logger.info("dropped from %s: %s", peer, error)

    def look_again(self, now_s: float) -> None:
        """Count again, at once, what tombstones have removed: at open, before anybody reads."""
        while self._look_again(now_s) <= now_s:
            pass

    def _look_again(self, now_s: float) -> float:
        """Give the core some kept blocks that it needs again; gives when to call again."""
        if now_s < self._retry_at:
            return self._retry_at
        if not self._again:
            self._again.extend(self._engine.take_again(_ms(now_s)))
        try:
            for _ in range(min(len(self._again), AGAIN_MAX)):
                cid = self._again[0]
                block = self._unstored.get(cid)
                # One that is damaged is an error here: counted without it, a value would go down that should not.
                self._engine.look_again(cid, self._storage.block(cid) if block is None else block)
                self._again.popleft()
                if not self._again:
                    return now_s
        except CrdtStatsError as error:
            self._back_off(now_s, error)
            return self._retry_at
        return now_s if self._again else float("inf")

    def _carry(self, now_s: float) -> None:
        with self._carry_lock:
            effects = self._engine.poll(_ms(now_s))
            # Whatever fails below, the core believes that these are done: keep them first.
            self._unstored.update(effects.store)
            self._refused += effects.refused
            if self._exchange is not None and not self._leaving:
                for peer, cids in _by_peer(effects.want).items():
                    self._exchange.want(cids, [peer] if peer else ())
                if effects.cancel:
                    self._exchange.cancel(effects.cancel)
                if self._seeker is not None:
                    self._seeker.wanted([cid for cid, _ in effects.want], now_s)
                    self._seeker.over(effects.cancel)
            self._store_blocks(now_s)
            for payload in effects.announce:
                self._broadcast(payload)
            for warning in effects.warnings:
                logger.warning("%s", warning)
        if effects.warnings and self._on_clone is not None and self._engine.status()["clone_seen"]:
            try:
                self._on_clone()
            except CrdtStatsError as error:
                logger.error("no new identity could be prepared: %s", error)

    def _store_blocks(self, now_s: float) -> None:
        if not (self._unstored or self._refused) or now_s < self._retry_at:
            return
        blocks = list(self._unstored.items())
        try:
            self._storage.put_blocks(blocks, self._refused)
        except CrdtStatsError as error:
            self._back_off(now_s, error)
            return
        self._refused.clear()
        for cid, _ in blocks:
            del self._unstored[cid]
        if self._exchange is not None and blocks:
            self._exchange.have([cid for cid, _ in blocks])

    def _broadcast(self, payload: bytes) -> None:
        if self._broadcaster is None:
            return
        try:
            self._broadcaster.broadcast(payload)
        except CrdtStatsError as error:
            # The heads are announced again: no broadcast is worth stopping for.
            logger.info("not announced: %s", error)
            self._count("broadcast-refused")

    def _flush_when_due(self, now_s: float) -> float:
        if self._hurried:
            self._hurried = False
            self._engine.catch_up()
            if self._large:  # the list of what was counted is given back, too
                self._large = False
                self._engine.trim_memory()
        heal_ms = self._engine.heal_due_ms(_ms(now_s))
        due = float("inf") if heal_ms is None else heal_ms / 1000
        if not self._engine.is_dirty():
            self._trim()
            self._dirty_since = None
            if now_s < due:
                return max(self._retry_at, now_s) if self._unstored or self._refused else due
        elif self._dirty_since is None:
            self._dirty_since = now_s
        if self._dirty_since is not None:
            due = min(due, self._dirty_since + min(FLUSH_DELAY_S, self._flush_interval_s))
        if self._flushed_at is not None:
            due = max(due, self._flushed_at + self._flush_interval_s)
        due = max(due, self._retry_at)
        if now_s < due:
            return due
        try:
            self.flush(now_s)
        except UnavailableError as error:
            self._back_off(now_s, error)
            return self._retry_at
        self._retry_s = RETRY_DELAY_S
        return now_s + self._flush_interval_s if self._engine.is_dirty() else float("inf")

    def _back_off(self, now_s: float, error: Exception) -> None:
        self._retry_at = now_s + self._retry_s
        logger.warning("the datastore refuses, trying again in %.1f s: %s", self._retry_s, error)
        self._retry_s = min(2 * self._retry_s, RETRY_DELAY_S_MAX)

    def _count(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def _ms(now_s: float) -> int:
    return int(now_s * 1000)


def _by_peer(wants: list[tuple[bytes, str | None]]) -> dict[str | None, list[bytes]]:
    out: dict[str | None, list[bytes]] = {}
    for cid, peer in wants:
        out.setdefault(peer, []).append(cid)
    return out
