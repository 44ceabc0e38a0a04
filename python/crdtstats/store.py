"""The store that users hold: counts, reads, flushes, closes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from crdtstats import _core
from crdtstats.errors import ClosedError
from crdtstats.replicator import FLUSH_DELAY_S as FLUSH_DELAY_S
from crdtstats.running import Running

if TYPE_CHECKING:
    from types import TracebackType

    from crdtstats.protocols import Broadcaster, CRDTRouter, Datastore, Exchange, Host

STATS_REPO_NAME = "/STATS"
LISTEN_TIMEOUT_S = 10.0
"""How long ``addrs`` waits for the network node: its start takes half a second, several on a busy machine."""

_open_stores: weakref.WeakSet[CRDTStatsStore] = weakref.WeakSet()


class CRDTStatsStore(_core.Counters):
    """PN-counters that survive ``kill -9`` and converge on every replica.

    ``crdtstats.open()`` builds one with all its parts; this constructor takes the parts.

    Args:
        broadcaster: carries heads to peers; None for a store without a network. Closed with the store.
        datastore: where blocks are kept. Closed by ``on_close``.
        host: who this replica is.
        router: asked, in a thread of its own, who has a block that did not come for two seconds; the host reaches
            them where it can. ``crdtstats.open`` needs none: with ``Network(dht=True)`` its node looks itself.
        exchange: fetches and serves blocks; None for a store without a network. Closed with the store.
        journal_dir: where journals live. Without one an increment is as durable as the last flush.
        topic: the network; part of what nodes are signed for.
        native: one chain for each replica, signed elements only; False: one DAG shared with Go peers.
        hash: of the nodes that are written: ``blake3``, ``sha2-256``, ``sha2-512``, ``blake2b-256``, ``sha3-256``.
        flush_interval_s: least time between two flushes that nobody asked for.
        announce_interval_s: heads are announced again this often, ± 30 %.
        close_timeout_s: how long ``close`` waits for a peer.
        old_identities: peer id → ``Identity`` of earlier lives of the journal directory.
        on_close: called in order when the store has closed.
        on_clone: called when a peer shows nodes of our identity that we never wrote.
        threads: False: nothing runs by itself, the caller drives :meth:`step` (simulations).
        clock: seconds that never go back.
        seed: of the announcements' jitter; None takes randomness.

    Raises:
        UsageError: an argument is wrong.
        DataError: the datastore or a journal is damaged, or a journal's key is missing.
        UnavailableError: the datastore refuses.
    """

    # No instance dictionary: the interpreter's fast path for method calls, worth a fifth of an increment.
    __slots__ = ("_datastore", "_epoch", "_finalizer", "_running")

    def __init__(
        self,
        broadcaster: Broadcaster | None,
        datastore: Datastore,
        host: Host,
        router: CRDTRouter | None = None,
        *,
        exchange: Exchange | None = None,
        journal_dir: str | os.PathLike[str] | None = None,
        topic: str = "/crdtstats/1/default",
        native: bool = True,
        hash: str | None = None,
        flush_interval_s: float = 1.0,
        announce_interval_s: float = 10.0,
        close_timeout_s: float = 5.0,
        old_identities: Mapping[str, Any] | None = None,
        on_close: Iterable[Callable[[], None]] = (),
        on_clone: Callable[[], None] | None = None,
        threads: bool = True,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self._epoch = _core.fork_epoch()
        self._datastore = datastore
        cleanup = contextlib.ExitStack()
        for call in reversed(list(on_close)):
            cleanup.callback(call)
        try:
            if journal_dir is None:
                # Not TemporaryDirectory: its own finalizer would remove the parent's journals in a forked child.
                journal_dir = tempfile.mkdtemp(prefix="crdtstats-", dir=_ram_dir())
                cleanup.callback(shutil.rmtree, journal_dir, ignore_errors=True)
            self._running = Running(
                datastore=datastore,
                host=host,
                broadcaster=broadcaster,
                exchange=exchange,
                router=router,
                journal_dir=Path(journal_dir),
                topic=topic,
                native=native,
                hash_name=hash or ("blake3" if native else "sha2-256"),
                flush_interval_s=flush_interval_s,
                announce_interval_s=announce_interval_s,
                close_timeout_s=close_timeout_s,
                old_identities=old_identities or {},
                on_clone=on_clone,
                threads=threads,
                clock=clock,
                seed=seed,
            )
        except BaseException:
            cleanup.close()
            raise
        self._attach(self._running.engine)
        # Also at garbage collection and at a normal exit of the process; in a forked child never.
        self._finalizer = weakref.finalize(self, _collected, self._running, cleanup, self._epoch)
        _open_stores.add(self)

    def flush(self) -> None:
        """Return when everything counted so far is durable and handed to the network.

        Raises:
            UnavailableError: the datastore refuses; everything stays dirty and is tried again.
            ClosedError: the store is closed.
        """
        self._check_open()
        self._running.flush()

    def entry(self, key: str) -> bytes | None:
        """What a Go peer that holds the same blocks shows under a raw datastore key; ``None`` for nothing.

        Go goes by height where counters here go by maximum, and honours what anybody writes or removes. Kept for
        keys outside ``/STATS/incr/`` and ``/STATS/decr/``, which count nothing here, and for the sub-counters of
        this directory's own identities (8 bytes, big-endian, when all is well).

        Cost: one hash look-up.

        Raises:
            UsageError: a sub-counter of another replica, or a native network: nothing is kept.
            UnavailableError: others wrote more entries or tombstones than are kept, and this may be one of them.
            ClosedError: the store is closed.
        """
        self._check_open()
        return self._running.engine.entry(key)

    def status(self) -> dict[str, Any]:
        """What an operator reads.

        Returns:
            Counts (``keys sub_counters dirty blocks heads missing wanted newer entries tombstones recounting
            healed``), bytes (``journal_bytes``), ``dropped`` (reason → count), ``forked`` and ``paused`` authors,
            ``peer_id``, ``peers``, ``last_flush``.

        Raises:
            ClosedError: the store is closed.
        """
        self._check_open()
        return self._running.status()

    @property
    def addrs(self) -> tuple[str, ...]:
        """Where peers reach this store: multiaddrs that end in ``/p2p/<peer id>``, for ``Network(peers=...)``.

        Waits up to ``LISTEN_TIMEOUT_S`` until the network node listens, half a second after the open as a rule;
        later it returns at once. ``()`` without a network.

        Raises:
            UnavailableError: the node cannot listen, or not in time; it goes on trying.
            ClosedError: the store is closed.
        """
        self._check_open()
        return self._running.addrs(LISTEN_TIMEOUT_S)

    def step(self, now_s: float) -> float:
        """Drive a store that was made with ``threads=False``; gives when to call again at the latest."""
        self._check_open()
        return self._running.step(now_s)

    def close(self) -> None:
        """Turn writers away, flush, wait until a connected peer was sent our head, remove the journal. Idempotent.

        Raises:
            UnavailableError: the last flush failed; the journal stays and the next open publishes it.
        """
        if _core.fork_epoch() != self._epoch:
            return
        detached = self._finalizer.detach()
        if detached is not None:
            _close(*detached[2])

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if _core.fork_epoch() != self._epoch:
            raise ClosedError("this store was opened before fork(): open one in the child")
        if not self._finalizer.alive:
            raise ClosedError("the store is closed; open it again")


def _collected(running: Running, cleanup: contextlib.ExitStack, epoch: int) -> None:
    """The store was collected, or the process ends. The collector may run on a thread of the store's own, which may
    hold what closing needs: then another thread closes."""
    if threading.current_thread().name.startswith("crdtstats-"):
        threading.Thread(target=_close, args=(running, cleanup, epoch), name="crdtstats-close").start()
    else:
        _close(running, cleanup, epoch)


def _close(running: Running, cleanup: contextlib.ExitStack, epoch: int) -> None:
    if _core.fork_epoch() != epoch:
        return
    with cleanup:
        running.close()


def _ram_dir() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _after_fork_in_child() -> None:
    """The child inherits no running store: nothing of the parent's may be touched, closed or collected."""
    for store in list(_open_stores):
        _core.leak(store)
        _core.leak(store._running)  # pyright: ignore[reportPrivateUsage]
        # What is to be closed stays referenced for ever: collected, it would be closed.
        _core.leak(store._finalizer.detach())  # pyright: ignore[reportPrivateUsage]
        store._running.abandon_after_fork()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork_in_child)
