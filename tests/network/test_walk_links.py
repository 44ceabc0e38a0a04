"""A connection that ends in the middle of a walk: whoever asked goes another way at once, and nobody is blamed."""

import struct

import trio
import trio.testing

from crdtstats.network.walk import STALL_S, Walk, encode_piece
from tests.network.conftest import cid_of_block

PEER = "peer"
END = struct.pack(">I", 0)


class Stream:
    """One end of a stream; the test is the other: it sees the questions, and answers when it likes."""

    def __init__(self):
        self.questions = 0
        self.answer, self._answers = trio.open_memory_channel(100)

    async def write(self, data):
        self.questions += 1

    async def read(self, size):
        return await self._answers.receive()

    async def reset(self):
        self.answer.close()

    def reply(self, *blocks):
        self.answer.send_nowait(encode_piece((cid_of_block(b), b) for b in blocks) + END)


class Host:
    def __init__(self):
        self.streams = []

    def set_stream_handler(self, protocol, handler): ...

    async def new_stream(self, peer, protocols):
        self.streams.append(Stream())
        await trio.lowlevel.checkpoint()
        return self.streams[-1]


class Asked:
    """Several questions at once, and what each gave."""

    def __init__(self, nursery):
        self.host, self.taken, self.results = Host(), [], {}
        self.walk = Walk(self.host, None, self._take)
        self._nursery = nursery

    async def _take(self, peer, pairs):
        self.taken += [block for _, block in pairs]

    def ask(self, block):
        async def ask():
            self.results[block] = await self.walk.ask(PEER, [cid_of_block(block)], 0)

        self._nursery.start_soon(ask)


def test_questions_of_two_lives_of_a_connection_share_no_stream():
    async def main():
        async with trio.open_nursery() as nursery:
            asked = Asked(nursery)
            for block in (b"one", b"two"):
                asked.ask(block)
            await trio.testing.wait_all_tasks_blocked()
            asked.walk.disconnected(PEER)
            for block in (b"three", b"four"):
                asked.ask(block)
            await trio.testing.wait_all_tasks_blocked()
            old, new = asked.host.streams
            assert asked.results == {b"one": False, b"two": False}
            assert (old.questions, new.questions) == (1, 1)
            new.reply(b"three")
            await trio.testing.wait_all_tasks_blocked()
            assert new.questions == 2
            new.reply(b"four")
            await trio.testing.wait_all_tasks_blocked()
            assert asked.taken == [b"three", b"four"]
            assert asked.results == {b"one": False, b"two": False, b"three": True, b"four": True}
            assert asked.walk.counts["bad"] == 0

    trio.run(main, clock=trio.testing.MockClock())


def test_a_peer_that_does_not_answer_delays_once_not_every_question_in_turn():
    async def main():
        async with trio.open_nursery() as nursery:
            asked = Asked(nursery)
            began = trio.current_time()
            blocks = [b"%d" % n for n in range(20)]
            for block in blocks:
                asked.ask(block)
        assert asked.results == dict.fromkeys(blocks, False)
        assert trio.current_time() - began < 1.1 * STALL_S

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
