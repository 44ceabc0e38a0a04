"""The SQLite datastore when a process is killed, and when one forks."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from crdtstats.datastores import SQLiteDatastore

BATCH = 20

WRITER = f"""
import sys
from crdtstats.datastores import SQLiteDatastore
path, first = sys.argv[1], int(sys.argv[2])
datastore = SQLiteDatastore(path)
print("ready", flush=True)
for number in range(first, first + 100_000):
    value = bytes([number % 256]) * (number * 37 % 20_000)
    puts = [(f"/batch/{{number:06}}/{{part}}", value) for part in range({BATCH})]
    datastore.batch(puts + [("/last", str(number).encode())], [f"/batch/{{number - 200:06}}/0"])
    print(number, flush=True)
"""

FORKS = """
import gc, os, signal, sys, threading
from crdtstats.datastores import SQLiteDatastore
from crdtstats.errors import ClosedError

datastore = SQLiteDatastore(sys.argv[1])
datastore.batch([("/a", b"parent"), ("/page/only", b"")])
stop = threading.Event()

def write():
    while not stop.is_set():  # so that a fork finds the lock, and SQLite's mutex, taken
        datastore.put("/busy", os.urandom(20_000))

writer = threading.Thread(target=write)
writer.start()
query = datastore.query("/page")
next(query)  # all that its page holds: the next one would have to ask SQLite
try:
    for turn in range(12):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that blocks dies, and the parent sees it
            refused = 0
            read, write = (lambda: datastore.get("/a")), (lambda: datastore.put("/a", b"child"))
            for call in (read, write, lambda: next(query)):
                try:
                    call()
                except ClosedError:
                    refused += 1
            datastore.close()
            del datastore, query, call, read, write
            gc.collect()
            sys.exit(refused)  # an ordinary exit: atexit, garbage collection, module teardown
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 3, status
finally:
    stop.set()
    writer.join()
assert datastore.get("/a") == b"parent"
datastore.batch([("/b", b"after the forks")])
datastore.close()
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def until_killed(
    code: str, path: Path, first: int, chance: random.Random, *, lines_max: int, pause_s_max: float
) -> int:
    """Run a writer that says "ready" and then the number of each batch, from ``first`` on, when it is stored; kill it
    at some time. Gives the last number that it said."""
    with run(code, str(path), str(first)) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        said = [writer.stdout.readline() for _ in range(chance.randrange(1, lines_max))]
        time.sleep(chance.random() * pause_s_max)
        os.kill(writer.pid, signal.SIGKILL)
        said += writer.stdout.read().splitlines()
    return max(map(int, said))


def test_a_killed_writer_leaves_whole_batches_and_all_that_it_was_promised(path: Path) -> None:
    seed = 20
    chance = random.Random(seed)
    first = 1
    for turn in range(5):
        promised = until_killed(WRITER, path, first, chance, lines_max=40, pause_s_max=0.01)
        with SQLiteDatastore(path) as datastore:
            last = int(datastore.get("/last"))
            assert promised <= last, f"seed {seed}, turn {turn}"
            parts: Counter[int] = Counter()
            for key, value in datastore.query("/batch"):
                number = int(key.split("/")[2])
                parts[number] += 1
                assert value == bytes([number % 256]) * (number * 37 % 20_000)
            expected = {number: BATCH - (number <= last - 200) for number in range(1, last + 1)}
            assert parts == expected, f"seed {seed}, turn {turn}"
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        first = last + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_touch_nothing_of_their_parent(path: Path) -> None:
    with run(FORKS, str(path)) as parent:
        assert parent.wait(60) == 0
    with SQLiteDatastore(path) as datastore:
        assert datastore.get("/a") == b"parent"
        assert datastore.get("/b") == b"after the forks"
        assert len(datastore.get("/busy")) == 20_000
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
