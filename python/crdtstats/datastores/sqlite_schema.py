"""What an SQLite file of ours is: its schema, the check that a file is one, and what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path

from crdtstats.errors import CrdtStatsError, DataError, InternalError, UnavailableError, UsageError

APPLICATION_ID = int.from_bytes(b"crds")
"""In the file's header: ``file`` and every later version tell our files from others by it."""
SCHEMA_VERSION = 2
"""In ``user_version``. A reader refuses a greater one. 1 had all values in the file, and is brought to 2 at once."""

LOG_BYTES_KEPT = 16 << 20
"""What a large batch leaves of the write-ahead log once that starts anew: the rest is given back."""

# A table with a rowid and a separate key index, not WITHOUT ROWID: there, the values (up to 4 MiB) would
# lie in the key's own tree, each lookup would walk over their pages, and a key-only query would read them.
# Keys lie in the index *and* in the table (some 60 bytes each): cheap beside the values.
SCHEMA = "CREATE TABLE entry (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL)"

# Values in files of their own (sqlite_values): where they are, which files there are, and what was deleted of them and
# not given back to the disk yet.
SCHEMA_OF_FILES = (
    "ALTER TABLE entry ADD COLUMN file INTEGER",
    "ALTER TABLE entry ADD COLUMN at INTEGER",
    "ALTER TABLE entry ADD COLUMN size INTEGER",
    "CREATE INDEX entry_file ON entry (file) WHERE file IS NOT NULL",
    "CREATE TABLE file (number INTEGER PRIMARY KEY AUTOINCREMENT)",
    "CREATE TABLE gone (file INTEGER NOT NULL, at INTEGER NOT NULL, size INTEGER NOT NULL)",
    *(
        f"CREATE TRIGGER gone_by_{verb} AFTER {verb} ON entry WHEN old.file IS NOT NULL"
        " BEGIN INSERT INTO gone VALUES (old.file, old.at, old.size); END"
        for verb in ("delete", "update")
    ),
)

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
}
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_ERROR,  # our statements are fixed: only a missing table or column makes one wrong
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_CONSTRAINT,
}
BUSY_PAUSE_S = 0.005
"""Between two tries of what SQLite does not wait for by itself."""
PAGE_BYTES = 1 << 14
"""Page size of a new file: large blocks are written twice as fast as with 4 KiB pages, small ones no slower."""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make an empty file ours, refuse one that is another's, and set the modes of a fresh connection."""
    if _is_empty(connection):
        _create(connection)
    _check(connection, path)
    _bring_to_two(connection)
    mode = _use_log(connection)
    # Each commit syncs the log, so a batch survives power loss. Without WAL (a file system without shared
    # memory) there is a rollback journal, whose removal must be synced as well: EXTRA.
    connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'wal' else 'EXTRA'}")
    connection.execute("PRAGMA fullfsync = ON")  # macOS, where fsync alone does not reach the disk
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}").fetchall()
    connection.execute("PRAGMA trusted_schema = OFF")


@contextlib.contextmanager
def immediate(connection: sqlite3.Connection) -> Generator[None]:
    """A transaction that may write from its beginning, and is undone where the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:  # KeyboardInterrupt too: no transaction may stay open behind the lock
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


def is_full(error: BaseException) -> bool:
    """Whether SQLite says that the disk is full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


@contextlib.contextmanager
def translated(path: Path) -> Generator[None]:
    """Raise what SQLite raises in the block as ours, by what the caller should do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _use_log(connection: sqlite3.Connection) -> str:
    """Turn to the write-ahead log; gives the mode that it is then.

    Of several that open a new file at once each may hold what another needs for it: there SQLite does not wait, as it
    does elsewhere, but says at once that it is busy.
    """
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    until = time.monotonic() + timeout_ms / 1000
    while True:
        try:
            return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        time.sleep(BUSY_PAUSE_S)


def _is_empty(connection: sqlite3.Connection) -> bool:
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    return version == 0 and _application_id(connection) == 0


def _create(connection: sqlite3.Connection) -> None:
    # Before the first page is written, or never. It lets pruned blocks give their space back to the disk.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA encoding = 'UTF-8'")  # key order is byte order
    with immediate(connection):
        if _is_empty(connection):  # else another process was faster
            connection.execute(SCHEMA)
            _add_files(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = _application_id(connection)
    if application != APPLICATION_ID:
        raise DataError(
            f"{path} is an SQLite file of another program (application id {application:#x}): "
            "name another file, nothing was changed",
            path=str(path),
        )
    version = _version(connection)
    if not 1 <= version <= SCHEMA_VERSION:
        raise DataError(
            f"{path} has datastore format {version}, this version of crdtstats knows {SCHEMA_VERSION}: "
            "update crdtstats, nothing was changed",
            path=str(path),
            version=version,
        )


def _bring_to_two(connection: sqlite3.Connection) -> None:
    """What is there stays where it is; large batches that come are laid beside the file."""
    if _version(connection) == 1:
        with immediate(connection):
            if _version(connection) == 1:  # else another process was faster
                _add_files(connection)


def _add_files(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA_OF_FILES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _application_id(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA application_id").fetchone()[0]


def _translate(error: sqlite3.Error, path: Path) -> CrdtStatsError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the module itself, before SQLite was asked
        return InternalError(f"{path}: {error}", path=str(path))
    message = f"{path}: {error} ({error.sqlite_errorname})"
    if code in (sqlite3.SQLITE_IOERR_CORRUPTFS, _IOERR_SHORT_READ):
        return DataError(message, path=str(path))
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_TOOBIG:
        return UsageError(message, path=str(path))
    if primary in _UNAVAILABLE:
        return UnavailableError(message + ": try again", path=str(path))
    if primary in _DAMAGED:
        return DataError(message + ": restore it, or move it away and fetch the blocks again", path=str(path))
    return InternalError(message, path=str(path))


_IOERR_SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
