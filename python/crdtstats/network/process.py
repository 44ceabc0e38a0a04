"""Starts, watches and ends the child process; never leaves one behind."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import site
import socket
import subprocess
import sys
from pathlib import Path

from crdtstats.errors import UnavailableError

CHILD_MODULE = "crdtstats.network.child"
"""What the child runs; tests put a child with faults here."""
REAP_TIMEOUT_S = 5.0
_ERROR_BYTES = 4000


def require_libp2p() -> None:
    """Raise ``UnavailableError`` naming the extra when libp2p is not installed; imports nothing."""
    for name in ("libp2p", "trio"):
        if importlib.util.find_spec(name) is None:
            raise UnavailableError(
                f"{name} is not installed: the network needs the extra, pip install 'crdtstats[p2p]'",
                extra="p2p",
            )


class Child:
    """One child process and our end of its socket pair. Start it in the thread that will outlive it:
    the kernel ties its death signal to that thread, not to the process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        errors = -1
        try:
            errors = os.memfd_create("crdtstats-network-stderr", os.MFD_CLOEXEC)
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",  # a trio.py in the working directory is not the trio that we mean
                    "-m",
                    CHILD_MODULE,
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        except BaseException:
            ours.close()
            if errors >= 0:
                os.close(errors)
            raise
        finally:
            theirs.close()
        self.socket = ours
        self._errors = errors

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()

    def reap(self, timeout_s: float) -> tuple[int, str]:
        """(exit code, what it wrote to stderr before it could log); killed first when it takes longer."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()  # SIGKILL: the kernel ends it
        with contextlib.suppress(OSError):
            self.socket.close()
        text = ""
        if self._errors >= 0:
            with contextlib.suppress(OSError):
                size = os.fstat(self._errors).st_size
                text = os.pread(self._errors, _ERROR_BYTES, max(0, size - _ERROR_BYTES)).decode(
                    errors="replace"
                )
            os.close(self._errors)
            self._errors = -1
        return code, text

    def descriptors(self) -> list[int]:
        """What a forked process inherits of it."""
        return [fd for fd in (self.socket.fileno(), self._errors) if fd >= 0]

    def abandon(self) -> None:
        """In a forked process: close what was inherited, touch nothing else."""
        descriptors = self.descriptors()
        self.socket.detach()  # so that no destructor closes the number again
        self._errors = -1
        self._process.returncode = 0  # not our child: never waited for, no warning when collected
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _environment() -> dict[str, str]:
    """Our own, and a path to this package where an interpreter would not find it by itself.

    The rest of ``sys.path`` follows over the socket: in PYTHONPATH it would come before the standard library.
    """
    environment = dict(os.environ)
    package = str(Path(__file__).resolve().parents[2])
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    if package not in {str(Path(entry).resolve()) for entry in installed}:
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{package}{os.pathsep}{known}" if known else package
    return environment
