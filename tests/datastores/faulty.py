"""Datastores that fail on demand: test doubles for everything above a datastore."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator

from crdtstats.datastores import MemoryDatastore
from crdtstats.errors import UnavailableError
from crdtstats.protocols import Datastore


class FaultyDatastore:
    """A datastore that does what ``inner`` does, unless it was told to fail.

    ``calls`` counts the calls of each verb. A failing call changes nothing in ``inner``, except with
    ``after=True``: then it is done and *then* fails, as when an answer is lost.
    """

    def __init__(self, inner: Datastore | None = None) -> None:
        self.inner = MemoryDatastore() if inner is None else inner
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._once: dict[tuple[str, int], tuple[Exception, bool]] = {}
        self._always: dict[str, tuple[Exception, bool]] = {}

    def fail(self, *verbs: str, error: Exception | None = None, after: bool = False) -> None:
        """Let each call of these verbs fail until ``heal``."""
        with self._lock:
            for verb in verbs:
                self._always[verb] = (_given(error), after)

    def fail_nth(
        self, verb: str, nth: int = 1, error: Exception | None = None, *, after: bool = False
    ) -> None:
        """Let the ``nth`` call of ``verb`` from now on fail (1 is the next); those around it do not."""
        with self._lock:
            self._once[verb, self.calls[verb] + nth] = (_given(error), after)

    def heal(self) -> None:
        """Fail no more."""
        with self._lock:
            self._always.clear()
            self._once.clear()

    def get(self, key: str) -> bytes:
        return self._do("get", lambda: self.inner.get(key))

    def has(self, key: str) -> bool:
        return self._do("has", lambda: self.inner.has(key))

    def get_size(self, key: str) -> int:
        return self._do("get_size", lambda: self.inner.get_size(key))

    def put(self, key: str, value: bytes) -> None:
        self._do("put", lambda: self.inner.put(key, value))

    def delete(self, key: str) -> None:
        self._do("delete", lambda: self.inner.delete(key))

    def query(self, prefix: str, *, keys_only: bool = False) -> Iterator[tuple[str, bytes]]:
        return self._do("query", lambda: self.inner.query(prefix, keys_only=keys_only))

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        self._do("batch", lambda: self.inner.batch(puts, deletes))

    def sync(self, prefix: str = "/") -> None:
        self._do("sync", lambda: self.inner.sync(prefix))

    def close(self) -> None:
        self._do("close", self.inner.close)

    def _do(self, verb: str, call):  # noqa: ANN001, ANN202, RUF100 - any call, and what it gives
        with self._lock:
            self.calls[verb] += 1
            error, after = self._once.pop((verb, self.calls[verb]), None) or self._always.get(
                verb, (None, False)
            )
        if error is None:
            return call()
        if after:
            call()
        raise error


class NoBatch:
    """A datastore without ``batch``: each put alone, durable (``durable()``) only after a ``sync``.

    ``log`` holds the verbs and keys of all writes in order, so that a test can see what was synced when.
    ``crash()`` gives a datastore as power loss would leave it.
    """

    def __init__(self) -> None:
        self._inner = MemoryDatastore()
        self._synced: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.log: list[tuple[str, str]] = []
        for verb in ("get", "has", "get_size", "query", "close"):
            setattr(self, verb, getattr(self._inner, verb))

    def put(self, key: str, value: bytes) -> None:
        with self._lock:
            self._inner.put(key, value)
            self.log.append(("put", key))

    def delete(self, key: str) -> None:
        with self._lock:
            self._inner.delete(key)
            self.log.append(("delete", key))

    def sync(self, prefix: str = "/") -> None:
        with self._lock:
            below = dict(self._inner.query(prefix))
            at = {prefix: self._inner.get(prefix)} if self._inner.has(prefix) else {}
            gone = [
                key
                for key in self._synced
                if (key == prefix or key.startswith(prefix.rstrip("/") + "/")) and not self._inner.has(key)
            ]
            for key in gone:
                del self._synced[key]
            self._synced.update(below | at)
            self.log.append(("sync", prefix))

    def crash(self) -> NoBatch:
        """What is left after power loss: what was synced, and nothing else."""
        left = NoBatch()
        with self._lock:
            left._inner.batch(self._synced.items())
            left._synced = dict(self._synced)
        return left


def _given(error: Exception | None) -> Exception:
    return UnavailableError("injected: try again") if error is None else error
