"""Beside what keeps counters outside of the process, or on the disk: Redis and SQLite."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from crdtstats.bench import keys
from crdtstats.bench.lab import Lab, peer_module
from crdtstats.bench.outcome import SkippedError
from crdtstats.bench.race import Race, Side
from crdtstats.bench.row import Sides, race

START_S = 10.0
PIPELINE = 1_000
BATCH = 10_000
SINGLE = 500


@contextlib.contextmanager
def redis_server(lab: Lab) -> Generator[Any]:
    """A client of a Redis server of our own, on a socket in the directory: nobody else is reached or disturbed.

    Raises:
        SkippedError: redis-server or the client is not installed, or it does not start.
    """
    redis = peer_module("redis")
    program = shutil.which("redis-server")
    if program is None:
        raise SkippedError("redis-server is not installed")
    home = lab.path("redis")
    home.mkdir()
    socket = home / "socket"
    options = [
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--dir",
        str(home),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(socket, server)
        with contextlib.closing(redis.Redis(unix_socket_path=str(socket))) as client:
            yield client
    finally:
        server.terminate()
        server.wait(START_S)


def _wait_for(socket: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not socket.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise SkippedError("redis-server does not start here")
        time.sleep(0.01)


def redis_bytes_per_key(lab: Lab, count: int) -> float:
    """Memory of a Redis server for each of ``count`` counters."""
    with redis_server(lab) as client:
        before = _resident_bytes(client)
        for first in range(0, count, BATCH):
            pipeline = client.pipeline(transaction=False)
            for number in range(first, first + BATCH):
                # Numbers below 10,000 are objects that all keys of Redis share: no counter stays there.
                pipeline.incrby(keys.key(number), 10_000 + number)
            pipeline.execute()
        return (_resident_bytes(client) - before) / count


def _resident_bytes(client: Any) -> int:
    pages = Path(f"/proc/{client.info('server')['process_id']}/statm")
    if pages.exists():
        return int(pages.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return client.info("memory")["used_memory_rss"]


@contextlib.contextmanager
def _redis_incr(lab: Lab) -> Sides:
    work = keys.keys(SINGLE)
    with redis_server(lab) as client, lab.store(flush_interval_s=None) as stats:

        def ours(work: list[str]) -> None:
            for key in work:
                stats.increment(key)

        def peer(work: list[str]) -> None:
            for key in work:
                client.incr(key)

        yield Race(Side(ours, lambda turn: work), Side(peer, lambda turn: work), SINGLE, 3)


@contextlib.contextmanager
def _redis_pipeline(lab: Lab) -> Sides:
    work = keys.keys(BATCH)
    with redis_server(lab) as client, lab.store(flush_interval_s=None) as stats:

        def peer(work: list[str]) -> None:
            for first in range(0, BATCH, PIPELINE):
                pipeline = client.pipeline(transaction=False)
                for key in work[first : first + PIPELINE]:
                    pipeline.incr(key)
                pipeline.execute()

        yield Race(Side(stats.update, lambda turn: work), Side(peer, lambda turn: work), BATCH, 3)


@contextlib.contextmanager
def _sqlite_upsert(lab: Lab) -> Sides:
    """Each batch is durable on both sides: ours is flushed."""
    work = keys.keys(BATCH)
    rows = [(key,) for key in work]
    database = sqlite3.connect(lab.path("peer.sqlite"), isolation_level=None)
    with contextlib.closing(database), lab.store() as stats:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE counts (key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID")
        upsert = "INSERT INTO counts VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET value = value + 1"

        def ours(work: list[str]) -> None:
            stats.update(work)
            stats.flush()

        def peer(_: object) -> None:
            database.execute("BEGIN")
            database.executemany(upsert, rows)
            database.execute("COMMIT")

        yield Race(Side(ours, lambda turn: work), Side(peer), BATCH, 3)


ROWS = (
    race(
        "redis-incr",
        "increment(key), one by one",
        "Redis INCR over a unix socket",
        None,
        _redis_incr,
        "normal",
    ),
    race(
        "redis-pipeline",
        "update(list of 10k str)",
        "Redis INCR, pipelines of 1,000",
        None,
        _redis_pipeline,
        "normal",
    ),
    race(
        "sqlite-upsert",
        "update(list of 10k str) and flush",
        "SQLite upsert of 10k in one transaction, both durable",
        None,
        _sqlite_upsert,
        "normal",
    ),
)
