"""How fast blocks of others become totals."""

from __future__ import annotations

import time

from crdtstats.bench import foreign, keys
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, at_least
from crdtstats.bench.race import quiet, spin
from crdtstats.bench.row import gauge

ELEMENTS_PER_S_MIN = 2.0
"""Millions of elements a second."""
ELEMENTS_QUICK, ELEMENTS = 200_000, keys.MILLION


def _merge(lab: Lab) -> Outcome:
    """Signed blocks, given one by one to a replica that knows only their head, up to the first total."""
    count = ELEMENTS if lab.full else ELEMENTS_QUICK
    written = foreign.SignedBlocks(keys.keys(count))
    samples: list[float] = []
    with quiet():
        spin(lab.spin_s)
        for _ in range(lab.pairs):
            engine = foreign.empty_engine()
            for payload in written.announcement:
                engine.handle_payload(payload, foreign.PEER)
            engine.poll(0)
            began = time.perf_counter()
            for cid, block in written.blocks:
                engine.handle_block(cid, block)
            total = foreign.reader(engine).total()
            samples.append(count / (time.perf_counter() - began) / 1e6)
            assert total == count, "not every block was taken in"
    size = sum(len(block) for _, block in written.blocks)
    return Outcome(
        tuple(samples),
        f"{count / 1e6:g}M new keys in {len(written.blocks)} blocks, {size / count:.0f} B each",
    )


ROWS = (
    gauge(
        "merge",
        "elements of signed blocks of another replica, from block bytes to the new total, one thread",
        at_least(ELEMENTS_PER_S_MIN, "M/s"),
        _merge,
        beside="Go, measured apart: 0.05 M/s (0.125 in memory)",
    ),
)
