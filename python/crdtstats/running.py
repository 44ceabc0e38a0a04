"""The life of one open store: load, recover, two threads, close. Holds no reference to the store object, so that the
store can be collected, and is closed by it."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from crdtstats import _core
from crdtstats.errors import ClosedError, CrdtStatsError, DataError
from crdtstats.replicator import Replicator
from crdtstats.seeking import Seeker
from crdtstats.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from crdtstats.protocols import Broadcaster, CRDTRouter, Datastore, Exchange, Host

logger = logging.getLogger("crdtstats.store")

IDLE_WAIT_S_MAX = 5.0
"""Longest sleep of the flusher: an idle store wakes no more often than this, unless something comes in."""
CONFIRM_BLOCKS_MAX = 64
"""Blocks that a peer has to have before we leave: most flushes are one, 100,000 keys some ten. Each is a question to
every peer."""
LEAVE_ANNOUNCE_S = 0.25
"""A leaving writer announces its heads again this often: a peer that has just connected hears no broadcast before
its subscription has come."""
LEAVE_QUIET_S = 0.3
"""Where there is more than a peer was asked about, it stays until no block was fetched for so long."""


class Running:
    """Everything of a store that is not its public face.

    Args:
        datastore: where blocks are kept; closed by its owner, not here.
        host: who we are; signs.
        broadcaster: closed here; None for a store without a network.
        exchange: closed here; None for a store without a network.
        router: asked who has what the exchange does not get; None: nobody is.
        journal_dir: directory of the journals.
        old_identities: peer id → ``Identity`` of earlier lives of this directory, whose journals are published.
        threads: False leaves the driving to the caller (:meth:`step`), for simulations.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        datastore: Datastore,
        host: Host,
        broadcaster: Broadcaster | None,
        exchange: Exchange | None,
        router: CRDTRouter | None,
        journal_dir: Path,
        topic: str,
        native: bool,
        hash_name: str,
        flush_interval_s: float,
        announce_interval_s: float,
        close_timeout_s: float,
        old_identities: Mapping[str, Any],
        on_clone: Callable[[], None] | None,
        threads: bool,
        clock: Callable[[], float],
        seed: int | None,
    ) -> None:
        self._datastore = datastore
        self._storage = Storage(datastore)
        self._host = host
        self._broadcaster = broadcaster
        self._exchange = exchange
        self._journal_dir = journal_dir
        self._close_timeout_s = close_timeout_s
        self._old_identities = dict(old_identities)
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        # A host of ours signs in Rust; any other one is asked.
        self._signer = getattr(host, "identity", None) or host
        self.engine = _core.Engine(
            topic=topic,
            native=native,
            hash=hash_name,
            peer_id=host.peer_id,
            announce_interval_s=announce_interval_s,
            now_ms=int(clock() * 1000),
            seed=int.from_bytes(os.urandom(8), "big") if seed is None else seed,
        )
        self._seeker = None
        if router is not None and exchange is not None:
            self._seeker = Seeker(router, exchange, host, threads=threads)
        self.replicator = Replicator(
            self.engine,
            self._storage,
            self._signer,
            broadcaster,
            exchange,
            flush_interval_s=flush_interval_s,
            old_signers=self._old_identities.values(),
            seeker=self._seeker,
            on_clone=on_clone,
            wake=self.engine.ring,
        )
        try:
            self._load()
            self._recover()
            self.engine.start(
                str(journal_dir), os.urandom(12), os.urandom(16), int.from_bytes(os.urandom(8), "big")
            )
            self.replicator.start()
            host.on_peer(self.replicator.peer_changed)
            if threads:
                self._start_threads()
        except BaseException:
            self._abandon()
            raise

    # ---- open

    def _load(self) -> None:
        self._storage.check_format()
        for peer_id in self._old_identities:
            self.engine.hold(peer_id)
        self.engine.load_refused(self._storage.refused())
        lost: list[tuple[bytes, DataError]] = []
        damaged = self.engine.load(self._storage.blocks(lost))
        for cid, reason in damaged:
            logger.error(
                "damaged block dropped, it counts again when a peer gives it: %s: %s", cid.hex(), reason
            )
        if damaged:
            self._storage.drop_blocks([cid for cid, _ in damaged])
        _log_lost(lost)
        # The entries of what is lost stay: their file may come back.
        if gone := [cid for cid, _ in (*damaged, *lost)]:
            self.replicator.dropped["block-damaged"] = len(gone)
            self.engine.note_lost(gone)
        self.replicator.look_again(self._clock())
        own_head = self._storage.own_head(self._host.peer_id)
        if own_head is not None and not self.engine.holds(own_head):
            logger.error("the last node that this replica wrote is not in the datastore: %s", own_head.hex())
            self.engine.note_lost([own_head])
        self.engine.load_cursors(self._storage.cursors())
        self.engine.trim_memory()

    def _recover(self) -> None:
        """Publish what dead processes counted and did not flush; then remove their journals."""
        faults: list[CrdtStatsError] = []
        for path in _core.leftovers(str(self._journal_dir)):
            try:
                leftover = _core.Leftover(path)
            except DataError as error:
                # Set aside by name, never counted under another generation.
                logger.error("%s", error)
                continue
            signer = self._signer_of(leftover.replica)
            if signer is None:
                faults.append(
                    DataError(
                        f"the journal {path} belongs to replica {leftover.replica}, whose key is not here: "
                        "open the directory with that identity once, or put the key into its keys/ directory",
                        path=path,
                        replica=leftover.replica,
                    )
                )
                leftover.close()
                continue
            try:
                plan = self.engine.recover(leftover, signer, os.urandom(16))
                if plan is not None:
                    self._storage.put_flush(plan.author or "", plan.blocks, plan.cursors)
                    self.engine.flush_stored()
                    self.replicator.wrote(plan)
                leftover.remove()
            finally:
                # Its lock must not live as long as the exception: the next try would take it for a live writer's.
                leftover.close()
        if faults:
            raise faults[0]

    def _signer_of(self, replica: str) -> Any:
        return self._signer if replica == self._host.peer_id else self._old_identities.get(replica)

    def _start_threads(self) -> None:
        self._threads = [threading.Thread(target=self._drive, name="crdtstats-replicator", daemon=True)]
        if self._broadcaster is not None:
            self._threads.append(
                threading.Thread(target=self._listen, name="crdtstats-listener", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    # ---- run

    def _drive(self) -> None:
        while not self._closing.is_set():
            try:
                due = self.replicator.step(self._clock())
            except Exception:
                if self._closing.is_set():
                    return  # what it used was closed under it
                # A bug, or a store that is damaged: said loudly, tried again, never silent.
                logger.exception("the replicator failed; trying again")
                due = self._clock() + 1.0
            self.engine.wait(max(0.0, min(due - self._clock(), IDLE_WAIT_S_MAX)))

    def _listen(self) -> None:
        assert self._broadcaster is not None
        while not self._closing.is_set():
            try:
                payload = self._broadcaster.next(None)
            except ClosedError:
                return
            except CrdtStatsError as error:
                logger.warning("the broadcaster failed: %s", error)
                self._closing.wait(1.0)
                continue
            if payload is not None:
                self.replicator.receive(payload)

    def step(self, now_s: float) -> float:
        """Drive a store without threads. See :meth:`Replicator.step`."""
        if self._broadcaster is not None:
            while (payload := self._broadcaster.next(0)) is not None:
                self.replicator.receive(payload)
        return self.replicator.step(now_s)

    def flush(self) -> None:
        self.replicator.flush(self._clock(), asked=True)

    def addrs(self, timeout_s: float) -> tuple[str, ...]:
        """Where peers reach us, once the host listens; ``()`` where it never will. Raises ``UnavailableError``."""
        wait_ready = getattr(self._host, "wait_ready", None)
        if wait_ready is not None:
            wait_ready(timeout_s)
        return tuple(getattr(self._host, "addrs", ()))

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.engine.status()
        for reason, count in self.replicator.dropped.items():
            status["dropped"][reason] = status["dropped"].get(reason, 0) + count
        status["peer_id"] = self._host.peer_id
        status["peers"] = self._host.connections()
        status["last_flush"] = dict(self.replicator.last_flush)
        network = getattr(self._host, "status", None)
        if network is not None:
            status["network"] = network()
        if self._seeker is not None:
            status["router"] = dict(self._seeker.counts)
        return status

    # ---- close

    def close(self) -> None:
        """Turn writers away, flush, tell a peer, remove the journal. Idempotent.

        Raises:
            UnavailableError: the last flush failed. The journal stays, and the next open publishes it.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.engine.stop_counting()
        self.replicator.leave()
        durable = False
        try:
            self.flush()
            durable = True
            if self._broadcaster is not None and self._threads:
                self._leave(self._clock() + self._close_timeout_s)
        finally:
            self._stop()
            # Whatever went wrong: what no block holds stays in the journal, and the next open publishes it.
            self.engine.finish(durable)

    def _leave(self, deadline: float) -> None:
        """Wait until a peer says that it has what we wrote.

        Returns at once when nothing was written, and when nobody is connected and no peer was ever named.
        """
        if not self.engine.has_written():
            return
        if not self._host.connections() and not getattr(self._host, "expects_peers", True):
            logger.info("closed without a peer: what was counted is seen when the store opens again")
            return
        written = self.replicator.written(CONFIRM_BLOCKS_MAX)
        confirm = getattr(self._exchange, "confirm", None)
        if confirm is None or not written:
            self._leave_when_quiet(deadline)
            return
        confirmation = confirm(written)
        while not confirmation.wait(max(0.0, min(LEAVE_ANNOUNCE_S, deadline - self._clock()))):
            if self._clock() >= deadline:
                logger.warning(
                    "closed before a peer had all of it: what was counted is seen when the store opens again"
                )
                return
            if self._host.connections():
                self.replicator.announce_all()
        if len(written) >= CONFIRM_BLOCKS_MAX:
            self._leave_when_quiet(deadline)

    def _leave_when_quiet(self, deadline: float) -> None:
        """Announce to the first peer that connects, and wait until none has fetched a block for a while."""
        while not self._host.connections() and self._clock() < deadline:
            time.sleep(0.02)
        self.replicator.announce_all()
        served = -1
        while self.replicator.served != served and self._clock() < deadline:
            served = self.replicator.served
            time.sleep(max(0.0, min(LEAVE_QUIET_S, deadline - self._clock())))

    def _stop(self) -> None:
        self._closing.set()
        for part in (self._seeker, self._exchange, self._broadcaster):
            close = getattr(part, "close", None)
            if close is not None:
                close()
        self.engine.ring()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5.0)

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of what was inherited without touching what the parent still uses."""
        for part in (self._datastore, self._host, self._exchange, self._broadcaster):
            abandon = getattr(part, "abandon", None)
            if abandon is not None:
                abandon()

    def _abandon(self) -> None:
        """Open failed: leave everything as it was found."""
        self._closed = True
        self._stop()
        self.engine.finish(False)


def _log_lost(lost: list[tuple[bytes, DataError]]) -> None:
    """One line for each file that has lost blocks, however many."""
    of_file: dict[Any, list[tuple[bytes, DataError]]] = {}
    for cid, error in lost:
        of_file.setdefault(error.attributes.get("path"), []).append((cid, error))
    for blocks in of_file.values():
        cid, error = blocks[0]
        logger.error(
            "%d damaged block(s), which count again when they are restored or a peer gives them; the first is %s: %s",
            len(blocks),
            cid.hex(),
            error,
        )
