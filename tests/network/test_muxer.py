"""Our noise session and muxer read what the library's own read, however the bytes are cut; and end where it ends."""

from __future__ import annotations

import random
import struct
from types import SimpleNamespace

import pytest
import trio
import trio.testing

pytest.importorskip("libp2p")

from libp2p.io.exceptions import IncompleteReadError
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.yamux.yamux import FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, Yamux

from crdtstats.network import hardened
from crdtstats.network.muxer import Muxer
from crdtstats.network.session import Session

DATA, CREDIT, PING = 0, 1, 2
WINDOW = 256 << 10
"""What a peer may send on a new stream before it is given credit."""
TAG = b"0123456789abcdef"


class Raw:
    """A connection that gives ``data`` in pieces, then its end; keeps what is written."""

    is_initiator = False

    def __init__(self, data=b"", chance=None):
        self.data, self.chance, self.written = bytearray(data), chance, []

    async def read(self, n=None):
        await trio.lowlevel.checkpoint()
        size = min(len(self.data), n or len(self.data))
        if self.chance and size:
            size = self.chance.randint(1, size)
        piece = bytes(self.data[:size])
        del self.data[:size]
        return piece

    async def write(self, data):
        await trio.lowlevel.checkpoint()
        self.written.append(bytes(data))

    async def close(self):
        await trio.lowlevel.checkpoint()


class Sealing:
    """In place of noise: 16 bytes more, and they are looked at."""

    def encrypt(self, data):
        return data + TAG

    def decrypt(self, data):
        if data[-16:] != TAG:
            raise ValueError("forged")
        return data[:-16]


def stock(raw):
    return SecureSession(
        local_peer=None,
        local_private_key=None,
        remote_peer=None,
        remote_permanent_pubkey=None,
        is_initiator=False,
        conn=NoiseTransportReadWriter(raw, Sealing()),
    )


def ours(raw):
    return Session(stock(raw))


def sealed(data, chance):
    out, position = b"", 0
    while position < len(data):
        size = chance.randint(1, 65519)
        message = data[position : position + size] + TAG
        out += struct.pack(">H", len(message)) + message
        position += size
    return out


def header(kind, flags, stream, length):
    return struct.pack("!BBHII", 0, kind, flags, stream, length)


def frames(chance):
    """What a peer may send: streams opened, fed, closed, reset; data and credit for those and for none."""
    out = b""
    credit = dict.fromkeys((1, 3, 5, 7), WINDOW)
    for _ in range(chance.randint(5, 60)):
        stream = chance.choice((1, 3, 5, 7))
        kind = chance.choice((DATA, DATA, DATA, CREDIT, PING))
        if kind == PING:
            out += header(PING, FLAG_SYN, 0, 7)
            continue
        flags = chance.choice((0, 0, 0, 0, FLAG_SYN, FLAG_FIN, FLAG_RST))
        body = chance.randbytes(chance.choice((0, 1, 12, 500, 66_000))) if kind == DATA else b""
        body = body[: credit[stream]]
        credit[stream] -= len(body)
        out += header(kind, flags, stream, len(body) if kind == DATA else chance.randint(0, 99)) + body
    return out


def seen(muxer_class, session, chunks, chance):
    """Everything that a connection over these bytes shows in the end."""
    raw = Raw(chunks, chance)
    told = {}

    async def main():
        muxer = muxer_class(session(raw), "peer", is_initiator=False)
        cleanup = muxer._cleanup_on_error

        async def look_first():
            told["buffers"] = {k: bytes(v) for k, v in muxer.stream_buffers.items()}
            told["streams"] = {
                k: (s.send_window, s.recv_window, s.recv_closed, s.closed, s.reset_received)
                for k, s in muxer.streams.items()
            }
            await cleanup()

        muxer._cleanup_on_error = look_first
        muxer.new_stream_send_channel = SimpleNamespace(send=raw.close_later, close=lambda: None)
        await muxer.handle_incoming()

    raw.close_later = lambda stream: raw.close()
    trio.run(main)
    return told, b"".join(raw.written)


@pytest.mark.parametrize("seed", range(60))
def test_what_comes_in_is_what_the_library_makes_of_it(seed):
    chance = random.Random(seed)
    plain = frames(chance)
    chunks = sealed(plain, chance)
    theirs = seen(Yamux, stock, chunks, random.Random(seed))
    assert seen(Muxer, ours, chunks, random.Random(seed + 1)) == theirs
    assert seen(Muxer, stock, chunks, random.Random(seed + 2)) == theirs
    # Cut off anywhere the connection ends with what had come whole. (The library notes first that one stream ended.)
    chunks = chunks[: chance.randrange(len(chunks))]
    theirs = seen(Yamux, stock, chunks, random.Random(seed))
    cut = seen(Muxer, ours, chunks, random.Random(seed + 1))
    assert (cut[0]["buffers"], cut[1]) == (theirs[0]["buffers"], theirs[1])


def test_a_session_gives_exactly_what_is_asked_and_says_where_it_ends():
    async def main():
        session = ours(Raw(sealed(bytes(range(200)), random.Random(1))))
        assert await session.read(0) == b""
        assert await session.read(3) == bytes(range(3))
        assert (await session.read())[0] == 3
        while session.plain or session._raw.data:
            await session.read()
        with pytest.raises(IncompleteReadError) as end:
            await session.read(1)
        assert end.value.is_clean_close
        with pytest.raises(IncompleteReadError) as cut:
            await ours(Raw(sealed(b"abc", random.Random(1))[:-1])).read(1)
        assert not cut.value.is_clean_close
        with pytest.raises(ValueError, match="forged"):
            await ours(Raw(struct.pack(">H", 20) + bytes(20))).read(1)

    trio.run(main)


def test_what_is_written_is_one_write_of_messages_that_the_library_reads():
    async def main():
        data = random.Random(1).randbytes(200_000)
        raw = Raw()
        await ours(raw).write(data)
        assert len(raw.written) == 1
        assert await stock(Raw(raw.written[0])).read(len(data)) == data
        await ours(raw).write(b"")

    trio.run(main)


def test_a_frame_beyond_all_windows_ends_the_connection():
    told, _ = seen(Muxer, ours, sealed(header(DATA, 0, 1, 17 << 20), random.Random(1)), None)
    assert told["streams"] == {}


@pytest.mark.parametrize("flags", [0, FLAG_ACK, FLAG_FIN, FLAG_SYN])
def test_a_peer_that_sends_more_than_its_credit_is_cut_off(flags):
    """Whatever the frame is called; up to the last byte of its credit all is taken."""
    fed = b""
    if flags != FLAG_SYN:
        fed = header(CREDIT, FLAG_SYN, 1, 0) + header(DATA, 0, 1, WINDOW - 1) + bytes(WINDOW - 1)
    for over in (0, 1):
        body = bytes(WINDOW + over if flags == FLAG_SYN else 1 + over)
        last = header(DATA, flags, 1, len(body)) + body + header(PING, FLAG_SYN, 0, 7)
        before = Muxer.overruns
        told, written = seen(Muxer, ours, sealed(fed + last, random.Random(1)), None)
        assert Muxer.overruns == before + over
        assert [len(b) for b in told["buffers"].values()] == [WINDOW] * (not over) + [WINDOW - 1] * (
            over and bool(fed)
        )
        assert bool(header(PING, FLAG_ACK, 0, 7) in written) is not bool(over)


class Line:
    """A connection whose other side is the test: it feeds, and counts the credit that it is given."""

    is_initiator = False

    def __init__(self):
        self.feed, self._fed = trio.open_memory_channel(100)
        self.credit = WINDOW

    async def read(self, n=None):
        try:
            return await self._fed.receive()
        except trio.EndOfChannel:
            return b""

    async def write(self, data):
        await trio.lowlevel.checkpoint()
        plain = data[2:].removesuffix(TAG)
        _, kind, flags, _, length = struct.unpack("!BBHII", plain[:12])
        if kind == CREDIT and not flags:
            self.credit += length

    async def close(self):
        self.feed.close()

    def send(self, *parts):
        self.feed.send_nowait(sealed(b"".join(parts), random.Random(1)))


@pytest.mark.parametrize("seed", range(5))
def test_who_sends_all_that_it_has_credit_for_is_never_cut_off(seed):
    """However it is cut into frames, and however slowly it is read; the window grows meanwhile."""
    hardened.patch()
    chance = random.Random(seed)
    sizes = (1, 100, 5000, 65_000, 1 << 20)

    async def main():
        line = Line()
        muxer = Muxer(ours(line), "peer", is_initiator=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(muxer.start)
            line.send(header(CREDIT, FLAG_SYN, 1, 0))
            stream = await muxer.accept_stream()
            before, sent, read = Muxer.overruns, 0, 0
            while sent < 24 << 20:
                while line.credit:
                    size = min(line.credit, chance.choice(sizes))
                    line.send(header(DATA, 0, 1, size), bytes(size))
                    line.credit -= size
                    sent += size
                    await trio.testing.wait_all_tasks_blocked()
                while read < sent and not line.credit:
                    read += len(await stream.read(chance.choice(sizes)))
            assert not muxer.is_closed
            assert stream.target_recv_window > WINDOW
            line.send(header(DATA, 0, 1, line.credit + 1), bytes(line.credit + 1))
            await muxer.event_closed.wait()
            assert Muxer.overruns == before + 1

    with_limit(main)


def with_limit(main):
    async def limited():
        with trio.fail_after(20):
            await main()

    trio.run(limited)
