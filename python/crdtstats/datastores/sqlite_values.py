"""Large values beside an SQLite file: each large batch is one file, written once, which rows then point to.

Through SQLite a byte is written to the log, synced, and written to the file once more. Here it is written once, and the
disk begins while the next value is still on its way. A file has a number that is never used again, is never changed
(what is deleted of it becomes a hole), and is removed with its last value. SQLite's rows alone say what counts: a file
is durable before a row names it, and a file that no row names is what a crash or a full disk left.

Whoever makes, punches or removes a file holds SQLite's write lock, so two processes never do at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from crdtstats import durable_file
from crdtstats.datastores.sqlite_schema import immediate
from crdtstats.errors import CrdtStatsError, DataError, UnavailableError

APART_BYTES_MIN = 1 << 20
"""A batch with so many bytes of large values puts them into a file. It costs two syncs more than SQLite's log alone and
pays from half of this on; with less there would be many files."""
LARGE_BYTES_MIN = 1 << 16
"""A value from this size on is large: a few hundred to a file at most, and none is read for less than a page or two."""

Row = tuple[str, bytes, int | None, int | None, int | None]
"""(key, value, file, at, size): the value is here, or ``size`` bytes at ``at`` of a file."""

_PUNCH_KEEP_SIZE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_SYNC_WRITE = 2  # SYNC_FILE_RANGE_WRITE


class ValueFiles:
    """The directory of value files of one SQLite file. Holds nothing open; its owner's lock guards it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._directory = database.with_name(f"{database.name}-values")
        self._is_durable = False  # the directory's own name

    def place(self, connection: sqlite3.Connection, puts: Sequence[tuple[str, bytes]]) -> list[Row]:
        """Rows of what is put, in the transaction that is open; large values of a large batch are in a file, durably.

        Raises:
            UnavailableError: the disk is full, or refuses.
        """
        if sum(len(value) for _, value in puts if len(value) >= LARGE_BYTES_MIN) < APART_BYTES_MIN:
            return [(key, value, None, None, None) for key, value in puts]
        number = connection.execute("INSERT INTO file DEFAULT VALUES").lastrowid
        rows: list[Row] = []
        at = 0
        with self._translated(), self._new_file(number) as fd:
            for key, value in puts:
                if len(value) < LARGE_BYTES_MIN:
                    rows.append((key, value, None, None, None))
                    continue
                _write_all(fd, value)
                _begin_writing(fd, at, len(value))
                rows.append((key, b"", number, at, len(value)))
                at += len(value)
            os.fsync(fd)
            durable_file.sync_directory(self._directory)
        return rows

    def read(self, file: int, at: int, size: int) -> bytes | None:
        """A value of a file, or as much of it as the file has. ``None``: there is no such file. What was deleted
        meanwhile may read as zeros.

        Raises:
            DataError: something else is in the file's place: nothing is known of its values.
            UnavailableError: it cannot be read.
        """
        with self._translated():
            try:
                fd = durable_file.open_to_read(self._path(file))
            except FileNotFoundError:
                return None
            try:
                value = os.pread(fd, size, at)
                while len(value) < size and (more := os.pread(fd, size - len(value), at + len(value))):
                    value += more
            finally:
                os.close(fd)
        return value

    def damaged(self, key: str, file: int, why: str) -> DataError:
        """What to raise for a value that a row still names, and that its file does not have."""
        path = self._path(file)
        return DataError(
            f"{path} is {why}, and the value of {key} was in it: restore it and {self._database} from one backup",
            path=str(path),
            key=key,
        )

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Give the space of deleted values back to the disk.

        Raises ``sqlite3.Error``, ``UnavailableError``: nothing is lost, and a later call does it.
        """
        if connection.execute("SELECT 1 FROM gone LIMIT 1").fetchone() is None:
            return
        with immediate(connection):
            gone = connection.execute("SELECT file, at, size FROM gone").fetchall()
            unused = {
                file
                for file in {file for file, _, _ in gone}
                if connection.execute("SELECT 1 FROM entry WHERE file = ? LIMIT 1", (file,)).fetchone()
                is None
            }
            with self._translated():
                for file, at, size in gone:
                    if file not in unused:
                        _punch(self._path(file), at, size)
                for file in unused:
                    # Before the row goes: what a crash leaves is a row without a file, which nobody reads.
                    self._path(file).unlink(missing_ok=True)
            connection.executemany("DELETE FROM file WHERE number = ?", [(file,) for file in unused])
            connection.execute("DELETE FROM gone")

    def sweep(self, connection: sqlite3.Connection, *, in_doubt: bool) -> None:
        """Remove files that no row names: of batches that never were.

        Args:
            connection: to the SQLite file.
            in_doubt: the commit of one may have failed with all of it in SQLite's log, where a crash makes it true.

        Raises ``sqlite3.Error``, ``UnavailableError``: a later call does it.
        """
        with self._translated():
            strangers = self._strangers(connection)
        if not strangers:
            return
        if in_doubt:
            # A commit goes into the log where the one that failed lies, or begins the log anew: that one is then no
            # more. The number is taken and never used, so that there is something to write.
            with immediate(connection):
                number = connection.execute("INSERT INTO file DEFAULT VALUES").lastrowid
                connection.execute("DELETE FROM file WHERE number = ?", (number,))
        with immediate(connection), self._translated():
            # Again: the batch of another process may just have been in the middle.
            for name in self._strangers(connection):
                (self._directory / name).unlink(missing_ok=True)

    def _strangers(self, connection: sqlite3.Connection) -> list[str]:
        if not self._directory.is_dir():
            return []
        known = {str(number) for (number,) in connection.execute("SELECT number FROM file")}
        return [name for name in os.listdir(self._directory) if name.isdecimal() and name not in known]

    def _path(self, file: int) -> Path:
        return self._directory / str(file)

    @contextlib.contextmanager
    def _new_file(self, number: int | None) -> Generator[int]:
        mode = os.stat(self._database).st_mode & 0o666  # who may read the one may read the other
        if not self._directory.is_dir():
            self._directory.mkdir(mode | 0o100 | (mode & 0o044) >> 2)
            self._is_durable = False
        if not self._is_durable:
            # Also where another process has made it: that may have ended before it synced.
            durable_file.sync_directory(self._directory.parent)
            self._is_durable = True
        # One of that number is of a batch that never was.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._directory / str(number), flags, mode)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, CrdtStatsError):
                raise
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full" if full else error.strerror
            raise UnavailableError(
                f"{self._directory}: {why}: try again", path=str(self._directory)
            ) from error


def _write_all(fd: int, value: bytes) -> None:
    written = os.write(fd, value)
    while written < len(value):
        written += os.write(fd, memoryview(value)[written:])


def _begin_writing(fd: int, at: int, size: int) -> None:
    """Have the disk begin; nothing waits for it, and nothing is lost where the system cannot."""
    if _sync_file_range is not None:
        _sync_file_range(fd, at, size, _SYNC_WRITE)


def _punch(path: Path, at: int, size: int) -> None:
    """Make a hole. Where the file system has none, the space comes back with the whole file."""
    if _fallocate is None:
        return
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _fallocate(fd, _PUNCH_KEEP_SIZE, at, size)
        finally:
            os.close(fd)


def _libc(name: str, *arguments: type) -> Callable[..., int] | None:
    """A call of Linux that Python does not have. It lets other threads run."""
    try:
        call = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    call.argtypes = arguments
    return call


_sync_file_range = _libc("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_fallocate = _libc("fallocate64", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
