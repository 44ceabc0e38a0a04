"""Counts as fast as it can until it is killed, and acknowledges each call in a shared file. Run by `kill_chain`.

    counting_child.py DIRECTORY ACK_FILE KIND

The shared file is a column of u64. One slot for each counting thread holds what it counted, written right after the
call returned; one more, `STAGE`, says how far the process is.
"""

from __future__ import annotations

import mmap
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdtstats import CRDTStatsStore

SLOTS = 16
STAGE = SLOTS - 1
COUNTING, CLOSING, CLOSED = 1, 2, 3

SINGLE, BATCH, GROWING = "single", "batch", "growing"
WAYS = {
    "single": (SINGLE, SINGLE),
    "batch": (BATCH, BATCH),
    "flush": (SINGLE, BATCH),
    "open": (SINGLE, BATCH),
    "close": (SINGLE, BATCH),
    "growing": (GROWING, GROWING),
}
"""How the threads of each kind of child count."""

BATCH_KEYS = 8
GROWING_TEXT = "x" * 600
"""Long keys: the journal doubles several times before a child is killed."""
GROWING_MAX = 2_000
"""New keys of one thread in one life: the parent has to look at all of them."""
COUNT_BEFORE_CLOSE_S = 0.02


def map_slots(path: str) -> memoryview:
    """The shared column. A store to an element is one write of eight bytes: a kill cannot split it."""
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), SLOTS * 8)).cast("Q")


def batch_key(thread: int, number: int) -> str:
    return f"t{thread}/b/{number}"


def _count_singly(stats: CRDTStatsStore, thread: int, slots: memoryview) -> None:
    keys = [f"t{thread}/s/{number}" for number in range(16)]
    increment = stats.increment
    while True:
        for key in keys:
            increment(key)
            slots[thread] += 1


def _count_in_batches(stats: CRDTStatsStore, thread: int, slots: memoryview) -> None:
    cursor = f"log/{thread}"
    position = stats.cursor(cursor) or 0
    batch = {batch_key(thread, number): number + 1 for number in range(BATCH_KEYS)}
    while True:
        position += 1
        stats.update(batch, cursor=(cursor, position))
        slots[thread] = position


def _count_new_keys(stats: CRDTStatsStore, thread: int, slots: memoryview) -> None:
    first = slots[thread]
    for number in range(first, first + GROWING_MAX):
        stats.increment(f"t{thread}/{GROWING_TEXT}/{number}")
        slots[thread] += 1
    time.sleep(60)  # the parent kills


_COUNT = {SINGLE: _count_singly, BATCH: _count_in_batches, GROWING: _count_new_keys}


def _start(target: Callable[..., None], *args: object) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()


def _until_closed(count: Callable[..., None], *args: object) -> None:
    from crdtstats.errors import ClosedError

    try:
        count(*args)
    except ClosedError:
        return


def main(directory: str, ack_file: str, kind: str) -> None:
    import crdtstats

    slots = map_slots(ack_file)
    # So that a kill finds each thread anywhere.
    sys.setswitchinterval(0.0005)
    stats = crdtstats.open(directory)
    for thread, way in enumerate(WAYS[kind]):
        _start(_until_closed, _COUNT[way], stats, thread, slots)
    slots[STAGE] = COUNTING
    if kind == "close":
        time.sleep(COUNT_BEFORE_CLOSE_S)
        slots[STAGE] = CLOSING
        stats.close()
        slots[STAGE] = CLOSED
    while kind == "flush":
        stats.flush()
    time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
