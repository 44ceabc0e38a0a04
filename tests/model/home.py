"""Where the stores of a model test live, and how long it looks for a mistake."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

EXAMPLES = int(os.environ.get("CRDTSTATS_EXAMPLES", "120"))
"""Of each state machine; a few thousand for a long look."""


def make_home() -> Path:
    """A new directory: in memory where there is such a place, for a model test syncs several thousand times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="crdtstats-model-", dir=memory))
