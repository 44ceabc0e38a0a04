"""The lock of a data directory: one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from crdtstats import _core
from crdtstats.errors import DataError, UnavailableError

LOCK_TRIES_MAX = 10
"""The directory was replaced between opening and locking; somebody who does that ten times has other troubles."""
PID_BYTES_MAX = 20


class DirectoryLock:
    """Holds ``flock`` on a file that is never removed, with the holder's process id in it.

    ``flock`` and not fcntl locks: there, closing any other descriptor of the file frees the lock. A forked
    child closes the descriptor and never unlocks (``_core.open_guarded``); the lock belongs to the parent.

    Raises:
        UnavailableError: another holder (named), or the file system has no locks.
        DataError: the lock file is not a regular file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._epoch = _core.fork_epoch()
        for _ in range(LOCK_TRIES_MAX):
            self._take(path)
            with contextlib.suppress(FileNotFoundError):
                here, held = os.stat(path, follow_symlinks=False), os.fstat(self._fd)
                if (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino):
                    os.ftruncate(self._fd, 0)
                    os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
                    return
            self.release()
        raise UnavailableError(f"{path} is replaced again and again while it is being locked", path=str(path))

    def _take(self, path: Path) -> None:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DataError(f"{path} has to be a regular file: remove it while nobody uses it", path=str(path))
        self._fd = _core.open_guarded(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _pid_in(self._fd)
            self._close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise UnavailableError(
                    f"{path.parent}: its file system cannot lock ({error.strerror}); choose another one",
                    path=str(path.parent),
                ) from error
            who = "another process" if holder is None else f"process {holder}"
            if holder == os.getpid():
                who += " (this one)"
            raise UnavailableError(
                f"{path.parent} is in use by {who}: a data directory is used by one process at a time, "
                "close it there first",
                path=str(path.parent),
                pid=holder,
            ) from None

    @property
    def fd(self) -> int:
        """The descriptor; -1 once released."""
        return self._fd

    @property
    def inherited(self) -> bool:
        """Whether this process got the object through ``fork()``: then it holds nothing."""
        return self._epoch != _core.fork_epoch()

    def release(self) -> None:
        """Let the next one in. Idempotent; in a forked child nothing happens."""
        if self._fd < 0 or self.inherited:
            return
        # Unlocked first: a child that is forked between the next two steps holds the file, but no lock.
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        _core.close_guarded(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.release()


def _pid_in(fd: int) -> int | None:
    """The holder's process id; ``None`` in the moment before it has written it."""
    try:
        return int(os.pread(fd, PID_BYTES_MAX, 0))
    except (ValueError, OSError):
        return None
