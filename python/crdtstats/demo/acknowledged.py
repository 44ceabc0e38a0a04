"""What a replica has got back from the store, in a shared mapping: it outlives ``kill -9`` of the replica.

The store's own cursor is checked against it: a cursor behind it lost something.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_BYTES = 16
_FIELD = struct.Struct("=Q")


class Acknowledged:
    """Position of the last call that returned, and the time spent inside calls.

    Args:
        path: The file; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(_BYTES)
            self._map = mmap.mmap(file.fileno(), _BYTES)

    @property
    def position(self) -> int:
        """Elements of the share that were acknowledged."""
        return _FIELD.unpack_from(self._map, 0)[0]

    @property
    def inside_ns(self) -> int:
        """Nanoseconds inside calls, over all lives of the replica."""
        return _FIELD.unpack_from(self._map, 8)[0]

    def add(self, position: int, nanoseconds: int) -> None:
        """A call that ended at ``position`` returned after ``nanoseconds``."""
        _FIELD.pack_into(self._map, 8, self.inside_ns + nanoseconds)
        _FIELD.pack_into(self._map, 0, position)

    def close(self) -> None:
        """Give the mapping back; the file stays."""
        self._map.close()
