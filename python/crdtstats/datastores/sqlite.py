"""The default datastore: an SQLite file, and beside it the values of large batches."""

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
from crdtstats.datastores.sqlite_schema import immediate, is_full, prepare, translated
from crdtstats.datastores.sqlite_values import Row, ValueFiles
from crdtstats.errors import ClosedError, CrdtStatsError, DataError, UsageError

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

ROW = "SELECT key, value, file, at, size FROM entry WHERE key = ?"
PUT = """
    INSERT INTO entry (key, value, file, at, size) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, file = excluded.file, at = excluded.at, size = excluded.size
"""

_log = logging.getLogger("crdtstats.datastores")


class SQLiteDatastore:
    """Bytes under ``/``-clean keys in one SQLite file. Any thread may call.

    One connection under one lock, write-ahead log, ``synchronous=FULL``: when ``put``, ``delete`` or
    ``batch`` returns, power loss keeps it (one fsync each, so prefer one batch to many puts). A batch with more than
    ``APART_BYTES_MIN`` of large values lays them into a file of the directory ``<path>-values``, which belongs to the
    SQLite file as its log does: copy both, or neither.

    Errors: ``UnavailableError`` while another process holds the file, when the disk is full or the file
        cannot be opened or written; ``DataError`` for a damaged file, one of another program, or one of a
        newer version, and, with the attribute ``key``, for a value alone whose file is missing or cut;
        ``ClosedError`` after ``close``, and in a process that inherited the object through ``fork()``.
    """

    TAKES_BLOCKS = True
    """Values may be blocks of the engine's, which lie in its memory: no copy of a large flush is made."""

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._connection: sqlite3.Connection | None = None  # first: close() and __del__ rely on it
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._in_doubt = False  # a commit has failed, and SQLite's log may hold all of it nevertheless
        self._path = Path(os.path.abspath(path))  # a later chdir must not matter
        self._files = ValueFiles(self._path)
        if not self._path.parent.is_dir():
            raise UsageError(f"the directory of {self._path} is missing: make it first", path=str(self._path))
        with translated(self._path):
            connection = sqlite3.connect(
                self._path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            try:
                prepare(connection, self._path)
                self._tidy(connection, in_doubt=True)
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
        key = clean(key)
        with self._open() as connection:
            row = connection.execute(ROW, (key,)).fetchone()
            value = None if row is None else self._value(connection, row)
        if value is None:
            raise KeyError(key)
        return value

    def has(self, key: str) -> bool:
        """Whether ``key`` holds a value; reads no value."""
        try:
            self._one("SELECT 1 FROM entry WHERE key = ?", clean(key))
        except KeyError:
            return False
        return True

    def get_size(self, key: str) -> int:
        """Bytes in the value of ``key``, without reading it; raises ``KeyError`` when there is none."""
        return self._one("SELECT coalesce(size, length(value)) FROM entry WHERE key = ?", clean(key))

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
        A damaged value ends it, after all that comes before.
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

    def _value(self, connection: sqlite3.Connection, row: Row) -> bytes | None:
        """The value of a row; None where another process has removed it since."""
        while True:
            key, value, file, at, size = row
            if file is None or at is None or size is None:
                return value
            found = self._files.read(file, at, size)
            # What another process deletes it may punch out of the file after that: so whether it stands is asked last.
            again = connection.execute(ROW, (key,)).fetchone()
            if again is None:
                return None
            if again == row:
                if found is None or len(found) < size:
                    raise self._files.damaged(key, file, "missing" if found is None else "cut")
                return found
            row = again

    def _write(self, puts: list[tuple[str, bytes]], deletes: list[str]) -> None:
        with self._open() as connection:
            if self._in_doubt:
                # The batch may come true, so its file and number are not for others before that is settled.
                self._files.sweep(connection, in_doubt=True)
                self._in_doubt = False
            try:
                with immediate(connection):
                    connection.executemany(PUT, self._files.place(connection, puts))
                    connection.executemany("DELETE FROM entry WHERE key = ?", [(key,) for key in deletes])
                    self._in_doubt = True
            except BaseException as error:
                if is_full(error):  # even at the commit: its mark comes last, and had no room
                    self._in_doubt = False
                if not self._in_doubt:
                    self._tidy(connection, in_doubt=False)
                raise
            self._in_doubt = False
            self._give_back(connection, bool(deletes))

    def _tidy(self, connection: sqlite3.Connection, *, in_doubt: bool) -> None:
        """Remove what a batch that failed has left; that it cannot is not what the caller has to know."""
        try:
            self._files.sweep(connection, in_doubt=in_doubt)
        except (sqlite3.Error, CrdtStatsError) as error:
            _log.warning("files of an unfinished batch stay until the next open: %s", error)

    def _give_back(self, connection: sqlite3.Connection, deleted: bool) -> None:
        """Give space back to the disk; that it cannot is no failure of the batch, which is committed."""
        try:
            self._files.give_back(connection)
            if deleted:
                _shrink(connection)
        except (sqlite3.Error, CrdtStatsError) as error:
            _log.warning("could not give space back, a later batch will: %s", error)

    def _pages(self, after: str, last: str, keys_only: bool) -> Iterator[tuple[str, bytes]]:
        columns = "key, x'', NULL, NULL, NULL" if keys_only else "key, value, file, at, size"
        statement = f"SELECT {columns} FROM entry WHERE key > ? AND key < ? ORDER BY key LIMIT {PAGE_ENTRIES}"
        while True:
            with self._open() as connection:
                rows: list[Row] = []
                size = 0
                with contextlib.closing(connection.execute(statement, (after, last))) as found:
                    for row in found:
                        rows.append(row)
                        size += row[4] or len(row[1])
                        if size >= PAGE_BYTES:
                            break
                # Only now: while the query is open, nothing newer would be seen.
                page, damage = self._values(connection, rows)
            if not rows:
                return
            yield from page
            if damage is not None:
                raise damage
            after = rows[-1][0]

    def _values(
        self, connection: sqlite3.Connection, rows: list[Row]
    ) -> tuple[list[tuple[str, bytes]], DataError | None]:
        """The entries of a page, up to one whose value is damaged."""
        page: list[tuple[str, bytes]] = []
        for row in rows:
            try:
                value = self._value(connection, row)
            except DataError as error:
                return page, error
            if value is not None:
                page.append((row[0], value))
        return page, None


def _shrink(connection: sqlite3.Connection) -> None:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > FREE_PAGES_KEPT:
        count = min(free - FREE_PAGES_KEPT, FREE_PAGES_PER_BATCH)
        # Not execute(): that steps once, which frees one page (test_deletes_give_space_back).
        connection.executescript(f"PRAGMA incremental_vacuum({count})")


_inheritable: weakref.WeakSet[SQLiteDatastore] = weakref.WeakSet()


def _abandon_inherited() -> None:
    for datastore in list(_inheritable):
        datastore.abandon()


os.register_at_fork(after_in_child=_abandon_inherited)
