"""Every public call against a plain dict, in any order, over closes, flushes and reopenings."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import crdtstats
from crdtstats.errors import UsageError

PARTS = st.sampled_from(["a", "b", "a-", "a.", "é", "a b", "🂡", "A"])
KEYS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
UNCLEAN = st.sampled_from(["{}", "/{}", "{}/", "//{}//", "./{}", "x/../{}"])
PREFIXES = st.one_of(st.sampled_from(["", "/", "nothing", "a/nothing"]), KEYS)
AMOUNTS = st.one_of(st.integers(-9, 9), st.just(2**62))
CURSORS = st.sampled_from(["orders", "é"])
FULL = 2**64 - 1


def is_below(key: str, prefix: str) -> bool:
    return not prefix or key.startswith(prefix + "/")


class Model(RuleBasedStateMachine):
    """A store and the dicts that say what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="crdtstats-test-"))
        self.values: Counter[str] = Counter()
        self.sides: Counter[tuple[str, bool]] = Counter()
        self.cursors: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        self.stats = crdtstats.open(self.directory / "stats.d", flush_interval_s=3600)
        # A sub-counter belongs to one generation: a new start has all its room again.
        self.sides.clear()

    def fits(self, key: str, amount: int) -> bool:
        return self.sides[key, amount > 0] + abs(amount) <= FULL

    def counted(self, key: str, amount: int) -> None:
        if amount:
            self.values[key] += amount
            self.sides[key, amount > 0] += abs(amount)

    @rule(key=KEYS, form=UNCLEAN)
    def count_one(self, key: str, form: str) -> None:
        if self.fits(key, 1):
            self.stats.increment(form.format(key))
            self.counted(key, 1)
        if self.fits(key, -1):
            self.stats.decrement(form.format(key))
            self.counted(key, -1)

    @rule(key=KEYS, amount=AMOUNTS, by_counter=st.booleans())
    def count_many(self, key: str, amount: int, by_counter: bool) -> None:
        if not self.fits(key, amount):
            return
        if by_counter:
            self.stats.counter(key).inc(amount)
            assert self.stats.counter(key).value == self.values[key] + amount
        else:
            self.stats.decrement(key, -amount)
        self.counted(key, amount)

    @rule(
        batch=st.lists(st.tuples(KEYS, AMOUNTS), max_size=8),
        form=st.sampled_from(["mapping", "columns", "keys"]),
        cursor=st.one_of(st.none(), st.tuples(CURSORS, st.integers(0, 9))),
    )
    def count_a_batch(self, batch: list[tuple[str, int]], form: str, cursor: tuple[str, int] | None) -> None:
        if form == "keys":
            batch = [(key, 1) for key, _ in batch]
        elif form == "mapping":
            batch = list(dict(batch).items())
        whole: Counter[tuple[str, bool]] = Counter()
        for key, amount in batch:
            whole[key, amount > 0] += abs(amount)
        if any(self.sides[side] + more > FULL for side, more in whole.items()):
            return
        arguments = {
            "mapping": (dict(batch),),
            "columns": ([key for key, _ in batch], (amount for _, amount in batch)),
            "keys": (iter([key for key, _ in batch]),),
        }[form]
        if cursor is not None and cursor[1] <= self.cursors.get(cursor[0], -1):
            with pytest.raises(UsageError):
                self.stats.update(*arguments, cursor=cursor)
            return
        self.stats.update(*arguments, cursor=cursor)
        for key, amount in batch:
            self.counted(key, amount)
        if cursor is not None:
            self.cursors[cursor[0]] = cursor[1]

    @rule()
    def flush(self) -> None:
        self.stats.flush()
        assert self.stats.status()["dirty"] == 0

    @rule()
    def reopen(self) -> None:
        self.stats.close()
        self.open()

    @rule(prefix=PREFIXES, form=UNCLEAN, n=st.integers(0, 5))
    def read(self, prefix: str, form: str, n: int) -> None:
        stats, asked = self.stats, form.format(prefix)
        prefix = prefix.strip("/")
        if asked == "./" or asked.strip("/") in ("", "."):
            asked = ""
        below = {key: value for key, value in self.values.items() if is_below(key, prefix)}
        at = {key: value for key, value in self.values.items() if key == prefix}
        total = sum(below.values()) + sum(at.values())
        assert stats.get(asked) == self.values.get(prefix, 0)
        assert stats.total(asked) == total
        assert stats.get_aggregated_stat(asked) == max(0, total)
        assert list(stats.items(asked)) == sorted({**below, **at}.items())
        assert stats.top(asked, n) == sorted(below.items(), key=lambda item: (-item[1], item[0]))[:n]
        children: Counter[str] = Counter()
        for key, value in below.items():
            children[key[len(prefix) + 1 if prefix else 0 :].split("/")[0]] += value
        assert list(stats.children(asked).items()) == sorted(children.items())

    @invariant()
    def the_whole_is_equal(self) -> None:
        assert self.stats.total() == sum(self.values.values())
        for name in ("orders", "é"):
            assert self.stats.cursor(name) == self.cursors.get(name)

    def teardown(self) -> None:
        self.stats.close()
        shutil.rmtree(self.directory)


TestModel = pytest.mark.timeout(600)(Model.TestCase)
TestModel.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_ties_in_top_go_by_key_and_the_key_itself_is_no_entry(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        stats.update({"p": 9, "p/b": 5, "p/a": 5, "p/a/c": 7, "p/z": -1, "q": 99})
        assert stats.top("p", 3) == [("p/a/c", 7), ("p/a", 5), ("p/b", 5)]
        assert stats.top("p", 0) == []
        assert [key for key, _ in stats.items("p")] == ["p", "p/a", "p/a/c", "p/b", "p/z"]
        assert stats.children("p") == {"a": 12, "b": 5, "z": -1}


def test_sums_are_exact_beyond_64_bits_and_survive(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        for n in range(40):
            stats.increment(f"big/{n}", 2**63 - 1)
            stats.decrement(f"small/{n}", 2**63 - 1)
    with crdtstats.open(tmp_path / "stats.d") as stats:
        assert stats.total("big") == 40 * (2**63 - 1)
        assert stats.total("small") == -40 * (2**63 - 1)
        assert (stats.total(), stats.get_aggregated_stat("small")) == (0, 0)
