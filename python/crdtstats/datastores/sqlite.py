"""The default datastore: one SQLite file."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from crdtstats.datastores.clean import below, changes, clean, entry
from crdtstats.datastores.sqlite_schema import prepare, translated
from crdtstats.errors import ClosedError, UsageError

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for another process that holds the file (a backup, a shell)."""
PAGE_ENTRIES = 256
"""Entries that a query reads at once, at most: others get their turn between two pages."""
PAGE_BYTES = 1 << 20
"""Bytes of values after which a query's page ends early: a page holds at most this and one value more."""
FREE_PAGES_KEPT = 256
"""Free pages that stay in the file for the next writes (4 MiB): above it, deletes give back to the disk."""
FREE_PAGES_PER_BATCH = 64
"""Free pages given back by one batch: moves 1 MiB at most, so that no batch becomes slow by it."""

_log = logging.getLogger("crdtstats.datastores")


class SQLiteDatastore:
    """Bytes under ``/``-clean keys in one SQLite file. Any thread may call.

    One connection under one lock, write-ahead log, ``synchronous=FULL``: when ``put``, ``delete`` or
    ``batch`` returns, power loss keeps it (one fsync each, so prefer one batch to many puts).

    Errors: ``UnavailableError`` while another process holds the file, when the disk is full or the file
        cannot be opened or written; ``DataError`` for a damaged file, one of another program, or one of a
        newer version; ``ClosedError`` after ``close``, and in a process that inherited the object through
        ``fork()``.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._connection: sqlite3.Connection | None = None  # first: close() and __del__ rely on it
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._path = Path(os.path.abspath(path))  # a later chdir must not matter
        if not self._path.parent.is_dir():
            raise UsageError(f"the directory of {self._path} is missing: make it first", path=str(self._path))
        with translated(self._path):
            connection = sqlite3.connect(
                self._path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            try:
                prepare(connection, self._path)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        _inheritable.add(self)

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._path

    def get(self, key: str) -> bytes:
        """The value of ``key``; raises ``KeyError`` when there is none."""
        return self._one("SELECT value FROM entry WHERE key = ?", clean(key))

    def has(self, key: str) -> bool:
        """Whether ``key`` holds a value; reads no value."""
        try:
            self._one("SELECT 1 FROM entry WHERE key = ?", clean(key))
        except KeyError:
            return False
        return True

    def get_size(self, key: str) -> int:
        """Bytes in the value of ``key``, without reading it; raises ``KeyError`` when there is none."""
        return self._one("SELECT length(value) FROM entry WHERE key = ?", clean(key))

    def put(self, key: str, value: bytes) -> None:
        """Store ``value`` under ``key``, durably, in place of what was there."""
        self._write([entry(key, value)], [])

    def delete(self, key: str) -> None:
        """Remove ``key``, durably; a missing key is no error."""
        self._write([], [clean(key)])

    def query(self, prefix: str, *, keys_only: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield (key, value) strictly below ``prefix``, sorted by key bytes (``keys_only``: ``b""``).

        Reads in pages (256 entries or 1 MiB), and nothing is held between them: an entry is given as it is
        when its page is read, so others may write meanwhile. ``keys_only`` reads the index and no value.
        """
        first, last = below(prefix)
        with self._open():
            pass
        return self._pages(first, last, keys_only)

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        """Apply all or nothing, durably: the puts in order (of one key twice, the last), then the deletes."""
        self._write(*changes(puts, deletes))

    def sync(self, prefix: str = "/") -> None:
        """Nothing to wait for: every write is durable when it returns."""
        clean(prefix)
        with self._open():
            pass

    def close(self) -> None:
        """Close the file; from now on every call raises ``ClosedError``. Closing twice is no error.

        In a process that inherited the object through ``fork()`` this is ``abandon()``.
        """
        if self._process != os.getpid():
            self.abandon()
            return
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with translated(self._path):
                    connection.close()

    def abandon(self) -> None:
        """Make this object closed without touching the connection, which this process then never closes.

        For a child after ``fork()``, where it happens by itself: SQLite's locks and mutexes are the
        parent's (one may be held by a thread that does not exist here), so even closing could block, or
        remove the parent's log. Takes no lock. The memory stays taken until the process ends or execs.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            # A reference that nothing gives back: no garbage collection, no interpreter exit closes it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def __enter__(self) -> SQLiteDatastore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    @contextlib.contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """The connection, ours alone for the block; SQLite's errors come out as ours."""
        if self._process != os.getpid():  # before the lock: a thread that is not here may hold it
            self.abandon()
            raise ClosedError(f"{self._path} was opened before fork(): open it again in this process")
        with self._lock:
            if self._connection is None:
                raise ClosedError(f"{self._path} is closed: open it again")
            with translated(self._path):
                yield self._connection

    def _one(self, statement: str, key: str) -> Any:
        with self._open() as connection:
            row = connection.execute(statement, (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return row[0]

    def _write(self, puts: list[tuple[str, bytes]], deletes: list[str]) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(
                    "INSERT INTO entry (key, value) VALUES (?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    puts,
                )
                connection.executemany("DELETE FROM entry WHERE key = ?", [(key,) for key in deletes])
                connection.execute("COMMIT")
            except BaseException:  # KeyboardInterrupt too: no transaction may stay open behind the lock
                if connection.in_transaction:  # a full disk ends it by itself
                    connection.execute("ROLLBACK")
                raise
            if deletes:
                _shrink(connection)

    def _pages(self, after: str, last: str, keys_only: bool) -> Iterator[tuple[str, bytes]]:
        value = "x''" if keys_only else "value"
        statement = (
            f"SELECT key, {value} FROM entry WHERE key > ? AND key < ? ORDER BY key LIMIT {PAGE_ENTRIES}"
        )
        while True:
            page: list[tuple[str, bytes]] = []
            size = 0
            with (
                self._open() as connection,
                contextlib.closing(connection.execute(statement, (after, last))) as rows,
            ):
                for row in rows:
                    page.append(row)
                    size += len(row[1])
                    if size >= PAGE_BYTES:
                        break
            if not page:
                return
            yield from page
            after = page[-1][0]


def _shrink(connection: sqlite3.Connection) -> None:
    """Give free pages back to the disk; that it cannot is no failure of the batch, which is committed."""
    try:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free > FREE_PAGES_KEPT:
            count = min(free - FREE_PAGES_KEPT, FREE_PAGES_PER_BATCH)
            # Not execute(): that steps once, which frees one page (test_deletes_give_space_back).
            connection.executescript(f"PRAGMA incremental_vacuum({count})")
    except sqlite3.Error as error:
        _log.warning("could not give back free pages, a later batch will: %s", error)


_inheritable: weakref.WeakSet[SQLiteDatastore] = weakref.WeakSet()


def _abandon_inherited() -> None:
    for datastore in list(_inheritable):
        datastore.abandon()


os.register_at_fork(after_in_child=_abandon_inherited)
