"""Which identity a data directory has: its own key in its own place, a new one in a copy, or one from outside.

``place`` is written before the identity file is renamed to its name, and the old key is saved before both. So
whatever moment a crash picks, the next open finds either the old pair, or a pair that does not fit: and that
takes a new identity, which is always safe.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from crdtstats import _core, durable_file
from crdtstats.errors import DataError, UsageError

log = logging.getLogger("crdtstats.directory")

KEY_BYTES_MAX = 4096
"""A marshalled Ed25519 key has 68 or 100 bytes; longer kinds are still to be refused by name."""
PLACE_BYTES_MAX = 4096

Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The identity of one open: whether it came from outside, and whose place it took."""

    identity: Any
    outside: bool = False
    replaced: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The file ``place``: which identity lived where, and why the next open should take a new one."""

    peer_id: str
    place: Place
    outside: bool = False
    replace: str | None = None

    def to_bytes(self) -> bytes:
        fields = {
            "peer_id": self.peer_id,
            "place": self.place,
            "outside": self.outside,
            "replace": self.replace,
        }
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def read(cls, directory: Path) -> Record | None:
        """``None``: not there, or not readable; then nobody knows the place, and it counts as another."""
        try:
            data = durable_file.read(directory / "place", PLACE_BYTES_MAX)
            fields = None if data is None else json.loads(data)
        except (ValueError, RecursionError, DataError):
            fields = None
        if not isinstance(fields, dict):
            return None
        fields = cast("dict[str, object]", fields)
        peer_id, place, replace = fields.get("peer_id"), fields.get("place"), fields.get("replace")
        if not isinstance(peer_id, str) or not isinstance(place, list):
            return None
        match cast("list[object]", place):
            case [str(kind), int(first), int(second)]:
                reason = None if replace is None else str(replace)
                return cls(peer_id, (kind, first, second), fields.get("outside") is True, reason)
            case _:
                return None


def identity_from_outside(given: object) -> Any:
    """The identity in ``given``: a marshalled private key, or the path of one.

    Raises ``UsageError`` for what is no Ed25519 key or cannot be read.
    """
    if isinstance(given, (bytes, bytearray, memoryview)):
        data, name = bytes(cast("bytes", given)), "identity"
    elif isinstance(given, (str, os.PathLike)):
        path = os.fspath(cast("str | os.PathLike[str]", given))
        name = f"identity {path!r}"
        try:
            with open(path, "rb") as file:
                data = file.read(KEY_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            raise UsageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    else:
        raise UsageError(f"identity is a private key as bytes, or a path, not {type(given).__name__}")
    try:
        return _core.Identity(data)
    except ValueError as error:
        raise UsageError(f"{name} is no Ed25519 private key as libp2p marshals it ({error})") from error


def choose(directory: Path, given: Any, lock_fd: int) -> Chosen:
    """The identity of this open, and everything about it written down durably.

    Args:
        directory: locked, with ``keys/``.
        given: the identity from outside, or ``None``.
        lock_fd: of the lock file: the place of a directory without an identity file.

    Raises:
        DataError: the identity file is damaged.
        UsageError: the last open had an identity from outside, this one has none.
        OSError: a file cannot be read or written.
    """
    own, place = _read_own(directory / "identity")
    record = Record.read(directory)
    if given is not None:
        return _take_given(directory, given, own, place, record, lock_fd)
    if record is not None and record.outside:
        raise UsageError(
            f"{directory} was last opened with the identity {record.peer_id} from outside: pass identity= again "
            f"(or remove {directory / 'place'} to take a new identity)",
            path=str(directory),
            peer_id=record.peer_id,
        )
    if own is None:
        if record is not None:
            log.warning("%s: the key of %s is missing; it takes a new identity", directory, record.peer_id)
        return Chosen(_make_own(directory), replaced=record.peer_id if record is not None else None)
    reason = _why_not(own, place, record)
    if reason is None:
        return Chosen(own)
    _keep(directory, own)
    new = _make_own(directory)
    log.warning(
        "%s: %s; new identity %s, the key of %s stays to publish its journals",
        directory,
        reason,
        new.peer_id,
        own.peer_id,
    )
    return Chosen(new, replaced=own.peer_id)


def keys_in(keys: Path) -> dict[str, Any]:
    """Peer id → identity of the key files in ``keys``, whatever their names (an operator may have put them)."""
    found: dict[str, Any] = {}
    for name in sorted(os.listdir(keys)):
        if durable_file.is_leftover(name):
            continue
        try:
            identity, _ = _read_own(keys / name)
        except DataError as error:
            log.warning("key left out: %s", error)
            continue
        if identity is not None:
            found[identity.peer_id] = identity
    return found


def request_new(directory: Path, peer_id: str, reason: str) -> None:
    """Have the next open replace the identity ``peer_id``. Raises ``OSError``."""
    record = Record(peer_id, ("", 0, 0), replace=reason)
    durable_file.write(directory / "place", record.to_bytes())


def _take_given(
    directory: Path, given: Any, own: Any, place: Place | None, record: Record | None, lock_fd: int
) -> Chosen:
    if own is not None and own.peer_id == given.peer_id and not (record is not None and record.outside):
        if (reason := _why_not(own, place, record)) is not None:
            log.warning("%s: %s; it keeps its identity %s, as told", directory, reason, own.peer_id)
        return Chosen(given, outside=True)
    here = _core.file_place(lock_fd)
    if record is not None and record.outside and record.peer_id == given.peer_id and record.place != here:
        log.warning(
            "%s is a copy with the identity %s from outside: do not run the original too",
            directory,
            given.peer_id,
        )
    if own is not None:
        _keep(directory, own)
    new = Record(given.peer_id, here, outside=True)
    if record != new:
        durable_file.write(directory / "place", new.to_bytes())
    if own is not None:
        os.unlink(directory / "identity")
        durable_file.sync_directory(directory)
    replaced = record.peer_id if record is not None and record.peer_id != given.peer_id else None
    return Chosen(given, outside=True, replaced=replaced)


def _why_not(own: Any, place: Place | None, record: Record | None) -> str | None:
    """Why the identity file cannot be trusted to be the only one of its key; ``None``: it can."""
    if record is None:
        return "where its identity lived is not known"
    if record.replace is not None:
        return record.replace
    if record.peer_id != own.peer_id or record.place != place:
        return "it is a copy, or was restored from one"
    return None


def _read_own(path: Path) -> tuple[Any, Place | None]:
    """The identity in a file of ours, and the file's place; (``None``, ``None``) where there is no file."""
    try:
        fd = durable_file.open_to_read(path)
    except FileNotFoundError:
        return None, None
    try:
        mode = os.fstat(fd).st_mode
        if mode & 0o077:
            log.warning("%s was open to others (mode %o): it is 0600 now", path, mode & 0o777)
            os.fchmod(fd, 0o600)
        data = durable_file.read_from(fd, path, KEY_BYTES_MAX)
        try:
            return _core.Identity(data), _core.file_place(fd)
        except ValueError as error:
            raise DataError(
                f"{path} is damaged ({error}): restore it from a backup, or move it away to take a new identity",
                path=str(path),
            ) from error
    finally:
        os.close(fd)


def _make_own(directory: Path) -> Any:
    identity = _core.Identity.generate()

    def remember(fd: int) -> None:
        record = Record(identity.peer_id, _core.file_place(fd))
        durable_file.write(directory / "place", record.to_bytes())

    durable_file.write(directory / "identity", identity.to_bytes(), before_rename=remember)
    return identity


def _keep(directory: Path, identity: Any) -> None:
    path = directory / "keys" / identity.peer_id
    if durable_file.read(path, KEY_BYTES_MAX) != identity.to_bytes():
        durable_file.write(path, identity.to_bytes())
