"""Threads that count on one store in every way there is, and keep the ledger of what was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from crdtstats.errors import ClosedError
from crdtstats.store import CRDTStatsStore

UP = "shared/up"
"""Everybody's, and never decremented: its value may be bounded while all run."""
BOTH = "shared/both"
NEW_KEYS_MAX = 20_000


class Writer:
    """One counting thread: what it began to count and what came back, in all and for `UP`.

    Other threads read the sums of `UP` while it runs: each is one int, put there by one store.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.draw = random.Random(f"{seed}/{name}")
        self.acknowledged: Counter[str] = Counter()
        self.begun = 0
        self.done = 0
        self.position = 0
        self._counted: dict[str, int] = {}

    def counting(self, counted: dict[str, int]) -> Self:
        """Around a call that counts this; not acknowledged where it raises."""
        self._counted = counted
        return self

    def __enter__(self) -> None:
        self.begun += self._counted.get(UP, 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for key, n in self._counted.items():
                self.acknowledged[key] += n
            self.done += self._counted.get(UP, 0)


Way = Callable[[CRDTStatsStore, Writer], Iterator[None]]


def with_the_same_objects(stats: CRDTStatsStore, writer: Writer) -> Iterator[None]:
    keys = [UP, BOTH, *(f"{writer.name}/{n % 7}/{n}" for n in range(200))]
    while True:
        key = writer.draw.choice(keys)
        with writer.counting({key: 1}):
            stats.increment(key)
        yield


def with_fresh_objects(stats: CRDTStatsStore, writer: Writer) -> Iterator[None]:
    """And new keys all the time: the journal and its table grow under the others."""
    shared = "shared"
    for n in range(NEW_KEYS_MAX):
        key = f"{writer.name}/{n:06}/{'x' * 60}"
        with writer.counting({key: 2}):
            stats.increment(key, 2)
        again = f"{writer.name}/{writer.draw.randint(0, n):06}/{'x' * 60}"
        with writer.counting({again: 1}):
            stats.increment("/" + again)
        with writer.counting({UP: 3}):
            stats.increment(f"{shared}/up", 3)
        yield
    yield from with_the_same_objects(stats, writer)


def with_counters(stats: CRDTStatsStore, writer: Writer) -> Iterator[None]:
    own = f"{writer.name}/own"
    counters = [stats.counter(key) for key in (UP, own)]
    both = stats.counter(BOTH)
    while True:
        counter, n = writer.draw.choice(counters), writer.draw.randint(0, 9)
        with writer.counting({counter.key: n}):
            counter.inc(n)
        with writer.counting({BOTH: -n}):
            both.dec(n)
        # What a thread counted alone, it reads at once and exactly.
        assert counters[1].value == writer.acknowledged[own]
        yield


def with_batches(stats: CRDTStatsStore, writer: Writer) -> Iterator[None]:
    while True:
        batch = {f"{writer.name}/{writer.draw.randint(0, 500)}": writer.draw.randint(0, 5) for _ in range(20)}
        batch |= {UP: writer.draw.randint(0, 5), BOTH: writer.draw.randint(-5, 5)}
        with writer.counting(batch):
            stats.update(batch)
        cursor = (writer.name, writer.position + 1)
        with writer.counting(batch):
            stats.update(list(batch), list(batch.values()), cursor=cursor)
        writer.position += 1
        assert stats.cursor(writer.name) == writer.position
        yield


def with_large_amounts(stats: CRDTStatsStore, writer: Writer) -> Iterator[None]:
    own = f"{writer.name}/large"
    while True:
        n = writer.draw.randint(0, 2**40)
        with writer.counting({own: n}):
            stats.increment(own, n)
        with writer.counting({BOTH: -n}):
            stats.decrement(BOTH, n)
        with writer.counting({BOTH: 1, UP: 1}):
            stats.update([BOTH, UP])
        assert stats.total(own) == writer.acknowledged[own]
        yield


WAYS: list[Way] = [
    with_the_same_objects,
    with_fresh_objects,
    with_counters,
    with_batches,
    with_large_amounts,
]


class Crew:
    """Threads that run together until it is time, or until their store closes."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.until = threading.Event()
        self._threads: list[threading.Thread] = []

    def write(self, stats: CRDTStatsStore, writer: Writer, way: Way) -> None:
        steps = way(stats, writer)
        self.repeat(lambda: next(steps))

    def repeat(self, step: Callable[[], object]) -> None:
        self._threads.append(threading.Thread(target=self._run, args=(step,)))

    def run(self, for_s: float, then: Callable[[], None] = lambda: None) -> None:
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline and not self.faults:
            time.sleep(0.01)
        then()
        self.until.set()
        for thread in self._threads:
            thread.join(60)
        if self.faults:
            raise self.faults[0]
        assert not any(thread.is_alive() for thread in self._threads)

    def _run(self, step: Callable[[], object]) -> None:
        try:
            while not self.until.is_set():
                step()
        except ClosedError:
            return
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.faults.append(error)


def acknowledged(writers: list[Writer]) -> dict[str, int]:
    """What was counted in all; keys that only ever got 0 were not counted."""
    out: Counter[str] = Counter()
    for writer in writers:
        out.update(writer.acknowledged)
    return {key: n for key, n in out.items() if n}
