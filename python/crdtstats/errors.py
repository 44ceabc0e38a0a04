"""The errors of crdtstats: one tree, told apart by what the caller should do.

Every class has a stable ``slug``; attributes given as keywords are kept (``error.key``, ``error.limit`` ...).
"""

from __future__ import annotations

from typing import Any, ClassVar


class CrdtStatsError(Exception):
    """Root of every error that crdtstats raises on purpose."""

    slug: ClassVar[str] = "crdtstats"

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        self.attributes = attributes

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["attributes"][name]
        except KeyError:
            raise AttributeError(name) from None


class UsageError(CrdtStatsError, ValueError):
    """The call was wrong: change the call."""

    slug = "usage"


class RemoteError(CrdtStatsError):
    """A peer sent something bad: it is dropped and counted, and stops nothing."""

    slug = "remote"


class UnavailableError(CrdtStatsError):
    """Not now (busy, locked, full, refused): try again later."""

    slug = "unavailable"


class DataError(CrdtStatsError):
    """Our own store is damaged: stop and repair."""

    slug = "data"


class CounterOverflowError(CrdtStatsError, OverflowError):
    """A sub-counter would pass 2**64 - 1: nothing was counted."""

    slug = "counter-overflow"


class ClosedError(CrdtStatsError):
    """The store is closed, or was inherited through fork(): open one."""

    slug = "closed"


class InternalError(CrdtStatsError):
    """A bug in crdtstats: please report it."""

    slug = "internal"
