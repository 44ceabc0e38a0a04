"""Fetches and serves single blocks: our own bitswap, as boxo expects it.

Answers never go back on the requester's stream: each side keeps one outbound stream per peer and reads
any inbound one. Wants stand until delivered or cancelled: a peer pushes the block once it has it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import trio

from crdtstats.errors import RemoteError
from crdtstats.network import bitswap_wire as wire
from crdtstats.network.content import cid_of, read_uvarint
from crdtstats.network.hardened import quietly

log = logging.getLogger("crdtstats.network.bitswap")

WINDOW_WANTS = 64
"""boxo answers each ~16 KiB on a new stream, and the 129th open one is refused: those blocks are lost."""
STALL_S = 5.0
"""No sign of life for so long: its wants go to somebody else."""
RETRY_S = 2 * STALL_S
"""All peers were asked: begin again after so long, doubled each time up to RETRY_S_MAX. Our wants stand with them, and
they push late blocks anyway; a peer that connects is asked at once."""
RETRY_S_MAX = 60.0
HELLO_S = 15.0
"""A peer that was silent for so long is sent an empty message. A Go peer that failed to reach us asks us for nothing
any more until it hears from us: two that had given up would stay apart until they reconnect."""
HELLO_FIRST_S = 1.0
"""After it connected: it may have given us up before we were ready."""
TICK_S = 0.25
BATCH_BYTES = 128 << 10
"""A message with more block bytes than this is sent before the next block is added."""
BATCH_CIDS = 32
INLINE_BYTES_MAX = 1024
"""A want-have for a block up to this size is answered with the block, as boxo does."""
STANDING_WANTS_MAX = 1024
"""Wants kept for one peer until we have the block."""
INBOUND_STREAMS_MAX = 1024
READ_BYTES = 1 << 20
"""Taken of a stream at a time: all that is there, as a rule, for each turn of the event loop."""
WRITE_TIMEOUT_S = 10.0

Blocks = Callable[[Sequence[bytes]], Awaitable[dict[bytes, bytes | None]]]
Deliver = Callable[[Any, list[tuple[bytes, bytes]]], Awaitable[None]]
Confirmed = Callable[[Any, list[bytes]], Awaitable[None]]


class _Peer:
    def __init__(self, peer: Any, now: float = 0.0) -> None:
        self.peer = peer
        self.wake = trio.Event()
        self.gone = self.stalled = False
        self.heard = float("-inf")
        self.hello = now - HELLO_S + HELLO_FIRST_S  # when we last said anything
        self.misses = self.inbound = 0
        self.asked: dict[bytes, float] = {}  # our wants in flight here: CID -> when
        self.theirs: dict[bytes, bool] = {}  # their standing wants: CID -> want-have only
        self.lines: dict[bytes, bytes] = {}  # wantlist lines to send
        self.owed: dict[bytes, wire.Entry] = {}  # their wants to answer

    def poke(self) -> None:
        self.wake.set()


class _Want:
    __slots__ = ("cid", "hints", "let_down", "queued", "retry_at", "retry_s", "tried")

    def __init__(self, cid: bytes, hints: Sequence[Any]) -> None:
        self.cid, self.hints = cid, set(hints)
        self.tried: set[Any] = set()
        self.let_down: set[Any] = set()  # of those tried: who took it and brought nothing
        self.retry_at = 0.0
        self.retry_s = RETRY_S
        self.queued = False


class Bitswap:
    """One per host. ``blocks`` gives what we serve, ``deliver`` takes what was wanted, checked, and
    ``confirmed`` who has what :meth:`confirm` asked about."""

    def __init__(
        self, host: Any, blocks: Blocks, deliver: Deliver, confirmed: Confirmed | None = None
    ) -> None:
        self._host, self._blocks, self._deliver, self._confirmed = host, blocks, deliver, confirmed
        self._confirming: dict[bytes, None] = {}
        self._peers: dict[Any, _Peer] = {}
        self._wants: dict[bytes, _Want] = {}
        self._waiting: deque[_Want] = deque()
        self._shunned: dict[Any, float] = {}  # peer that nothing could be sent to -> when to try again
        self._nursery: trio.Nursery | None = None
        self._started = trio.Event()
        self.counts = dict.fromkeys(("received", "unsolicited", "bad", "missing", "served", "retried"), 0)
        # From before the host listens: who is told once that we do not speak this never asks again.
        for protocol in wire.PROTOCOLS_READ:
            host.set_stream_handler(protocol, self._inbound)

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Task: lives as long as the host."""
        async with trio.open_nursery() as self._nursery:
            self._started.set()
            for peer in list(self._host.get_network().connections):
                self.connected(peer)
            task_status.started()
            while True:
                await trio.sleep(TICK_S)
                self._revive(trio.current_time())

    # ---- connections

    def connected(self, peer: Any, *, again: bool = False) -> None:
        """A peer is there; ``again``: by one more connection, so it may have restarted and know no want of ours."""
        state = self._peers.get(peer)
        if state is None:
            if self._nursery is None:
                return
            self._shunned.pop(peer, None)
            self._peers[peer] = state = _Peer(peer, trio.current_time())
            self._nursery.start_soon(self._write, state)
        elif again:
            state.lines.update((cid, wire.want_entry(cid)) for cid in state.asked)
            state.poke()
        else:
            return
        self._ask_presence(state)
        for want in list(self._wants.values()):
            if want.cid not in state.asked:
                want.tried.discard(peer)  # what an earlier life of it had not, this one may have
                want.let_down.discard(peer)
            if want.retry_at:
                self._ask(want)

    def disconnected(self, peer: Any) -> None:
        self._shunned.pop(peer, None)
        state = self._peers.pop(peer, None)
        if state is not None:
            self._drop(state)

    def _drop(self, state: _Peer) -> None:
        state.gone = True
        state.poke()
        asked, state.asked = state.asked, {}
        for cid in asked:
            if want := self._wants.get(cid):
                self.counts["retried"] += 1
                self._ask(want)

    # ---- client

    def want(self, cids: Iterable[bytes], hints: Sequence[Any] = ()) -> None:
        """Ask for blocks, ``hints`` first, until delivered or cancelled."""
        for cid in cids:
            want = self._wants.get(cid)
            if want is None:
                want = self._wants[cid] = _Want(cid, hints)
                self._ask(want)
            else:
                want.hints.update(hints)

    def cancel(self, cids: Iterable[bytes]) -> None:
        for cid in cids:
            if cid in self._wants:
                self._done(cid)

    def confirm(self, cids: Iterable[bytes]) -> None:
        """Ask every peer, those that come later too, to say when it has these blocks: ours, so never wanted.

        The question stands with a peer until it has the block, as any want does.
        """
        self._confirming = dict.fromkeys(cids)
        for state in self._peers.values():
            self._ask_presence(state)

    def _ask_presence(self, state: _Peer) -> None:
        for cid in self._confirming:
            state.lines[cid] = wire.have_entry(cid)
            state.poke()

    @property
    def wanted(self) -> int:
        return len(self._wants)

    def stuck(self) -> list[bytes]:
        """What is wanted and no connected peer has."""
        return [want.cid for want in self._wants.values() if want.retry_at]

    def _done(self, cid: bytes, source: Any = None) -> None:
        for peer in self._wants.pop(cid).tried:
            state = self._peers.get(peer)
            if state is None:
                continue
            state.asked.pop(cid, None)
            if peer != source and state.lines.pop(cid, None) is None:  # already sent
                state.lines[cid] = wire.want_entry(cid, cancel=True)
                state.poke()

    def _ask(self, want: _Want) -> None:
        untried = [s for s in self._peers.values() if s.peer not in want.tried and not s.gone]
        lively = [s for s in untried if not s.stalled]
        candidates = [s for s in lively if s.peer in want.hints] or lively or untried
        if not candidates:
            if not want.retry_at:
                want.retry_at = trio.current_time() + want.retry_s
                want.retry_s = min(2 * want.retry_s, RETRY_S_MAX)
            return
        free = [s for s in candidates if len(s.asked) < WINDOW_WANTS]
        if not free:
            if not want.queued:
                want.queued = True
                self._waiting.append(want)
            return
        state = min(free, key=lambda s: len(s.asked) + 8 * s.misses)
        want.retry_at = 0.0
        self._send_want(state, want)

    def _send_want(self, state: _Peer, want: _Want) -> None:
        want.tried.add(state.peer)
        state.asked[want.cid] = trio.current_time()
        state.lines[want.cid] = wire.want_entry(want.cid)
        state.poke()

    def _pump(self) -> None:
        """A window has room again: hand out waiting wants until one has to wait again."""
        for _ in range(len(self._waiting)):
            want = self._waiting.popleft()
            want.queued = False
            if self._wants.get(want.cid) is want and not want.retry_at:
                self._ask(want)
            if want.queued:
                self._waiting.rotate(1)  # keep the order
                return

    def _revive(self, now: float) -> None:
        for peer in [peer for peer, again_at in self._shunned.items() if now > again_at]:
            del self._shunned[peer]
            self.connected(peer)
        for state in list(self._peers.values()):
            if now - max(state.heard, state.hello) > HELLO_S:
                state.poke()
            late = [
                cid
                for cid, since in state.asked.items()
                if now - max(since, state.heard) > STALL_S or now - since > 6 * STALL_S
            ]
            state.stalled = state.stalled or bool(late)  # until it says anything again
            for cid in late:
                del state.asked[cid]
                if want := self._wants.get(cid):
                    self.counts["retried"] += 1
                    want.let_down.add(state.peer)
                    want.hints.discard(state.peer)
                    self._miss(state)
                    self._ask(want)
        self._pump()
        for want in list(self._wants.values()):
            if want.retry_at and now > want.retry_at:
                want.tried.clear()
                want.let_down.clear()
                want.retry_at = 0.0
                self._ask(want)

    async def _take_blocks(self, state: _Peer, message: wire.Message) -> None:
        taken: list[tuple[bytes, bytes]] = []
        held: list[bytes] = []
        self.counts["bad"] += message.refused
        for prefix, block in message.blocks:
            try:
                cid = cid_of(prefix, block)
            except (RemoteError, ValueError):
                self.counts["bad"] += 1
                continue
            if cid in self._confirming:  # small, so it came in place of the answer
                held.append(cid)
                continue
            if cid not in self._wants:  # late, twice, or pushed on us: never kept
                self.counts["unsolicited"] += 1
                continue
            self.counts["received"] += 1
            state.misses = 0
            self._done(cid, state.peer)
            taken.append((cid, block))
        if held and self._confirmed is not None:
            await self._confirmed(state.peer, held)
        if taken:
            await self._deliver(state.peer, taken)

    async def _take_presence(self, state: _Peer, message: wire.Message) -> None:
        held = [cid for cid, present in message.present if present and cid in self._confirming]
        if held and self._confirmed is not None:
            await self._confirmed(state.peer, held)
        for cid, present in message.present:
            want = self._wants.get(cid)
            if want is None:
                continue
            if present:
                # What stands with it already is not begun anew, and what it let stall goes to the others first: a
                # peer that says so again and again and brings nothing would keep the want from all who have it.
                if cid not in state.asked and (want.retry_at or state.peer not in want.let_down):
                    self._send_want(state, want)
            elif state.asked.pop(cid, None) is not None:
                self.counts["missing"] += 1
                self._miss(state)
                self._ask(want)

    def _miss(self, state: _Peer) -> None:
        state.misses = min(state.misses + 1, 64)

    # ---- server

    def have(self, cids: Iterable[bytes]) -> None:
        """We have these now: answer the wants that stand for them."""
        for state in self._peers.values():
            if not state.theirs:
                continue
            for cid in cids:
                have_only = state.theirs.get(cid)
                if have_only is not None:
                    state.owed[cid] = wire.Entry(cid, have_only=have_only)
                    state.poke()

    def _take_wants(self, state: _Peer, message: wire.Message) -> None:
        if message.full:
            state.theirs.clear()
            state.owed.clear()
        for entry in message.entries:
            if entry.cancel:
                state.theirs.pop(entry.cid, None)
                state.owed.pop(entry.cid, None)
            elif len(state.theirs) < STANDING_WANTS_MAX or entry.cid in state.theirs:
                if state.theirs.get(entry.cid) is False:
                    entry.have_only = False  # it still waits for the block itself
                state.theirs[entry.cid] = entry.have_only
                state.owed[entry.cid] = entry
        if state.owed:
            state.poke()

    async def _answers(self, state: _Peer) -> list[bytes]:
        """Message parts for some of what is owed; what does not fit stays owed."""
        batch = [state.owed.pop(cid) for cid in list(state.owed)[:BATCH_CIDS]]
        found = await self._blocks([entry.cid for entry in batch])
        parts: list[bytes] = []
        size = 0
        for entry in batch:
            block = found.get(entry.cid)
            if entry.cid not in state.theirs or entry.cid in state.owed:
                continue  # cancelled meanwhile, or asked again, for the block itself perhaps: answered then
            if entry.cid not in found or (size and block and size + len(block) > BATCH_BYTES):
                state.owed[entry.cid] = entry
                continue
            if block is None:
                if entry.tell_missing:
                    parts.append(wire.presence_part(entry.cid, False))
            elif entry.have_only and len(block) > INLINE_BYTES_MAX:
                parts.append(wire.presence_part(entry.cid, True))
                del state.theirs[entry.cid]
            else:
                del state.theirs[entry.cid]
                parts.append(wire.block_part(entry.cid, block))
                size += len(block)
                self.counts["served"] += 1
        return parts

    # ---- streams

    async def _inbound(self, stream: Any) -> None:
        peer = stream.muxed_conn.peer_id
        await self._started.wait()
        self.connected(peer)
        state = self._peers.get(peer)
        if state is None or state.inbound >= INBOUND_STREAMS_MAX:
            await quietly(stream.reset())
            return
        state.inbound += 1
        try:
            await self._read(stream, state)
        except (ValueError, IndexError, TypeError) as error:
            self.counts["bad"] += 1
            log.info("bitswap stream from %s dropped: %r", peer, error)
            await quietly(stream.reset())
        except Exception as error:  # noqa: BLE001 - end of stream, reset, connection gone
            log.debug("bitswap stream from %s: %r", peer, error)
        finally:
            state.inbound -= 1
            with trio.move_on_after(2, shield=True):  # pyright: ignore[reportCallIssue] - old stubs, by libp2p
                await quietly(stream.close())

    async def _read(self, stream: Any, state: _Peer) -> None:
        buffer = bytearray()
        while True:
            size, start = _length(buffer)
            while size is None or len(buffer) < start + size:
                piece = await stream.read(READ_BYTES)
                if not piece:
                    return
                buffer += piece
                if size is None:
                    size, start = _length(buffer)
            view = memoryview(buffer)[start : start + size]
            message = wire.decode(view)  # copies what it keeps
            view.release()  # else nothing could be removed
            del buffer[: start + size]
            if state.gone:  # we gave it up, but it speaks: its wants must not end in what nobody answers from
                self.connected(state.peer)
                if (alive := self._peers.get(state.peer)) is None:
                    return
                state = alive
            state.heard = trio.current_time()
            state.stalled = False
            self._take_wants(state, message)
            await self._take_presence(state, message)
            await self._take_blocks(state, message)
            if self._waiting:
                self._pump()

    async def _write(self, state: _Peer) -> None:
        """Task, one per peer: everything we say to it goes out here, on one long-lived stream."""
        stream = None
        while not state.gone:
            hello = trio.current_time() - max(state.heard, state.hello) > HELLO_S
            if not (state.lines or state.owed or hello):
                await state.wake.wait()
                state.wake = trio.Event()
                continue
            state.hello = trio.current_time()
            if state.lines or hello:  # a message of its own: a block may fill one up to the limit
                lines, state.lines = state.lines, {}
                parts = [wire.wantlist(lines.values())]
            else:
                parts = await self._answers(state)
            if not parts:
                continue
            message = wire.envelope(parts)
            for attempt in range(3):
                try:
                    with trio.fail_after(WRITE_TIMEOUT_S):
                        if stream is None:
                            stream = await self._host.new_stream(state.peer, [wire.PROTOCOL])
                        await stream.write(message)
                    break
                except Exception as error:  # noqa: BLE001 - whatever it is, open a new stream
                    log.debug("bitswap to %s, attempt %d: %r", state.peer, attempt + 1, error)
                    if stream is not None:
                        await quietly(stream.reset())
                        stream = None
                    if state.gone:
                        return
                    await trio.sleep(0.1)
            else:  # does not speak bitswap, or is as good as gone: left alone for a while
                if self._peers.get(state.peer) is state:
                    del self._peers[state.peer]
                    self._shunned[state.peer] = trio.current_time() + RETRY_S
                self._drop(state)


def _length(buffer: bytearray) -> tuple[int | None, int]:
    try:
        size, start = read_uvarint(buffer, 0)
    except IndexError:
        return None, 0
    if size > wire.MESSAGE_BYTES_MAX:
        raise ValueError(f"message of {size} bytes")
    return size, start
