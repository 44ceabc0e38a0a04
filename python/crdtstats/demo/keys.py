"""Turns paths and names into counter keys.

Each component of a path becomes one component of the key, by the rules of ``crdtstats.key``; what the key
rules refuse (too long, too deep) has no key, and is left out of both sides of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from crdtstats.errors import UsageError

KeyMaker = Callable[..., str]
"""Like ``crdtstats.key``: parts (``str`` or ``bytes``) to a key; raises ``UsageError`` where it refuses."""

_CACHE_KEYS = 1 << 16


class KeyRules:
    """Makes keys of paths and names, and keeps count of what was refused.

    Args:
        make: ``crdtstats.key``, or something like it.
    """

    def __init__(self, make: KeyMaker) -> None:
        self._make = make
        self.refused: set[tuple[str, bytes]] = set()
        self._cached = lru_cache(_CACHE_KEYS)(self._build)

    def path(self, kind: str, path: bytes) -> str | None:
        """The key of ``path`` below ``kind``; ``None`` where the key rules refuse it."""
        return self._cached(kind, path, True)

    def name(self, kind: str, name: bytes) -> str | None:
        """The key of ``name``, as one component, below ``kind``; ``None`` where it is refused."""
        return self._cached(kind, name, False)

    def prefix(self, kind: str, directory: bytes) -> str | None:
        """Like ``path``, for a directory: a refusal is not counted, for nothing is counted under it."""
        try:
            return self._make(kind, *directory.split(b"/"))
        except UsageError:
            return None

    def _build(self, kind: str, text: bytes, split: bool) -> str | None:
        try:
            return self._make(kind, *(text.split(b"/") if split else (text,)))
        except UsageError:
            self.refused.add((kind, text))
            return None
