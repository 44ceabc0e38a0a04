"""Where the stores of a model test live."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_home() -> Path:
    """A new directory: in memory where there is such a place, for a model test syncs several thousand times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="crdtstats-model-", dir=memory))
