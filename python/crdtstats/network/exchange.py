"""The parent's side of fetching and serving blocks: which are wanted, which came early, who serves."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence

from crdtstats.errors import ClosedError, RemoteError
from crdtstats.network.confirmation import Confirmation
from crdtstats.network.content import inline_block
from crdtstats.network.frames import Kind, frame, pack
from crdtstats.protocols import DeliverBlock, ServeBlock, WalkBlocks

log = logging.getLogger("crdtstats.network.exchange")

AHEAD_BYTES_MAX = 32 << 20
AHEAD_COUNT_MAX = 8192
"""Blocks that came with a walk and were not asked for yet."""
AHEAD_KEEP_S = 30.0
AHEAD_MAX = 2047
"""Blocks walked beyond the wanted one. Reached in six steps of four: a walk that overshoots costs little."""
RECENT_MAX = 64
"""Delivered blocks in which a wanted CID is looked for: found there, somebody walks down a chain."""
RECENT_BYTES_MAX = 4 << 20
HAVE_MAX = 16_384
CID_BYTES_MIN, CID_BYTES_MAX = 4, 168
"""boxo's limits: a block may link to anything, but only this can be asked for."""
CIDS_PER_FRAME = 4096
ANSWER_BYTES_MAX = 1 << 20
"""Blocks in one answer to the child; it asks again for what did not fit."""

CheckBlock = Callable[[bytes, bytes], None]


class NetworkExchange:
    """``Exchange`` through the network child. Made by ``NetworkNode``; any thread may call."""

    def __init__(
        self, wake: Callable[[], None], answer: Callable[[int, bytes], None], check: CheckBlock | None
    ) -> None:
        self._wake, self._answer, self._check = wake, answer, check
        self._lock = threading.Lock()
        self._closed = False
        self._serve: ServeBlock | None = None
        self._walk: WalkBlocks | None = None
        self._deliver: DeliverBlock | None = None
        self._wants: dict[bytes, tuple[str, ...]] = {}
        self._to_want: dict[bytes, int] = {}  # CID -> how far to walk
        self._to_cancel: dict[bytes, None] = {}
        self._to_have: OrderedDict[bytes, None] = OrderedDict()
        self._confirmation: Confirmation | None = None
        self._to_confirm: tuple[bytes, ...] = ()
        self._early: OrderedDict[bytes, tuple[bytes, str, float]] = OrderedDict()
        self._early_bytes = 0
        self._recent: deque[bytes] = deque()
        self._recent_bytes = 0
        self._ahead = 0
        self._left_over = 0  # blocks that had come early when somebody last looked ahead
        self._deliveries: queue.SimpleQueue[tuple[bytes, bytes, str | None] | None] = queue.SimpleQueue()
        self._questions: queue.SimpleQueue[tuple[int, int, bytes, list[bytes]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.counts = dict.fromkeys(
            ("delivered", "early", "early_used", "early_dropped", "unwanted", "bad", "refused", "served"), 0
        )

    # ---- Exchange

    def start(self, serve: ServeBlock, deliver: DeliverBlock, walk: WalkBlocks | None = None) -> None:
        """Begin; see ``Exchange.start``. ``serve`` and ``walk`` share one thread, ``deliver`` has its own."""
        with self._lock:
            if self._closed:
                raise ClosedError("the exchange is closed")
            self._serve, self._deliver, self._walk = serve, deliver, walk
            if self._threads:
                return
            self._threads = [
                threading.Thread(target=self._run_deliveries, name="crdtstats-deliver", daemon=True),
                threading.Thread(target=self._run_questions, name="crdtstats-serve", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def want(self, cids: Sequence[bytes], peers: Sequence[str] = ()) -> None:
        hints = tuple(peers)
        with self._lock:
            self._usable()
            for given in cids:
                cid = bytes(given)
                if not CID_BYTES_MIN <= len(cid) <= CID_BYTES_MAX:
                    self.counts["refused"] += 1  # peers would take our whole message for malformed
                    continue
                if (inline := inline_block(cid)) is not None:
                    self._hand_over(cid, inline, None)  # nobody else needs to be asked
                    continue
                early = self._early.pop(cid, None)
                if early is not None:
                    self._early_bytes -= len(early[0])
                    self.counts["early_used"] += 1
                    self._hand_over(cid, early[0], early[1])
                elif cid in self._wants:
                    if hints:
                        self._wants[cid] = hints
                else:
                    self._wants[cid] = hints
                    self._to_cancel.pop(cid, None)
                    self._to_want[cid] = self._how_far(cid)
            work = bool(self._to_want)
        if work:
            self._wake()

    def cancel(self, cids: Sequence[bytes]) -> None:
        with self._lock:
            self._usable()
            for given in cids:
                cid = bytes(given)
                if self._wants.pop(cid, None) is not None and self._to_want.pop(cid, None) is None:
                    self._to_cancel[cid] = None
        self._wake()

    def have(self, cids: Sequence[bytes]) -> None:
        with self._lock:
            self._usable()
            for given in cids:
                self._to_have[bytes(given)] = None
            while len(self._to_have) > HAVE_MAX:
                self._to_have.popitem(last=False)
        self._wake()

    def confirm(self, cids: Sequence[bytes]) -> Confirmation:
        """Ask all peers whether they have ``cids``, now or later; a new question replaces the one before."""
        confirmation = Confirmation(cids)
        with self._lock:
            self._usable()
            self._confirmation, self._to_confirm = confirmation, confirmation.cids
        self._wake()
        return confirmation

    def close(self) -> None:
        """Stop delivering and serving; waits at most a second for each running callback."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wants.clear()
            self._to_want.clear()
            self._early.clear()
            self._recent.clear()
            threads, self._threads = self._threads, []
        self._deliveries.put(None)
        self._questions.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(1.0)

    def abandon(self) -> None:
        """In a forked process: closed from now on, no lock touched."""
        self._closed = True

    def _usable(self) -> None:
        if self._closed:
            raise ClosedError("the exchange is closed")

    def _how_far(self, cid: bytes) -> int:
        """How many blocks below ``cid`` to ask for with it.

        A block named in one that was just delivered: somebody walks down, so look further ahead each time,
        as long as what came early since the last look was used. Otherwise it is a new head: most likely all
        below is here.
        """
        if not any(cid in block for block in self._recent):
            self._ahead = 0
        elif len(self._early) - self._left_over <= self._ahead // 2:
            self._ahead = min(4 * self._ahead + 3, AHEAD_MAX)
        self._left_over = len(self._early)  # what is not used by the next time does not count a second time
        return self._ahead

    def _hand_over(self, cid: bytes, block: bytes, peer: str | None) -> None:
        self.counts["delivered"] += 1
        self._recent.append(block)
        self._recent_bytes += len(block)
        while len(self._recent) > RECENT_MAX or self._recent_bytes > RECENT_BYTES_MAX:
            self._recent_bytes -= len(self._recent.popleft())
        self._deliveries.put((cid, block, peer))

    # ---- the client's side

    def frames(self) -> list[bytes]:
        """What is to be said to the child now; taken from the state, so it never piles up."""
        with self._lock:
            wants, self._to_want = self._to_want, {}
            cancels, self._to_cancel = self._to_cancel, {}
            haves, self._to_have = self._to_have, OrderedDict()
            confirms, self._to_confirm = self._to_confirm, ()
            grouped: dict[tuple[int, tuple[str, ...]], list[bytes]] = {}
            for cid, ahead in wants.items():
                grouped.setdefault((ahead, self._wants.get(cid, ())), []).append(cid)
        out: list[bytes] = []
        for part in _parts(list(cancels)):
            out.append(frame(Kind.CANCEL, pack(part)))
        for (ahead, peers), cids in grouped.items():
            for part in _parts(cids):
                out.append(
                    frame(Kind.WANT, ahead.to_bytes(4, "big"), pack([" ".join(peers).encode(), *part]))
                )
        for part in _parts(list(haves)):
            out.append(frame(Kind.HAVE, pack(part)))
        if confirms:
            out.append(frame(Kind.CONFIRM, pack(confirms)))
        return out

    @property
    def pending(self) -> bool:
        return bool(self._to_want or self._to_cancel or self._to_have or self._to_confirm)

    def renew(self) -> None:
        """A new child knows nothing: all wants are said again."""
        with self._lock:
            self._to_want = dict.fromkeys(self._wants, 0)
            self._to_cancel.clear()
            if self._confirmation is not None:
                self._to_confirm = self._confirmation.cids

    def confirmed(self, items: list[bytes]) -> None:
        """A frame of what a peer has: peer, CID, CID ..."""
        if (confirmation := self._confirmation) is not None:
            confirmation.heard(items[0].decode(), items[1:])

    def arrived(self, items: list[bytes], *, early: bool) -> None:
        """A frame of blocks: peer, CID, block, CID, block ..."""
        peer = items[0].decode()
        again = False
        with self._lock:
            if self._closed:
                return
            for cid, block in zip(items[1::2], items[2::2], strict=True):
                if cid in self._wants:
                    if not self._right(cid, block):
                        self._to_want[cid] = 0
                        again = True
                        continue
                    del self._wants[cid]
                    if early:
                        self._to_cancel[cid] = None
                        again = True
                    self._hand_over(cid, block, peer)
                elif early:
                    self._keep_early(cid, block, peer)
                else:
                    self.counts["unwanted"] += 1
        if again:
            self._wake()

    def _right(self, cid: bytes, block: bytes) -> bool:
        if self._check is not None:
            try:
                self._check(cid, block)
            except RemoteError:
                self.counts["bad"] += 1
                return False
        return True

    def _keep_early(self, cid: bytes, block: bytes, peer: str) -> None:
        now = time.monotonic()
        while self._early and (
            len(self._early) >= AHEAD_COUNT_MAX or self._early_bytes + len(block) > AHEAD_BYTES_MAX
        ):
            oldest = next(iter(self._early))
            if now - self._early[oldest][2] < AHEAD_KEEP_S:
                self.counts["early_dropped"] += 1  # what came first is wanted first: the new one goes
                return
            self._early_bytes -= len(self._early.pop(oldest)[0])
            self.counts["early_dropped"] += 1
        if cid not in self._early and self._right(cid, block):
            self._early[cid] = block, peer, now
            self._early_bytes += len(block)
            self.counts["early"] += 1

    def asked(self, life: int, kind: Kind, payload: bytes, cids: list[bytes]) -> None:
        """The child asks what we serve; answered by our own thread."""
        self._questions.put((life, kind, payload, cids))

    def status(self) -> dict[str, int]:
        return self.counts | {
            "wanted": len(self._wants),
            "early_held": len(self._early),
            "early_bytes": self._early_bytes,
        }

    # ---- threads

    def _run_deliveries(self) -> None:
        while (item := self._deliveries.get()) is not None:
            if self._closed or self._deliver is None:
                return
            try:
                self._deliver(*item)
            except Exception:
                log.exception("deliver raised; the block is lost to it")

    def _run_questions(self) -> None:
        while (question := self._questions.get()) is not None:
            if self._closed:
                return
            life, kind, payload, cids = question
            try:
                items = self._serve_one(cids) if kind == Kind.SERVE else self._walk_down(payload, cids)
            except Exception:
                log.exception("serve or walk raised; answered as missing")
                items = [b"\0"] * len(cids) if kind == Kind.SERVE else []
            answer = Kind.ANSWER if kind == Kind.SERVE else Kind.WALKED
            self._answer(life, frame(answer, payload[:4], pack(items)))

    def _serve_one(self, cids: list[bytes]) -> list[bytes]:
        items: list[bytes] = []
        size = 0
        for cid in cids:
            if size > ANSWER_BYTES_MAX:
                items.append(b"\2")
                continue
            block = self._serve(cid) if self._serve is not None else None
            items.append(b"\0" if block is None else b"\1" + block)
            if block is not None:
                size += len(block)
                self.counts["served"] += 1
        return items

    def _walk_down(self, payload: bytes, cids: list[bytes]) -> list[bytes]:
        count_left, bytes_left = int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[8:12], "big")
        ahead = max(0, count_left - len(cids))
        found: dict[bytes, bytes] = {}
        for cid in cids:  # those asked for come first, as far as they fit
            if count_left <= 0 or bytes_left <= 0:
                break
            block = self._serve(cid) if self._serve is not None and cid not in found else None
            if block is not None:
                if found and len(block) > bytes_left:
                    break
                found[cid] = block
                count_left -= 1
                bytes_left -= len(block)
        # What is not here leaves no room for more of what was not asked for.
        self._look_below(found, min(count_left, ahead), bytes_left)
        self.counts["served"] += len(found)
        return [part for pair in found.items() for part in pair]

    def _look_below(self, found: dict[bytes, bytes], count_left: int, bytes_left: int) -> None:
        """Add to ``found`` what lies below it: at most ``count_left`` blocks, and about ``bytes_left`` bytes.

        Cost: linear in what is asked for, however the roots lie above each other. What one walk gave is below
        them all the same, so no walk begins there; and walks that give again what is found, as of roots that
        share what is below them, end once twice as much was read as there can be in the answer.
        """
        size = sum(map(len, found.values()))
        reads_left, read_bytes_left = 2 * (len(found) + count_left), 2 * (size + bytes_left)
        below_others: set[bytes] = set()
        for cid in list(found):
            if self._walk is None or min(count_left, bytes_left, reads_left, read_bytes_left) <= 0:
                return
            if cid in below_others:
                continue
            # What is found already is free, so the limits grow by it.
            count, count_bytes = (
                min(count_left + len(found), reads_left),
                min(bytes_left + size, read_bytes_left),
            )
            for below, block in self._walk(cid, count, count_bytes):
                below_others.add(below)
                reads_left -= 1
                read_bytes_left -= len(block)
                if below in found:
                    continue
                if count_left <= 0 or len(block) > bytes_left:
                    break
                found[below] = block
                count_left -= 1
                bytes_left -= len(block)
                size += len(block)


def _parts(cids: list[bytes]) -> Iterable[list[bytes]]:
    return (cids[start : start + CIDS_PER_FRAME] for start in range(0, len(cids), CIDS_PER_FRAME))
