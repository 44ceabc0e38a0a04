"""Two sides that do the same work in turns."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from crdtstats.bench.outcome import Outcome, duration, rate

SPIN_S = 1.0
"""An idle core runs at half speed for up to 0.8 s: both sides run for this long before anything is timed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two competitors.

    Attributes:
        run: the timed work; gets what ``prepare`` gave.
        prepare: not timed; gets the number of the turn, so that turns can work on different keys.
    """

    run: Callable[[Any], object]
    prepare: Callable[[int], Any] = lambda turn: turn

    def time(self, turn: int) -> float:
        """Seconds of one turn."""
        work = self.prepare(turn)
        began = time.perf_counter()
        self.run(work)
        return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Race:
    """The store beside a peer.

    Attributes:
        ours: the store.
        peer: what it is measured beside.
        operations: in one turn of either.
        best_of: turns of each side in a pair; the fastest counts, as what else runs on a machine only ever adds.
    """

    ours: Side
    peer: Side
    operations: int
    best_of: int = 1

    def run(self, pairs: int, spin_s: float = SPIN_S) -> Outcome:
        """How many times faster ours is, in each of ``pairs`` pairs."""
        with quiet():
            turn = self._warm_up(spin_s)
            ours: list[float] = []
            peer: list[float] = []
            sums = [0.0, 0.0]
            for pair in range(pairs):
                # By turns who begins: neither always finds the caches as the other left them.
                times = [float("inf"), float("inf")]
                for _ in range(self.best_of):
                    for number in (0, 1) if pair % 2 else (1, 0):
                        side = (self.ours, self.peer)[number]
                        took = side.time(turn)
                        times[number] = min(times[number], took)
                        sums[number] += took
                    turn += 1
                ours.append(times[0])
                peer.append(times[1])
        ratios = tuple(theirs / mine for mine, theirs in zip(ours, peer, strict=True))
        aside = self._aside(min(ours), min(peer))
        if self.best_of > 1:
            # What the fastest turns leave out (a flush, other programs) is in here, on both sides.
            aside += f"; all turns together: {sums[1] / sums[0]:.2f} ×"
        return Outcome(ratios, aside)

    def _warm_up(self, spin_s: float) -> int:
        until = time.perf_counter() + spin_s
        turn = 0
        while not turn or time.perf_counter() < until:
            self.ours.time(turn)
            self.peer.time(turn)
            turn += 1
        return turn

    def _aside(self, ours: float, peer: float) -> str:
        if self.operations == 1:
            return f"{duration(ours)} beside {duration(peer)}"
        return f"{rate(self.operations, ours)} beside {rate(self.operations, peer)}"


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """No garbage collection while timing, as ``timeit`` does; what is there already is not looked at again."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.unfreeze()


def spin(seconds: float = SPIN_S) -> None:
    """Keep the core busy, so that it runs at full speed."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
