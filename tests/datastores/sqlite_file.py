"""An SQLite file from outside, what lies beside it, and batches that are large enough to be laid there."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from crdtstats.datastores import SQLiteDatastore
from crdtstats.datastores.sqlite_values import APART_BYTES_MIN

COUNT = 4
SIZE = APART_BYTES_MIN // COUNT

Entries = list[tuple[str, bytes]]


def large(batch: int, count: int = COUNT, size: int = SIZE) -> Entries:
    """A batch that becomes a file: keys below ``/n/<batch>``."""
    return [
        (f"/n/{batch}/{number}", random.Random(f"{batch}/{number}").randbytes(size))
        for number in range(count)
    ]


def filled(path: Path, *batches: Sequence[tuple[str, bytes]]) -> Path:
    """Store batches and close the file again; gives the directory of values."""
    with SQLiteDatastore(path) as datastore:
        for puts in batches:
            datastore.batch(puts)
    return values_of(path)


def held(path: Path) -> Entries:
    """All that a datastore which opens the file now has."""
    with SQLiteDatastore(path) as datastore:
        return list(datastore.query("/"))


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def values_of(path: Path) -> Path:
    return path.with_name(path.name + "-values")


def files(path: Path) -> list[str]:
    directory = values_of(path)
    return sorted(os.listdir(directory)) if directory.exists() else []


def on_disk(path: Path) -> int:
    return sum(os.stat(values_of(path) / name).st_blocks * 512 for name in files(path))
