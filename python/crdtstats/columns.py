"""Columns that stores give: ``Ids`` of keys, a ``Table`` of totals. What they are is in the stub beside."""

from crdtstats._core import Ids, Table

__all__ = ["Ids", "Table"]
