"""A full disk, a tmpfs of 8 MiB in a mount namespace of its own: an error at the call that needs room, nothing of it
is counted, and all the rest goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.store import filling_child

TIMEOUT_S = 120
MOUNTED = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" "$3" "$1"'


def may_mount() -> bool:
    try:
        tried = subprocess.run(["unshare", "-rm", "true"], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


def test_a_full_disk_is_an_error_at_the_call_and_nothing_else(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("unshare -rm (a mount namespace of one's own) is not allowed here")
    done = subprocess.run(
        [
            *("unshare", "-rm", "--kill-child", "sh", "-c", MOUNTED, "sh"),
            *(str(tmp_path), sys.executable, filling_child.__file__),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ok\n"), done.stdout
