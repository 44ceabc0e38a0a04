"""The driver's end of one replica: starts it, talks to it, kills it, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from crdtstats.demo.acknowledged import Acknowledged
from crdtstats.demo.traffic import Share
from crdtstats.errors import UnavailableError

STALL_S_MAX = 90.0
"""A replica that neither answers nor counts for so long is stuck."""
_TICK_S = 0.05
_DRAIN_S_MAX = 10.0
_CLOSE_S_MAX = 5.0
_LOG_TAIL_BYTES = 2000


class ReplicaProcess:
    """One replica; its process may be started again after it was killed.

    Args:
        number: From 1, for messages.
        directory: For its data (``replica-N``), its log and its mapping.
        share: What it is to count.
        opener: ``module:function`` that opens the store.
    """

    def __init__(self, number: int, directory: Path, share: Share, opener: str) -> None:
        self.number = number
        self.share = share
        self.data = directory / f"replica-{number}"
        self.addresses: list[str] = []
        self.events: deque[dict[str, Any]] = deque()
        self._opener = opener
        self._log = directory / f"replica-{number}.log"
        self._acknowledged_path = directory / f"replica-{number}.acknowledged"
        self.acknowledged = Acknowledged(self._acknowledged_path)
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def start(self) -> None:
        """Start the process; it waits for ``open``."""
        # Not its working directory (-P): that is somebody's repository, and may hold a json.py.
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))
        self.events.clear()
        self._rest = b""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "crdtstats.demo.replica", self._opener],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C on the terminal reaches the driver only.
                start_new_session=True,
            )

    def open(self, network: str, peers: list[str]) -> None:
        """Ask it to open its store; ``open`` is the answer."""
        self.send(
            "open",
            directory=str(self.data),
            network=network,
            peers=peers,
            share=str(self.share.path),
            acknowledged=str(self._acknowledged_path),
        )

    def send(self, command: str, **facts: Any) -> None:
        """Hand it a command; it works through them one by one."""
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps({"do": command, **facts}).encode() + b"\n"
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def fileno(self) -> int:
        """Where its events come from."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def receive(self) -> bool:
        """Take what it said; ``False`` when it will say no more."""
        piece = os.read(self.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self.events.extend(map(json.loads, lines))
        return bool(piece)

    def expect(self, event: str) -> dict[str, Any] | None:
        """The next event, which must be ``event``; ``None`` when there is none yet.

        Raises:
            UnavailableError: It failed, or said something else.
        """
        if not self.events:
            return None
        said = self.events.popleft()
        if said["event"] == event:
            return said
        if said["event"] == "failed":
            raise UnavailableError(f"replica {self.number}: {said['error']}", replica=self.number)
        raise UnavailableError(f"replica {self.number} said {said['event']} instead of {event}")

    def kill(self) -> list[str]:
        """``kill -9``; gives the names of the events that it had said and nobody had taken."""
        assert self._process is not None
        self._process.kill()
        until = time.monotonic() + _DRAIN_S_MAX
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while selector.select(max(0.0, until - time.monotonic())) and self.receive():
                pass
        said = [event["event"] for event in self.events]
        self._reap()
        return said

    def stop(self) -> None:
        """End the process, whatever it does; safe at any time."""
        if self._process is not None:
            # It leads a session of its own, in which its network node lives. The id is still its own: a
            # process that was not waited for keeps it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._reap()

    def leave(self) -> None:
        """Wait for the process to end on its own after ``closed``, then make sure."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_S_MAX)
                self._reap()
            self.stop()

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def _gone(self) -> UnavailableError:
        words = ""
        with contextlib.suppress(OSError):
            tail = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
            words = ": " + tail.splitlines()[-1] if tail else ""
        return UnavailableError(f"replica {self.number} ended by itself{words}", replica=self.number)


def gather(
    replicas: Iterable[ReplicaProcess],
    event: str,
    tick: Callable[[], None],
    timeout_s: float | None = None,
) -> list[dict[str, Any]]:
    """Wait until each replica said ``event``; gives what they said, in the order of ``replicas``.

    Args:
        replicas: Whom to wait for.
        event: The event that each must say next.
        tick: Called at least every 50 ms (progress).
        timeout_s: Give up then; ``None``: when nobody counted anything for ``STALL_S_MAX``.

    Raises:
        UnavailableError: One failed, ended, or gave no answer in time.
    """
    order = list(replicas)
    answers: dict[int, dict[str, Any]] = {}
    counted, since = -1, time.monotonic()
    with selectors.DefaultSelector() as selector:
        for replica in order:
            if (said := replica.expect(event)) is not None:
                answers[replica.number] = said
            else:
                selector.register(replica, selectors.EVENT_READ, replica)
        while len(answers) < len(order):
            for ready, _ in selector.select(_TICK_S):
                replica = ready.data
                more = replica.receive()
                if (said := replica.expect(event)) is not None:
                    answers[replica.number] = said
                    selector.unregister(replica)
                elif not more:
                    raise replica._gone()
            tick()
            moved = sum(replica.acknowledged.position for replica in order)
            if timeout_s is None and moved != counted:
                counted, since = moved, time.monotonic()
            elif time.monotonic() - since > (STALL_S_MAX if timeout_s is None else timeout_s):
                silent = next(r.number for r in order if r.number not in answers)
                raise UnavailableError(
                    f"replica {silent} gave no answer to '{event}' in time", replica=silent
                )
    return [answers[replica.number] for replica in order]
