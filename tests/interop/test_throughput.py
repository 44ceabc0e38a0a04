"""How fast blocks travel between the languages, and how long none arrives.

A busy machine divides the speed, but hardly changes how much processor our network child needs for a block: that has
the bound of the promise, the speed only one that tells a standstill. ``make interop-speed`` prints the figures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import speed

MB_PER_S_MIN = 15.0
MB_PER_CHILD_S_MIN = 60.0
"""What the child would move with a processor of its own."""
GAP_S_MAX = 1.0
TRIES = 2
"""A machine that stands still for a second does so once; a stream that was lost in silence costs five, each time."""


@pytest.mark.parametrize("way", speed.WAYS)
def test_large_blocks(way: str, go_binary: Path, record_property: Callable[[str, object], None]) -> None:
    shape = speed.LARGE_BLOCKS, speed.LARGE_BYTES, speed.IN_FLIGHT
    run = speed.once(go_binary, speed.WAYS[way], shape)
    per_child = shape[0] * shape[1] / 1e6 / run.child_s
    record_property("mb_per_s", run.mb_per_s)
    record_property("mb_per_child_s", per_child)
    sys.stderr.write(f"{way}: {run.mb_per_s:.0f} MB/s, {per_child:.0f} MB for each second of the child\n")
    assert run.mb_per_s > MB_PER_S_MIN
    assert per_child > MB_PER_CHILD_S_MIN


@pytest.mark.parametrize("way", speed.WAYS)
@pytest.mark.parametrize("shape", [name for name in speed.SHAPES if "10 KB" in name])
def test_small_blocks_come_without_a_gap(way: str, shape: str, go_binary: Path) -> None:
    gaps: list[float] = []
    while not gaps or (gaps[-1] >= GAP_S_MAX and len(gaps) < TRIES):
        gaps.append(speed.once(go_binary, speed.WAYS[way], speed.SHAPES[shape]).gap_s)
    assert gaps[-1] < GAP_S_MAX, gaps
