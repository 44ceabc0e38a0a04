"""The Go peer is Go as its own tools want it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.interop.conftest import SOURCES


def test_formatted_and_vetted(go_binary: Path) -> None:
    assert go_binary.exists()
    for command in ([shutil.which("gofmt") or "gofmt", "-l", "."], ["go", "vet", "./..."]):
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
