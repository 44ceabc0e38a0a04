"""``/crdtstats/walk/1.0.0``: blocks and what lies below them, many for one question.

Bitswap needs a round trip and two messages for each block of a chain; here the serving side follows the
links itself. One stream per direction, one question at a time on it:

    question: u32 length | u32 blocks at most | u32 bytes at most | (u16 length, CID) ...
    answer:   (u32 length | (u16 length, CID, u32 length, block) ...) ... | u32 zero

The blocks of the CIDs asked for come first; one that is missing is left out. Numbers are big-endian.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import trio

from crdtstats.errors import RemoteError
from crdtstats.network.content import BLOCK_BYTES_MAX, CID_BYTES_MAX, check_block
from crdtstats.network.hardened import quietly

log = logging.getLogger("crdtstats.network.walk")

PROTOCOL = "/crdtstats/walk/1.0.0"
CIDS_MAX = 1024
"""CIDs in one question."""
COUNT_MAX = 2048
"""Blocks in one answer."""
BYTES_MAX = 4 << 20
"""Bytes of blocks in one answer; a single block may be larger."""
PIECE_BYTES = 64 << 10
"""An answer goes out in pieces of about this size, so that the other side can begin."""
PIECE_BYTES_MAX = PIECE_BYTES + BLOCK_BYTES_MAX + CID_BYTES_MAX + 64
STALL_S = 5.0
"""No sign of life for so long: what was asked for is asked of others. As for bitswap."""
ANSWER_S = 60.0
"""A whole answer: a peer that brings it in drops must not keep what was asked from others."""
IDLE_S = 600.0
STREAMS_MAX = 8
"""Streams served to one peer."""

_LENGTH = struct.Struct(">I")
_LIMITS = struct.Struct(">II")
_CID = struct.Struct(">H")

Ancestors = Callable[[Sequence[bytes], int, int], Awaitable[list[bytes]]]
Take = Callable[[Any, list[tuple[bytes, bytes]]], Awaitable[None]]


def encode_question(cids: Sequence[bytes], count_max: int, bytes_max: int) -> bytes:
    """The blocks wanted, and the most blocks and bytes to answer with, behind their length."""
    body = b"".join((_LIMITS.pack(count_max, bytes_max), *(_CID.pack(len(cid)) + cid for cid in cids)))
    return _LENGTH.pack(len(body)) + body


def decode_question(body: bytes) -> tuple[list[bytes], int, int]:
    """(CIDs, blocks at most, bytes at most). Raises ``ValueError`` or ``struct.error``."""
    count_max, bytes_max = _LIMITS.unpack_from(body)
    cids: list[bytes] = []
    position = _LIMITS.size
    while position < len(body):
        (size,) = _CID.unpack_from(body, position)
        cid = body[position + 2 : position + 2 + size]
        if not 4 <= size <= CID_BYTES_MAX or len(cid) != size or len(cids) >= CIDS_MAX:
            raise ValueError("bad list of CIDs")
        cids.append(cid)
        position += 2 + size
    return cids, min(count_max, COUNT_MAX), min(bytes_max, BYTES_MAX)


def encode_piece(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """(CID, block) pairs behind their length."""
    body = b"".join(
        part for cid, block in pairs for part in (_CID.pack(len(cid)), cid, _LENGTH.pack(len(block)), block)
    )
    return _LENGTH.pack(len(body)) + body


def decode_piece(body: bytes) -> list[tuple[bytes, bytes]]:
    """(CID, block) ... Raises ``ValueError`` or ``struct.error`` when cut short."""
    pairs: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(body):
        (size,) = _CID.unpack_from(body, position)
        position += 2 + size
        cid = body[position - size : position]
        (size,) = _LENGTH.unpack_from(body, position)
        position += 4 + size
        if position > len(body):
            raise ValueError("piece cut short")
        pairs.append((cid, body[position - size : position]))
    return pairs


class _Reader:
    """Length-prefixed pieces from a libp2p stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def piece(self, size_max: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < 4 or len(buffer) < 4 + _LENGTH.unpack_from(buffer)[0]:
            if len(buffer) >= 4 and _LENGTH.unpack_from(buffer)[0] > size_max:
                raise ValueError("piece too large")
            data = await self._stream.read(1 << 16)
            if not data:
                raise EOFError
            buffer += data
        end = 4 + _LENGTH.unpack_from(buffer)[0]
        body = bytes(memoryview(buffer)[4:end])
        del buffer[:end]
        return body


class _Link:
    """Our stream to one peer, for one life of its connection: questions wait here for their turn."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.asking: trio.CancelScope | None = None
        self.opened: tuple[Any, _Reader] | None = None
        self.gone = False

    def end(self) -> None:
        """Nobody will answer any more: neither the question that is out, nor those that wait for it."""
        self.gone = True
        if self.asking is not None:
            self.asking.cancel()


class Walk:
    """Both sides. ``ancestors`` answers questions, ``take`` gets each checked piece of an answer to ours."""

    def __init__(self, host: Any, ancestors: Ancestors, take: Take) -> None:
        self._host, self._ancestors, self._take = host, ancestors, take
        self._links: dict[Any, _Link] = {}
        self._serving: dict[Any, int] = {}
        self.counts = dict.fromkeys(("asked", "received", "served", "bad", "failed"), 0)
        host.set_stream_handler(PROTOCOL, self._serve)

    def disconnected(self, peer: Any) -> None:
        if (link := self._links.pop(peer, None)) is not None:
            link.end()
        self._serving.pop(peer, None)

    async def ask(
        self, peer: Any, cids: Sequence[bytes], ahead: int, still: Callable[[bytes], bool] = lambda cid: True
    ) -> bool:
        """Ask ``peer`` for ``cids`` and up to ``ahead`` blocks below them.

        Questions to one peer wait for each other; those CIDs for which ``still`` is false when the turn comes
        are left out: the answer before may have brought them.
        ``False`` when it does not answer this protocol; raises ``RemoteError`` when what came is wrong.
        Pieces that were right have been taken by then.
        """
        # One link holds both the turn and the stream: questions of two lives of a connection never share a stream,
        # where each would read the other's answer and blame an honest peer.
        link = self._links.setdefault(peer, _Link())
        async with link.turn:
            cids = [cid for cid in cids if still(cid)]
            if not cids:
                return True
            count_max = min(len(cids) + ahead, COUNT_MAX)
            # The other side closes a stream that was idle for long: then a new one may do.
            for _ in range(1 + (link.opened is not None)):
                if link.gone:
                    break
                self.counts["asked"] += 1
                if await self._exchange(peer, link, cids, count_max):
                    return True
        self.counts["failed"] += 1
        return False

    async def _exchange(self, peer: Any, link: _Link, cids: Sequence[bytes], count_max: int) -> bool:
        """One question and its answer; ``False`` when the stream broke or the connection ended."""
        answered = False
        try:
            link.asking = trio.CancelScope()  # pyright: ignore[reportCallIssue] - old stubs, by libp2p
            with link.asking:
                with trio.fail_after(STALL_S):
                    if link.opened is None:
                        stream = await self._host.new_stream(peer, [PROTOCOL])
                        link.opened = stream, _Reader(stream)
                    stream, reader = link.opened
                    await stream.write(encode_question(cids, count_max, BYTES_MAX))
                await self._answer(peer, reader, count_max)
                answered = True
        except (RemoteError, ValueError, struct.error) as error:
            self.counts["bad"] += 1
            raise RemoteError(f"walk answer of {peer}: {error}") from error
        except trio.TooSlowError:
            log.debug("walk at %s: no answer", peer)
            self._links.pop(peer, None)
            link.end()  # those behind it go another way at once, instead of waiting as long each
        except Exception as error:  # noqa: BLE001 - not spoken, reset, connection gone
            log.debug("walk at %s: %r", peer, error)
        finally:
            link.asking = None
            if not answered:  # half an answer may still be in it
                await self._forget(link)
        return answered

    async def _answer(self, peer: Any, reader: _Reader, count_left: int) -> None:
        until = trio.current_time() + ANSWER_S
        bytes_left = BYTES_MAX
        while True:
            with trio.fail_after(max(0.0, min(STALL_S, until - trio.current_time()))):
                body = await reader.piece(PIECE_BYTES_MAX)
            if not body:
                return
            pairs = decode_piece(body)
            count_left -= len(pairs)
            if count_left < 0 or bytes_left <= 0:  # the last block may go beyond
                raise RemoteError(f"{peer} sent more blocks than asked for")
            bytes_left -= sum(len(block) for _, block in pairs)
            for cid, block in pairs:
                check_block(cid, block)
            self.counts["received"] += len(pairs)
            await self._take(peer, pairs)

    async def _forget(self, link: _Link) -> None:
        opened, link.opened = link.opened, None
        if opened is not None:
            with trio.move_on_after(2, shield=True):  # pyright: ignore[reportCallIssue] - old stubs, by libp2p
                await quietly(opened[0].reset())

    async def _serve(self, stream: Any) -> None:
        peer = stream.muxed_conn.peer_id
        if self._serving.get(peer, 0) >= STREAMS_MAX:
            await quietly(stream.reset())
            return
        self._serving[peer] = self._serving.get(peer, 0) + 1
        reader = _Reader(stream)
        try:
            while True:
                with trio.fail_after(IDLE_S):
                    question = await reader.piece(CIDS_MAX * (CID_BYTES_MAX + 2) + _LIMITS.size)
                cids, count_max, bytes_max = decode_question(question)
                items = await self._ancestors(cids, count_max, bytes_max)
                await self._reply(stream, list(zip(items[::2], items[1::2], strict=True)))
        except (ValueError, struct.error) as error:
            self.counts["bad"] += 1
            log.info("walk stream from %s dropped: %r", peer, error)
            await quietly(stream.reset())
        except Exception as error:  # noqa: BLE001 - end of stream, reset, idle, connection gone
            log.debug("walk stream from %s: %r", peer, error)
        finally:
            if peer in self._serving:
                self._serving[peer] -= 1
            with trio.move_on_after(2, shield=True):  # pyright: ignore[reportCallIssue] - old stubs, by libp2p
                await quietly(stream.close())

    async def _reply(self, stream: Any, pairs: list[tuple[bytes, bytes]]) -> None:
        piece: list[tuple[bytes, bytes]] = []
        size = 0
        for pair in pairs:
            piece.append(pair)
            size += len(pair[1])
            if size >= PIECE_BYTES:
                await stream.write(encode_piece(piece))
                self.counts["served"] += len(piece)
                piece, size = [], 0
        await stream.write((encode_piece(piece) if piece else b"") + _LENGTH.pack(0))
        self.counts["served"] += len(piece)
