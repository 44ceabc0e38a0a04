"""Three to five replicas count on the same keys: what one reads is at least its own and never more than all's, its
reads agree with each other, and once they have met each holds what all acknowledged."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crdtstats.errors import CounterOverflowError, UsageError
from tests.model.cluster import Cluster, Replica
from tests.model.dicts import clean
from tests.model.home import EXAMPLES
from tests.model.reading import check_reads, check_whole

COUNTED = ["a", "a/b", "a/b/c", "/a//b/c/", "a-", "a-/b", "é/🂡", "d/" * 63 + "d", "k" * 896]
KEYS = st.sampled_from(COUNTED)
PREFIXES = st.one_of(st.sampled_from(["", "absent", "a/absent", "d/d"]), KEYS)
AMOUNTS = st.one_of(st.integers(-2, 2), st.sampled_from([2**63 - 1, -(2**63 - 1), 2**53 + 1]))
BATCHES = st.lists(st.tuples(KEYS, AMOUNTS), max_size=6)
CURSORS = st.one_of(st.none(), st.tuples(st.sampled_from(["orders", "é"]), st.integers(0, 9)))
REPLICAS_MAX = 5
ONLY_UP = "a/up"


class Replicas(RuleBasedStateMachine):
    """A cluster; each replica's dicts say what it alone acknowledged."""

    @initialize(seed=st.integers(0, 2**32 - 1), native=st.booleans())
    def make(self, seed: int, native: bool) -> None:
        self.cluster = Cluster(seed, native=native)
        # Key → sums of increments and of decrements that somebody acknowledged, over all and by replica.
        self.sides: dict[Replica, Counter[tuple[str, bool]]] = {}
        self.seen: dict[Replica, int] = {}
        for _ in range(3):
            self.join()

    def one(self, number: int) -> Replica:
        return self.cluster.replicas[number % len(self.cluster.replicas)]

    # ---- counting

    @rule(at=st.integers(0, 4), key=KEYS, n=AMOUNTS, by_counter=st.booleans())
    def count_one(self, at: int, key: str, n: int, by_counter: bool) -> None:
        replica = self.one(at)
        call = replica.stats.counter(key).inc if by_counter else lambda n: replica.stats.increment(key, n)
        if replica.model.fits([(key, n)]):
            call(n)
            self.counted(replica, [(key, n)])
        else:
            with pytest.raises(CounterOverflowError):
                call(n)

    @rule(at=st.integers(0, 4), n=st.integers(0, 2**40))
    def count_up(self, at: int, n: int) -> None:
        self.one(at).stats.increment(ONLY_UP, n)
        self.counted(self.one(at), [(ONLY_UP, n)])

    @rule(at=st.integers(0, 4), batch=BATCHES, cursor=CURSORS)
    def count_a_batch(self, at: int, batch: list[tuple[str, int]], cursor: tuple[str, int] | None) -> None:
        replica = self.one(at)
        columns = [key for key, _ in batch], [n for _, n in batch]
        if replica.model.is_behind(cursor):
            with pytest.raises(UsageError):
                replica.stats.update(*columns, cursor=cursor)
        elif not replica.model.fits(batch):
            with pytest.raises(CounterOverflowError):
                replica.stats.update(*columns, cursor=cursor)
        else:
            replica.stats.update(*columns, cursor=cursor)
            self.counted(replica, batch, cursor)

    def counted(
        self, replica: Replica, batch: list[tuple[str, int]], cursor: tuple[str, int] | None = None
    ) -> None:
        replica.model.count(batch, cursor)
        for key, n in batch:
            self.sides[replica][clean(key), n > 0] += abs(n)

    # ---- reading

    @rule(at=st.integers(0, 4), prefix=PREFIXES, n=st.integers(0, 4))
    def read(self, at: int, prefix: str, n: int) -> None:
        stats = self.one(at).stats
        check_reads(stats, dict(stats.items()), prefix, n)

    @invariant()
    def nobody_reads_less_than_its_own_or_more_than_everybody_s(self) -> None:
        for replica in self.cluster.replicas:
            # First of all, while own counts and those of others may not have met yet.
            got = {key: replica.stats.get(key) for key in COUNTED}
            values = dict(replica.stats.items())
            assert got == {key: values.get(clean(key), 0) for key in COUNTED}
            check_whole(replica.stats, values)
            assert set(replica.model.values) <= set(values)
            for key, value in values.items():
                own = replica.model.values.get(key, 0)
                others = [sides for other, sides in self.sides.items() if other is not replica]
                up, down = (sum(sides[key, side] for sides in others) for side in (True, False))
                assert own - down <= value <= own + up, key
            # Nobody decrements this one: it only grows, over restarts, too.
            assert self.seen.get(replica, 0) <= values.get(ONLY_UP, 0)
            self.seen[replica] = values.get(ONLY_UP, 0)
            for name in ("orders", "é"):
                assert replica.stats.cursor(name) == replica.model.cursors.get(name)

    # ---- meeting

    @rule(for_s=st.floats(0.1, 3.0))
    def run(self, for_s: float) -> None:
        self.cluster.run(for_s)

    @rule(at=st.integers(0, 4))
    def flush(self, at: int) -> None:
        replica = self.one(at)
        replica.stats.flush()
        assert replica.stats.status()["dirty"] == 0

    @rule(alone=st.integers(0, 4))
    def part(self, alone: int) -> None:
        self.cluster.network.partition([self.one(alone).host])

    @rule()
    def meet(self) -> None:
        self.cluster.network.heal()

    @rule()
    def settle(self) -> None:
        self.cluster.settle()
        want = self.cluster.acknowledged()
        for replica in self.cluster.replicas:
            for prefix in ("", "a", "a/b", "absent"):
                check_reads(replica.stats, want, prefix, 3)

    @precondition(lambda self: len(self.cluster.replicas) < REPLICAS_MAX)
    @rule()
    def join(self) -> None:
        self.sides[self.cluster.join()] = Counter()

    @rule(at=st.integers(0, 4), by_a_kill=st.booleans())
    def restart(self, at: int, by_a_kill: bool) -> None:
        replica = self.one(at)
        before = dict(replica.stats.items())
        replica.restart(by_a_kill=by_a_kill)
        # What a step has merged it has stored, too.
        assert dict(replica.stats.items()) == before

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            try:
                self.cluster.settle()
            finally:
                self.cluster.close()


TestReplicas = pytest.mark.timeout(3600)(Replicas.TestCase)
TestReplicas.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
