"""How fast blocks travel between the languages, and how long none arrives: ``python -m tests.interop.speed BINARY``.

What the tests bound and ``make interop-speed`` prints. Each run has processes of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.driver import GoPeer, until
from tests.interop.heads import bytes_of, text
from tests.network.conftest import TOPIC, Peer

LARGE_BYTES, LARGE_BLOCKS = 256 << 10, 400
SMALL_BYTES, SMALL_BLOCKS = 10_000, 1000
ONE_BY_ONE_BLOCKS = 200
"""boxo waits 20 ms before it sends a want: it fetches at most 48 a second, whatever we do."""
IN_FLIGHT = 32
TIMEOUT_S = 60.0
SPIN_S = 1.0
"""A processor that was idle is slow at first."""


class Run(NamedTuple):
    """What one transfer took."""

    mb_per_s: float
    gap_s: float
    """The longest time in which no block arrived, from the first want on."""
    child_s: float = 0.0
    """Processor seconds of our network child: what a busy machine does not change much."""


def processor_s(pid: int) -> float:
    """Seconds of processor that the process ``pid`` has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def meet(go: GoPeer) -> Peer:
    """A node of ours that is connected to ``go``."""
    node = Peer(peers=[go.addr])
    node.start()
    until(node.node.connections)
    return node


def we_fetch(go: GoPeer, node: Peer, count: int, size: int, in_flight: int, seed: int = 1) -> Run:
    """We want ``count`` blocks that Go has, so many at a time."""
    waiting = [bytes_of(cid) for cid in go.call("put_random", TIMEOUT_S, n=count, size=size, seed=seed)]
    waiting.reverse()
    before = len(node.got)
    wanted = seen = 0
    gap = 0.0
    began = last = time.monotonic()
    while seen < count:
        more = min(in_flight - (wanted - seen), len(waiting))
        if more > 0:
            node.node.exchange.want([waiting.pop() for _ in range(more)])
            wanted += more
        with node.arrived:
            while len(node.got) - before == seen:
                assert node.arrived.wait(TIMEOUT_S), node.node.status()
            seen = len(node.got) - before
        now = time.monotonic()
        gap = max(gap, now - last)
        last = now
    return Run(count * size / 1e6 / (last - began), gap)


def go_fetches(go: GoPeer, node: Peer, count: int, size: int, in_flight: int, seed: int = 1) -> Run:
    """Go wants ``count`` blocks that we have, so many at a time."""
    noise = random.Random(seed).randbytes
    cids = node.put(*(noise(size) for _ in range(count)))
    done = go.call(
        "fetch", TIMEOUT_S + 5, cids=[text(cid) for cid in cids], parallel=in_flight, timeout=TIMEOUT_S
    )
    return Run(done["bytes"] / 1e6 / done["seconds"], done["gap"])


Way = Callable[[GoPeer, Peer, int, int, int], Run]
WAYS: dict[str, Way] = {"we fetch": we_fetch, "go fetches": go_fetches}
SHAPES = {
    "256 KiB, 32 wanted at a time": (LARGE_BLOCKS, LARGE_BYTES, IN_FLIGHT),
    "10 KB, 32 wanted at a time": (SMALL_BLOCKS, SMALL_BYTES, IN_FLIGHT),
    "10 KB, all wanted at once": (SMALL_BLOCKS, SMALL_BYTES, SMALL_BLOCKS),
    "10 KB, one by one": (ONE_BY_ONE_BLOCKS, SMALL_BYTES, 1),
}


def once(binary: Path, way: Way, shape: tuple[int, int, int]) -> Run:
    go = GoPeer(binary, topic=TOPIC)
    try:
        node = meet(go)
        try:
            spun = time.monotonic() + SPIN_S
            while time.monotonic() < spun:
                pass
            before = processor_s(child := node.node.status()["pid"])
            run = way(go, node, *shape)
            return run._replace(child_s=processor_s(child) - before)
        finally:
            node.node.close()
    finally:
        go.close()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path, help="the Go peer, built by the tests")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--shape", default="", help="only those whose name holds this")
    parser.add_argument("--way", default="", help="the same for the direction")
    given = parser.parse_args(arguments)
    cases: list[tuple[str, str]] = [
        (name, shape) for shape in SHAPES for name in WAYS if given.shape in shape and given.way in name
    ]
    runs: dict[Any, list[Run]] = {case: [] for case in cases}
    for _ in range(given.runs):  # interleaved: what slows the machine for a while slows all
        for name, shape in cases:
            runs[name, shape].append(once(given.binary, WAYS[name], SHAPES[shape]))
    for (name, shape), measured in runs.items():
        speeds = sorted(run.mb_per_s for run in measured)
        gap = max(run.gap_s for run in measured)
        sys.stdout.write(
            f"{shape:30} {name:10}  median {statistics.median(speeds):6.1f} MB/s "
            f"({speeds[0]:.1f} to {speeds[-1]:.1f} in {len(speeds)} runs)  longest gap {gap:.3f} s  "
            f"child {statistics.median(run.child_s for run in measured):.2f} s of processor\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
