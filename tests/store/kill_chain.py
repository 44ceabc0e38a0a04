"""Kills children that count in one directory, and looks after each kill at what is found there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import crdtstats
from tests.store import counting_child
from tests.store.counting_child import BATCH, BATCH_KEYS, GROWING, SLOTS, STAGE, WAYS, batch_key, map_slots

KILLS = int(os.environ.get("CRDTSTATS_KILLS", "20"))
"""Of each kind; `make kills` sets 200."""
CHAIN = 10
"""Kills of one directory; then the next one, so that what has to be looked at stays small."""
PATIENCE_S = 30.0
"""A child that is not counting by then hangs."""


class KillChain:
    """One directory and the children that died in it.

    What the shared file acknowledges is carried on from child to child. After each look it is set to what was found,
    so a count that appears twice, at whatever kill, is one too many at the next look.
    """

    def __init__(self, where: Path, kind: str, draw: random.Random) -> None:
        where.mkdir()
        self._directory = where / "stats.d"
        self._ack_file = where / "acknowledged"
        self._ack_file.write_bytes(bytes(SLOTS * 8))
        self._slots = map_slots(str(self._ack_file))
        self._kind = kind
        self._draw = draw
        self._lives = 0

    def kill_while(self, stage: int, delay_s_max: float) -> None:
        """Start a child, and kill it up to ``delay_s_max`` after it has come to ``stage`` (0: after its start)."""
        self._slots[STAGE] = 0
        self._lives += 1
        delay_s = self._draw.uniform(0.0, delay_s_max)
        child = subprocess.Popen(
            [sys.executable, counting_child.__file__, str(self._directory), str(self._ack_file), self._kind],
            stderr=subprocess.PIPE,
        )
        try:
            until = time.monotonic() + PATIENCE_S
            while self._slots[STAGE] < stage:
                assert child.poll() is None, "the child ended by itself"
                assert time.monotonic() < until, "the child hangs"
                time.sleep(0.001)
            time.sleep(delay_s)
            alive = child.poll() is None
        finally:
            child.kill()
            _, said = child.communicate()
        assert alive, said.decode()
        assert not said, said.decode()

    def look(self) -> None:
        """Open the directory: all that was acknowledged is there, and at most the one call under way besides."""
        with crdtstats.open(self._directory) as stats:
            for thread, way in enumerate(WAYS[self._kind]):
                acknowledged = self._slots[thread]
                if way == BATCH:
                    found = stats.cursor(f"log/{thread}") or 0
                    # Whole or not at all: every key stands where the cursor says.
                    assert dict(stats.items(f"t{thread}")) == {
                        batch_key(thread, number): found * (number + 1)
                        for number in range(BATCH_KEYS)
                        if found
                    }
                    assert acknowledged <= found <= acknowledged + 1
                    continue
                found = stats.total(f"t{thread}")
                assert acknowledged <= found <= acknowledged + self._lives
                if way == GROWING:
                    numbers = sorted(
                        int(key.rsplit("/", 1)[1]) for key, value in stats.items(f"t{thread}") if value == 1
                    )
                    assert numbers == list(range(found))
                self._slots[thread] = found
        self._lives = 0
        assert not list((self._directory / "journal").iterdir())

    @property
    def acknowledged(self) -> int:
        return sum(self._slots[: len(WAYS[self._kind])])


def chains(where: Path, kind: str) -> Iterator[KillChain]:
    """Yield a chain for each kill of ``kind``, a new one after every `CHAIN` kills."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"kind {kind}, seed {seed}")
    draw = random.Random(seed)
    chain = None
    for number in range(KILLS):
        if chain is None or number % CHAIN == 0:
            chain = KillChain(where / str(number), kind, draw)
        yield chain
    assert chain is not None
    assert chain.acknowledged > 0
