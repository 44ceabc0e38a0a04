"""What the engine says has to be done: ``Effects`` of what came in, a ``FlushPlan`` of what was counted."""

from typing import final, type_check_only

__all__ = ["Block", "Effects", "FlushPlan"]

# CPython 3.11 has buffers, but not the method: a base that only type checkers see.
@type_check_only
class _ReadOnlyBuffer:
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Block(_ReadOnlyBuffer):
    """A block that the engine has built: read-only bytes as a buffer, without a copy."""

    def __len__(self) -> int: ...

@final
class Effects:
    """What the outside has to do."""

    @property
    def store(self) -> list[tuple[bytes, bytes]]:
        """(CID, block) to store."""

    @property
    def refused(self) -> list[bytes]:
        """CIDs to store with them, for ``load_refused``: their blocks are no nodes, and held nodes link to them."""

    @property
    def want(self) -> list[tuple[bytes, str | None]]:
        """(CID, the peer that named it) to fetch."""

    @property
    def cancel(self) -> list[bytes]:
        """CIDs no longer wanted."""

    @property
    def announce(self) -> list[bytes]:
        """Payloads to broadcast."""

    @property
    def warnings(self) -> list[str]:
        """Lines for the log."""

@final
class FlushPlan:
    """Nodes of ours that have to become durable in one step."""

    @property
    def author(self) -> str | None:
        """The peer id whose head moves; None where only cursors move."""

    @property
    def blocks(self) -> list[tuple[bytes, Block]]:
        """(CID, block), the head last."""

    @property
    def cursors(self) -> dict[str, int]:
        """Positions that the blocks cover."""

    @property
    def is_retry(self) -> bool:
        """The same plan was given before."""

    @property
    def is_partial(self) -> bool:
        """More was dirty than one plan takes: the next one follows, and the last of them moves the cursors."""
