"""The data directory of one replica: who it is, where it lives, which network it belongs to, and its lock.

Files: ``format`` (version) · ``lock`` · ``identity`` (private key) · ``place`` (where the identity file lived) ·
``network`` (topic) · ``keys/`` (older identities, for their journals) · ``journal/`` · ``blocks.sqlite`` and, for large
batches, ``blocks.sqlite-values/``.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from crdtstats import durable_file
from crdtstats.directory_identity import Chosen, choose, identity_from_outside, keys_in, request_new
from crdtstats.directory_lock import DirectoryLock
from crdtstats.errors import ClosedError, CrdtStatsError, DataError, UnavailableError, UsageError
from crdtstats.settings import Network

log = logging.getLogger("crdtstats.directory")

T = TypeVar("T")

FORMAT_VERSION = 1
RECORD_BYTES_MAX = 4096
"""Of ``format`` and ``network``: what is longer is not ours."""

_OURS = ("identity", "place", "network", "keys", "journal", "blocks.sqlite", "blocks.sqlite-values")
_HARMLESS = ("lock", "lost+found")
"""What may lie in a directory at its first open: a lock of a crashed first open, and what mkfs makes."""


class DataDirectory:
    """An open, locked data directory. Made by :meth:`open`; any thread may call; close it or use ``with``.

    Attributes:
        path: absolute, links resolved.
        topic: of the network that it is bound to.
        replaced: peer id of the identity that this open replaced by a new one, else ``None``.
    """

    def __init__(self, path: Path, lock: DirectoryLock, topic: str, chosen: Chosen) -> None:
        self.path = path
        self.topic = topic
        self.replaced = chosen.replaced
        self._lock = lock
        self._chosen = chosen
        self._writing = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        network_topic: str | None = None,
        identity: bytes | str | os.PathLike[str] | None = None,
    ) -> DataDirectory:
        """Open the directory at ``path``, and make it (mode 0700) where there is none.

        Opened in another place than last time it is a copy: it takes a new identity, with one warning in the
        log. The old key stays in ``keys/`` for the journals found under it. A crash at any moment leaves a
        directory that opens again.

        Args:
            path: its parent has to exist.
            network_topic: binds the directory at the first open, has to be the same later. ``None``: what it
                is bound to, at first the native default network.
            identity: an Ed25519 private key as libp2p marshals it, or the path of one: used instead of one of
                our own, and not stored.

        Raises:
            UsageError: bound to another topic, no directory, not ours, or a wrong ``identity``.
            UnavailableError: in use (by the process in ``.pid``), not writable, full.
            DataError: damaged, or written by a newer version.

        Cost: some fsyncs at the first open; later one read of four small files.
        """
        where = Path(os.path.realpath(os.fspath(path)))
        given = None if identity is None else identity_from_outside(identity)
        lock = None
        try:
            _make(where)
            lock = DirectoryLock(where / "lock")
            durable_file.remove_leftovers(where)
            _check_format(where)
            topic = _bind(where, network_topic)
            for name in ("keys", "journal"):
                _make_inner(where / name)
            durable_file.remove_leftovers(where / "keys")
            chosen = choose(where, given, lock.fd)
            return cls(where, lock, topic, chosen)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, OSError) and not isinstance(error, CrdtStatsError):
                raise _refused(where, error) from error
            raise

    @property
    def identity(self) -> Any:
        """The ``_core.Identity`` of this replica."""
        self._check_open()
        return self._chosen.identity

    @property
    def journal_dir(self) -> Path:
        """Where the writers' journals live."""
        return self.path / "journal"

    @property
    def blocks_path(self) -> Path:
        """Where the default datastore lives."""
        return self.path / "blocks.sqlite"

    def keys(self) -> dict[str, Any]:
        """Peer id → ``_core.Identity`` of earlier lives: only to publish the journals found under them.

        A damaged key is logged and left out. Raises ``ClosedError``, ``UnavailableError``.
        """
        self._check_open()
        try:
            found = keys_in(self.path / "keys")
        except OSError as error:
            raise _refused(self.path, error) from error
        found.pop(self._chosen.identity.peer_id, None)
        return found

    def key_of(self, peer_id: str, journal: str | os.PathLike[str]) -> Any:
        """The ``_core.Identity`` that ``journal`` was written under.

        Raises:
            DataError: it is not here; names the journal and the remedy.
            ClosedError: the directory is closed.
        """
        key = self.identity if self._chosen.identity.peer_id == peer_id else self.keys().get(peer_id)
        if key is None:
            raise DataError(
                f"the journal {os.fspath(journal)} was counted as {peer_id}, and the key of that identity is not "
                f"here: put its key file into {self.path / 'keys'}, or open once with identity= set to it; "
                "remove the journal only to give up what it counted",
                path=os.fspath(journal),
                peer_id=peer_id,
            )
        return key

    def rotate_identity(self) -> None:
        """Take a new identity at the next open: a clone of this directory is alive somewhere. Idempotent.

        An identity from outside cannot be replaced here: that is logged, and nothing changes.
        Raises ``ClosedError``, ``UnavailableError``.
        """
        self._check_open()
        peer_id = self._chosen.identity.peer_id
        if self._chosen.outside:
            log.warning(
                "identity %s comes from outside and is in use elsewhere too: give each replica its own",
                peer_id,
            )
            return
        with self._writing:
            try:
                request_new(self.path, peer_id, "a peer showed nodes of it that were not written here")
            except OSError as error:
                raise _refused(self.path, error) from error

    def disk_bytes(self) -> int:
        """Bytes that the directory takes on the disk. Cost: one stat for each file. Raises ``ClosedError``."""
        self._check_open()
        total = 0
        for where, _, names in os.walk(self.path):
            for name in names:
                try:
                    # Blocks, not sizes: files with holes, and those reserved ahead, count as they cost.
                    total += os.lstat(os.path.join(where, name)).st_blocks * 512
                except FileNotFoundError:
                    continue  # a journal that was just published
        return total

    @property
    def closed(self) -> bool:
        return self._lock.fd < 0 or self._lock.inherited

    def close(self) -> None:
        """Let the next process in. Idempotent; in a forked child it does nothing."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._lock.inherited:
            raise ClosedError(f"{self.path} was opened before fork(): open it in the process that uses it")
        if self._lock.fd < 0:
            raise ClosedError(f"{self.path} is closed: open it again")


def _make(path: Path) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory", path=str(path)) from None
    except FileNotFoundError:
        raise UsageError(f"{path.parent} does not exist: make it first", path=str(path)) from None
    else:
        durable_file.sync_directory(path.parent)
        return
    names = set(os.listdir(path))
    if "format" in names:
        return
    foreign = sorted(name for name in names.difference(_HARMLESS) if not durable_file.is_leftover(name))
    if any(name in _OURS for name in foreign):
        raise DataError(
            f"{path}: the file 'format' is missing beside {foreign[0]!r}; restore the whole directory from a backup",
            path=str(path),
        )
    if foreign:
        raise UsageError(
            f"{path} holds other files ({foreign[0]!r}) and is no data directory: name a new or empty one",
            path=str(path),
        )


def _make_inner(path: Path) -> None:
    # A link would be shared with a copy of the directory, and the copy would publish and remove our journals.
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise DataError(f"{path} has to be a directory of its own, no link and no file", path=str(path))
    if not path.exists():
        os.mkdir(path, 0o700)
        durable_file.sync_directory(path.parent)


def _check_format(path: Path) -> None:
    found = _read_record(path / "format", "format", int)
    if found is None:
        durable_file.write(path / "format", _record("format", FORMAT_VERSION))
    elif found > FORMAT_VERSION:
        raise DataError(
            f"{path} was written by a newer version of crdtstats (format {found}, this one knows {FORMAT_VERSION}): "
            "upgrade crdtstats",
            path=str(path),
            format=found,
        )
    elif found != FORMAT_VERSION:
        raise DataError(
            f"{path / 'format'} names format {found}, which never was: it is damaged", path=str(path)
        )


def _bind(path: Path, topic: str | None) -> str:
    bound = _read_record(path / "network", "topic", str)
    if bound is None:
        topic = Network().topic if topic is None else topic
        durable_file.write(path / "network", _record("topic", topic))
        return topic
    if topic is not None and topic != bound:
        raise UsageError(
            f"{path} is bound to the network {bound}, not {topic}: open it with that one, or name a new directory",
            path=str(path),
            bound=bound,
            topic=topic,
        )
    return bound


def _record(name: str, value: object) -> bytes:
    return json.dumps({name: value}).encode() + b"\n"


def _read_record(path: Path, name: str, kind: type[T]) -> T | None:
    data = durable_file.read(path, RECORD_BYTES_MAX)
    if data is None:
        return None
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        record = None
    value = cast("dict[str, object]", record).get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{path} is damaged: restore it from a backup of this directory", path=str(path))
    return value


def _refused(path: Path, error: OSError) -> CrdtStatsError:
    said = error.strerror or str(error)
    why = {
        errno.EROFS: "its file system is read-only",
        errno.EACCES: "this user may not write there",
        errno.EPERM: "this user may not write there",
        errno.ENOSPC: "its file system is full",
        errno.EDQUOT: "this user's quota is used up",
        errno.EMFILE: "this process has too many open files",
    }.get(error.errno or 0, said)
    if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return UsageError(f"{path} can be no directory: {said}", path=str(path))
    return UnavailableError(
        f"{path} cannot be opened: {why} ({error.filename or path})", path=str(path), errno=error.errno
    )
