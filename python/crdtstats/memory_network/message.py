"""A message under way in the memory network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crdtstats.memory_network.host import MemoryHost


@dataclass(frozen=True, slots=True)
class Message:
    """One message under way. ``direct``: needs a link; else any path will do."""

    kind: str
    source: MemoryHost
    target: MemoryHost
    body: Any
    size: int
    direct: bool
