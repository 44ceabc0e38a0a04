#!/usr/bin/env python3
"""Try a wheel the way a user meets it: empty environments, no compiler, every Python that it claims.

Usage: ``try_wheel.py dist/crdtstats-….whl``. A Python that is not on this machine is skipped by name; that
none was found is an error, like everything else that is not as it should be (exit code 1).
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

PYTHONS = ((3, 11), (3, 12), (3, 13))
TAGS = re.compile(r"-cp311-abi3-([^-]+)\.whl$")
PLATFORMS = re.compile(r"(manylinux_2_17|manylinux2014)_(x86_64|aarch64)$")
# Ten times what it is: a wheel past this has something in it that it should not have.
WHEEL_BYTES_MAX = 5 << 20
SECONDS_MAX = 120

EXAMPLE = """
import crdtstats, sys, tempfile
from importlib.metadata import version
assert crdtstats.__version__ == version("crdtstats"), (crdtstats.__version__, version("crdtstats"))
with tempfile.TemporaryDirectory() as directory:
    with crdtstats.open(directory) as stats:
        stats.increment("site/home/views")
        stats.increment("site/home/views", 41)
        stats.decrement("site/home/likes")
        assert stats.get("site/home/views") == 42, stats.get("site/home/views")
        assert stats.total("site") == 41, stats.total("site")
    with crdtstats.open(directory) as stats:
        assert stats.get("site/home/views") == 42, stats.get("site/home/views")
        assert stats.get("site/home/likes") == -1, stats.get("site/home/likes")
sys.stdout.write(f"crdtstats {crdtstats.__version__}: import and embedded example")
"""


class Wrong(Exception):
    """The wheel is not what it should be."""


def check_file(wheel: Path) -> None:
    """Tags, size and contents of the file itself."""
    size = wheel.stat().st_size
    tags = TAGS.search(wheel.name)
    if not tags or not all(PLATFORMS.match(platform) for platform in tags[1].split(".")):
        raise Wrong(f"{wheel.name}: not a cp311-abi3 wheel for manylinux2014")
    if size > WHEEL_BYTES_MAX:
        raise Wrong(f"{wheel.name}: {size} bytes, more than {WHEEL_BYTES_MAX}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = Parser().parsestr(
            archive.read(next(name for name in names if name.endswith("/METADATA"))).decode("utf-8")
        )
    required = [line for line in metadata.get_all("Requires-Dist") or [] if "extra ==" not in line]
    if required:
        raise Wrong(f"runtime dependencies: {required}")
    for wanted in ("crdtstats/_core.abi3.so", "crdtstats/py.typed", "/LICENSE-MIT", "/LICENSE-APACHE"):
        if not any(name.endswith(wanted) for name in names):
            raise Wrong(f"{wanted} is not in the wheel")
    stray = [name for name in names if not name.startswith(("crdtstats/", "crdtstats-"))]
    if stray:
        raise Wrong(f"files beside the package: {stray}")
    sys.stdout.write(f"{wheel.name}: {size / 1024:.0f} KiB, {len(names)} files, no runtime dependency\n")


def find(version: tuple[int, int]) -> str | None:
    """A Python of this version: on the PATH, or among the versions that pyenv has."""
    name = "python{}.{}".format(*version)
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for candidate in [name, *sorted(glob.glob(f"{pyenv}/versions/{version[0]}.{version[1]}.*/bin/{name}"))]:
        try:
            out = subprocess.run(
                [
                    candidate,
                    "-c",
                    "import sys, venv, ensurepip; print(sys.version_info[:2] + (sys.executable,))",
                ],
                capture_output=True,
                text=True,
                timeout=SECONDS_MAX,
            )
        except OSError:
            continue
        if out.returncode == 0 and out.stdout.startswith(f"({version[0]}, {version[1]}, "):
            return candidate
    return None


def run(command: list[str], directory: str, environment: dict[str, str]) -> str:
    """Run a command to its end, or raise with what it said."""
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    if done.returncode:
        raise Wrong(f"{' '.join(command[:4])} … failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def try_on(python: str, wheel: Path) -> str:
    """Install the wheel into an empty environment, without an index and without a compiler, and use it."""
    with tempfile.TemporaryDirectory(prefix="crdtstats-wheel-") as directory:
        run([python, "-m", "venv", "venv"], directory, dict(os.environ))
        bare = f"{directory}/venv/bin"
        # No PATH but the environment's own: neither cc nor cargo can be found. HOME keeps ~/.local out.
        environment = {"PATH": bare, "HOME": directory, "LC_ALL": "C.UTF-8"}
        run([f"{bare}/pip", "install", "--quiet", "--no-index", str(wheel)], directory, environment)
        run([f"{bare}/pip", "check"], directory, environment)
        said = run([f"{bare}/python", "-I", "-W", "error", "-c", EXAMPLE], directory, environment)
        installed = run([f"{bare}/crdtstats", "--help"], directory, environment)
        if "demo" not in installed:
            raise Wrong(f"`crdtstats --help` does not name the demo:\n{installed}")
        return said


def main() -> int:
    wheel = Path(sys.argv[1]).resolve()
    found = 0
    try:
        check_file(wheel)
        for version in PYTHONS:
            name = "Python {}.{}".format(*version)
            python = find(version)
            if python is None:
                sys.stdout.write(f"{name}: skipped, not on this machine\n")
                continue
            found += 1
            sys.stdout.write(f"{name}: {try_on(python, wheel)}\n")
        if not found:
            raise Wrong("no Python was found to try it on")
    except Wrong as wrong:
        sys.stderr.write(f"wheel: {wrong}\n")
        return 1
    return 0


sys.exit(main())
