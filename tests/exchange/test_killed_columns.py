"""``kill -9`` in the middle of a long column: all of it or nothing with a cursor, whole keys without one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import crdtstats

KEYS, ROWS = 2000, 60_000
EACH = ROWS // KEYS
TIMES = 4
COUNTING_S = 0.05

CHILD = f"""
import sys, numpy as np, crdtstats
directory, has_cursor = sys.argv[1], sys.argv[2] == "True"
with crdtstats.open(directory) as stats:
    keys = [f"k/{{n}}" for n in range({KEYS})]
    ids = np.resize(np.asarray(stats.ids(keys)), {ROWS})
    amounts = np.resize(np.array([2, -1]), {ROWS})
    position = (stats.cursor("log") or 0) + 1
    print("counting", flush=True)
    while True:
        stats.update(ids, amounts, cursor=("log", position) if has_cursor else None)
        position += 1
"""


@pytest.mark.parametrize("has_cursor", [True, False])
def test_a_kill_in_a_long_column(tmp_path: Path, has_cursor: bool) -> None:
    most = 0
    for turn in range(TIMES):
        arguments = [sys.executable, "-c", CHILD, str(tmp_path / "stats.d"), str(has_cursor)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "counting\n"
            time.sleep(COUNTING_S * (1 + turn / TIMES))
            child.send_signal(signal.SIGKILL)
        with crdtstats.open(tmp_path / "stats.d") as stats:
            counted = dict(stats.items())
            # Even keys count up by two, odd ones down by one.
            ups = [counted[f"k/{n}"] for n in range(0, KEYS, 2)]
            downs = [-counted[f"k/{n}"] for n in range(1, KEYS, 2)]
            if has_cursor:
                calls = stats.cursor("log")
                assert calls is not None
                assert calls > most
                most = calls
                assert set(ups) == {2 * EACH * calls}
                assert set(downs) == {EACH * calls}
            else:
                # Of the call that was killed, some keys are counted, each of them whole, in their order.
                calls = min(downs) // EACH
                assert calls > most
                most = calls
                assert {n // EACH - calls for n in downs} <= {0, *range(1, turn + 2)}
                assert all(n % EACH == 0 for n in downs)
                assert all(n % (2 * EACH) == 0 for n in ups)
                assert max(ups) // (2 * EACH) <= calls + turn + 1


CHILD_OF_LANES = f"""
import sys, numpy as np, crdtstats
with crdtstats.open(sys.argv[1]) as stats:
    keys = [f"k/{{n}}" for n in range({KEYS})]
    ids = np.resize(np.asarray(stats.ids(keys)), 3 * {KEYS})
    print("counting", flush=True)
    for turn in range(1, 1_000_000):
        stats.update(ids)
        for key in keys[:10]:
            stats.increment(key)
        if turn % 7 == 0:
            stats.total()
        print(turn, flush=True)
"""


def test_a_kill_among_rows_in_lanes(tmp_path: Path) -> None:
    """Too few rows for their number of keys to be summed up."""
    before = 0
    for turn in range(TIMES):
        arguments = [sys.executable, "-c", CHILD_OF_LANES, str(tmp_path / "stats.d")]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "counting\n"
            time.sleep(COUNTING_S * (1 + turn / TIMES))
            child.send_signal(signal.SIGKILL)
            calls = [line for line in child.stdout if line.endswith("\n")]
        returned = before + (int(calls[-1]) if calls else 0)
        with crdtstats.open(tmp_path / "stats.d") as stats:
            counted = [stats.get(f"k/{n}") for n in range(KEYS)]
            assert stats.total() == sum(counted)
        singles = counted[:10]
        assert all(4 * returned <= n <= 4 * (returned + turn + 1) for n in singles)
        assert all(3 * returned <= n <= 3 * (returned + turn + 1) for n in counted[10:])
        before = returned
