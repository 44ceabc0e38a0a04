"""Runs the demo: starts the replicas, kills one of them twice, waits until all agree, and asks for proof."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from crdtstats.demo.plan import Plan
from crdtstats.demo.process import ReplicaProcess, gather
from crdtstats.demo.replica import OPENER, digest_of
from crdtstats.demo.verdict import first_difference
from crdtstats.errors import CrdtStatsError, DataError, UnavailableError

BATCH_ELEMENTS_MAX = 1024
"""Elements of one call; fewer where a share is small, so that there is something between start and end."""
BATCHES_MIN = 48
FLUSH_KILLS_MAX = 6
"""A flush may be over before the kill arrives: then one batch more is counted, and it is tried again."""
AUTHORS_SHOWN = 8
_POLL_S = 0.05


class Progress(Protocol):
    """Shows how far the run is."""

    def phase(self, text: str) -> None: ...
    def counted(self, positions: Sequence[int]) -> None: ...


@dataclass(slots=True)
class Outcome:
    """What came out: the facts of the report."""

    plan: Plan
    kills: list[dict[str, Any]] = field(default_factory=list)
    difference: str | None = None
    converge_s: float = 0.0
    directories: list[tuple[str, int]] = field(default_factory=list)
    authors: list[tuple[str, int]] = field(default_factory=list)
    per_replica: list[dict[str, Any]] = field(default_factory=list)
    ingest_s: float = 0.0

    @property
    def disk_bytes(self) -> int:
        """Bytes of all data directories, after a clean close."""
        return sum(row["disk_bytes"] for row in self.per_replica)


class NotConvergedError(CrdtStatsError):
    """The replicas did not come to the truth in time."""

    slug = "not-converged"


class Run:
    """One run of a plan.

    Args:
        plan: What to do.
        directory: For data, logs and answers.
        progress: Where it is shown.
        timeout_s: For the replicas to agree after the last increment.
        opener: ``module:function`` that opens a store in a replica.
    """

    def __init__(
        self, plan: Plan, directory: Path, progress: Progress, timeout_s: float, opener: str = OPENER
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._progress = progress
        self._timeout_s = timeout_s
        self._network = f"demo-{secrets.token_hex(8)}"
        self._replicas = [
            ReplicaProcess(number, directory, share, opener) for number, share in enumerate(plan.shares, 1)
        ]
        # The one with most to do: the most places where a kill may hit it.
        self._victim = max(self._replicas, key=lambda replica: replica.share.elements)

    def run(self) -> Outcome:
        """From empty directories to the proof; every process is ended on the way out.

        Raises:
            DataError: A replica lost something, or counted it twice.
            NotConvergedError: They did not agree in time; names the first key that differs.
            UnavailableError: A replica failed.
        """
        outcome = Outcome(self._plan)
        with ExitStack() as stack:
            for replica in self._replicas:
                stack.callback(replica.acknowledged.close)
                stack.callback(replica.stop)
            self._progress.phase("starting the replicas")
            self._start()
            self._progress.phase("counting")
            outcome.kills = self._ingest()
            self._progress.phase("waiting until all agree")
            outcome.converge_s = self._converge()
            self._progress.phase("comparing every key with git")
            outcome.difference = self._compare()
            self._ask_and_close(outcome)
        return outcome

    def _start(self) -> None:
        for replica in self._replicas:
            replica.start()
        # The first shows the others where to find it; gossip reaches everybody through it.
        first, *rest = self._replicas
        self._open([first], [])
        self._open(rest, first.addresses)

    def _open(self, replicas: Sequence[ReplicaProcess], peers: list[str]) -> list[int]:
        for replica in replicas:
            replica.open(self._network, peers)
        answers = gather(replicas, "open", self._tick)
        for replica, answer in zip(replicas, answers, strict=True):
            replica.addresses = answer["addresses"]
        return [answer["position"] for answer in answers]

    def _ingest(self) -> list[dict[str, Any]]:
        others = [replica for replica in self._replicas if replica is not self._victim]
        for replica in others:
            self._count(replica, replica.share.elements)
        kills = self._count_and_kill()
        gather(self._replicas, "ingested", self._tick)
        for replica in self._replicas:
            replica.send("flush")
        gather(self._replicas, "flushing", self._tick)
        return kills

    def _count_and_kill(self) -> list[dict[str, Any]]:
        victim, elements = self._victim, self._victim.share.elements
        batch = batch_of(elements)
        half = elements // 2
        # Batches kept back for the flushes that it will be killed in.
        before_flush = max(half, elements - FLUSH_KILLS_MAX * batch)
        self._count(victim, max(half, before_flush - batch), report_at=half)
        gather([victim], "half", self._tick)
        kills = [self._kill("half of its share done", batch)]

        for attempt in range(FLUSH_KILLS_MAX):
            self._count(victim, min(elements, before_flush + attempt * batch))
            gather([victim], "ingested", self._tick)
            victim.send("flush")
            gather([victim], "flushing", self._tick)
            kill = self._kill("flushing", batch)
            kills.append(kill)
            if kill["hit"] or kill["position"] >= elements:
                break
        self._count(victim, elements)
        return kills

    def _count(self, replica: ReplicaProcess, until: int, report_at: int | None = None) -> None:
        replica.send("ingest", until=until, batch=batch_of(replica.share.elements), report_at=report_at)

    def _kill(self, when: str, batch: int) -> dict[str, Any]:
        victim = self._victim
        said = victim.kill()
        acknowledged = victim.acknowledged.position
        victim.start()
        peers = [address for other in self._replicas if other is not victim for address in other.addresses]
        (position,) = self._open([victim], peers)
        if not acknowledged <= position <= acknowledged + batch:
            raise DataError(
                f"replica {victim.number} was killed when it had {acknowledged} elements acknowledged,"
                f" and goes on at {position}",
                replica=victim.number,
            )
        return {"when": when, "hit": "flushed" not in said, "position": position}

    def _converge(self) -> float:
        expected, keys = digest_of(self._plan.truth.values.items())
        began = time.monotonic()
        gather(self._replicas, "flushed", self._tick)
        while True:
            left = self._timeout_s - (time.monotonic() - began)
            for replica in self._replicas:
                replica.send("digest")
            answers = gather(self._replicas, "digest", self._tick)
            if all((answer["digest"], answer["keys"]) == (expected, keys) for answer in answers):
                return time.monotonic() - began
            if left < 0:
                difference = self._compare() or "none when they were read key by key, just after it"
                raise NotConvergedError(
                    f"the replicas do not agree after {self._timeout_s:g} s; first difference: {difference}"
                )
            time.sleep(_POLL_S)

    def _compare(self) -> str | None:
        answers = [self._directory / f"answers-{replica.number}.jsonl" for replica in self._replicas]
        for replica, path in zip(self._replicas, answers, strict=True):
            replica.send("read", probes=str(self._plan.probes), answers=str(path))
        gather(self._replicas, "read", self._tick)
        return first_difference(answers, self._plan.truth)

    def _ask_and_close(self, outcome: Outcome) -> None:
        for replica in self._replicas:
            replica.send("show", authors=AUTHORS_SHOWN)
        shown = gather(self._replicas, "show", self._tick)
        for replica in self._replicas:
            replica.send("close")
        gather(self._replicas, "closed", self._tick)
        for replica in self._replicas:
            replica.leave()
        below = {key.split("/", 2)[1] for key in self._plan.truth.probes if key.count("/") >= 2}
        totals = shown[0]["directories"]
        rows = [(name, value) for name, value in totals.items() if name in below and value]
        outcome.directories = sorted(rows, key=lambda row: (-row[1], row[0]))
        outcome.authors = [(key.removeprefix("authors/"), value) for key, value in shown[0]["authors"]]
        for replica, facts in zip(self._replicas, shown, strict=True):
            inside_s = replica.acknowledged.inside_ns / 1e9
            if replica.acknowledged.position != replica.share.elements:
                raise UnavailableError(f"replica {replica.number} did not count all of its share")
            outcome.ingest_s += inside_s
            outcome.per_replica.append(
                {
                    "replica": replica.number,
                    "commits": replica.share.commits,
                    "increments": replica.share.elements,
                    "ingest_per_s": round(replica.share.elements / max(inside_s, 1e-9)),
                    "blocks": facts["blocks"],
                    "disk_bytes": disk_bytes(replica.data),
                }
            )

    def _tick(self) -> None:
        self._progress.counted([replica.acknowledged.position for replica in self._replicas])


def batch_of(elements: int) -> int:
    """How many elements one call takes, for a share of so many."""
    return max(1, min(BATCH_ELEMENTS_MAX, elements // BATCHES_MIN))


def disk_bytes(directory: Path) -> int:
    """Bytes of all files below ``directory``."""
    return sum(
        os.lstat(os.path.join(where, name)).st_size
        for where, _, names in os.walk(directory)
        for name in names
    )
