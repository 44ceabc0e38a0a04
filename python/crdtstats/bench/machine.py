"""Where a run was made: a ratio travels, an absolute figure does not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import crdtstats

PEERS = ("prometheus_client", "numpy", "redis")


def machine(directory: Path) -> dict[str, str]:
    """What somebody else has to know to judge the figures, by name.

    Args:
        directory: where the rows keep their files.
    """
    found = {
        "CPU": _first(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo")
        or platform.processor()
        or platform.machine(),
        "cores": str(os.cpu_count()),
        "RAM": _ram(),
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "file system": _file_system(directory),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "crdtstats": crdtstats.__version__,
    }
    for peer in PEERS:
        try:
            found[peer] = importlib.metadata.version(peer)
        except importlib.metadata.PackageNotFoundError:
            found[peer] = "not installed"
    found["redis-server"] = _redis_version()
    found["SQLite"] = sqlite3.sqlite_version
    return found


def _first(pattern: str, path: str) -> str | None:
    try:
        match = re.search(pattern, Path(path).read_text("utf-8", "replace"), re.M)
    except OSError:
        return None
    return match[1].strip() if match else None


def _ram() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def _file_system(directory: Path) -> str:
    """The type of the file system with the longest mount point above ``directory``."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return "unknown"
    above = {str(part) for part in (directory.resolve(), *directory.resolve().parents)}
    held = [mount for mount in mounts if mount[1] in above]
    return max(held, key=lambda mount: len(mount[1]))[2] if held else "unknown"


def _redis_version() -> str:
    program = shutil.which("redis-server")
    if program is None:
        return "not installed"
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=10, check=False
    ).stdout
    match = re.search(r"v=(\S+)", said)
    return match[1] if match else "unknown"
