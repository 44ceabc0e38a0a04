"""From what a user names to a datastore."""

from __future__ import annotations

from crdtstats.datastores.memory import MemoryDatastore
from crdtstats.errors import UsageError
from crdtstats.protocols import Datastore

VERBS = ("get", "has", "get_size", "put", "delete", "query", "sync", "close")
"""What a datastore object needs; ``batch`` is used where there is one."""

_SQLITE = "sqlite:///"


def open_datastore(datastore: str | Datastore) -> Datastore:
    """The datastore behind a URL, or the given object itself.

    ``memory:`` lives as long as the object. ``sqlite:///some/file`` is relative to the working directory,
    ``sqlite:////var/lib/some/file`` (four slashes) is absolute: the convention of SQLAlchemy and others.
    Percent escapes are decoded.

    Raises ``UsageError`` for another scheme or an object without the verbs of a datastore, and what the
    datastore raises when it cannot be opened.
    """
    if isinstance(datastore, str):
        return _from_url(datastore)
    missing = [verb for verb in VERBS if not callable(getattr(datastore, verb, None))]
    if missing:
        raise UsageError(
            f"a datastore is a URL (sqlite:///file, memory:) or an object with {', '.join(VERBS)}; "
            f"{type(datastore).__name__} has no {', '.join(missing)}"
        )
    return datastore


def _from_url(url: str) -> Datastore:
    if url == "memory:":
        return MemoryDatastore()
    path = url.removeprefix(_SQLITE)
    if path == url or not path or path == ":memory:" or "?" in path or "#" in path:
        raise UsageError(
            f"{url!r} is no datastore URL: use sqlite:///relative/file, sqlite:////absolute/file "
            "(without ? and #: escape them as %3F and %23) or memory:",
            url=url,
        )
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path, errors="surrogateescape")
    from crdtstats.datastores.sqlite import SQLiteDatastore  # late: the import costs some milliseconds

    return SQLiteDatastore(path)
