"""Every public call of one store against plain dicts, in any order: over flushes, refused flushes, closes, kills
and copies of the directory."""

from __future__ import annotations

import contextlib
import functools
import shutil
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import crdtstats
from crdtstats._core import Counter
from crdtstats.datastores.sqlite import SQLiteDatastore
from crdtstats.errors import ClosedError, CounterOverflowError, UnavailableError, UsageError
from tests.datastores.faulty import FaultyDatastore
from tests.model.dicts import AMOUNT_MAX, Dicts, Reads, clean
from tests.model.home import EXAMPLES, make_home
from tests.model.keys import AMOUNTS, BAD_AMOUNTS, BAD_KEYS, KEYS, OBJECT_FORMS, PREFIXES
from tests.model.reading import check_reads, check_whole

CURSORS = st.one_of(st.none(), st.tuples(st.sampled_from(["orders", "é"]), st.integers(0, 9)))
BATCHES = st.lists(st.tuples(KEYS, AMOUNTS), max_size=8)
GROWTH_KEYS = 150
GROWTH_TEXT = "g" * 700
"""A growth adds 100 KiB: the journal's first step is 64."""


def mapping(batch: list[tuple[str, int]]) -> tuple[Any, ...]:
    return (dict(batch),)


def columns(batch: list[tuple[str, int]]) -> tuple[Any, ...]:
    return [key for key, _ in batch], [n for _, n in batch]


def iterables(batch: list[tuple[str, int]]) -> tuple[Any, ...]:
    return (key for key, _ in batch), (n for _, n in batch)


def keys_alone(batch: list[tuple[str, int]]) -> tuple[Any, ...]:
    return (iter([key for key, _ in batch]),)


IDS: list[Callable[[Any], Any]] = [
    lambda ids: array("I", memoryview(ids)),
    lambda ids: memoryview(ids),
]
"""Ids that the store does not know to be its own."""
FORMS = st.sampled_from([mapping, columns, iterables, keys_alone])


def as_counted(form: Callable[..., Any], batch: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """What a batch in this form says."""
    if form is keys_alone:
        return [(key, 1) for key, _ in batch]
    return list(dict(batch).items()) if form is mapping else batch


class OneStore(RuleBasedStateMachine):
    """A store and the dicts that say what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.home = make_home()
        self.lives = 0
        self.growths = 0
        self.looks = 0
        # The same object for the same text, in all lives of the store.
        self.objects: dict[str, str] = {}
        self.model = Dicts()

    @initialize(on_disk=st.booleans())
    def make(self, on_disk: bool) -> None:
        self.directory = self.home / "0"
        self.directory.mkdir()
        self.on_disk = on_disk
        self.datastore = self.open_datastore() if on_disk else FaultyDatastore()
        self.open()

    def open_datastore(self) -> FaultyDatastore:
        return FaultyDatastore(SQLiteDatastore(self.directory / "blocks.sqlite"))

    def open(self) -> None:
        self.stats = crdtstats.open(
            self.directory / "stats.d", datastore=self.datastore, flush_interval_s=3600
        )
        # From here on only `flush` flushes.
        self.stats.flush()
        self.counters: dict[str, Counter] = {}

    # ---- counting

    @rule(key=KEYS, n=st.one_of(st.none(), AMOUNTS), form=OBJECT_FORMS, down=st.booleans())
    def count_one(self, key: str, n: int | None, form: Callable[[str], str] | None, down: bool) -> None:
        call = self.stats.decrement if down else self.stats.increment
        amount = (1 if n is None else n) * (-1 if down else 1)
        named = self.objects.setdefault(key, key) if form is None else form(key)
        arguments = (named,) if n is None else (named, n)
        self.count_or_overflow(lambda: call(*arguments), [(key, amount)])

    @rule()
    def count_on_all_that_were_named(self) -> None:
        """By the same objects again, one by one and at once."""
        batch = [(key, 1) for key in self.objects]
        if self.model.fits(batch * 2):
            for key in self.objects.values():
                self.stats.increment(key)
            self.stats.update(list(self.objects.values()))
            self.model.count(batch * 2)

    @rule(key=KEYS, n=st.one_of(st.none(), AMOUNTS), down=st.booleans())
    def count_by_counter(self, key: str, n: int | None, down: bool) -> None:
        counter = self.counters.setdefault(key, self.stats.counter(key))
        call = counter.dec if down else counter.inc
        amount = (1 if n is None else n) * (-1 if down else 1)
        self.count_or_overflow(lambda: call() if n is None else call(n), [(key, amount)])
        assert counter.key == clean(key)
        assert counter.value == self.model.values.get(clean(key), 0)

    @rule(batch=BATCHES, form=FORMS, cursor=CURSORS)
    def count_a_batch(
        self, batch: list[tuple[str, int]], form: Callable[..., Any], cursor: tuple[str, int] | None
    ) -> None:
        counted = as_counted(form, batch)
        if self.model.is_behind(cursor):
            with pytest.raises(UsageError):
                self.stats.update(*form(batch), cursor=cursor)
            return
        self.count_or_overflow(lambda: self.stats.update(*form(batch), cursor=cursor), counted, cursor)

    @rule(
        batch=BATCHES, cursor=CURSORS, form=st.sampled_from([None, *IDS]), times=st.sampled_from([1, 3, 250])
    )
    def count_by_ids(
        self,
        batch: list[tuple[str, int]],
        cursor: tuple[str, int] | None,
        form: Callable[[Any], Any] | None,
        times: int,
    ) -> None:
        """Few rows, and so many that they are summed up first."""
        ids = self.stats.ids([key for key, _ in batch] * times)
        named = ids if form is None else form(ids)
        amounts = array("q", [n for _, n in batch] * times)
        call = functools.partial(self.stats.update, named, amounts, cursor=cursor)
        if self.model.is_behind(cursor):
            with pytest.raises(UsageError):
                call()
            return
        self.count_or_overflow(call, batch * times, cursor)

    def count_or_overflow(
        self,
        call: Callable[[], None],
        batch: list[tuple[str, int]],
        cursor: tuple[str, int] | None = None,
    ) -> None:
        if self.model.fits(batch):
            call()
            self.model.count(batch, cursor)
        else:
            with pytest.raises(CounterOverflowError):
                call()

    @rule(key=KEYS, down=st.booleans())
    def fill_to_the_last_unit(self, key: str, down: bool) -> None:
        sign = -1 if down else 1
        while room := self.model.room(key, up=not down):
            n = sign * min(room, AMOUNT_MAX)
            self.stats.increment(key, n)
            self.model.count([(key, n)])
        for call in (
            lambda: self.stats.increment(key, sign),
            lambda: self.stats.counter(key).inc(sign),
            lambda: self.stats.update({"a": 1, key: sign}, cursor=("overflow", 1)),
            lambda: self.stats.update(["b", key], [1, sign * AMOUNT_MAX]),
        ):
            with pytest.raises(CounterOverflowError):
                call()
        assert self.stats.cursor("overflow") is None

    @rule()
    def grow(self) -> None:
        batch = [(f"grown/{self.growths}/{n}/{GROWTH_TEXT}", n) for n in range(GROWTH_KEYS)]
        for key, n in batch[::2]:
            self.stats.increment(key, n)
        self.stats.update(dict(batch[1::2]))
        self.model.count(batch)
        self.growths += 1

    # ---- wrong calls count nothing

    @rule(batch=BATCHES, at=st.integers(0, 8), bad=st.sampled_from(BAD_KEYS), form=FORMS)
    def a_bad_key_in_a_batch(
        self, batch: list[tuple[str, int]], at: int, bad: Any, form: Callable[..., Any]
    ) -> None:
        batch = [*batch[:at], (bad, 1), *batch[at:]]
        with pytest.raises(UsageError):
            self.stats.update(*form(batch), cursor=("bad", 1))

    @rule(batch=BATCHES, at=st.integers(0, 8), key=KEYS, bad=st.sampled_from(BAD_AMOUNTS))
    def a_bad_amount_in_a_batch(self, batch: list[tuple[str, int]], at: int, key: str, bad: Any) -> None:
        batch = [*batch[:at], (key, bad), *batch[at:]]
        for form in (columns, iterables):
            with pytest.raises(UsageError):
                self.stats.update(*form(batch), cursor=("bad", 1))
        with pytest.raises(UsageError):
            self.stats.update({**dict(batch), key: bad}, cursor=("bad", 1))

    @rule(batch=BATCHES, at=st.integers(0, 8), key=KEYS, times=st.sampled_from([1, 300]))
    def a_bad_id_in_a_batch(self, batch: list[tuple[str, int]], at: int, key: str, times: int) -> None:
        ids = array("I", memoryview(self.stats.ids([key, *(key for key, _ in batch)] * times)))
        ids.insert(at, ids[0] ^ 1 << 31)  # so many ids are never given
        with pytest.raises(UsageError):
            self.stats.update(ids)

    @rule(batch=BATCHES, key=KEYS)
    def a_batch_that_breaks(self, batch: list[tuple[str, int]], key: str) -> None:
        def broken() -> Iterator[str]:
            yield from (key for key, _ in batch)
            raise LookupError

        with pytest.raises(LookupError):
            self.stats.update(broken(), cursor=("bad", 1))
        with pytest.raises(UsageError):
            self.stats.update([key, *(key for key, _ in batch)], [1] * len(batch), cursor=("bad", 1))

    @rule(key=KEYS, bad_key=st.sampled_from(BAD_KEYS), bad_amount=st.sampled_from(BAD_AMOUNTS))
    def a_bad_single_call(self, key: str, bad_key: Any, bad_amount: Any) -> None:
        for call in (self.stats.increment, self.stats.decrement):
            with pytest.raises(UsageError):
                call(bad_key)
            with pytest.raises(UsageError):
                call(key, bad_amount)
        with pytest.raises(UsageError):
            self.stats.counter(bad_key)
        with pytest.raises(UsageError):
            self.stats.counter(key).inc(bad_amount)

    # ---- reading

    @rule(prefix=PREFIXES, n=st.integers(0, 5))
    def read(self, prefix: str, n: int) -> None:
        check_reads(self.stats, self.model.values, prefix, n)

    @rule(key=KEYS)
    def items_are_those_of_the_call(self, key: str) -> None:
        before = Reads(self.model.values).items(key)
        found = self.stats.items(key)
        self.count_or_overflow(lambda: self.stats.increment(key), [(key, 1)])
        assert list(found) == before

    @invariant()
    def the_whole_is_equal(self) -> None:
        if self.looks % 2:
            for key, named in self.objects.items():
                assert self.stats.get(named) == self.model.values.get(clean(key), 0)
        check_whole(self.stats, self.model.values, first=self.looks)
        self.looks += 1
        for name in ("orders", "é", "bad"):
            assert self.stats.cursor(name) == self.model.cursors.get(name)
        if self.model.refused_cursors is None:
            assert self.stats.status()["dirty"] == len(self.model.dirty)

    # ---- the life of a store

    @rule()
    def flush(self) -> None:
        self.stats.flush()
        self.model.flushed()

    @precondition(lambda self: self.model.owes_a_flush)
    @rule(but_done=st.booleans())
    def flush_in_vain(self, but_done: bool) -> None:
        self.datastore.fail("batch", after=but_done)
        with pytest.raises(UnavailableError):
            self.stats.flush()
        self.datastore.heal()
        self.model.flush_refused(but_done=but_done)

    @rule()
    def close_and_reopen(self) -> None:
        self.stats.close()
        self.check_closed()
        self.open()
        self.model.reopened()

    @precondition(lambda self: self.model.owes_a_flush)
    @rule(but_done=st.booleans(), in_vain=st.booleans())
    def die_and_reopen(self, but_done: bool, in_vain: bool) -> None:
        """What a close leaves when its flush fails is what a killed process leaves: a journal."""
        self.datastore.fail("batch", after=but_done)
        with pytest.raises(UnavailableError):
            self.stats.close()
        self.check_closed()
        if in_vain:
            # It raises where recovery has to store something: not where a lost answer was that of a flush.
            with contextlib.suppress(UnavailableError):
                self.open()
                self.stats.close()
        self.datastore.heal()
        self.open()
        self.model.reopened()

    @precondition(lambda self: self.on_disk)
    @rule()
    def go_on_in_a_copy(self) -> None:
        self.lives += 1
        copy = self.home / str(self.lives)
        shutil.copytree(self.directory, copy)
        stats, datastore = self.stats, self.datastore
        self.directory = copy
        self.datastore = self.open_datastore()
        self.open()
        stats.close()
        datastore.close()
        self.model.reopened(as_a_copy=True)

    def check_closed(self) -> None:
        stats = self.stats
        reads: list[Callable[[], object]] = [
            lambda: stats.get("a"),
            lambda: stats.total(),
            lambda: stats.get_aggregated_stat(),
            lambda: stats.children(),
            lambda: stats.top(),
            lambda: stats.items(),
            lambda: stats.cursor("orders"),
            lambda: stats.status(),
        ]
        writes: list[Callable[[], object]] = [
            lambda: stats.increment("a"),
            lambda: stats.decrement("a"),
            lambda: stats.update(["a"], cursor=("bad", 1)),
            lambda: stats.ids(["a"]),
            lambda: stats.counter("a"),
            lambda: stats.flush(),
            *(counter.inc for counter in self.counters.values()),
        ]
        for call in (*reads, *writes):
            with pytest.raises(ClosedError):
                call()

    def teardown(self) -> None:
        if hasattr(self, "stats"):
            self.stats.close()
            self.datastore.close()
        shutil.rmtree(self.home)


TestOneStore = pytest.mark.timeout(3600)(OneStore.TestCase)
TestOneStore.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
