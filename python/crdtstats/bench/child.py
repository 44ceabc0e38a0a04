"""What is measured in a process of its own: ``python -m crdtstats.bench.child TASK ...`` writes one JSON object.

Weighing needs a process that has held nothing else, opening one that has not read the files before.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crdtstats
from crdtstats.bench import keys
from crdtstats.bench.lab import NEVER_S
from crdtstats.bench.outcome import SkippedError
from crdtstats.bench.race import spin
from crdtstats.bench.stages import CHUNK

TIMEOUT_S = 600.0


def ask(task: str, *arguments: object) -> dict[str, float]:
    """Run a task in a fresh process.

    Raises:
        SkippedError: this system does not tell how much memory a process has.
        ChildProcessError: the task failed; its last words are in the message.
    """
    if not Path("/proc/self/statm").exists():
        raise SkippedError("there is no /proc/self/statm here to weigh a process with")
    command = [sys.executable, "-P", "-m", "crdtstats.bench.child", task, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise ChildProcessError(f"{task} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def resident_bytes() -> int:
    """Memory of this process that is in RAM, shared mappings of the journal included."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _count(path: str, count: int) -> dict[str, float]:
    """Count keys in a store that may be new; weighed before, and after a flush and a read."""
    with crdtstats.open(path, flush_interval_s=NEVER_S) as stats:
        before = _settled()
        _each_chunk(count, stats.update)
        stats.flush()
        _read(stats, count)
        return {"bytes": _settled() - before}


def _open(path: str, count: int) -> dict[str, float]:
    """Open a store that has keys; weighed before, and after a read."""
    # An empty store first: what the code itself takes is not part of a key.
    with crdtstats.open(f"{path}.empty"):
        pass
    before = _settled()
    spin()
    began = time.perf_counter()
    stats = crdtstats.open(path, flush_interval_s=NEVER_S)
    seconds = time.perf_counter() - began
    with stats:
        _read(stats, count)
        return {"bytes": _settled() - before, "seconds": seconds}


def _fill(path: str, count: int) -> dict[str, float]:
    """Make a directory in which ``count`` keys were counted once more, by one load."""
    with crdtstats.open(path, flush_interval_s=NEVER_S) as stats:
        _each_chunk(count, stats.update)
    return {}


def _dict(count: int) -> dict[str, float]:
    """The same keys in a dict."""
    counts: dict[str, int] = {}

    def add(chunk: list[str]) -> None:
        for key in chunk:
            counts[key] = 1_000 + len(counts)  # an int of its own, as in a dict that has counted for a while

    before = _settled()
    _each_chunk(count, add)
    return {"bytes": _settled() - before}


def _each_chunk(count: int, call: Callable[[list[str]], object]) -> None:
    for first in range(0, count, CHUNK):
        call(keys.keys(min(CHUNK, count - first), first))


def _read(stats: Any, count: int) -> None:
    total = stats.total()
    assert total > 0, "nothing was read"
    assert total % count == 0, total
    stats.get(keys.key(0))


def _settled() -> int:
    # What a chunk of keys leaves behind in Python's own memory is there before and after.
    _each_chunk(CHUNK, len)
    gc.collect()
    return resident_bytes()


TASKS: dict[str, Callable[..., dict[str, float]]] = {
    "count": _count,
    "open": _open,
    "fill": _fill,
    "dict": _dict,
}

if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    found = TASKS[task](*(int(word) if word.isdecimal() else word for word in arguments))
    sys.stdout.write(json.dumps(found) + "\n")
