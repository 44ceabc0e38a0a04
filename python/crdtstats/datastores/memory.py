"""A datastore in memory: for tests, tools and stores that need not outlive their process."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from types import TracebackType

from crdtstats.datastores.clean import below, changes, clean
from crdtstats.errors import ClosedError

PAGE_ENTRIES = 256
"""Entries that a query copies under the lock at once: short enough that writers do not notice."""


class MemoryDatastore:
    """Bytes under ``/``-clean keys, in a dict. Any thread may call.

    Durable for as long as the object lives, and no longer. ``put`` of a new key costs O(log n) comparisons
    and one ``memmove`` of the sorted key list.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, bytes] = {}
        self._keys: list[str] = []  # sorted
        self._closed = False

    def get(self, key: str) -> bytes:
        """The value of ``key``; raises ``KeyError`` when there is none."""
        key = clean(key)
        with self._lock:
            self._check_open()
            return self._values[key]

    def has(self, key: str) -> bool:
        """Whether ``key`` holds a value."""
        key = clean(key)
        with self._lock:
            self._check_open()
            return key in self._values

    def get_size(self, key: str) -> int:
        """Bytes in the value of ``key``; raises ``KeyError`` when there is none."""
        return len(self.get(key))

    def put(self, key: str, value: bytes) -> None:
        """Store ``value`` under ``key``, in place of what was there."""
        self.batch([(key, value)])

    def delete(self, key: str) -> None:
        """Remove ``key``; a missing key is no error."""
        self.batch((), [key])

    def query(self, prefix: str, *, keys_only: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield (key, value) strictly below ``prefix``, sorted by key bytes (``keys_only``: ``b""``).

        Others may write meanwhile: an entry is given as it is when its page of 256 is read.
        """
        first, last = below(prefix)
        with self._lock:
            self._check_open()
        return self._pages(first, last, keys_only)

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        """Apply all or nothing: the puts in order (of one key twice, the last), then the deletes."""
        checked_puts, checked_deletes = changes(puts, deletes)
        with self._lock:
            self._check_open()
            for key, value in checked_puts:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value
            for key in checked_deletes:
                if self._values.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]

    def sync(self, prefix: str = "/") -> None:
        """Nothing to wait for."""
        clean(prefix)
        with self._lock:
            self._check_open()

    def close(self) -> None:
        """Forget everything; from now on every call raises ``ClosedError``. Closing twice is no error."""
        with self._lock:
            self._closed = True
            self._values = {}
            self._keys = []

    def __enter__(self) -> MemoryDatastore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this datastore is closed: open another")

    def _pages(self, after: str, last: str, keys_only: bool) -> Iterator[tuple[str, bytes]]:
        while True:
            with self._lock:
                self._check_open()
                start = bisect_right(self._keys, after)
                stop = min(bisect_left(self._keys, last), start + PAGE_ENTRIES)
                page = [(key, b"" if keys_only else self._values[key]) for key in self._keys[start:stop]]
            if not page:
                return
            yield from page
            after = page[-1][0]
