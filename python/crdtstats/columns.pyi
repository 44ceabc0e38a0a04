"""Columns that stores give: ``Ids`` of keys, a ``Table`` of totals."""

from typing import Protocol, final, type_check_only

__all__ = ["Ids", "Table"]

@type_check_only
class ArrowArray(Protocol):
    """What shows itself as one Arrow array."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@type_check_only
class ArrowStream(Protocol):
    """What shows itself as a stream of Arrow arrays."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

# CPython 3.11 has buffers, but not the method: a base that only type checkers see.
@type_check_only
class _ReadOnlyBuffer:
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Ids(_ReadOnlyBuffer):
    """Ids of keys in one open store: a column of uint32.

    numpy, memoryview and others read it as a buffer, Arrow's libraries as an array, both without a copy. With another
    store it is refused for certain; the bare numbers, as any column of uint32, as good as certainly.
    """

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object:
        """The type, in a capsule."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """The type and the column, in capsules; always uint32."""

@final
class Table:
    """Keys and their values: a table of two columns, ``key`` and ``total``, without nulls.

    ``pyarrow.table``, ``polars.DataFrame``, ``pandas.DataFrame.from_arrow`` and DuckDB's ``from`` read it, without a
    copy. ``key`` is utf8 (large_utf8 for keys of more than 2 GiB), ``total`` decimal128(38, 0) or int64.
    """

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object:
        """The type, in a capsule."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """The type and the table as one struct array, in capsules."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The table as a stream of one chunk, in a capsule."""
