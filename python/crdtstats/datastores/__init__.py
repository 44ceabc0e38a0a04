"""Where the blocks and heads of a replica lie. Any object with the verbs of ``Datastore`` will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtstats.datastores.memory import MemoryDatastore
from crdtstats.datastores.url import open_datastore

if TYPE_CHECKING:
    from crdtstats.datastores.sqlite import SQLiteDatastore

__all__ = ["MemoryDatastore", "SQLiteDatastore", "open_datastore"]


def __getattr__(name: str) -> Any:
    if name == "SQLiteDatastore":  # late: importing sqlite3 costs some milliseconds
        from crdtstats.datastores.sqlite import SQLiteDatastore

        return SQLiteDatastore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
